"""Long texts of a run, stored once each in a file that is named by its hash.

Texts are redacted before they are written (`forklock.agent.log.redact`), and compared with their hash when they
are read.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from forklock.agent.log.redact import redact
from forklock.sandbox.fault import Fault
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.reading import MEGABYTE, Unreadable, read_regular

ROOM = "free some disk space, then go on with `agent solve --resume RUN`"
_PREFIX = "sha256:"
_NAME = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_INLINE_BYTES = 1024
MOST_BYTES = 256 * MEGABYTE


class LogFault(Fault):
    """The log cannot be read or written. `fix` says what the user can do next."""

    exit_code = 2


def store_text(folder: Path, text: str) -> str:
    """Redacts `text`; returns it when short, else a reference to the blob that holds it.

    Raises:
        LogFault: the disk is full.
    """
    text = redact(text)
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= _INLINE_BYTES and not text.startswith(_PREFIX) and _is_unicode(text):
        return text
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest
    if not path.exists():
        try:
            write_atomic(path, data, durable=False)
        except OSError as error:
            raise LogFault(f"cannot write {path}: {error.strerror}", fix=ROOM) from error
    return _PREFIX + digest


def _is_unicode(text: str) -> bool:
    """Whether JSON can hold the text. It cannot hold half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_text(folder: Path, text: str) -> str:
    """Returns the text behind a reference; any other text as it is.

    Raises:
        LogFault: the reference is no blob's name, or the blob is missing or does not match its hash.
    """
    if not text.startswith(_PREFIX):
        return text
    named = _NAME.fullmatch(text)
    if named is None:
        raise LogFault(
            f"the log in {folder.parent} refers to {text[:80]!r}, which is no blob", fix="delete the run"
        )
    path = folder / named[1]
    try:
        data = read_regular(path, most_bytes=MOST_BYTES)
    except FileNotFoundError as error:
        raise LogFault(f"the log refers to {path.name}, which is gone", fix="delete the run") from error
    except (OSError, Unreadable) as error:
        raise LogFault(f"{path} cannot be read: {error}", fix="delete the run") from error
    if hashlib.sha256(data).hexdigest() != named[1]:
        raise LogFault(f"{path} is damaged", fix="delete the run")
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise LogFault(f"{path} is no text", fix="delete the run") from error

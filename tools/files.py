"""Files of a workspace: text in and out without changing what it is.

Comes in: a host path. Goes out: decoded text that remembers its encoding, and an atomic write that keeps encoding
and mode. Not covered: UTF-16, and a hostile process that swaps folders while we write (sandboxes end all processes
before their caller edits).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.files.atomic import write_atomic
from forklock.tools.contract import EditRefused
from forklock.tools.languages.known import language_of
from forklock.tools.languages.text import split_lines

MAX_FILE_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Document:
    """A file's text, its BOM included, line ends as on disk."""

    text: str
    encoding: str


def read_document(file: Path, path: str) -> Document:
    """Decode a file: UTF-8, or what a Python file's coding line says.

    Raises:
        EditRefused: too large, binary, or not in its encoding.
    """
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise EditRefused(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; it cannot be edited.")
        data = file.read_bytes()
    except OSError as error:
        raise EditRefused(f"{path} cannot be read: {error.strerror}.") from error
    try:
        encoding = language_of(path).encoding(data)
        return Document(data.decode(encoding), encoding)
    except (UnicodeDecodeError, SyntaxError, LookupError) as error:
        raise EditRefused(f"{path} is not text in its declared encoding ({error}).") from error


def write_document(file: Path, path: str, text: str, encoding: str) -> None:
    """Replace a file in one step (temporary file beside it, then rename), keeping its mode and owner.

    A Python file whose coding line has changed is written in the new encoding.

    Raises:
        EditRefused: a character does not exist in the encoding, or the disk refuses.
    """
    try:
        head = "".join(split_lines(text)[:2]).encode("utf-8", "replace")
        data = text.encode(language_of(path).encoding(head) if b"coding" in head else encoding)
    except (UnicodeEncodeError, SyntaxError, LookupError) as error:
        raise EditRefused(f"the new text of {path} cannot be written in its encoding: {error}.") from error
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data, durable=False, like=file.stat() if file.exists() else None)
    except OSError as error:
        raise EditRefused(f"{path} cannot be written: {error.strerror}.") from error

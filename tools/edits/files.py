"""Files of a workspace: which paths may be touched, and text in and out without changing what it is.

Comes in: a root folder and a path that a model wrote. Goes out: a host path that is surely inside, decoded
text that remembers its encoding, and an atomic write that keeps encoding and mode. Lines are split as Python
splits them (LF, CRLF, CR; never form feed or U+2028), so numbers agree with `ast` and tracebacks.

Not covered: UTF-16, and a hostile process that swaps folders while we write (sandboxes end all processes
before their caller edits).
"""

from __future__ import annotations

import re
import stat
import tokenize
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath

from forklock.sandbox.files.atomic import write_atomic
from forklock.tools.contract import EditRefused

MAX_FILE_BYTES = 5_000_000
FORBIDDEN_PARTS = frozenset({".git", ".forklock"})
PYTHON_SUFFIXES = frozenset({".py", ".pyi", ".pyw"})
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BOM = "\ufeff"


@lru_cache(maxsize=4096)
def is_python(path: str) -> bool:
    return PurePosixPath(path).suffix in PYTHON_SUFFIXES


_LANGUAGES = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), "python"), ".c": "c", ".h": "c",
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hh", ".hpp"), "cpp"), ".go": "go", ".rs": "rust", ".tsx": "tsx",
    **dict.fromkeys((".ts", ".mts", ".cts"), "typescript"), ".jsx": "jsx",
    **dict.fromkeys((".js", ".mjs", ".cjs"), "javascript"),
}  # fmt: skip


def code_language(path: str) -> str:
    """What a markdown fence calls the language of a file; "" where that is not known."""
    return _LANGUAGES.get(PurePosixPath(path).suffix, "")


def split_lines(text: str) -> list[str]:
    """Lines with their ends, as Python's tokenizer counts them."""
    return _LINE.findall(text)


def to_lf(text: str) -> str:
    """The text without byte order mark and with LF line ends: what `ast` and `tokenize` see."""
    return text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")


def dominant_newline(text: str) -> str:
    ends = Counter(line[len(line.rstrip("\r\n")) :] for line in split_lines(text))
    del ends[""]
    return max(ends, key=lambda end: (ends[end], end == "\n"), default="\n")


def restore_style(original: str, edited: str) -> str:
    """Give `edited` (LF) the BOM and line ends of `original`.

    Lines before and after the changed passage keep their own ends; changed lines get the dominant one.
    """
    bom = _BOM if original.startswith(_BOM) else ""
    body = original.removeprefix(_BOM)
    if "\r" not in body:
        return bom + edited
    old, new, newline = split_lines(body), split_lines(edited), dominant_newline(body)
    head = _common(old, new)
    tail = min(_common(old[::-1], new[::-1]), len(old) - head, len(new) - head)
    middle = [line.replace("\n", newline) for line in new[head : len(new) - tail]]
    return bom + "".join(old[:head] + middle + old[len(old) - tail :])


def _common(old: list[str], new: list[str]) -> int:
    """How many first lines agree, line ends aside (a missing end is a difference)."""
    count = 0
    for a, b in zip(old, new, strict=False):
        if to_lf(a) != b:
            break
        count += 1
    return count


def resolve(root: Path, path: str) -> Path:
    """The host path of a workspace path, symlinks followed.

    Raises:
        EditRefused: absolute, climbing, through a link that leaves the workspace, or inside `.git` or
            `.forklock`, or not a regular file.
    """
    pure = PurePosixPath(path)
    if not path or "\0" in path or "\\" in path or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise EditRefused(
            f"{path!r} is not a path inside the workspace: write it relative to the root, with '/'."
        )
    base = root.resolve()
    try:
        target = (base / pure).resolve()
        mode = target.stat().st_mode if target.exists() else None
    except (OSError, RuntimeError, ValueError) as error:
        raise EditRefused(f"{path!r} cannot be used: {error}.") from error
    if not target.is_relative_to(base) or target == base:
        raise EditRefused(f"{path!r} leads out of the workspace through a link.")
    parts = (*pure.parts, *target.relative_to(base).parts)
    if any(part.casefold() in FORBIDDEN_PARTS for part in parts):
        raise EditRefused(f"{path!r} belongs to git or to the harness and cannot be edited.")
    if mode is not None and not stat.S_ISREG(mode):
        raise EditRefused(f"{path!r} is not a regular file.")
    return target


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
        encoding = _encoding(path, data)
        return Document(data.decode(encoding), encoding)
    except (UnicodeDecodeError, SyntaxError, LookupError) as error:
        raise EditRefused(f"{path} is not text in its declared encoding ({error}).") from error


def _encoding(path: str, data: bytes) -> str:
    """The codec that keeps a BOM as a character of the text, so that it is written back."""
    if not is_python(path):
        return "utf-8"
    name, _ = tokenize.detect_encoding(BytesIO(data).readline)
    return "utf-8" if name == "utf-8-sig" else name


def write_document(file: Path, path: str, text: str, encoding: str) -> None:
    """Replace a file in one step (temporary file beside it, then rename), keeping its mode and owner.

    A Python file whose coding line has changed is written in the new encoding.

    Raises:
        EditRefused: a character does not exist in the encoding, or the disk refuses.
    """
    try:
        head = "".join(split_lines(text)[:2]).encode("utf-8", "replace")
        declared = _encoding(path, head) if is_python(path) else encoding
        data = text.encode(declared if b"coding" in head else encoding)
    except (UnicodeEncodeError, SyntaxError, LookupError) as error:
        raise EditRefused(f"the new text of {path} cannot be written in its encoding: {error}.") from error
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data, durable=False, like=file.stat() if file.exists() else None)
    except OSError as error:
        raise EditRefused(f"{path} cannot be written: {error.strerror}.") from error

"""evals: JSON-lines files: their lines, and the sidecar files that lie beside sets.

Input: a path. Output: numbered lines; or the fields of a sidecar file by question_id (checkers and time limits of
problems, so that the set itself is not changed). Damage is reported with its line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forklock.evals.contract import EvalFault
from forklock.evals.problems.records import EXTRA_FIELDS
from forklock.sandbox.files.reading import parse_json

MAX_LINE_BYTES = 1 << 29
"""Largest size of one record, unpacked; LiveCodeBench's longest are well below."""
SIDECAR = ".sidecar.jsonl"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of each line that is not blank, of a plain or gzipped file of any name.

    A byte order mark is removed.

    Raises:
        EvalFault: the file cannot be read, or is not UTF-8.
    """
    try:
        with gzip.open(path, "rb") if _is_gzipped(path) else path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
                if len(raw) > MAX_LINE_BYTES:
                    raise EvalFault(
                        f"{path.name}, line {number} is longer than {MAX_LINE_BYTES} bytes",
                        fix="no record is so long: fetch the file again, or remove the line",
                    )
                if raw.strip():
                    yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise EvalFault(f"cannot read {path}: {error}", fix="check the file; fetch it again") from error


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def stem(path: Path) -> str:
    """Return the file's name without its ending."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def sidecar_path(path: Path) -> Path:
    """Return the path of a set's sidecar file."""
    return path.with_name(stem(path) + SIDECAR)


def read_sidecar(path: Path) -> dict[str, dict[str, Any]]:
    """Read the fields that replace those of the records, by question_id; empty where there is no such file.

    Raises:
        EvalFault: a line is damaged, or has a field that a sidecar cannot set.
    """
    if not path.exists():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for number, line in read_lines(path):
        try:
            record = parse_json(line)
            name = str(record.pop("question_id"))
            if unknown := record.keys() - set(EXTRA_FIELDS):
                raise ValueError(f"unknown field {sorted(unknown)[0]!r}; there are {', '.join(EXTRA_FIELDS)}")
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise EvalFault(
                f"{path.name}, line {number}: {first_line(error)}", fix="correct the line, or remove it"
            ) from error
        found.setdefault(name, {}).update(record)
    return found


def write_sidecar(path: Path, found: dict[str, dict[str, Any]]) -> None:
    """Write fields by question_id; other problems and fields in the file stay.

    Raises:
        EvalFault: the file exists and is damaged, or cannot be written.
    """
    merged = read_sidecar(path)
    for name, fields in found.items():
        merged.setdefault(name, {}).update(fields)
    text = "".join(json.dumps({"question_id": name, **fields}) + "\n" for name, fields in merged.items())
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvalFault(
            f"cannot write {path}: {error.strerror}", fix="free some space or allow writing there"
        ) from error

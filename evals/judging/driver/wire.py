"""evals: the format in which the parts of the driver exchange frames and plain values.

Input: values. Output: length-prefixed JSON on descriptors (8 bytes, big-endian, then JSON), and back. Nothing that
arrives can become code: only built-in types and given classes are built. Runs inside the sandbox; standard library
only.
"""

from __future__ import annotations

import base64
import collections
import collections.abc
import itertools
import json
import os
from typing import Any

OK, WRONG, EXCEPTION, TIMEOUT, MEMORY, OUTPUT = "ok", "wrong", "exception", "timeout", "memory", "output"
KILLED = "killed"
"""Ended by a SIGKILL within its CPU time that the driver did not send: by the program, or by the kernel for memory."""
BROKEN = "broken"
"""The problem's own check fails without the program, so there is no verdict."""
STOCK = b"s"
"""Asks the zygote to import the slow libraries for a program that may need them; it sends the same when done."""


def read_exactly(fd: int, count: int) -> bytes:
    """Read exactly `count` bytes and not one more: the rest is for another process.

    Raises:
        EOFError: the descriptor ended before.
    """
    parts, left = [], count
    while left:
        part = os.read(fd, min(left, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_frame(fd: int) -> Any:
    """Read one frame."""
    return json.loads(read_exactly(fd, int.from_bytes(read_exactly(fd, 8), "big")))


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def framed(value: Any) -> bytes:
    """Encode a value as one frame."""
    data = json.dumps(value).encode()
    return len(data).to_bytes(8, "big") + data


def write_frame(fd: int, value: Any) -> None:
    """Write a value as one frame."""
    write_all(fd, framed(value))


class Unplain(Exception):
    """A value that is not plain data."""


_SEQUENCES: dict[Any, str] = {list: "l", tuple: "t", set: "s", frozenset: "f", collections.deque: "q"}
_MAKERS = {"l": list, "t": tuple, "s": set, "f": frozenset, "q": collections.deque}


def pack(value: Any) -> list[Any]:
    """Flatten a value to a list of cells that refer to each other by index; parts may be shared or cyclic.

    Instances of given classes become class name and attributes; everything else must be plain.
    """
    cells: list[Any] = []
    seen: dict[int, int] = {}
    keep: list[Any] = []
    todo: list[tuple[int, Any]] = []

    def cell(item: Any) -> int:
        if id(item) in seen:
            return seen[id(item)]
        seen[id(item)] = len(cells)
        keep.append(item)
        todo.append((len(cells), item))
        cells.append(None)
        return len(cells) - 1

    cell(value)
    while todo:
        index, item = todo.pop()
        cells[index] = _pack_one(item, cell)
    return cells


def _pack_one(item: Any, cell: Any) -> list[Any]:  # noqa: C901 - one line per type
    if hasattr(item, "tolist") and type(item).__module__ == "numpy":
        item = item.tolist()
    if item is None or isinstance(item, bool):
        return ["v", item]
    for scalar in (int, float, str):
        if isinstance(item, scalar):
            return ["v", scalar(item)]
    if isinstance(item, complex):
        return ["c", item.real, item.imag]
    if isinstance(item, (bytes, bytearray)):
        return ["b", base64.b64encode(bytes(item)).decode()]
    for kind, tag in _SEQUENCES.items():
        if isinstance(item, kind):
            return [tag, *map(cell, kind.__iter__(item))]
    if isinstance(item, dict):
        return ["d", *(part for key, value in dict.items(item) for part in (cell(key), cell(value)))]
    attributes = getattr(item, "__dict__", None)
    if isinstance(attributes, dict) and type(item).__name__ in GIVEN:
        return ["o", type(item).__name__, *(p for k, v in attributes.items() for p in (k, cell(v)))]
    if isinstance(item, collections.abc.Iterator):
        return ["i", *map(cell, itertools.islice(item, 1_000_000))]
    return ["x", type(item).__name__, bool(item)]


class Opaque:
    """Stands for a value that is not plain data: it is as true or false as that value, and equal to nothing."""

    def __init__(self, kind: str, truth: bool) -> None:
        self.kind, self.truth = kind, truth

    def __bool__(self) -> bool:
        return self.truth

    def __repr__(self) -> str:
        return f"<{self.kind}>"


GIVEN: dict[str, Any] = {}
"""Classes of the problem's prelude in this process, by name."""


def unpack(cells: list[Any]) -> Any:
    """Return the value that `pack` flattened; only built-in types and given classes are built."""
    built: dict[int, Any] = {}
    most = sum(map(len, cells))
    for index, entry in enumerate(cells):  # containers that can be empty come first, for cycles
        if entry[0] in "lqd":
            built[index] = {"l": [], "q": collections.deque(), "d": {}}[entry[0]]
        elif entry[0] == "o":
            kind = GIVEN[entry[1]]
            built[index] = kind.__new__(kind)
    filled: set[int] = set()
    stack = [0]
    while stack:
        index = stack[-1]
        entry = cells[index]
        missing = [part for part in _parts(entry) if part not in built]
        if missing:
            if len(stack) > most:
                raise Unplain("a tuple or set that holds itself")
            stack.extend(missing)
            continue
        stack.pop()
        if index not in filled:
            filled.add(index)
            _fill(index, entry, built)
            stack.extend(part for part in _parts(entry) if part not in filled)
    return built[0]


def _parts(entry: list[Any]) -> list[int]:
    if entry[0] in "vcbx":
        return []
    return entry[3::2] if entry[0] == "o" else entry[1:]


def _fill(index: int, entry: list[Any], built: dict[int, Any]) -> None:
    tag, rest = entry[0], entry[1:]
    if tag == "v":
        built[index] = rest[0]
    elif tag == "c":
        built[index] = complex(*rest)
    elif tag == "b":
        built[index] = base64.b64decode(rest[0])
    elif tag == "x":
        built[index] = Opaque(str(rest[0]), rest[1] is True)
    elif tag == "i":
        built[index] = iter([built[part] for part in rest])
    elif tag in "lq":
        built[index].extend(built[part] for part in rest)
    elif tag == "d":
        built[index].update(
            (built[key], built[value]) for key, value in zip(rest[::2], rest[1::2], strict=True)
        )
    elif tag == "o":
        for name, part in zip(rest[1::2], rest[2::2], strict=True):
            built[index].__dict__[name] = built[part]
    else:
        built[index] = _MAKERS[tag](built[part] for part in rest)


def jsonable(value: Any) -> Any:
    """Return a functional result as JSON data; tuples become lists, scalars keep their exact types."""
    if hasattr(value, "tolist") and type(value).__module__ == "numpy":
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if type(value).__name__ in ("Decimal", "Fraction"):  # as LiveCodeBench's `==` treats them
        return int(value) if value == int(value) else float(value)
    if isinstance(value, (list, tuple, collections.deque)):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    raise Unplain(f"the result holds a {type(value).__name__}, which is not JSON data")

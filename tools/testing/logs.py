"""Reads the logs of test programs of Rust and Go, which hostile code may have written.

In: the text that the shell words of `forklock.tools.testing.args` kept. Out: `Results`, or None where nothing was
run. Ids are
`PROGRAM > NAME` for cargo and `DIRECTORY > NAME` for go. What the tests printed only says where and why they failed;
it decides nothing. Never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from forklock.tools.contract import Frame, TestFailure
from forklock.tools.testing.reports import MAX_FRAMES, Inside, Results, inside, shorten

_HASH = re.compile(r"-[0-9a-f]{16}$")
_CARGO_PART = re.compile(r"^---- (.+) stdout ----$")
_RUST_PLACE = re.compile(r"(?:panicked at |^[ \t]+at )(?P<path>[^\s:]+\.rs):(?P<line>\d+)", re.MULTILINE)
_GO_MARK = re.compile(r"--- (PASS|FAIL|SKIP): (\S+) \(\d+\.\d+s\)$")
_GO_TURN = re.compile(r"^\x16?=== (?:RUN|CONT|NAME)\s+(\S+)$")
_GO_PLACE = re.compile(r"(?<![^\s:])(?P<path>[^\s:]+\.go):(?P<line>\d+)")


@dataclass(frozen=True, slots=True)
class _Part:
    """What one test program left."""

    words: tuple[str, str]
    """The words of the line that begins it."""
    listed: list[str]
    said: list[str]
    code: str = ""
    """The code of the line that ends it, where there is one."""


def _parts(text: str) -> Iterator[_Part]:
    """Split at the lines that begin with the report's name, which tests cannot write: `NAME run A B`, `NAME said`,
    `NAME end CODE`."""
    lines = text.splitlines()
    mark, run, _ = lines[0].partition(" run ") if lines else ("", "", "")
    part, into = None, []
    for line in lines if run else []:
        if not line.startswith(mark + " "):
            into.append(line)
            continue
        verb, _, rest = line.removeprefix(mark + " ").partition(" ")
        if verb == "run":
            if part:
                yield part
            first, _, second = rest.partition(" ")
            part = _Part((first, second), [], [])
            into = part.listed
        elif part and verb == "said":
            into = part.said
        elif part and verb == "end":
            part = replace(part, code=rest)
    if part:
        yield part


def read_cargo(text: str, where: Inside | str) -> Results | None:
    """Read, for each test program: exit code and name; then libtest's log, with a line `ok NAME`, `failed NAME` or
    `ignored NAME` for each test."""
    passed: set[str] = set()
    failures: dict[str, TestFailure] = {}
    skipped = 0
    parts = list(_parts(text))
    for part in parts:
        told = _cargo_told(part.said)
        for line in part.listed:
            outcome, _, name = line.partition(" ")
            test = f"{_HASH.sub('', part.words[1])} > {name}"
            if outcome == "ok":
                passed.add(test)
            elif outcome == "failed":
                failures[test] = _rust_failure(test, told.get(name, ""), where)
            skipped += outcome == "ignored"
    return Results(frozenset(passed - failures.keys()), tuple(failures.values()), skipped) if parts else None


def _cargo_told(output: list[str]) -> dict[str, str]:
    """The output of each failed test, by name."""
    found: dict[str, list[str]] = {}
    name = None
    for line in output:
        if part := _CARGO_PART.match(line):
            name = part[1]
        elif line == "failures:":
            name = None
        elif name is not None:
            found.setdefault(name, []).append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def _rust_failure(test: str, told: str, where: Inside | str) -> TestFailure:
    message = told.partition("stack backtrace:")[0].partition("note: run with")[0]
    return _failure(test, message, ((m["path"], m["line"]) for m in _RUST_PLACE.finditer(told)), where)


def _failure(test: str, message: str, places: Iterable[tuple[str, str]], where: Inside | str) -> TestFailure:
    """`places` are (path, line), innermost first; those outside of the workspace are left out."""
    frames = [Frame(kept, int(line), "") for path, line in places if (kept := inside(path, where))]
    return TestFailure(
        test, shorten(message) or "failed", tuple(dict.fromkeys(reversed(frames[:MAX_FRAMES])))
    )


class _Program:
    """The output of one test program of Go."""

    def __init__(self, part: _Part, where: Inside | str) -> None:
        mode, folder = part.words
        self.folder = inside(folder, where) or folder
        self._marked = mode == "test2json"  # marks begin with a byte of their own
        self._listed = set(part.listed)
        self._outcomes: dict[str, str] = {}
        self.printed: dict[str, list[str]] = {}
        self._turn: str | None = None
        self._ended_well = part.code == "0"
        for line in part.said:
            self._hear(line)

    def _hear(self, line: str) -> None:
        if turn := _GO_TURN.match(line):
            self._turn = turn[1]
            self.printed.setdefault(turn[1], [])
            return
        mark = _GO_MARK.search(line)
        if mark and (not self._marked or line[: mark.start()].endswith("\x16")):
            outcome, name = mark.groups()
            if self._outcomes.get(name) != "FAIL":
                self._outcomes[name] = outcome
            self._turn = name if outcome == "FAIL" else None  # a panic's trace follows
        elif self._turn is not None:
            self.printed.setdefault(self._turn, []).append(line)

    def outcomes(self) -> Iterator[tuple[str, str]]:
        """Yield the outcomes of the listed tests. A test that began and has none did not come to its end."""
        cut = () if self._ended_well else self.printed.keys() - self._outcomes.keys()
        for name, outcome in (self._outcomes | dict.fromkeys(cut, "FAIL")).items():
            if name.partition("/")[0] in self._listed:
                yield name, outcome


def read_go(text: str, where: Inside | str) -> Results | None:
    """Read, for each test program: its marks and its directory, the names of its tests, its output, its exit code."""
    passed: set[str] = set()
    failures: dict[str, TestFailure] = {}
    skipped = 0
    programs = [_Program(part, where) for part in _parts(text)]
    for program in programs:
        for name, outcome in program.outcomes():
            test = f"{program.folder} > {name}"
            if outcome == "PASS":
                passed.add(test)
            elif outcome == "FAIL":
                failures[test] = _go_failure(test, program, name, where)
            skipped += outcome == "SKIP"
    return Results(frozenset(passed), tuple(failures.values()), skipped) if programs else None


def _go_failure(test: str, program: _Program, name: str, where: Inside | str) -> TestFailure:
    told = "\n".join(program.printed.get(name, [])).strip()
    here = PurePosixPath(
        where.root if isinstance(where, Inside) else where, program.folder
    )  # a path that is absolute stays what it is
    places = ((str(here / match["path"]), match["line"]) for match in _GO_PLACE.finditer(told))
    return _failure(test, told, places, where)

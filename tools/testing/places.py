"""Finds a test in the source by the id that its runner reports, in other languages than Python.

In: an index and an id (`suite > test` for node, vitest and ctest, `DIRECTORY > TestName` for go, `PROGRAM >
mod::test` for cargo), and perhaps lines that a failure named. Out: a `Definition` of the lines that the test takes,
without its hooks. Not covered: computed titles; there only the failing line leads to the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from forklock.tools.contract import Frame
from forklock.tools.index.files import CodeIndex
from forklock.tools.languages.definitions import Definition
from forklock.tools.languages.language import Language

_CALLS = {"test", "it", "describe", "suite", "context", "specify"}
_HOOKS = {"beforeEach", "before", "beforeAll"}
_TITLE = re.compile(r"^[\"'`](.*)[\"'`]$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TitledTest:
    """A call of `test("title", …)` or of a suite around such."""

    titles: tuple[str, ...]
    """Titles of the suites around it, then its own."""
    start_line: int
    end_line: int
    hooks: tuple[tuple[int, int], ...]
    """Lines of what runs before it."""

    __test__ = False


def titled_or_named_test(
    index: CodeIndex, test_id: str, frames: Iterable[Frame] = ()
) -> tuple[str, Definition] | None:
    """(path, the test's lines); None where it is not found."""
    parts = test_id.split(" > ")
    if len(parts) > 1 or not test_id.count("::"):
        found = _titled(index, parts) or _function(index, parts)
        if found is not None:
            return found
    for frame in frames:
        if frame.path in index.files and not index.files[frame.path].language.ids_name_tests:
            around = [
                one for one in _around(index, frame.path) if one.start_line <= frame.line <= one.end_line
            ]
            if around and index.files[frame.path].is_test:
                return frame.path, min(around, key=lambda one: one.end_line - one.start_line)
    return None


def _around(index: CodeIndex, path: str) -> Iterator[Definition]:
    file = index.files[path]
    if file.language.titles:
        yield from (_definition(one) for one in titled_tests(file.language, file.text))
    yield from (one for one in file.language.definitions(file.text) if one.kind in ("function", "method"))


def _definition(one: TitledTest) -> Definition:
    return Definition(" > ".join(one.titles), "function", one.start_line, one.end_line)


def _titled(index: CodeIndex, parts: list[str]) -> tuple[str, Definition] | None:
    """Find by titles; vitest puts the file before them."""
    for path, file in index.files.items():
        if not file.language.titles or parts[-1] not in file.text:
            continue
        wanted = tuple(parts[1:] if parts[0] == path else parts)
        same = [one for one in titled_tests(file.language, file.text) if one.titles == wanted]
        if same:
            return path, _definition(same[0])
    return None


def _function(index: CodeIndex, parts: list[str]) -> tuple[str, Definition] | None:
    """Find a function or method that is the test, that of the named class first; or a program with its file's name."""
    name = parts[-1].partition("/")[0] if len(parts) > 1 else parts[0]
    wanted = name.replace("::", ".")
    found: tuple[str, Definition] | None = None
    of_class = f"{parts[0].replace('::', '.')}.{wanted}"
    for path, file in index.files.items():
        language = file.language
        if language.ids_name_tests or language.titles or wanted.rpartition(".")[2] not in file.text:
            continue
        folder = PurePosixPath(parts[0]) if language.tests_by_folder and len(parts) > 1 else None
        if folder is not None and PurePosixPath(path).parent != folder:
            continue
        for one in language.definitions(file.text):
            if (one.test or file.is_test) and f".{one.plain}".endswith(f".{wanted}") and one.kind != "class":
                if f".{one.plain}".endswith(f".{of_class}"):
                    return path, one
                found = found or (path, one)
    if found is not None:
        return found
    for path, file in index.files.items():
        if not file.language.ids_name_tests and file.is_test and PurePosixPath(path).stem == parts[-1]:
            return path, Definition(parts[-1], "function", 1, file.text.count("\n") + 1)
    return None


def hooks_of(index: CodeIndex, path: str, test: Definition) -> list[Definition]:
    """What runs before a titled test."""
    file = index.files[path]
    if not file.language.titles:
        return []
    same = [one for one in titled_tests(file.language, file.text) if one.start_line == test.start_line]
    return [Definition("before", "function", start, end) for one in same[:1] for start, end in one.hooks]


@lru_cache(maxsize=256)
def titled_tests(language: Language, text: str) -> tuple[TitledTest, ...]:
    """Tests and suites with a written title, outer ones first."""
    parsed = language.tree(text)
    if parsed is None:
        return ()
    calls: list[tuple[int, int, str, str]] = []  # start, end, function, title
    waiting = [parsed.root]
    while waiting:
        node = waiting.pop()
        called = node.child_by_field_name("function") if node.type == "call_expression" else None
        given = node.child_by_field_name("arguments") if called is not None else None
        if called is not None and given is not None:
            name = re.split(r"\W", parsed.text(called), maxsplit=1)[0]
            first = _TITLE.match(parsed.text(given.named_children[0])) if given.named_children else None
            if name in _HOOKS or (name in _CALLS and first):
                title = re.sub(r"\\(.)", r"\1", first[1]) if first else ""
                calls.append((node.start_point[0] + 1, node.end_point[0] + 1, name, title))
        waiting += reversed(node.children)
    suites = [call for call in calls if call[2] in _CALLS]
    return tuple(_placed(call, suites, calls) for call in suites)


def _placed(
    call: tuple[int, int, str, str],
    suites: list[tuple[int, int, str, str]],
    calls: list[tuple[int, int, str, str]],
) -> TitledTest:
    start, end, _, title = call
    around = [s for s in suites if s is not call and s[0] <= start and end <= s[1]]
    hooks = [
        (c[0], c[1])
        for c in calls
        if c[2] in _HOOKS
        and not (start <= c[0] <= end)
        and all(s in around for s in suites if s[0] <= c[0] <= s[1])
    ]
    return TitledTest((*(s[3] for s in around), title), start, end, tuple(hooks))

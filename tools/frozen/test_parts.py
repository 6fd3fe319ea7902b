"""Extracts the parts of a code file that judge it: examples in docstrings, tests among the code, the block of a
script.

In: a path and its text. Out: the source of those parts, in order; two texts with equal parts are judged alike. Tests
are recognised as runners collect them: by what the language says (`Language.judging_parts`), else titled tests of
scripts, `TEST_CASE(…)` macros, and blocks of Zig and D. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePosixPath

from forklock.tools.languages.definitions import Judging as Judging
from forklock.tools.languages.known import language_of
from forklock.tools.languages.text import to_lf
from forklock.tools.testing.places import titled_tests

_C = frozenset({".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".m", ".mm"})
_MACRO = re.compile(
    r"^[ \t]*(?:TEST(?:_F|_P|_CASE\w*)?|TYPED_TEST\w*|SCENARIO\w*|BOOST_\w*TEST\w*|START_TEST|DOCTEST_\w+|CATCH_\w+"
    r"|RUN_TEST|PARAM_TEST_CASE|CPPUNIT_\w+)\s*\(",
    re.MULTILINE,
)
_BLOCKS = {
    ".zig": re.compile(r"^[ \t]*test\b[^\n{]*\{", re.MULTILINE),
    ".d": re.compile(r"^[ \t]*unittest\b[^\n{]*\{", re.MULTILINE),
}
_ALL = Judging()


@lru_cache(maxsize=512)
def parts_that_judge(path: str, text: str, judging: Judging = _ALL) -> tuple[str, ...]:
    """The source of the tests in a file of code, and of its examples. () where there are none."""
    text, suffix, language = to_lf(text), PurePosixPath(path).suffix, language_of(path)
    found = language.judging_parts(text, judging)
    if found is not None:
        return found
    if language.titles:
        inner = re.findall(r"^.*import\.meta\.vitest.*$", text, re.MULTILINE)
        return (
            *inner,
            *_lines(text, ((one.start_line, one.end_line) for one in titled_tests(language, text))),
        )
    form = _MACRO if suffix in _C else _BLOCKS.get(suffix)
    return tuple(_braced(text, match.start()) for match in form.finditer(text)) if form else ()


def _lines(text: str, places: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    lines = text.split("\n")
    return tuple("\n".join(lines[start - 1 : end]) for start, end in places)


def _braced(text: str, start: int) -> str:
    """From `start` to the brace that closes the first one. Strings are not parsed: equal texts give equal parts."""
    depth = 0
    for match in re.compile(r"[{};]").finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth <= 0:
            return text[start : match.end()]
    return text[start:]

"""What in the text of a change speaks against it, without running anything: tricks that make tests pass.

In: the diff of a candidate, and what the failing tests say. Out: sentences for people. These are signs, not proofs: a
change with one is never called solved, and a person looks at it. Code that has such words already is not suspected for
keeping them: only added lines count, and only words that the file did not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from forklock.tools.edits.hunks import all_hunks_of

_TRICKS: tuple[tuple[str, str], ...] = (
    (r"\bPYTEST_\w+|\bPYTEST_CURRENT_TEST\b|_pytest\b|\bimport\s+pytest\b|\bpytest\.|\bunittest\b|\bconftest\b",
     "it has to do with the test runner"),
    (r"\bsys\s*\.\s*modules\b|__import__\s*\(|\bbuiltins\b|\b__builtins__\b|\bimportlib\b",
     "it reaches into loaded modules"),
    (r"\batexit\b|\bos\s*\.\s*_exit\b|\bsys\s*\.\s*exit\b|\bos\s*\.\s*abort\b|"
     r"\bprocess\.exit\b|\bSystemExit\b|\bos\.kill\b",
     "it can end the program"),
    (r"\bsys\s*\.\s*_getframe\b|\binspect\s*\.\s*(?:stack|currentframe|getouterframes)\b|\bf_back\b|\bf_locals\b|\bf_globals\b|"
     r"\btraceback\s*\.\s*extract_stack\b|\bcurrentframe\b|\bsettrace\b|\bsetprofile\b", "it looks at its callers"),
    (r"\bexcept\s+(?:\w+,\s*|\()*\s*AssertionError\b|\bsuppress\(\s*(?:AssertionError|BaseException)\b",
     "it swallows failing assertions"),
    (r"\bsys\s*\.\s*argv\b|\bargv\b", "it looks at the command line of the program"),
    (r"[\"'/]tests?[/\"'_]|\btest_\w+\.\w+|_test\.\w+\b|\.spec\.", "it names files of the tests"),
    (r"\bdef\s+__eq__\b|\bdef\s+__ne__\b|\b__eq__\s*=|\bmock\.ANY\b|\bimport\s+ANY\b",
     "it changes what equality means"),
    (r"\bgc\s*\.\s*get_(?:objects|referrers)\b", "it searches the memory of the program"),
    (r"\bctypes\b", "it reaches around the language"),
)  # fmt: skip
"""Patterns of added code, and what is said of it."""

_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_COMMON = frozenset({"0", "1", "2", "-1", "10", "100", '""', "''", "0.0", "1.0"})
"""Constants that say nothing."""
_COMPARES = re.compile(
    r"==|\bin\b|\bis\b|!=|\bcase\b|\.get\(|\bstartswith\(|\bendswith\(|\breplace\(|\{|\?|\["
)


@dataclass(frozen=True, slots=True)
class Change:
    """The lines of a diff, by file."""

    added: dict[str, list[str]] = field(default_factory=dict)
    removed: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, diff: str) -> Change:
        """Reads a git diff."""
        change = cls()
        for hunk in all_hunks_of(diff):
            change.added.setdefault(hunk.path, []).extend(hunk.added)
            change.removed.setdefault(hunk.path, []).extend(hunk.removed)
        return change


def tricks(diff: str, before: Iterable[str]) -> tuple[str, ...]:
    """What the added lines do that no honest repair needs.

    Args:
        before: the texts of the changed files as they were.
    """
    change, known = Change.of(diff), "\n".join(before)
    lines = [line for added in change.added.values() for line in added]
    found = []
    for pattern, said in _TRICKS:
        words = [match[0] for line in lines for match in re.finditer(pattern, _code(line))]
        new = next((word for word in words if word not in known), None)
        if new is not None:
            found.append(f"{said} ({new.strip()})")
    return tuple(found)


def special_value(diff: str, before: Iterable[str], tests: Sequence[str], statement: str) -> str:
    """A constant of the failing tests that added lines compare with or look up, and that is derived from nothing else.

    Args:
        before: the texts of the changed files as they were.
        tests: the source of the failing tests.
        statement: the task in words.
    """
    known = "\n".join(before)
    wanted = set(_constants("\n".join(tests)))
    for lines in Change.of(diff).added.values():
        for line in lines:
            if not _COMPARES.search(line) and not line.lstrip().startswith("return"):
                continue
            for constant in _constants(_code(line)):
                bare = constant.strip("'")
                if bare and bare not in known and not _said(bare, statement) and _taken(constant, wanted):
                    return constant
    return ""


def _taken(constant: str, wanted: set[str]) -> bool:
    """Whether a constant is one of the tests', or a telling part of one."""
    if constant in wanted:
        return True
    bare = constant.strip("'")
    telling = constant != bare and (len(bare) > 2 or not bare.isascii())
    return telling and any(bare in one for one in wanted)


def _said(bare: str, statement: str) -> bool:
    """Whether the statement names the constant, as a word of its own."""
    return re.search(rf"(?<!\w){re.escape(bare)}(?!\w)", statement) is not None


def _constants(code: str) -> list[str]:
    texts = [f"'{word[1:-1]}'" for word in _STRING.findall(code)]
    numbers = _NUMBER.findall(_STRING.sub(" ", code))
    return [one for one in (*texts, *numbers) if one not in _COMMON and len(one) < 200]


def _code(line: str) -> str:
    """The line without a comment at its end, as far as one can tell without a parser."""
    bare = _STRING.sub(lambda found: found[0].replace("#", " "), line)
    return line[: bare.index("#")] if "#" in bare else line

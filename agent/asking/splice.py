"""Makes a second candidate of an answer: its first statement alone, put into the code as it was.

An answer that began with the present code up to some statement continues with that statement and all after it. Where
its first statement is the repair, what a small model writes behind it is often wrong, and the rest of the present code
was often right. A second candidate costs no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from forklock.agent.asking.openings import indent_of
from forklock.tools.languages.definitions import Statement
from forklock.tools.languages.language import Language
from forklock.tools.languages.python.language import PYTHON

_MAX_LINES = 12
"""Longest first statement that is tried, in lines."""


def splice(code: str, opening: str, answer: str, language: Language = PYTHON) -> str | None:
    """Replaces one statement of `code` by the first one of `answer`.

    Where both are compound (`if`, `for`, …), only the header is replaced.

    Args:
        code: a definition, dedented.
        opening: the beginning of `code`, up to the indentation of the statement.
        answer: what the model wrote behind it.

    Returns:
        The new source, or None where there is no such statement, the answer holds none, or nothing changes.
    """
    line = opening.count("\n") + 1
    rests = remainders(code, opening, language)
    for written in _beginnings(_without_comments(answer, _glue(code, line), language)):
        for rest in rests:
            new = f"{opening}{written.rstrip()}\n{rest}"
            made = _statement(new, line, language)
            if made is not None and _ends_at(made, new, rest):
                return new if _words(new, language) != _words(code, language) else None
    return None


def remainders(code: str, opening: str, language: Language = PYTHON) -> list[str]:
    """What can stay of `code` behind the statement that `opening` ends at: all behind it, or, for a compound statement,
    its body and all behind that. Empty where there is no such statement."""
    old = _statement(code, opening.count("\n") + 1, language)
    lines = code.splitlines(keepends=True)
    return ["".join(rest) for rest in _rests(old, lines)] if old is not None else []


def _glue(code: str, line: int) -> str:
    """The last character of a line's indentation, which openings leave to the answer."""
    lines = code.splitlines()
    return indent_of(lines[line - 1])[-1:] if line <= len(lines) else ""


def _without_comments(answer: str, glue: str, language: Language) -> str:
    """The answer from its first line of code on, indented as a first line is: by one character."""
    lines = answer.splitlines(keepends=True)
    code = (
        i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith(language.comment)
    )
    start = next(code, 0)
    return "".join([(glue or " ") + lines[start].lstrip(), *lines[start + 1 :]]) if lines else ""


def _beginnings(answer: str) -> Iterator[str]:
    """The answer's first line, its first two lines, and so on."""
    lines = answer.splitlines(keepends=True)
    for count in range(1, min(len(lines), _MAX_LINES) + 1):
        if lines[count - 1].strip():
            yield "".join(lines[:count])


def _rests(old: Statement, lines: list[str]) -> Iterator[list[str]]:
    """What stays behind the new statement: all behind the old one, or its body too."""
    yield lines[old.end :]
    if old.body is not None:
        yield lines[old.body - 1 :]


def _ends_at(made: Statement, new: str, rest: str) -> bool:
    """Whether the statement is whole: it ends where the rest begins, or the rest begins with its body."""
    first = new.count("\n") + 1 - rest.count("\n")
    return made.end == first - 1 or made.body == first


def _statement(code: str, line: int, language: Language) -> Statement | None:
    """The outermost statement that starts on a line of a definition's body; None also for broken code."""
    found = language.shape(code)
    return next((one for one in found.statements if one.start == line), None) if found else None


def _words(code: str, language: Language) -> str | None:
    found = language.shape(code)
    return found.words if found else None

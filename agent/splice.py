"""A second candidate from one answer: its first statement alone, put into the code as it was.

An answer that began with the present code up to some statement goes on with that statement and everything
after it. Where its first statement is the repair, what a small model writes behind it often is not, and the
rest of the present code often was right. Costs no tokens. Pure.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_MAX_LINES = 12
"""Longest first statement that is looked for."""


def splice(code: str, opening: str, answer: str) -> str | None:
    """`code` with one statement replaced by the first one of `answer`.

    Where both are compound (`if`, `for`, …), only the header is replaced.

    Args:
        code: a definition, dedented.
        opening: the beginning of `code`, up to the indentation of the statement.
        answer: what the model wrote behind it.

    Returns:
        The new source, or None where there is no such statement, the answer holds none, or nothing changes.
    """
    line = opening.count("\n") + 1
    rests = remainders(code, opening)
    for written in _beginnings(_without_comments(answer)):
        for rest in rests:
            new = f"{opening}{written.rstrip()}\n{rest}"
            made = _statement(new, line)
            if made is not None and _ends_at(made, new, rest):
                return new if ast.dump(ast.parse(new)) != ast.dump(ast.parse(code)) else None
    return None


def remainders(code: str, opening: str) -> list[str]:
    """What can stay of `code` behind the statement that `opening` ends at: all behind it, and, for a compound
    one, its body and all behind that. Empty where there is no such statement."""
    old = _statement(code, opening.count("\n") + 1)
    lines = code.splitlines(keepends=True)
    return ["".join(rest) for rest in _rests(old, lines)] if old is not None else []


def _without_comments(answer: str) -> str:
    """The answer from its first line of code on, indented as a first line is: by one space."""
    lines = answer.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), 0)
    return "".join([" " + lines[start].lstrip(), *lines[start + 1 :]]) if lines else ""


def _beginnings(answer: str) -> Iterator[str]:
    """The answer's first line, its first two lines, and so on."""
    lines = answer.splitlines(keepends=True)
    for count in range(1, min(len(lines), _MAX_LINES) + 1):
        if lines[count - 1].strip():
            yield "".join(lines[:count])


def _rests(old: ast.stmt, lines: list[str]) -> Iterator[list[str]]:
    """What stays behind the new statement: all behind the old one, or its body too."""
    yield lines[old.end_lineno or old.lineno :]
    body = getattr(old, "body", None)
    if body and body[0].lineno > old.lineno:
        yield lines[body[0].lineno - 1 :]


def _ends_at(made: ast.stmt, new: str, rest: str) -> bool:
    """Whether the statement is whole: it ends where the rest begins, or the rest begins with its body."""
    first = new.count("\n") + 1 - rest.count("\n")
    body = getattr(made, "body", None)
    return made.end_lineno == first - 1 or bool(body and body[0].lineno == first)


def _statement(code: str, line: int) -> ast.stmt | None:
    """The outermost statement that starts on a line of a definition's body; None also for broken code."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return next((node for node in ast.walk(tree) if isinstance(node, ast.stmt) and node.lineno == line), None)

"""Raw text that ends with the beginning of a definition, and how the model's continuation is read.

`continuation_text` is a file as it is read from the top: the checks, the task as a comment, what stands before the
definition, and its header. `revision_text` is a repair as histories have it: before the fix, after the fix.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from forklock.agent.asking.openings import PYTHON, Language

_OPENERS = string.ascii_letters + "_@#"
"""Characters that a new line of code can begin with. (A closing bracket or quote may end what is inside.)"""
_IMPORT = re.compile(r"(?:import|from|use|package)\s|#include\b|(?:const|var|let)\b.*\brequire\(")


def continuation_text(
    before: str,
    opening: str,
    *,
    task: str,
    tests: Sequence[str],
    room: int,
    count: Callable[[str], int],
    language: Language = PYTHON,
) -> str:
    """Tests, task, the file up to the definition, and `opening`.

    Args:
        before: what stands in the file before the definition.
        opening: the beginning of the definition, indented as in the file.
        room: tokens that `before` may take; imports and the lines nearest to the definition are kept.
    """
    head = "\n\n".join([*(test.strip() for test in tests), language.comment(task)])
    return f"{head}\n\n{_nearest(before, room, count)}{opening}"


def revision_text(
    code: str, opening: str, *, task: str, tests: Sequence[str], language: Language = PYTHON
) -> str:
    """Tests, task, the definition as it stands, and its beginning once more.

    Args:
        code: the definition, dedented; `opening` likewise.
    """
    head = "\n\n".join([*(test.strip() for test in tests), language.comment(f"Issue: {task.strip()}")])
    mark = language.mark
    return f"{head}\n{mark} Before the fix:\n\n{code.strip()}\n\n{mark} After the fix:\n\n{opening}"


def stops(indent: str, language: Language = PYTHON) -> tuple[str, ...]:
    """Strings that end a definition with that indentation; in languages with braces, its own closing brace."""
    if not language.is_python:
        return (f"\n{indent}}}",)
    return tuple(f"\n{deep}{first}" for deep in sorted({"", indent}) for first in _OPENERS)


def outdented(answer: str, indent: int) -> str:
    """Takes `indent` columns from all lines of an answer but the first, which goes on with the opening's last line."""
    first, *rest = answer.split("\n")
    return "\n".join([first, *(line[min(indent, _depth(line)) :] for line in rest)])


def continued(opening: str, answer: str, language: Language = PYTHON) -> str:
    """Joins opening and (outdented) answer to one definition; what was written behind it is cut off."""
    if not language.is_python:
        return _until_brace(opening + answer, opening.count("\n") + 1)
    lines = (opening + answer).splitlines(keepends=True)
    start = opening.count("\n") + 1
    ends = [i for i in range(start, len(lines)) if lines[i][0] in _OPENERS]
    for end in [*ends, len(lines)]:
        source = "".join(lines[:end]).rstrip() + "\n"
        if language.shape(source) is not None:
            return source
    return "".join(lines[: ends[0] if ends else None])


def _until_brace(text: str, start: int) -> str:
    """Cuts behind the first closing brace at the margin; adds the brace that ended the answer."""
    lines = text.splitlines(keepends=True)
    end = next((n for n in range(start, len(lines)) if lines[n].startswith("}")), None)
    return "".join(lines).rstrip() + "\n}\n" if end is None else "".join(lines[: end + 1])


def _nearest(before: str, room: int, count: Callable[[str], int]) -> str:
    """Returns `before`, or its imports and as many of its last lines as fit in `room` tokens."""
    if count(before) <= room:
        return before
    lines = before.splitlines(keepends=True)
    imports = "".join(line for line in lines if _IMPORT.match(line))
    low, high = 0, len(lines)
    while low < high:  # the first line from which all fits
        middle = (low + high) // 2
        if count(imports + "".join(lines[middle:])) <= room:
            high = middle
        else:
            low = middle + 1
    return imports + "\n\n" + "".join(lines[low:])


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))

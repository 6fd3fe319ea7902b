"""Raw text that a definition's beginning ends: a model that was trained on code goes on with its body.

No chat, no instruction: a small model's best knowledge is how code goes on. Two texts are made. `continuation_text` is
a file as it would be read from the top: the checks, the task as a comment, what stands before the definition, its
header. `revision_text` is a repair as it stands in many histories: before the fix, after the fix. Pure.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from agent.asking.openings import PYTHON, Language

_OPENERS = string.ascii_letters + "_@#"
"""What a line of code can begin with. (A closing bracket or quote may end what is inside.)"""
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
    """Strings behind which a definition with that indentation has ended; in languages with braces its own last one."""
    if not language.is_python:
        return (f"\n{indent}}}",)
    return tuple(f"\n{deep}{first}" for deep in sorted({"", indent}) for first in _OPENERS)


def outdented(answer: str, indent: int) -> str:
    """An answer to indented text as one to dedented text; its first line goes on with the opening's last."""
    first, *rest = answer.split("\n")
    return "\n".join([first, *(line[min(indent, _depth(line)) :] for line in rest)])


def continued(opening: str, answer: str, language: Language = PYTHON) -> str:
    """The definition that an (outdented) answer makes of its opening, without what was written behind it."""
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
    """Up to the first brace behind the opening that closes at the margin; the one that ended the answer is put back."""
    lines = text.splitlines(keepends=True)
    end = next((n for n in range(start, len(lines)) if lines[n].startswith("}")), None)
    return "".join(lines).rstrip() + "\n}\n" if end is None else "".join(lines[: end + 1])


def _nearest(before: str, room: int, count: Callable[[str], int]) -> str:
    """`before`, or its imports and as many of its last lines as fit in `room` tokens."""
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

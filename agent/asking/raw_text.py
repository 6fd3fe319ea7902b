"""Raw text that ends with the beginning of a definition, and how the model's continuation is read.

`continuation_text` is a file as it is read from the top: the checks, the task as a comment, what stands before the
definition, and its header. `revision_text` is a repair as histories have it: before the fix, after the fix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from forklock.tools.languages.language import Language
from forklock.tools.languages.python.language import PYTHON

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
    head = "\n\n".join([*(test.strip() for test in tests), language.comments(task)])
    return f"{head}\n\n{_nearest(before, room, count)}{opening}"


def revision_text(
    code: str, opening: str, *, task: str, tests: Sequence[str], language: Language = PYTHON
) -> str:
    """Tests, task, the definition as it stands, and its beginning once more.

    Args:
        code: the definition, dedented; `opening` likewise.
    """
    head = "\n\n".join([*(test.strip() for test in tests), language.comments(f"Issue: {task.strip()}")])
    mark = language.comment
    return f"{head}\n{mark} Before the fix:\n\n{code.strip()}\n\n{mark} After the fix:\n\n{opening}"


def outdented(answer: str, indent: int) -> str:
    """Takes `indent` columns from all lines of an answer but the first, which goes on with the opening's last line."""
    first, *rest = answer.split("\n")
    return "\n".join([first, *(line[min(indent, _depth(line)) :] for line in rest)])


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

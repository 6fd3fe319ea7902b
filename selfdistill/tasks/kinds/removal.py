"""`removal`: the body of a function that tests reach becomes a statement that fails; header and docstring stay."""

from __future__ import annotations

from collections.abc import Iterator

from forklock.selfdistill.tasks.contract import Bug
from forklock.selfdistill.tasks.kinds.kind import Defined, Kind, Work

FEWEST_STATEMENTS = 2
"""Bodies with fewer statements are left alone: there is little to learn from them."""


def propose(work: Work) -> Iterator[Bug]:
    """Yield one bug for each function that has a body to remove."""
    for one in work.definitions():
        text = without_body(one)
        if text is not None:
            yield Bug("removal", {one.symbol.path: text}, (one.label,), "removal")


def without_body(one: Defined) -> str | None:
    """Return the file with a function's body removed; None where that cannot be done or changes nothing."""
    lines, language = one.lines, one.language
    margin = _margin(lines)
    shape = language.shape("\n".join(line.removeprefix(margin) for line in lines))
    if shape is None or not shape.header or not language.unwritten:
        return None
    inner = [one for one in shape.statements if one.start > shape.header]
    if len(inner) < FEWEST_STATEMENTS:
        return None
    first = lines[inner[0].start - 1]
    indent = first[: len(first) - len(first.lstrip())]
    tail = lines[-1:] if language.closer and lines[-1].strip().startswith(language.closer) else []
    all_lines = one.text.split("\n")
    made = [*lines[: shape.header], f"{indent}{language.unwritten}", *tail]
    whole = [*all_lines[: one.symbol.start_line - 1], *made, *all_lines[one.symbol.end_line :]]
    return "\n".join(whole)


def _margin(lines: list[str]) -> str:
    return lines[0][: len(lines[0]) - len(lines[0].lstrip())]


KIND = Kind("removal", "a tested function's body is to be written again", propose)

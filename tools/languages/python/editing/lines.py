"""Replace one definition by source in a syntax that this interpreter cannot read, by lines and indentation (Python).

The repository's own version is newer than ours, so there is no tree: the source must hold the one definition, which
takes the place of the original's lines. Every other definition keeps its lines. Whether the result parses is the
syntax gate's to say, with ruff's parser. Texts here have LF line ends.
"""

from __future__ import annotations

import re

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Definition, Target
from forklock.tools.languages.editor import indent_of, trimmed
from forklock.tools.languages.python.outline import scanned
from forklock.tools.languages.python.version import OURS, said, verdict

_STRING = re.compile(r"\"\"\"|'''")


def replace_lines(text: str, target: Definition, source: str, python: Target) -> str:
    """Return `text` with the lines of `target` replaced by `source`, moved to its indentation.

    Raises:
        EditRefused: the source does not parse for that version, or holds anything but the one definition.
    """
    lines = trimmed(source)
    own = indent_of(lines[0]) if lines else ""
    flat = [line.removeprefix(own) if line.startswith(own) else line.lstrip() for line in lines]
    found = verdict("\n".join(flat) + "\n", python.version)
    if found is not None:
        words = found if isinstance(found, str) else f"{found.message} (line {found.line} of your source)"
        raise EditRefused(f"The new source of {target.name_path} does not parse: {words}. So says {python}.")
    tops = [d for d in scanned("\n".join(flat)) if not d.container]
    if [d.name for d in tops] != [target.name] or tops[0].start_line != 1:
        raise EditRefused(
            f"The source is in the syntax of Python {said(python.version)}, and this Forklock runs on {said(OURS)}, "
            f"so it must hold {target.name} alone, as `def` or `class`: no imports, no other definitions."
        )
    old = text.split("\n")
    prefix = indent_of(old[target.start_line - 1])
    if prefix != own and any(_STRING.search(line) for line in lines):
        raise EditRefused(
            f"Write the source of {target.name_path} at its own indentation: it holds long strings."
        )
    body = lines if prefix == own else [prefix + line if line.strip() else "" for line in flat]
    head = _kept_decorators(old, target, flat)
    return "\n".join([*old[: target.start_line - 1], *head, *body, *old[target.end_line :]])


def _kept_decorators(old: list[str], target: Definition, new: list[str]) -> list[str]:
    """Decorators of the original where the new source has none."""
    if new[0].startswith("@"):
        return []
    start = target.start_line - 1
    heads = (n for n in range(start, target.end_line) if re.match(r"\s*(async\s+def|def|class)\b", old[n]))
    return old[start : next(heads, start)]

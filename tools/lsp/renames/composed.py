"""Places where a program puts a name together: `getattr(self, "cmd_" + word)`, ``obj[`on${word}`]`` (room `tools/`).

In: a text, a name. Out: places whose fixed part is a beginning or an end of the name, on lines that look something up
by a name. Pure. Not covered: names whose parts come from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.contract import Uncovered
from tools.lsp.asking.answers import lines_of

_LOOKS_UP = re.compile(
    r"getattr|setattr|hasattr|delattr|globals\(|locals\(|vars\(|__dict__|import_module|attrgetter|methodcaller|patch|\w\["
)
_BEGINNING = re.compile(r"[\"'`](\w{2,})(?:[\"'`]\s*(?:\+|%|f[\"'])|\{|%s|%\(|\$\{)")
_END = re.compile(r"(?:\}|%s|\)s|\+\s*f?[\"'`])(\w{2,})[\"'`]")


def composed(path: str, text: str, name: str) -> Iterator[Uncovered]:
    """Where a name is put together that may be this one."""
    looked_up = -9
    for number, line in enumerate(lines_of(text), 1):
        if _LOOKS_UP.search(line):
            looked_up = number
        if not ("{" in line or "+" in line or "%" in line):
            continue
        parts = [m[1] for m in _BEGINNING.finditer(line) if name.startswith(m[1]) and name != m[1]]
        parts += [m[1] for m in _END.finditer(line) if name.endswith(m[1]) and name != m[1]]
        near = (
            looked_up == number or _LOOKS_UP.search("".join(lines_of(text)[number : number + 5])) is not None
        )
        if parts and (near or number - looked_up <= 5):
            yield Uncovered(path, number, f"puts a name together with {parts[0]!r}", line.strip())

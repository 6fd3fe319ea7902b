#!/usr/bin/env python3
"""Draw the map of the house in docs/design.md from the code: rooms, wings, and which imports which.

`scripts/map.py` writes the part between the two markers; `scripts/map.py --check` exits with 1 where it is not current.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "design.md"
ROOMS = ("selfdistill", "evals", "agent", "tools", "models", "sandbox")
PACKAGE = "forklock"  # src/forklock holds a link to each room
BEGIN, END = "<!-- map: made by scripts/map.py -->\n", "<!-- end of the map -->\n"


def wing_of(module: str) -> str:
    """The wing that a module lies in, or its room where it lies in none."""
    parts = module.split(".")
    depth = len(parts) if (ROOT / Path(*parts)).is_dir() else len(parts) - 1
    return ".".join(parts[: max(depth, 1)])


def wings() -> list[str]:
    """All rooms and wings, a room before its wings."""
    found = []
    for room in ROOMS:
        folders = sorted(path.parent for path in (ROOT / room).rglob("__init__.py"))
        found += [".".join(folder.relative_to(ROOT).parts) for folder in folders]
    return found


def arrows() -> dict[str, set[str]]:
    """Which wings each wing imports from."""
    graph = grimp.build_graph(PACKAGE)
    found: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules - {PACKAGE}:
        wing = wing_of(module.removeprefix(f"{PACKAGE}."))
        for target in graph.find_modules_directly_imported_by(module):
            other = wing_of(target.removeprefix(f"{PACKAGE}."))
            if wing != other:
                found[wing].add(other)
    return found


def purpose(wing: str) -> str:
    """The first sentence of a wing's docstring."""
    doc = (
        ast.get_docstring(ast.parse((ROOT / Path(*wing.split(".")) / "__init__.py").read_text("utf-8"))) or ""
    )
    return " ".join(doc.split("\n\n")[0].split()).replace("|", "\\|")


def drawn() -> str:
    """The map: arrows between rooms as a Mermaid picture, then a row for each wing."""
    edges = arrows()
    rooms = sorted({(a.split(".")[0], b.split(".")[0]) for a, targets in edges.items() for b in targets})
    lines = ["```mermaid", "graph TD"]
    lines += [f"  {a} --> {b}" for a, b in rooms if a != b]
    lines += ["```", "", "| wing | files | what it is for | imports, within its room |", "|---|---|---|---|"]
    for wing in wings():
        files = len(list((ROOT / Path(*wing.split("."))).glob("*.py"))) - 1
        room = wing.split(".")[0]
        near = sorted(t.removeprefix(f"{room}.") for t in edges[wing] if t.startswith(f"{room}."))
        lines.append(f"| `{wing}` | {files} | {purpose(wing)} | {', '.join(near)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    sys.path.insert(0, str(ROOT / "src"))
    page = PAGE.read_text("utf-8")
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    made = head + BEGIN + drawn() + END + tail
    if "--check" in sys.argv:
        return int(made != page)
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

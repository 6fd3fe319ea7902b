"""What a model's source for one definition holds, by its tree.

Comes in: tables, the definition that is meant, source at any indentation. Goes out: `Written`: the definition as it was
written, what stands beside it, imports; or the reason why it cannot be read. A method is no text of its own in
most languages, so the source is read in a class (or whatever the original stands in), then as a file. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forklock.tools.languages.definitions import Parsed
from forklock.tools.languages.editor import Passage, Written, trimmed
from forklock.tools.languages.tree.outline import outline
from forklock.tools.languages.tree.parsing import Flaw, first_flaw, holds, last_row
from forklock.tools.languages.tree.tables import Import, Tables, TreeDefinition

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(slots=True, kw_only=True)
class TreeWritten(Written[TreeDefinition]):
    """Source that was read, and what it imports."""

    imports: Sequence[Import]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why no definition was found. `flaw` counts lines of the source; None: it parses, but defines `names`."""

    flaw: Flaw | None
    names: tuple[str, ...] = ()


def read_source(
    tables: Tables, target: TreeDefinition, source: str, *, strict: bool
) -> TreeWritten | Unreadable:
    """Read a source; with `strict` only where it parses as a whole."""
    lines = trimmed(source)
    imports, skipped = _leading_imports(tables, lines)
    rest = lines[skipped:]
    unread: Unreadable | None = None
    for opening, ending in dict.fromkeys([_around(tables, target), ("", "")]):
        own = "\n".join([opening] * bool(opening) + rest)
        own = own.rstrip().rstrip(",;") if ending == ";" else own
        for end in ("", ";"):
            parsed = tables.tree(f"{own}{end}\n{ending}")
            flaw = first_flaw(parsed)
            if flaw is not None and strict:
                offset = skipped - bool(opening)
                unread = unread or Unreadable(replace(flaw, line=max(1, flaw.line + offset)))
                continue
            found = _written(tables, parsed, target, imports, "C." if opening else "")
            if isinstance(found, TreeWritten):
                return found
            unread = found if unread is None or (found.names and not unread.names) else unread
    assert unread is not None
    return unread


def _around(tables: Tables, target: TreeDefinition) -> tuple[str, str]:
    parent = target.whole.parent
    while parent is not None and parent.type not in tables.around:
        if parent.type in tables.spaces or parent.type == "statement_block":
            break
        parent = parent.parent
    return tables.around.get(parent.type, ("", "")) if parent is not None else ("", "")


def _written(
    tables: Tables, parsed: Parsed, target: TreeDefinition, imports: list[Import], prefix: str
) -> TreeWritten | Unreadable:
    text = parsed.data.decode("utf-8", "surrogatepass")
    found = [one for one in outline(tables, text) if not (prefix and one.plain == prefix.rstrip("."))]
    named = {id(one): one.plain.removeprefix(prefix) for one in found}
    targets = [
        one for one in found if f".{target.plain}".endswith(f".{named[id(one)]}") and _alike(one, target)
    ]
    targets = [one for one in targets if not any(_inside(one, other) for other in targets)]
    if not targets:
        return Unreadable(
            None, tuple(dict.fromkeys(named[id(one)] for one in found if "." not in named[id(one)]))
        )
    holders = [one for one in found if any(_inside(inner, one) for inner in targets)]
    rest = [one for one in found if one not in targets and one not in holders]
    rest = [one for one in rest if not any(_inside(one, other) for other in (*targets, *_tops(rest)))]
    fresh = imports + [made for one in rest if (made := _required(tables, one))]
    rest = [one for one in rest if _required(tables, one) is None]
    beside = [one for one in rest if prefix or any(_inside(one, holder) for holder in holders)]
    passage = Passage(text.split("\n"), frozenset(string_rows(tables, parsed.root)))
    others = [one for one in rest if one not in beside]
    return TreeWritten(passage=passage, targets=targets, members=beside, others=others, imports=fresh)


def _tops(found: list[TreeDefinition]) -> Iterator[TreeDefinition]:
    return (one for one in found if not any(_inside(one, other) for other in found))


def _alike(one: TreeDefinition, target: TreeDefinition) -> bool:
    return (one.kind == "class") == (target.kind == "class")


def _inside(one: TreeDefinition, other: TreeDefinition) -> bool:
    return one is not other and holds(other.whole, one.whole) and one.node != other.node


def string_rows(tables: Tables, root: Node) -> Iterator[int]:
    """Yield the rows that begin inside a string."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.start_point[0] == node.end_point[0]:
            continue
        if tables.strings.search(node.type):
            yield from range(node.start_point[0] + 1, node.end_point[0] + 1)
        else:
            waiting += node.children


# --- imports -------------------------------------------------------------------------------------------


def _leading_imports(tables: Tables, lines: list[str]) -> tuple[list[Import], int]:
    """Return the imports that the source begins with, and how many lines they take; what heads a file counts too."""
    parsed = tables.tree("\n".join(lines) + "\n")
    found: list[Import] = []
    end = 0
    for node in parsed.root.named_children:
        own = (
            tables.imports_of(parsed, node) if node.type in tables.import_nodes and not node.has_error else []
        )
        found += own
        if own or node.type == "package_clause":
            end = last_row(node) + 1
        elif "comment" not in node.type:
            break
    return found, end


def file_imports(tables: Tables, parsed: Parsed) -> Iterator[tuple[Node, Import]]:
    """Yield those at the top of a file."""
    for node in parsed.root.named_children:
        for one in tables.imports_of(parsed, node):
            yield node, one


def _required(tables: Tables, one: TreeDefinition) -> Import | None:
    """`const fs = require("fs")` is an import too."""
    return next(iter(tables.imports_of(one.parsed, one.whole)), None) if one.kind == "variable" else None

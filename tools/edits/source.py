"""What a model's source for one definition holds, in languages with braces.

Comes in: a suffix, the definition that is meant, source at any indentation. Goes out: `Written`: the definition as it
was written, what stands beside it, imports; or the reason why it cannot be read. A method is no text of its own in
most languages, so the source is read in a class (or whatever the original stands in), then as a file. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forklock.tools.edits.reindent import Passage, trimmed
from forklock.tools.languages.outline import Braced, last_row, outline
from forklock.tools.languages.treesitter import Flaw, Parsed, first_flaw, parse_tree

if TYPE_CHECKING:
    from tree_sitter import Node

_AROUND = {
    "class_body": ("class C {", "}"), "interface_body": ("interface C {", "}"), "object_type": ("interface C {", "}"),
    "object": ("const C = {", "};"), "field_declaration_list": ("struct C {", "};"), "impl_item": ("impl C {", "}"),
    "trait_item": ("trait C {", "}"), "type_declaration": ("type (", ")"), "const_declaration": ("const (", ")"),
    "var_declaration": ("var (", ")"), "var_spec_list": ("var (", ")"), "lexical_declaration": ("const", ";"),
    "variable_declaration": ("var", ";"),
}  # fmt: skip
"""What a definition stands in, and lines that make such a thing of it."""
_IMPORTS = {"import_statement", "import_declaration", "use_declaration", "preproc_include"}
_STRINGS = re.compile(r"template_string|raw_string_literal|string_literal|^string$")
_REQUIRED = re.compile(r"\brequire\s*\(")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_LAST_PART = re.compile(r"([\w-]+?)(?:/v\d+)?\"$")
_RUST_NAME = re.compile(r"([A-Za-z_]\w*)\s*(?=[,;}]|$)")


@dataclass(frozen=True, slots=True)
class Import:
    """One import: as a statement, and the names that it binds ("" for those that bind none that can be told)."""

    text: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Source that was read. Lines and nodes are those of `parsed`."""

    parsed: Parsed
    passage: Passage
    targets: tuple[Braced, ...]
    """The definition; several where the source has several of its name."""
    members: tuple[Braced, ...]
    """What stands beside it in its class."""
    others: tuple[Braced, ...]
    """What else is defined at the top."""
    imports: tuple[Import, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why no definition was found. `flaw` counts lines of the source; None: it parses, but defines `names`."""

    flaw: Flaw | None
    names: tuple[str, ...] = ()


def read_source(suffix: str, target: Braced, source: str, *, strict: bool) -> Written | Unreadable:
    """`strict`: source that does not parse as a whole is not read."""
    lines = trimmed(source)
    imports, skipped = _leading_imports(suffix, lines)
    rest = lines[skipped:]
    around = _around(target)
    unread: Unreadable | None = None
    for opening, ending in dict.fromkeys([around, ("", "")]):
        own = "\n".join([opening] * bool(opening) + rest)
        own = own.rstrip().rstrip(",;") if ending == ";" else own
        for end in ("", ";"):
            text = f"{own}{end}\n{ending}"
            flaw = first_flaw(suffix, text)
            if flaw is not None and strict:
                offset = skipped - bool(opening)
                unread = unread or Unreadable(Flaw(max(1, flaw.line + offset), flaw.column, flaw.message))
                continue
            found = _written(suffix, text, target, imports, "C." if opening else "")
            if isinstance(found, Written):
                return found
            unread = found if unread is None or (found.names and not unread.names) else unread
    assert unread is not None
    return unread


def _around(target: Braced) -> tuple[str, str]:
    parent = target.whole.parent
    while parent is not None and parent.type not in _AROUND:
        if parent.type in {"namespace_definition", "mod_item", "internal_module", "statement_block"}:
            break
        parent = parent.parent
    return _AROUND[parent.type] if parent is not None and parent.type in _AROUND else ("", "")


def _written(
    suffix: str, text: str, target: Braced, imports: list[Import], prefix: str
) -> Written | Unreadable:
    parsed = parse_tree(suffix, text)
    found = [one for one in outline(suffix, text) if not (prefix and one.plain == prefix.rstrip("."))]
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
    fresh = imports + [made for one in rest if (made := _required(parsed, one))]
    rest = [one for one in rest if _required(parsed, one) is None]
    beside = [one for one in rest if prefix or any(_inside(one, holder) for holder in holders)]
    lines = text.split("\n")
    passage = Passage(lines, frozenset(string_rows(parsed.root)))
    others = tuple(one for one in rest if one not in beside)
    return Written(parsed, passage, tuple(targets), tuple(beside), others, tuple(fresh))


def _tops(found: list[Braced]) -> Iterator[Braced]:
    return (one for one in found if not any(_inside(one, other) for other in found))


def _alike(one: Braced, target: Braced) -> bool:
    return (one.kind == "class") == (target.kind == "class")


def _inside(one: Braced, other: Braced) -> bool:
    return (
        one is not other
        and other.whole.start_byte <= one.whole.start_byte
        and one.whole.end_byte <= other.whole.end_byte
        and one.node != other.node
    )


def string_rows(root: Node) -> Iterator[int]:
    """Rows that begin inside a string."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.start_point[0] == node.end_point[0]:
            continue
        if _STRINGS.search(node.type):
            yield from range(node.start_point[0] + 1, node.end_point[0] + 1)
        else:
            waiting += node.children


# --- imports -------------------------------------------------------------------------------------------


def _leading_imports(suffix: str, lines: list[str]) -> tuple[list[Import], int]:
    """Imports that the source begins with, and how many lines they take; a package clause counts as one."""
    parsed = parse_tree(suffix, "\n".join(lines) + "\n")
    found: list[Import] = []
    end = 0
    for node in parsed.root.named_children:
        if node.type in _IMPORTS and not node.has_error:
            found += imports_of(parsed, node)
        elif node.type not in {"package_clause", "comment", "line_comment", "block_comment"}:
            break
        if node.type in _IMPORTS or node.type == "package_clause":
            end = last_row(node) + 1
    return found, end


def file_imports(parsed: Parsed) -> Iterator[tuple[Node, Import]]:
    """Those at the top of a file."""
    for node in parsed.root.named_children:
        for one in imports_of(parsed, node):
            yield node, one


def imports_of(parsed: Parsed, node: Node) -> list[Import]:
    """What a statement imports, each on its own; [] for other statements."""
    if node.type == "import_declaration":
        return [_go(parsed, spec) for spec in _all(node, "import_spec")]
    text = " ".join(parsed.text(node).split())
    if node.type == "import_statement":
        clause = next((c for c in node.named_children if c.type == "import_clause"), None)
        return [Import(text, tuple(_bound(parsed, clause)) if clause else ())]
    if node.type == "use_declaration":
        return [Import(text, tuple(_RUST_NAME.findall(text)))]
    if node.type == "preproc_include":
        return [Import(text, ())]
    if node.type in {"lexical_declaration", "variable_declaration"} and _REQUIRED.search(text):
        return [Import(text, tuple(_WORD.findall(text.partition("=")[0])[1:]))]
    return []


def _go(parsed: Parsed, spec: Node) -> Import:
    text = parsed.text(spec)
    name = spec.child_by_field_name("name")
    last = _LAST_PART.search(text)
    return Import(f"import {text}", (parsed.text(name) if name else last[1] if last else "",))


def _bound(parsed: Parsed, clause: Node) -> Iterator[str]:
    for node in clause.named_children:
        if node.type == "identifier":
            yield parsed.text(node)
        elif node.type == "namespace_import":
            yield parsed.text(node.named_children[-1])
        else:
            for one in node.named_children:
                named = one.child_by_field_name("alias") or one.child_by_field_name("name")
                if named is not None:
                    yield parsed.text(named)


def _required(parsed: Parsed, one: Braced) -> Import | None:
    """`const fs = require("fs")` is an import too."""
    return next(iter(imports_of(parsed, one.whole)), None) if one.kind == "variable" else None


def _all(node: Node, kind: str) -> Iterator[Node]:
    for child in node.named_children:
        if child.type == kind:
            yield child
        else:
            yield from _all(child, kind)

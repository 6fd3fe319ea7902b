"""Edits of definitions by a tree.

Comments and attributes above, decorators, wrappers such as `export` and `template <…>`, and `pub` that the original has
and the source lacks are kept. What C and C++ macros break stays open to edits: there the new source may have errors
where the old one has some, and other definitions are not compared. Texts have LF line ends.
"""

# ruff: noqa: ARG002
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import SyntaxProblem
from forklock.tools.languages.editor import STEPS, Editor, Passage, Range, Splice, Written, indent_of
from forklock.tools.languages.tree.outline import outline
from forklock.tools.languages.tree.parsing import holds, last_row, tail_of
from forklock.tools.languages.tree.source import (
    TreeWritten,
    Unreadable,
    file_imports,
    read_source,
    string_rows,
)
from forklock.tools.languages.tree.tables import Import, Tables, TreeDefinition

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class _Role:
    """What a definition is to others of its name."""

    words: tuple[str, ...]
    """`get`, `set` and `static`, where it has them."""
    body: bool
    parameters: str

    @property
    def accessor(self) -> str:
        return next((word for word in self.words if word in {"get", "set"}), "")


class TreeEditor(Editor[TreeDefinition]):
    """A file of a language with tables. Definitions are those of its own outline, or of a source's."""

    def __init__(self, tables: Tables, path: str, text: str) -> None:
        super().__init__(path, text, outline(tables, text))
        self._tables = tables
        self._parsed = tables.tree(text)

    # --- which definition --------------------------------------------------------------------------

    def shares_line(self, one: TreeDefinition) -> bool:
        first = one.above[0] if one.above else one.whole
        before = self.lines[first.start_point[0]].encode("utf-8", "surrogatepass")[: first.start_point[1]]
        return bool(before.strip()) or not self._tables.tail.fullmatch(tail_of(self.lines, one.whole))

    def role(self, one: TreeDefinition) -> tuple[str, ...]:
        return _role(self._tables, one).words

    def meant_by(
        self, target: TreeDefinition, family: Sequence[TreeDefinition], new: TreeDefinition, exact: bool
    ) -> TreeDefinition:
        had = [_role(self._tables, one) for one in family]
        own, given = _role(self._tables, target), _role(self._tables, new)
        if len(family) == 1:
            if own.accessor and given.accessor and own.accessor != given.accessor:
                what = f"the `{own.accessor}` one, and the source is the `{given.accessor}` one"
                raise self.unclear(target, family, f"{target.name_path} is {what}")
            return target
        known = list(zip(family, had, strict=True))
        alike = [one for one, role in known if (role.words, role.body) == (given.words, given.body)]
        same = [one for one, role in known if one in alike and role.parameters == given.parameters]
        if target in same or alike == [target] or (exact and own.words == given.words and not same):
            return target
        fitting = same if len(same) == 1 else alike
        if len(fitting) == 1 and not exact:
            return fitting[0]
        if not alike and own.words == given.words:
            return target
        what = f"The source's ({_told(given)}) is not {target.name_path} ({_told(own)})"
        raise self.unclear(target, family, what)

    def require_in(
        self, target: TreeDefinition, family: Sequence[TreeDefinition], new: Sequence[TreeDefinition]
    ) -> None:
        own = _role(self._tables, target).accessor
        if own not in {_role(self._tables, one).accessor for one in new}:
            raise self.unclear(target, family, f"{target.name_path} is the `{own or 'plain'}` one")

    def unclear(self, target: TreeDefinition, family: Sequence[TreeDefinition], words: str) -> EditRefused:
        names = ", ".join(
            f"{one.plain}#{one.number} (line {one.head_line}: {_told(_role(self._tables, one))})"
            for one in family
        )
        return EditRefused(f"{words}. Send one edit for each, named as here: {names}.")

    def outermost(self, target: TreeDefinition) -> TreeDefinition:
        holders = [one for one in self.known if one is not target and holds(one.whole, target.whole)]
        return min(holders, key=lambda one: one.whole.start_byte, default=target)

    # --- the new source ----------------------------------------------------------------------------

    def read(self, target: TreeDefinition, source: str) -> Written[TreeDefinition]:
        found = read_source(self._tables, target, source, strict=not target.whole.has_error)
        if not isinstance(found, Unreadable):
            return found
        if found.flaw is None:
            raise self.wrong_name(target, found.names)
        lines = source.strip("\n").split("\n")
        context = lines[min(found.flaw.line, len(lines)) - 1]
        problem = SyntaxProblem(found.flaw.line, found.flaw.column, found.flaw.message, context)
        raise self.does_not_parse(target, source, problem)

    def replaced(
        self, old: TreeDefinition, new: Sequence[TreeDefinition], written: Written[TreeDefinition]
    ) -> list[str]:
        tables, lines = self._tables, self.lines
        lead, indent = indent_of(lines[old.start_line - 1]), indent_of(lines[old.head_line - 1])
        unit = Passage(lines, frozenset(string_rows(tables, old.whole))).step(old.head_line - 1, old.end_line)
        unit = unit if unit in STEPS else None
        made: list[str] = []
        for one in new[:-1]:
            made += _moved(written, one, one.whole, indent, unit)
        last = new[-1]
        outer = last.node if old.whole.type in tables.specs else last.whole
        kept = lead + self._kept_above(old, last)
        above = _above_lines(written, last, lead)
        code = _moved(written, last, outer, indent, unit, above=False)
        before = _beside(last) + self._kept_before(old, last)
        code[0] = indent + before + tables.as_member(old.node, last.node, code[0].lstrip())
        made += [line for line in kept.split("\n")[:-1] if kept.strip()] + above + code
        if kept.split("\n")[-1].strip():  # a comment on the line of the code
            made[-len(code)] = kept.split("\n")[-1] + code[0].lstrip()
        tail = tail_of(lines, old.whole)
        made[-1] += "" if tail and made[-1].endswith(tail) else tail
        ended = last.node.type in tables.ended or made[-1].rstrip().endswith(";")
        if not ended and lines[old.end_line - 1].rstrip().endswith(";"):
            made[-1] += ";"
        return made

    def _kept_above(self, old: TreeDefinition, new: TreeDefinition) -> str:
        """Return what stands above the original and not above the new one: its text up to the code."""
        comments = [new.parsed.text(node) for node in new.above if "comment" in node.type]
        marks = any("comment" not in node.type for node in new.above)
        had = [self._parsed.text(node) for node in old.above if "comment" in node.type]
        documented = any(self._is_doc(one, old.name) for one in had)
        keep_comments = not comments or (
            documented and not any(self._is_doc(one, old.name) for one in comments)
        )
        kept = ""
        for node, after in pairwise([*old.above, old.whole]):
            if self._parsed.text(node) in comments:
                continue
            if keep_comments if "comment" in node.type else not marks:
                kept += self._text(node.start_byte, after.start_byte)
        return kept

    def _is_doc(self, comment: str, name: str) -> bool:
        """By its marks, or as in Go by its first word."""
        return comment.startswith(self._tables.doc_marks) or comment.lstrip("/* ").startswith(name)

    def _kept_before(self, old: TreeDefinition, new: TreeDefinition) -> str:
        """Return decorators inside the original, wrappers and visibility, where the new one has none."""
        tables, kept = self._tables, ""
        decorators = [c for c in (*old.whole.children, *old.node.children) if c.type in tables.decorators]
        if decorators and not any(
            c.type in tables.decorators for c in (*new.whole.children, *new.node.children)
        ):
            after = decorators[-1].next_sibling or decorators[-1]
            kept += self._text(decorators[0].start_byte, after.start_byte)
        if old.whole.type in tables.kept_wrappers and new.whole.type != old.whole.type:
            held = next((c for c in old.whole.named_children if holds(c, old.node)), None)
            own = [c.end_byte for c in old.whole.children if c.type in tables.decorators]
            start = max(own, default=old.whole.start_byte)
            kept += self._text(start, held.start_byte).lstrip() if held is not None else ""
        had = [c for c in old.node.children if c.type in tables.visibility]
        has = any(c.type in tables.visibility for c in new.node.children)
        return kept + ("" if has or not had else f"{self._parsed.text(had[0])} ")

    def _text(self, start: int, end: int) -> str:
        return self._parsed.data[start:end].decode("utf-8", "surrogatepass")

    # --- what comes along --------------------------------------------------------------------------

    def moved(self, one: TreeDefinition, written: Written[TreeDefinition], indent: str) -> list[str]:
        made = _moved(written, one, one.whole, indent, None)
        tail = tail_of(written.passage.lines, one.whole)
        made[-1] += tail if tail.strip() in {";", ","} else ""
        return made

    def row_before(self, one: TreeDefinition) -> int:
        return one.start_line - 1

    def same(self, old: TreeDefinition, new: TreeDefinition) -> bool:
        return old.parsed.text(old.node).split() == new.parsed.text(new.node).split()

    def is_stub(self, one: TreeDefinition) -> bool:
        """Without a body, or with nothing but comments in it."""
        empty = one.body is None or all("comment" in child.type for child in one.body.named_children)
        return empty and one.kind != "variable"

    def imported(self, written: Written[TreeDefinition], outermost: TreeDefinition) -> list[Splice]:
        assert isinstance(written, TreeWritten)
        code = "\n".join(
            one.parsed.text(one.whole) for one in (*written.targets, *written.members, *written.others)
        )
        present = list(file_imports(self._tables, self._parsed))
        have = {one.text for _, one in present}
        bound = {name for _, one in present for name in one.names}
        words = set(re.findall(r"[A-Za-z_$][\w$]*", code))
        wanted = [_lacking(one, bound) for one in written.imports if one.text not in have]
        lines = [one.text for one in wanted if one is not None and (not one.names or words & set(one.names))]
        if not lines:
            return []
        if present:
            row = last_row(present[-1][0]) + 1
            return [Splice(row, row, lines)]
        top = next((n for n in self._parsed.root.named_children if n.type not in self._tables.heading), None)
        row = top.start_point[0] if top is not None else 0
        above = [one for one in self.known if one.head_line - 1 == row]
        row = above[0].start_line - 1 if above else row
        return [Splice(row, row, [*lines, ""])]

    # --- after all ---------------------------------------------------------------------------------

    def require_rest_same(
        self, target: TreeDefinition, replaced: Sequence[TreeDefinition], after: str, taken: Sequence[Range],
        given: Sequence[Range],
    ) -> None:  # fmt: skip
        if self._parsed.root.has_error:
            return
        parsed, known = self._tables.tree(after), outline(self._tables, after)
        if not any(one.plain == target.plain for one in known):
            raise EditRefused(
                f"The edit would leave no {target.name_path}: its source does not define it where it stands.",
                would_be=after,
            )
        nodes = [one.whole for one in replaced]
        had = Counter(
            (one.plain, self._parsed.text(one.node))
            for one in self.known
            if not any(holds(one.whole, node) or holds(node, one.whole) for node in nodes)
        )
        had.subtract((one.plain, parsed.text(one.node)) for one in known)
        lost = next((plain for (plain, _), count in had.items() if count > 0), None)
        if lost is not None and not parsed.root.has_error:  # what does not parse has a reason of its own
            raise EditRefused(
                f"The edit would change {lost} too. Send one edit for each definition.", would_be=after
            )


def _role(tables: Tables, one: TreeDefinition) -> _Role:
    words = tuple(c.type for c in one.node.children if c.type in tables.roles)
    parameters = _parameters(one.node)
    text = "".join(one.parsed.text(parameters).split()) if parameters is not None else ""
    return _Role(words, one.body is not None, text)


def _parameters(node: Node) -> Node | None:
    found: Node | None = node
    while found is not None:
        if (parameters := found.child_by_field_name("parameters")) is not None:
            return parameters
        found = found.child_by_field_name("declarator") or found.child_by_field_name("value")
    return None


def _told(role: _Role) -> str:
    words = " ".join(role.words)
    return f"{words} {role.parameters}".strip() + ("" if role.body else ", without a body")


def _moved(
    written: Written[TreeDefinition],
    one: TreeDefinition,
    outer: Node,
    indent: str,
    unit: str | None,
    *,
    above: bool = True,
) -> list[str]:
    """Return a definition's own lines at another indentation, without what shares its first and last line."""
    row, column = outer.start_point
    passage = written.passage
    found = passage.moved(row, last_row(outer) + 1, indent, unit)
    first = passage.lines[row].encode("utf-8", "surrogatepass")
    if first[:column].strip():  # it stands behind other code
        found[0] = indent + first[column:].decode("utf-8", "surrogatepass")
    if tail := tail_of(passage.lines, outer):
        found[-1] = found[-1].removesuffix(tail)
    return (_above_lines(written, one, indent) if above else []) + found


def _above_lines(written: Written[TreeDefinition], one: TreeDefinition, indent: str) -> list[str]:
    """Return comments, attributes and decorators above, where they have lines of their own."""
    start, end = one.start_line - 1, one.head_line - 1
    return written.passage.moved(start, end, indent, None) if start < end else []


def _beside(one: TreeDefinition) -> str:
    """Return a comment above that is on the line of the code."""
    row = one.whole.start_point[0]
    start = next((node.start_byte for node in one.above if node.start_point[0] == row), one.whole.start_byte)
    return one.parsed.data[start : one.whole.start_byte].decode("utf-8", "surrogatepass")


def _lacking(one: Import, bound: set[str]) -> Import | None:
    """Return an import without names that are bound already; None where nothing is left."""
    missing = tuple(name for name in one.names if name not in bound)
    if not one.names or len(missing) == len(one.names):
        return one
    listed = re.match(r"(import (?:type )?)\{.*\}( from .*)", one.text)
    if not missing or listed is None:
        return None
    return Import(f"{listed[1]}{{ {', '.join(missing)} }}{listed[2]}", missing)

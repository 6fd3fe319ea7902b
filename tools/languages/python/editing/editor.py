"""Edits of Python definitions, by `ast`.

At the end all statements that the edit does not name are compared with what they were (`rest`). Which of several
definitions of one name is meant is decided by `family`, and what imports may be added by `imports`. Texts have LF line
ends.
"""

# ruff: noqa: ARG002
from __future__ import annotations

import ast
from collections.abc import Hashable, Sequence

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Definition, SyntaxProblem, Target, meant
from forklock.tools.languages.editor import STEPS, Editor, Range, Splice, Written, indent_of
from forklock.tools.languages.python.editing import family as families
from forklock.tools.languages.python.editing.lines import replace_lines
from forklock.tools.languages.python.editing.rest import (
    bound,
    require_rest_same,
    require_targets_kept,
    require_unbound,
)
from forklock.tools.languages.python.imports import import_lines, wanted_guards, wanted_imports
from forklock.tools.languages.python.outline import Function, definitions
from forklock.tools.languages.python.parsing import parse
from forklock.tools.languages.python.source import (
    PythonWritten,
    decorators,
    first_line,
    is_stub,
    names,
    read_block,
    split,
)
from forklock.tools.languages.python.version import OURS


class PythonEditor(Editor[Definition]):
    """A Python file."""

    def __init__(self, path: str, text: str, version: Target | None) -> None:
        super().__init__(path, text, definitions(text))
        self._version = version
        self._by_path = {d.name_path: d for d in self.known}

    # --- which definition --------------------------------------------------------------------------

    def target(self, name_path: str) -> tuple[Definition, bool]:
        plain = name_path.removesuffix("#1")
        accessor = None if meant(plain, self.known) else families.accessor_of(plain, self.known)
        if accessor is not None:
            return accessor, True
        target, exact = super().target(name_path)
        if target.node is None and not exact:
            families.require_single(target, [d for d in self.known if d.plain == target.plain])
        return target, exact

    def shares_line(self, one: Definition) -> bool:
        if one.node is None:
            return False
        start = one.node.col_offset if one.start_line == one.node.lineno else 0
        before = self.lines[one.start_line - 1].encode()[:start]
        after = self.lines[one.end_line - 1].encode()[one.node.end_col_offset or 0 :].decode().strip()
        return bool(before.strip()) or bool(after and not after.startswith("#"))

    def role(self, one: Definition) -> Hashable:
        return families.key(one.node)

    def meant_by(
        self, target: Definition, family: Sequence[Definition], new: Definition, exact: bool
    ) -> Definition:
        return families.meant_by(target, family, new.node, exact=exact)

    def require_in(self, target: Definition, family: Sequence[Definition], new: Sequence[Definition]) -> None:
        families.require_in(target, family, [one.node for one in new])

    def unclear(self, target: Definition, family: Sequence[Definition], words: str) -> EditRefused:
        return families.unclear(target, family, words)

    def outermost(self, target: Definition) -> Definition:
        return self._by_path[target.name_path.split(".")[0]] if "." in target.name_path else target

    # --- the new source ----------------------------------------------------------------------------

    def read(self, target: Definition, source: str) -> Written[Definition] | str:
        block = read_block(source)
        if isinstance(block, SyntaxProblem):
            if self._version is not None and self._version.version > OURS:
                return replace_lines(self.text, target, source, self._version)
            raise self.does_not_parse(target, source, block)
        written = split(block, target)
        if not written.targets:
            raise self.wrong_name(target, [name for node in block.body for name in names(node)])
        self._require_same_header(written.wrapper, target.container)
        return written

    def _require_same_header(self, node: ast.ClassDef | None, container: str) -> None:
        """
        Raises:
            EditRefused: the class around the definition comes with other bases, keywords or decorators.
        """
        had = self._by_path[container].node if container in self._by_path else None
        if node is None or not isinstance(had, ast.ClassDef):
            return
        for given, kept in (
            (node.bases + node.keywords, had.bases + had.keywords),
            (node.decorator_list, had.decorator_list),
        ):
            if given and [ast.dump(one) for one in given] != [ast.dump(one) for one in kept]:
                raise EditRefused(
                    f"The source changes the head of class {node.name} too. Send an edit of the class, "
                    "or the definition without the class around it."
                )

    def replaced(self, old: Definition, new: Sequence[Definition], written: Written[Definition]) -> list[str]:
        nodes: list[ast.stmt] = [one.node for one in new]
        require_targets_kept(old, nodes)
        if old.node is not None:
            gained = {name for node in nodes for name in bound(node)} - bound(old.node)
            body = [node for node in self._body(old.container) if node is not old.node]
            require_unbound(self.path, old.container, body, sorted(gained))
        lines = self.lines
        first, above = lines[old.start_line - 1], lines[: old.start_line - 1]
        unit = _indent_step(lines[old.start_line - 1 : old.end_line])
        made: list[str] = []
        for node in nodes:
            made += ([""] if made else []) + _moved(written, node, above, indent_of(first), unit)
        if old.node is not None and not decorators(nodes[0]) and decorators(old.node):
            made = lines[old.start_line - 1 : old.node.lineno - 1] + made
        last = nodes[-1]
        if old.kind == "variable" and old.node is not None and isinstance(last, ast.Assign | ast.AnnAssign):
            fresh = written.passage.lines[(last.end_lineno or 1) - 1]
            made[-1] += _remark(lines[old.end_line - 1], old.node, fresh, last)
        return made

    def _body(self, scope: str) -> list[ast.stmt]:
        """Return the statements of a scope; none where the text does not parse."""
        if scope in self._by_path:
            node = self._by_path[scope].node
            return node.body if isinstance(node, Function | ast.ClassDef) else []
        tree = parse(self.text)
        return [] if isinstance(tree, SyntaxProblem) else tree.body

    # --- what comes along --------------------------------------------------------------------------

    def moved(self, one: Definition, written: Written[Definition], indent: str) -> list[str]:
        return _moved(written, one.node, [], indent, None)

    def row_before(self, one: Definition) -> int:
        at = one.start_line - 1
        prefix = indent_of(self.lines[at])
        while (
            at > 0 and self.lines[at - 1].strip().startswith("#") and indent_of(self.lines[at - 1]) == prefix
        ):
            at -= 1  # comments above belong to the definition
        return at

    def blank_before(self, scope: str) -> int:
        return 1 if scope else 2

    def places(self, one: Definition, scope: str) -> set[str]:
        return {f"{scope}.{name}" if scope else name for name in names(one.node)}

    def same(self, old: Definition, new: Definition) -> bool:
        return old.node is not None and ast.dump(old.node) == ast.dump(new.node)

    def is_stub(self, one: Definition) -> bool:
        return is_stub(one.node)

    def require_new_names(self, scope: str, fresh: Sequence[Definition]) -> None:
        require_unbound(
            self.path, scope, self._body(scope), [name for one in fresh for name in names(one.node)]
        )

    def imported(self, written: Written[Definition], outermost: Definition) -> list[Splice]:
        """Return imports that the new code uses and the module lacks, after its last top import."""
        assert isinstance(written, PythonWritten)
        tree = parse(self.text)
        body = [] if isinstance(tree, SyntaxProblem) else tree.body
        code = written.code()
        guards = wanted_guards(self.path, body, written.guards, code)
        wanted = wanted_imports(self.path, body, written.imports, [*code, *guards])
        future = [
            ast.unparse(s) for s in wanted if isinstance(s, ast.ImportFrom) and s.module == "__future__"
        ]
        others = [ast.unparse(s) for s in wanted if ast.unparse(s) not in future]
        others += [ast.unparse(node) for node in guards]
        others = [line for statement in others for line in statement.split("\n")]
        if isinstance(tree, SyntaxProblem):
            at = outermost.start_line - 1
            return [Splice(at, at, [*others, ""])] if others else []
        top, last = import_lines(body, self.text, outermost.start_line)
        return [Splice(top, top, future)] * bool(future) + [Splice(last, last, others)] * bool(others)

    # --- after all ---------------------------------------------------------------------------------

    def require_rest_same(
        self, target: Definition, replaced: Sequence[Definition], after: str, taken: Sequence[Range],
        given: Sequence[Range],
    ) -> None:  # fmt: skip
        require_rest_same(self.text, after, taken, given)


def _remark(line: str, old: ast.stmt, fresh: str, node: ast.stmt) -> str:
    """Return the comment behind an assignment, such as `# type: ignore`, unless the new one has its own."""
    behind = line.encode()[old.end_col_offset or 0 :].decode()
    has = fresh.encode()[node.end_col_offset or 0 :].decode().strip()
    return behind.rstrip() if behind.strip().startswith("#") and not has else ""


def _moved(
    written: Written[Definition], node: ast.stmt, above: list[str], prefix: str, unit: str | None
) -> list[str]:
    """Return a node's lines, moved, with comments right above it that the file does not have there."""
    lines = written.passage.lines
    start = first_line(node) - 1
    first = start
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    comments = [line.strip() for line in lines[first:start]]
    present = [line.strip() for line in above[len(above) - len(comments) :]]
    head = [] if comments == present else [prefix + line for line in comments]
    return head + written.passage.moved(start, node.end_lineno or node.lineno, prefix, unit)


def _indent_step(lines: list[str]) -> str | None:
    """Return the step from a definition's first line to its body; None where it is none of the usual."""
    base = indent_of(lines[0])
    for line in lines[1:]:
        own = indent_of(line)
        if line.strip() and own != base and own.startswith(base) and line.strip()[0] not in ")]}#":
            step = own[len(base) :]
            return step if step in STEPS else None
    return None

"""Test files for pytest: functions named `test_…`, and such methods of classes.

What a test judges is found by following names: what is imported from the repository is the code under test, and so is
whatever is computed from it. An `assert` that mentions none of it says nothing of the code.
Not covered: code under test that is reached by a fixture of `conftest.py` alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from forklock.sandbox.files.reading import parse_python
from forklock.tools.languages.forms.form import Expectation, TestForm, WrittenTest
from forklock.tools.languages.forms.pytest_files import (
    Function,
    bound_names,
    completed,
    defined,
    head_of,
    is_test,
    merged,
    parsed,
    written_to,
)

_PATCHERS = frozenset(
    {"setattr", "delattr", "patch", "object", "setitem", "delitem", "dict", "multiple", "reload"}
)
_MAX_TESTS = 12
"""Tests of one answer that are looked at."""


class PytestForm(TestForm):
    runner = "pytest"
    kind = "pytest file"
    plain_command = ("python", "-m", "pytest")
    quiet = ("-q",)
    probe = ("--version",)

    def file_name(self, stem: str) -> str:
        return f"test_{stem}.py"

    def opening(self, module: str, name_path: str, example: str) -> str:
        """pytest itself is imported, since most tests of exceptions need it."""
        name = name_path.partition(".")[0]
        head = head_of(parsed(example))
        own = f"from {module} import {name}"
        lines = [] if any(name in defined(node) for node in head) else [own]
        if not any("pytest" in defined(node) for node in head):
            lines.insert(0, "import pytest")
        return "\n".join([*lines, *map(ast.unparse, head)]) + "\n\n\ndef test_"

    def completed(self, text: str, sources: Sequence[tuple[str, str]]) -> str:
        return completed(text, sources)

    def tests(self, text: str, own: Collection[str]) -> tuple[WrittenTest, ...]:
        try:
            return tuple(_tests(parse_python(text), own))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ()

    def merged(self, tests: Sequence[WrittenTest]) -> tuple[str, tuple[str, ...]]:
        return merged(tests)


PYTEST = PytestForm()


def _tests(tree: ast.Module, own: Collection[str]) -> Iterator[WrittenTest]:
    """One test at a time: the file without all other tests."""
    names = list(dict.fromkeys(_test_names(tree)))[:_MAX_TESTS]
    for name in names:
        body = [part for node in tree.body if (part := _only(node, name)) is not None]
        alone = ast.Module(body=body, type_ignores=[])
        source = ast.unparse(ast.fix_missing_locations(alone)) + "\n"
        yield _written(name, source, own)


def _test_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if is_test(node):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{one.name}" for one in node.body if is_test(one))


def _only(node: ast.stmt, name: str) -> ast.stmt | None:
    """A statement of the file, without the tests that are not called `name`."""
    if isinstance(node, Function):
        return node if node.name == name or not is_test(node) else None
    if isinstance(node, ast.ClassDef) and any(map(is_test, node.body)):
        holder, _, method = name.partition("::")
        if node.name != holder or not method:
            return None
        kept = [one for one in node.body if not is_test(one) or getattr(one, "name", "") == method]
        return ast.ClassDef(**{**{field: getattr(node, field) for field in node._fields}, "body": kept})
    if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
        return None
    return node


def _written(name: str, source: str, own: Collection[str]) -> WrittenTest:
    tree = parse_python(source)
    last = name.rpartition("::")[2]
    function = next((n for n in ast.walk(tree) if isinstance(n, Function) and n.name == last), None)
    if function is None:
        return WrittenTest(name, source)
    known = _under_test(tree, own)
    for node in ast.walk(tree):  # a helper that calls the code under test returns what it computes
        if isinstance(node, Function) and node is not function and _mentions(node, known.names):
            known.names.add(node.name)
    _follow(function, known.names)
    judging = _Judging(known.names)
    judging.read(function.body)
    return WrittenTest(
        name,
        source,
        tuple(_expectations(function, known)),
        _replaced(tree, function, known),
        tuple(judging.lines),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """Names that stand for the code under test."""

    imported: frozenset[str]
    """Bound by imports from the repository."""
    modules: frozenset[str]
    """The first parts of the repository's modules."""
    names: set[str]
    """All names whose value depends on it."""


def _under_test(tree: ast.Module, own: Collection[str]) -> _Known:
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {
                alias.asname or alias.name.partition(".")[0]
                for alias in node.names
                if alias.name.partition(".")[0] in own
            }
        elif isinstance(node, ast.ImportFrom) and (
            (node.module or "").partition(".")[0] in own or node.level
        ):
            imported |= {alias.asname or alias.name for alias in node.names}
    return _Known(frozenset(imported), frozenset(own), set(imported))


def _mentions(node: ast.AST, names: Collection[str]) -> bool:
    return any(isinstance(one, ast.Name) and one.id in names for one in ast.walk(node))


def _follow(function: Function, names: set[str]) -> None:
    """Adds the names whose value depends on names that are known, until nothing is added."""
    size = -1
    while size != len(names):
        size = len(names)
        for node in ast.walk(function):
            for targets, value in _bindings(node):
                if value is not None and _mentions(value, names):
                    for target in targets:
                        names.update(bound_names(target))


def _bindings(node: ast.AST) -> Iterator[tuple[Sequence[ast.expr], ast.AST | None]]:
    """(targets, what they get their value from)."""
    if isinstance(node, ast.Assign):
        yield node.targets, node.value
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
        yield [node.target], node.value
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield [node.target], node.iter
    elif isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            if item.optional_vars is not None:
                yield (
                    [item.optional_vars],
                    ast.Module(body=[*node.body, ast.Expr(item.context_expr)], type_ignores=[]),
                )
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        # `seen.append(total(x))`: what a value is put into depends on it.
        yield [node.func.value], ast.Tuple(elts=[*node.args], ctx=ast.Load())


# --- where a test judges ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Judging:
    """Collects the lines whose failure says something of the code under test."""

    names: set[str]
    lines: list[tuple[int, int]]

    def __init__(self, names: set[str]) -> None:
        self.names, self.lines = names, []

    def read(self, body: Sequence[ast.stmt], *, caught: bool = False) -> None:
        """Args:
        caught: what stands here runs where the code under test has raised, or not raised.
        """
        for node in body:
            if isinstance(node, ast.Assert):
                self._take(node, _mentions(node.test, self.names))
            elif isinstance(node, ast.Expr | ast.Raise):
                self._take(node, caught or _mentions(node, self.names))
            elif isinstance(node, ast.With | ast.AsyncWith):
                self._take_line(node.lineno, any(_mentions(one, self.names) for one in node.body))
                self.read(node.body, caught=caught)
            elif isinstance(node, ast.Try):
                tried = any(_mentions(one, self.names) for one in node.body)
                for part in (node.body, node.orelse, *(one.body for one in node.handlers)):
                    self.read(part, caught=caught or tried)
                self.read(node.finalbody)
            else:
                self._inside(node, caught)

    def _inside(self, node: ast.stmt, caught: bool) -> None:
        condition = getattr(node, "test", None)
        decided = caught or (isinstance(condition, ast.expr) and _mentions(condition, self.names))
        for part in ("body", "orelse"):
            held = getattr(node, part, None)
            if isinstance(held, list) and not isinstance(node, ast.ClassDef):
                self.read(held, caught=decided)

    def _take(self, node: ast.stmt, counts: bool) -> None:
        if counts:
            self.lines.append((node.lineno, node.end_lineno or node.lineno))

    def _take_line(self, line: int, counts: bool) -> None:
        if counts:
            self.lines.append((line, line))


# --- what a test expects ---------------------------------------------------------------------------


def _expectations(function: Function, known: _Known) -> Iterator[Expectation]:
    values = _assigned_once(function)
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            yield from _of_comparison(node.test, values, known)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in {"assertEqual", "assertEquals"} and len(node.args) >= 2:
                compared = ast.Compare(left=node.args[0], ops=[ast.Eq()], comparators=[node.args[1]])
                yield from _of_comparison(compared, values, known)
        elif isinstance(node, ast.With) and len(node.body) == 1:
            raised = ast.unparse(node.items[0].context_expr)
            if ".raises(" in raised or ".assertRaises(" in raised:
                wanted = re.sub(r"^[\w.]*(?:raises|assertRaises)\(([\w.]*).*", r"\1", raised, flags=re.DOTALL)
                yield Expectation(_spelled(_call_of(node.body[0]), values), f"raises {wanted}")


def _call_of(node: ast.stmt) -> ast.expr:
    value = getattr(node, "value", None)
    return value if isinstance(value, ast.expr) else ast.Name(id=ast.unparse(node)[:200])


def _of_comparison(test: ast.expr, values: dict[str, ast.expr], known: _Known) -> Iterator[Expectation]:
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        left, right = test.left, test.comparators[0]
        if _mentions(right, known.names) and not _mentions(left, known.names):
            left, right = right, left
        if _mentions(left, known.names):
            yield Expectation(_spelled(left, values), _spelled(right, values))
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield Expectation(_spelled(test.operand, values), "False")
    elif not isinstance(test, ast.Compare) and _mentions(test, known.names):
        yield Expectation(_spelled(test, values), "True")


def _assigned_once(function: Function) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    often: set[str] = set()
    for node in ast.walk(function):
        for targets, value in _bindings(node):
            for name in (name for target in targets for name in bound_names(target)):
                plain = (
                    isinstance(node, ast.Assign) and len(targets) == 1 and isinstance(targets[0], ast.Name)
                )
                if name in found or not plain or not isinstance(value, ast.expr):
                    often.add(name)
                else:
                    found[name] = value
    return {name: value for name, value in found.items() if name not in often}


def _spelled(node: ast.expr, values: dict[str, ast.expr]) -> str:
    """The expression with its variables filled in, so that equal calls are spelled alike."""

    class Filled(ast.NodeTransformer):
        depth = 0

        def visit_Name(self, name: ast.Name) -> ast.expr:
            value = values.get(name.id)
            if value is None or self.depth > 6:
                return name
            self.depth += 1
            filled: ast.expr = self.visit(parse_python(ast.unparse(value)).body[0].value)  # type: ignore[attr-defined]
            self.depth -= 1
            return filled

    copied = parse_python(f"({ast.unparse(node)})").body[0].value  # type: ignore[attr-defined]
    return ast.unparse(Filled().visit(copied))


# --- what a test replaces --------------------------------------------------------------------------


def _replaced(tree: ast.Module, function: Function, known: _Known) -> str:
    """The first thing of the code under test that the file puts something else in the place of; "" for none."""
    for node in ast.walk(tree):
        for target in written_to(node):
            if isinstance(target, ast.Attribute | ast.Subscript) and _root(target) in (
                known.imported | {"sys"}
            ):
                if _root(target) != "sys" or "modules" in ast.unparse(target):
                    return ast.unparse(target)
            elif isinstance(target, ast.Name) and target.id in known.imported:
                return target.id
        if isinstance(node, Function | ast.ClassDef) and node is not function and node.name in known.imported:
            return node.name
        if isinstance(node, ast.Call) and (found := _patched(node, known)):
            return found
    return ""


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _patched(call: ast.Call, known: _Known) -> str:
    """What `setattr`, `monkeypatch.setattr`, `mock.patch` and the like replace."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else _root(call.func)
    if name not in _PATCHERS or not call.args:
        return ""
    first = call.args[0]
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value if first.value.partition(".")[0] in known.modules and "." in first.value else ""
    return ast.unparse(first) if _root(first) in known.imported and name != "dict" else ""

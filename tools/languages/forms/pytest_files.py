"""Puts pytest files together: what one begins with, what it forgot to import, and one file of several tests.

In: texts and tests. Out: texts. Pure, and no text raises.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TypeGuard

from forklock.sandbox.files.reading import parse_python
from forklock.tools.languages.forms.form import WrittenTest

Function = ast.FunctionDef | ast.AsyncFunctionDef
_HELPER_LINES = 15
"""Helpers of an example that are longer than this are not copied to the beginning of an answer."""


def is_test(node: ast.stmt) -> TypeGuard[Function]:
    return isinstance(node, Function) and node.name.startswith("test")


def written_to(node: ast.AST) -> Sequence[ast.expr]:
    if isinstance(node, ast.Assign | ast.Delete):
        return node.targets
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def bound_names(target: ast.expr) -> Iterator[str]:
    yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


# --- what a file lacks -----------------------------------------------------------------------------


def parsed(text: str) -> list[ast.stmt]:
    try:
        return parse_python(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def head_of(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Imports and short helpers of a test file, as far as they stand before its first test."""
    found: list[ast.stmt] = []
    for node in body:
        if is_test(node) or (isinstance(node, ast.ClassDef) and any(map(is_test, node.body))):
            break
        if not isinstance(node, ast.Expr) and (node.end_lineno or node.lineno) - node.lineno < _HELPER_LINES:
            found.append(node)
    return found


def completed(text: str, sources: Sequence[tuple[str, str]]) -> str:
    body = parsed(text)
    if not body:
        return text
    added: dict[str, None] = {}
    known = _meanings(sources)
    lacking = _lacking(body)
    while lacking:  # a helper that is copied may need others
        name = lacking.pop(0)
        meaning = known.get(name) or (f"import {name}" if name in sys.stdlib_module_names else None)
        if meaning is not None and meaning not in added:
            added[meaning] = None
            lacking += [other for other in _lacking(parsed(meaning)) if other != name]
    futures = [node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    if not added or futures:
        return text
    return "\n".join(reversed(added)) + "\n" + text


def _meanings(sources: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What brings a name: the statement that imports it, or a helper's source."""
    known = {"pytest": "import pytest"}
    for module, text in sources:
        for node in parsed(text):
            is_import = isinstance(node, ast.Import | ast.ImportFrom)
            if is_import and getattr(node, "level", 0) == 0:
                for alias in node.names:  # type: ignore[attr-defined]
                    alone = (
                        ast.ImportFrom(node.module, [alias], 0) if isinstance(node, ast.ImportFrom) else None
                    )
                    known.setdefault(alias.asname or alias.name, ast.unparse(alone or ast.Import([alias])))
            elif not is_import and not is_test(node):
                for name in defined(node):
                    known.setdefault(name, f"from {module} import {name}" if module else ast.unparse(node))
    return known


def _lacking(body: Sequence[ast.stmt]) -> list[str]:
    """Names that are used and bound nowhere in the file, in order."""
    used: dict[str, None] = {}
    bound: set[str] = set(dir(builtins))
    for node in (found for part in body for found in ast.walk(part)):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used[node.id] = None
            else:
                bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler):
            bound.add(node.name or "")
        elif isinstance(node, Function | ast.ClassDef | ast.Import | ast.ImportFrom):
            bound.update(defined(node))
    return [name for name in used if name not in bound]


# --- one file of several tests ---------------------------------------------------------------------


def merged(tests: Sequence[WrittenTest]) -> tuple[str, tuple[str, ...]]:
    imports: dict[str, None] = {}
    others: dict[str, None] = {}
    names: dict[str, str] = {}  # what each name of the file means, as source
    kept: list[str] = []
    for test in tests:
        renamed = _renamed(test, {name.partition("::")[0] for name in kept})
        parts = parse_python(renamed.source).body
        means = {name: ast.unparse(node) for node in parts for name in defined(node)}
        if any(names.get(name, meaning) != meaning for name, meaning in means.items()):
            kept.append("")
            continue
        names |= means
        for node in parts:
            text = ast.unparse(node)
            (imports if isinstance(node, ast.Import | ast.ImportFrom) else others).setdefault(text, None)
        kept.append(renamed.name)
    futures = sorted(imports, key=lambda text: not text.startswith("from __future__"))
    return "\n".join(futures) + "\n\n\n" + "\n\n\n".join(others) + "\n", tuple(kept)


def defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    else:
        for target in written_to(node):
            yield from bound_names(target)


def _renamed(test: WrittenTest, taken: Collection[str]) -> WrittenTest:
    """The test under a name that no other test has."""
    first, _, rest = test.name.partition("::")
    name, number = first, 2
    while name in taken:
        name, number = f"{first}_{number}", number + 1
    if name == first:
        return test
    source = re.sub(rf"(?m)^((?:async )?def|class) {re.escape(first)}\b", rf"\1 {name}", test.source)
    return replace(test, name=f"{name}::{rest}" if rest else name, source=source)

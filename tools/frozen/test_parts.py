"""The parts of a code file that judge it: examples in docstrings, tests among the code, the block of a script.

Comes in: a path and its text. Goes out: the source of those parts, in order; two texts with equal parts are judged
alike. Tests are known by what runners collect: `test_…` functions and `Test…` classes, subclasses of `TestCase`,
fixtures, `load_tests`, `__test__`, `#[cfg(test)]`, titled tests of scripts, `TEST_CASE(…)` macros, blocks of Zig and D.
Pure.
"""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from tools.edits.files import is_python, to_lf
from tools.languages.outline import outline
from tools.languages.syntax import parse
from tools.testing.places import SCRIPTS, titled_tests

_C = frozenset({".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".m", ".mm"})
_MACRO = re.compile(
    r"^[ \t]*(?:TEST(?:_F|_P|_CASE\w*)?|TYPED_TEST\w*|SCENARIO\w*|BOOST_\w*TEST\w*|START_TEST|DOCTEST_\w+|CATCH_\w+"
    r"|RUN_TEST|PARAM_TEST_CASE|CPPUNIT_\w+)\s*\(",
    re.MULTILINE,
)
_BLOCKS = {
    ".zig": re.compile(r"^[ \t]*test\b[^\n{]*\{", re.MULTILINE),
    ".d": re.compile(r"^[ \t]*unittest\b[^\n{]*\{", re.MULTILINE),
}
_RUST_DOC = re.compile(r"^[ \t]*(///|//!)[ \t]?(.*)$")


@dataclass(frozen=True, slots=True)
class Judging:
    """Which parts of a Python file judge it. In other languages they are told by their form alone."""

    tests: bool = True
    examples: bool = True
    script: bool = True
    """What runs when the file is started by itself."""


@lru_cache(maxsize=512)
def parts_that_judge(path: str, text: str, judging: Judging = Judging()) -> tuple[str, ...]:
    """The source of the tests in a file of code, and of its examples. () where there are none."""
    text, suffix = to_lf(text), PurePosixPath(path).suffix
    if is_python(path):
        return _python(text, judging)
    if suffix == ".rs":
        tests = (one for one in outline(suffix, text) if one.test)
        return (*_lines(text, ((one.start_line, one.end_line) for one in tests)), *_rust_examples(text))
    if suffix in SCRIPTS:
        inner = re.findall(r"^.*import\.meta\.vitest.*$", text, re.MULTILINE)
        return (*inner, *_lines(text, ((one.start_line, one.end_line) for one in titled_tests(suffix, text))))
    form = _MACRO if suffix in _C else _BLOCKS.get(suffix)
    return tuple(_braced(text, match.start()) for match in form.finditer(text)) if form else ()


def _lines(text: str, places: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    lines = text.split("\n")
    return tuple("\n".join(lines[start - 1 : end]) for start, end in places)


def _braced(text: str, start: int) -> str:
    """From `start` to the brace that closes the first one, strings not looked at: equal texts give equal parts."""
    depth = 0
    for match in re.compile(r"[{};]").finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth <= 0:
            return text[start : match.end()]
    return text[start:]


def _rust_examples(text: str) -> tuple[str, ...]:
    """Code in documentation, which `cargo test` runs."""
    found, block, inside = [], [], False
    for line in text.split("\n"):
        match = _RUST_DOC.match(line)
        if match is None:
            inside = False
            continue
        if match[2].lstrip().startswith("```"):
            inside = not inside
            block.append(match[2])
        elif inside:
            block.append(match[2])
    found += ["\n".join(block)] if block else []
    return tuple(found)


# --- Python --------------------------------------------------------------------------------------------------


def _python(text: str, judging: Judging) -> tuple[str, ...]:
    tree = parse(text)
    if not isinstance(tree, ast.Module):
        return (text,) if re.search(r">>>|\bdef test|class Test|unittest|__main__", text) else ()
    found: list[str] = []
    for node in tree.body:  # unparsed: a formatter may have been there
        if (judging.tests and _is_test(node)) or (judging.script and _is_script(node)):
            found.append(ast.unparse(node))
    return tuple(found) + tuple(_examples(tree) if judging.examples else ())


def _is_test(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators = " ".join(ast.unparse(one) for one in node.decorator_list)
        return "fixture" in decorators or _TEST_NAME.match(node.name) is not None
    if isinstance(node, ast.ClassDef):
        bases = " ".join(ast.unparse(base) for base in node.bases)
        methods = (one.name for one in node.body if isinstance(one, _NAMED))
        return (
            node.name.startswith("Test")
            or "TestCase" in bases
            or any(name.startswith("test") for name in methods)
        )
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(one, ast.Name) and one.id in _TEST_VARIABLES for one in targets)
    return False


def _is_script(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, and what runs on any start: assertions, calls, loops at the top."""
    if isinstance(node, ast.If):
        return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test))
    calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return calls or isinstance(node, ast.Assert | ast.For | ast.While | ast.With | ast.Raise)


def _examples(tree: ast.Module) -> list[str]:
    """Of each docstring: its owner's name path, and what is to come out of what is typed."""
    found: list[str] = []
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        name, node = waiting.pop()
        doc = ast.get_docstring(node, clean=False) if isinstance(node, _OWNERS) else None
        if doc and ">>>" in doc:
            found.append(f"{name}\n{_typed(doc)}")
        for child in ast.iter_child_nodes(node):
            waiting.append((f"{name}.{child.name}" if isinstance(child, _NAMED) else name, child))
    return sorted(found)


_TEST_NAME = re.compile(r"test|load_tests$|(set_?up|tear_?down)(_?module|_function)?$|pytest_", re.IGNORECASE)
_TEST_VARIABLES = frozenset({"__test__", "pytestmark", "pytest_plugins"})
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_OWNERS = (*_NAMED, ast.Module)


def _typed(doc: str) -> str:
    try:
        examples = doctest.DocTestParser().get_examples(doc)
    except ValueError:
        return doc
    return "\n".join(
        f"{one.source}{one.want}{one.exc_msg or ''}{sorted(one.options.items())}" for one in examples
    )

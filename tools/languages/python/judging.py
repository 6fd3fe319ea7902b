"""Extracts the parts of a Python file of code that judge it: examples in docstrings, tests, the block of a script.

In: a text with LF line ends. Out: the source of those parts, in order. Tests are recognised as runners collect them:
`test_…` functions and `Test…` classes, subclasses of `TestCase`, fixtures, `load_tests`, `__test__`. Pure.
"""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterable, Iterator

from forklock.tools.languages.definitions import Judging
from forklock.tools.languages.python.parsing import parse


def judging_parts(text: str, judging: Judging) -> tuple[str, ...]:
    """See `Language.judging_parts`."""
    tree = parse(text)
    if not isinstance(tree, ast.Module):
        return (text,) if re.search(r">>>|\bdef test|class Test|unittest|__main__", text) else ()
    found: list[str] = []
    for node in tree.body:  # unparsed: a formatter may have been there
        if (judging.tests and _is_test(node)) or (judging.script and _is_script(node)):
            found.append(ast.unparse(node))
    names = set(_test_names(tree)) if judging.tests else set()
    examples = _examples(tree) if judging.examples else []
    names |= {example.partition("\n")[0].lstrip(".").partition(".")[0] for example in examples}
    if judging.script and any(_is_script(node) for node in tree.body):
        names |= {"__name__", _ENDS}
    return (*found, *examples, *_taken_away(tree, names - {""}))


def _test_names(tree: ast.Module) -> Iterator[str]:
    return (node.name for node in tree.body if isinstance(node, _NAMED) and _is_test(node))


_ENDS = "exit"
_ENDING = re.compile(r"\b(?:sys\.exit|os\._exit|SystemExit|exit\(|quit\()")


def _taken_away(tree: ast.Module, names: set[str]) -> Iterator[str]:
    """Statements at the top by which a name that is judged by is bound once more, or removed, or has its docstring
    taken: then what was read above is not what runs. Where a script judges: those that end it, too."""
    seen: set[str] = set()
    for node in tree.body if names else ():
        if isinstance(node, _NAMED):
            if node.name in names & seen:
                yield f"{node.name} once more"
            seen.add(node.name)
    for node in _at_top(tree.body) if names else ():
        if isinstance(node, _NAMED):
            if node.name in names:
                yield f"{node.name} in a branch"
        elif _takes_away(node, names):
            yield ast.unparse(node)


def _takes_away(node: ast.stmt, names: set[str]) -> bool:
    text = ast.unparse(node)
    bound = {
        one.id for one in ast.walk(node) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
    }
    if isinstance(node, ast.Import | ast.ImportFrom):
        bound |= {one.asname or one.name.partition(".")[0] for one in node.names}
    hides = re.search(r"__doc__|__test__|\bglobals\(|\bvars\(|\bsetattr\(", text)
    ends = _ENDS in names and _ENDING.search(text)
    return bool(bound & names or hides or ends)


def _at_top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run as a module is loaded, those in branches and loops, too, but no functions and classes at the
    top itself: they are told apart by their names."""
    for node in body:
        if isinstance(node, _NAMED):
            continue
        if not isinstance(node, ast.If | ast.Try | ast.For | ast.While | ast.With):
            yield node
            continue
        inner = [part for _, part in ast.iter_fields(node) if isinstance(part, list)]
        for part in inner:
            yield from (one for one in part if isinstance(one, _NAMED))
            yield from _at_top(one for one in part if isinstance(one, ast.stmt))
            handlers = (one for one in part if isinstance(one, ast.ExceptHandler))
            for handler in handlers:
                yield from _at_top(handler.body)


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
    """List, for each docstring, its owner's name path with the typed examples and their expected output."""
    found: list[str] = []
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        name, node = waiting.pop()
        doc = ast.get_docstring(node, clean=False) if isinstance(node, _OWNERS) else None
        if doc and ">>>" in doc:
            decorators = [ast.unparse(one) for one in node.decorator_list] if isinstance(node, _NAMED) else []
            found.append("\n".join([name, *decorators, _typed(doc)]))
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

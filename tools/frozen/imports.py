"""Finds which Python files of a repository import which others, from their text and without running them.

In: an index. Out: for each path the paths that import it. A name stands for every file whose path ends in it: one
importer too many is better than one too few.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from forklock.tools.index.files import CodeIndex, SourceFile
from forklock.tools.languages.python.parsing import parse

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+\(?([^#\n]*)|import[ \t]+([\w., \t]+))", re.MULTILINE
)
_TEST_LIBRARY = re.compile(
    r"^[ \t]*(?:from|import)[ \t]+(?:pytest|unittest|hypothesis|nose|doctest)\b", re.MULTILINE
)
_ASSERTING = re.compile(r"^def[ \t]+(?:assert|expect)\w*", re.MULTILINE)


def importers(index: CodeIndex) -> dict[str, set[str]]:
    """Imported path → importing paths."""
    ends: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in index.files:
        place = f"/{_module_path(path)}"
        ends[place.rpartition("/")[2]].append((path, place))
    found: dict[str, set[str]] = defaultdict(set)
    for path, file in index.files.items():
        for name in set(_names(path, file.text)):
            for target, place in ends.get(name.rpartition("/")[2], ()):
                if target != path and place.endswith(f"/{name}"):
                    found[target].add(path)
    return found


def supports_tests(file: SourceFile) -> bool:
    """Whether a module is about testing: it uses a library for it, or defines assertions."""
    known = _TEST_LIBRARY.search(file.text) or _ASSERTING.search(file.text)
    return bool(known) or any(map(_ends_by_asserting, _functions(file.text)))


def _functions(text: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    if "assert" not in text.lower():
        return []
    tree = parse(text)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return (
        [node for node in ast.walk(tree) if isinstance(node, kinds)] if isinstance(tree, ast.Module) else []
    )


def _ends_by_asserting(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the last statement of a function asserts something about its arguments."""
    last: ast.stmt = function.body[-1]
    while isinstance(last, ast.If | ast.For | ast.With):
        last = last.body[-1]
    if isinstance(last, ast.Raise):
        return last.exc is not None and "AssertionError" in ast.unparse(last.exc)
    return isinstance(last, ast.Assert) and not any(
        isinstance(node, ast.Return) for node in ast.walk(function)
    )


def _module_path(path: str) -> str:
    return path.rpartition(".")[0].removesuffix("/__init__")


def _names(path: str, text: str) -> Iterator[str]:
    """Imported names as paths: `a/b`; for `from a import b` both `a` and `a/b`."""
    for origin, members, plain in _IMPORT.findall(text):
        if plain:
            yield from (word.split()[0].replace(".", "/") for word in plain.split(",") if word.split())
            continue
        dots = len(origin) - len(origin.lstrip("."))
        base = origin.lstrip(".").replace(".", "/")
        if dots:
            folder = PurePosixPath(path).parents[min(dots - 1, len(PurePosixPath(path).parents) - 1)]
            base = (folder / base).as_posix().removeprefix("./")
        if base and base != ".":
            yield base
        for word in members.split(","):
            name = word.split()[0].strip("()") if word.split() else ""
            if name.isidentifier():
                yield f"{base}/{name}" if base and base != "." else name

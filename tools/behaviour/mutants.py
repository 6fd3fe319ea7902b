"""Mutants of code: copies that differ by one edit in given lines, and still parse.

In: the text of a Python file, and numbers of lines. Out: mutants, the telling kinds first: conditions and bounds, then
operands, calls and statements. Where the tests cannot tell a mutant from the code, they do not decide what is right
there. Pure.

Not covered: other languages than Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from forklock.sandbox.files.reading import parse_python

_COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">", "!="), ast.LtE: ("<", ">=", "=="), ast.Gt: (">=", "<", "!="), ast.GtE: (">", "<=", "=="),
    ast.Eq: ("!=", "<=", ">="), ast.NotEq: ("==", "<", ">"), ast.Is: ("is not",), ast.IsNot: ("is",),
    ast.In: ("not in",), ast.NotIn: ("in",),
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], tuple[str, ...]] = {
    ast.Add: ("-",), ast.Sub: ("+",), ast.Mult: ("+",), ast.Div: ("//",), ast.FloorDiv: ("/", "%"), ast.Mod: ("//",),
    ast.BitAnd: ("|",), ast.BitOr: ("&",), ast.BitXor: ("&",), ast.LShift: (">>",), ast.RShift: ("<<",),
}  # fmt: skip
_CALLED = {"max": "min", "min": "max", "any": "all", "all": "any", "append": "extend", "floor": "ceil"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of a text."""

    text: str
    line: int
    """From 1."""
    was: str
    now: str

    def __str__(self) -> str:
        return f"line {self.line}: `{self.was}` as `{self.now}`"


_MOST_CHARS = 200_000
"""Longer files have no mutants: each one is a whole text, parsed anew."""
_MOST_TRIED = 8
"""Edits tried for each mutant that may be made: some make no program, or one that is there already."""


def mutants(text: str, lines: Collection[int], most: int) -> list[Mutant]:
    """Mutants of the code on some lines, each program once.

    Args:
        lines: from 1.
        most: mutants at most; the kinds take turns, the telling ones first.
    """
    own = _program(text) if len(text) <= _MOST_CHARS else ""
    if not own or most < 1:
        return []
    tree, source = parse_python(text), _Source(text)
    turns = [iter(rule(tree, source, lines)) for rule in _RULES]
    seen, found, tried = {own}, list[Mutant](), 0
    while turns and len(found) < most and tried < _MOST_TRIED * most:
        made = next(turns[0], None)
        if made is None:
            turns.pop(0)
            continue
        turns.append(turns.pop(0))
        tried += 1
        program = _program(made.text)
        if program and program not in seen:
            seen.add(program)
            found.append(made)
    return found


def _program(text: str) -> str:
    try:
        return ast.dump(parse_python(text))
    except (SyntaxError, ValueError, RecursionError):
        return ""


class _Source:
    """A text, and edits of it by nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.raw = text.encode("utf-8", "surrogatepass")
        self.starts = [0]
        for line in self.raw.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def of(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.raw[start:end].decode("utf-8", "surrogatepass")

    def edited(self, node: ast.expr | ast.stmt, now: str) -> Mutant:
        start, end = self.span(node)
        raw = self.raw[:start] + now.encode("utf-8", "surrogatepass") + self.raw[end:]
        was = " ".join(self.of(node).split())
        return Mutant(raw.decode("utf-8", "surrogatepass"), node.lineno, was, " ".join(now.split()))


Rule = Callable[[ast.Module, _Source, Collection[int]], Iterator[Mutant]]


def _nodes(tree: ast.Module, lines: Collection[int]) -> Iterator[ast.AST]:
    """What begins on one of the lines, from the top. Annotations and docstrings are no code that runs."""
    hidden: set[int] = set()
    for node in ast.walk(tree):
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.append(node)
        for part in parts:
            if isinstance(part, ast.AST):
                hidden |= {id(one) for one in ast.walk(part)}
    found = [
        node for node in ast.walk(tree) if getattr(node, "lineno", 0) in lines and id(node) not in hidden
    ]
    yield from sorted(found, key=lambda node: (node.lineno, node.col_offset))  # type: ignore[attr-defined]


def _comparisons(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in _nodes(tree, lines):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = source.of(node.left), source.of(node.comparators[0])
            for words in _COMPARISONS[type(node.ops[0])]:
                yield source.edited(node, f"{left} {words} {right}")


def _conditions(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in _nodes(tree, lines):
        if isinstance(node, ast.BoolOp):
            words = " or " if isinstance(node.op, ast.And) else " and "
            own = [source.of(value) for value in node.values]
            yield source.edited(node, f"({words.join(own)})")
            joined = " and " if isinstance(node.op, ast.And) else " or "
            for at in range(len(own)):
                yield source.edited(node, f"({joined.join(own[:at] + own[at + 1 :])})")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield source.edited(node, f"({source.of(node.operand)})")
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            test = source.of(node.test)
            yield source.edited(node.test, f"(not ({test}))")
            yield source.edited(node.test, "True")
            yield source.edited(node.test, "False")


def _filters(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in ast.walk(tree):
        for test in node.ifs if isinstance(node, ast.comprehension) else ():
            if test.lineno in lines:
                yield source.edited(test, "True")
                yield source.edited(test, f"not ({source.of(test)})")


def _constants(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in _nodes(tree, lines):
        if not isinstance(node, ast.Constant):
            continue
        value = node.value
        if isinstance(value, bool):
            yield source.edited(node, str(not value))
        elif isinstance(value, int):
            yield source.edited(node, str(value + 1))
            yield source.edited(node, f"({value - 1})")
        elif isinstance(value, str) and value and source.of(node)[:1] in "\"'":
            yield source.edited(node, repr(value[:-1]))
            yield source.edited(node, repr(value + value[-1]))


def _arithmetic(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in _nodes(tree, lines):
        if isinstance(node, ast.BinOp):
            left, right = source.of(node.left), source.of(node.right)
            for words in _ARITHMETIC.get(type(node.op), ()):
                yield source.edited(node, f"({left} {words} {right})")
            yield source.edited(node, left)
            yield source.edited(node, right)
        elif isinstance(node, ast.AugAssign):
            target, value = source.of(node.target), source.of(node.value)
            for words in _ARITHMETIC.get(type(node.op), ()):
                yield source.edited(node, f"{target} {words}= {value}")
            yield source.edited(node, f"{target} = {value}")


def _calls(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in _nodes(tree, lines):
        if not isinstance(node, ast.Call) or any(isinstance(one, ast.Starred) for one in node.args):
            continue
        args = [source.of(one) for one in node.args]
        called = source.of(node.func)
        if len(args) == 1 and not node.keywords:
            yield source.edited(node, args[0])
        if isinstance(node.func, ast.Attribute) and not args and not node.keywords:
            yield source.edited(node, source.of(node.func.value))
        if len(args) > 1:
            yield source.edited(node.args[0], args[1])
            if not node.keywords:
                yield source.edited(node, f"{called}({', '.join([args[1], args[0], *args[2:]])})")
                yield source.edited(node, f"{called}({', '.join(args[:-1])})")
                yield source.edited(node, args[0])
                yield source.edited(node, args[1])
        for one in node.keywords:
            more = [
                f"{word.arg}={source.of(word.value)}"
                for word in node.keywords
                if word is not one and word.arg
            ]
            yield source.edited(node, f"{called}({', '.join([*args, *more])})")
        name = node.func.attr if isinstance(node.func, ast.Attribute) else called
        if name in _CALLED:
            yield source.edited(node.func, called[: -len(name)] + _CALLED[name])


def _slices(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in _nodes(tree, lines):
        if isinstance(node, ast.Slice):
            for bound in (node.lower, node.upper):
                if bound is not None:
                    yield source.edited(bound, "")
                    yield source.edited(bound, f"({source.of(bound)}) + 1")
        elif isinstance(node, ast.IfExp):
            yield source.edited(node, source.of(node.body))
            yield source.edited(node, source.of(node.orelse))


def _statements(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    for node in _nodes(tree, lines):
        if isinstance(node, ast.Expr | ast.AugAssign | ast.Assign | ast.Raise):
            yield source.edited(node, "pass")
        elif isinstance(node, ast.Continue):
            yield source.edited(node, "break")
        elif isinstance(node, ast.Break):
            yield source.edited(node, "continue")


def _names(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    """A variable of the same function in the place of another one."""
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in _nodes(tree, lines):
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
            continue
        around = [one for one in functions if one.lineno <= node.lineno <= (one.end_lineno or 0)]
        if not around:
            continue
        own = around[-1]
        known = [arg.arg for arg in own.args.args]
        known += [
            one.id for one in ast.walk(own) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        ]
        if node.id in known:
            yield from (
                source.edited(node, name) for name in dict.fromkeys(known) if name not in (node.id, "self")
            )


def _attributes(tree: ast.Module, source: _Source, lines: Collection[int]) -> Iterator[Mutant]:
    """An attribute that the file reads of the same variable, in the place of another one."""
    known: dict[str, dict[str, None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id != "self":
            known.setdefault(node.value.id, {})[node.attr] = None
    for node in _nodes(tree, lines):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            for name in known.get(node.value.id, ()):
                if name != node.attr:
                    yield source.edited(node, f"{node.value.id}.{name}")


_RULES: tuple[Rule, ...] = (
    _comparisons, _conditions, _constants, _arithmetic, _filters, _slices, _calls, _attributes, _statements, _names,
)  # fmt: skip

"""Definitions in Python text, by name path: `f`, `C.m`, `Outer.Inner.m`, `outer.local`.

Exact, by `ast`, where the text parses; otherwise a tolerant scan by indentation finds `def` and `class` (no variables,
ends approximate). Of several definitions of one name in one scope the first is the plain one and the next get `#2`,
`#3`; but an implementation comes before its `@overload` stubs, and functions and classes before variables, since
those are what is meant by the name. Not covered: names made by `exec`, `setattr` or import.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from forklock.tools.contract import Symbol
from forklock.tools.languages.definitions import Definition, Kind, SyntaxProblem
from forklock.tools.languages.python.parsing import parse, parse_afresh, pieces
from forklock.tools.languages.text import lf, lines_of

Function = ast.FunctionDef | ast.AsyncFunctionDef
PIECES = 8192
"""Pieces of texts whose outlines are kept; a text of more than half as many is outlined as a whole."""
_HEADER = re.compile(r"(?P<indent>[ \t]*)(?:async[ \t]+)?(?P<word>def|class)[ \t]+(?P<name>\w+)")


def signature(text: str, symbol: Symbol) -> str:
    """Return one line: `async def f(a: int = 1) -> str`, `class C(Base)`, or a variable's first line."""
    node = _nodes(lf(text)).get(symbol.name_path)
    if isinstance(node, Function):
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{word} {node.name}({ast.unparse(node.args)}){returns}"
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(part) for part in [*node.bases, *node.keywords])
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    lines = (line.strip() for line in lines_of(lf(text))[symbol.start_line - 1 : symbol.end_line])
    return next((line.rstrip(":") for line in lines if line and not line.startswith("@")), "")


def doc(text: str, symbol: Symbol) -> str:
    """Return the docstring, indentation cleaned; "" where there is none."""
    node = _nodes(lf(text)).get(symbol.name_path)
    return (ast.get_docstring(node) or "") if isinstance(node, Function | ast.ClassDef) else ""


@lru_cache(maxsize=16)
def _nodes(text: str) -> dict[str, ast.stmt | None]:
    return {d.name_path: d.node for d in reversed(definitions(text))}


@lru_cache(maxsize=256)
def definitions(text: str) -> tuple[Definition, ...]:
    """Definitions of Python text with LF line ends, numbered, in source order."""
    tree = parse(text)
    found = _scan(text) if isinstance(tree, SyntaxProblem) else _walk(tree.body, "", "module")
    return _number(list(found))


@lru_cache(maxsize=256)
def outlined(text: str) -> tuple[Definition, ...]:
    """`definitions` without nodes, at the price of what changed in a text since it was seen last: texts are outlined
    after every edit."""
    found, parts = list[Definition](), list(pieces(text))
    if len(parts) > PIECES // 2:
        return definitions(text)
    for before, piece in parts:
        inside = _outlined_piece(piece)
        if inside is None:
            return definitions(text)
        found += (_lower(d, before) for d in inside)
    return _number(found)


def _lower(one: Definition, lines: int) -> Definition:
    return replace(
        one, start_line=one.start_line + lines, end_line=one.end_line + lines, name_line=one.name_line + lines,
        head_line=one.head_line + lines,
    )  # fmt: skip


@lru_cache(maxsize=PIECES)
def _outlined_piece(text: str) -> tuple[Definition, ...] | None:
    """Not numbered; None where the text alone does not parse."""
    tree = parse_afresh(text)
    if isinstance(tree, SyntaxProblem):
        return None
    return tuple(replace(d, node=None) for d in _walk(tree.body, "", "module"))


# --- exact -----------------------------------------------------------------------------------------


def _walk(
    body: Iterable[ast.stmt], scope: str, inside: Literal["module", "class", "function"]
) -> Iterator[Definition]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            name_path = scope + node.name
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            is_class = isinstance(node, ast.ClassDef)
            kind: Kind = "class" if is_class else "method" if inside == "class" else "function"
            secondary = isinstance(node, Function) and _overload(node)
            yield Definition(
                name_path,
                kind,
                start,
                node.end_lineno or start,
                node,
                node.lineno,
                start,
                secondary=secondary,
            )
            yield from _walk(node.body, f"{name_path}.", "class" if is_class else "function")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            if inside != "function":
                for name in assigned_names(node):
                    end = node.end_lineno or node.lineno
                    yield Definition(
                        scope + name,
                        "variable",
                        node.lineno,
                        end,
                        node,
                        node.lineno,
                        node.lineno,
                        secondary=True,
                    )
        elif isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            # What runs is meant by the bare name, not its twin for type checkers.
            yield from (replace(d, secondary=True) for d in _walk(node.body, scope, inside))
            yield from _walk(node.orelse, scope, inside)
        else:
            yield from _walk(_blocks(node), scope, inside)


def assigned_names(node: ast.stmt) -> list[str]:
    """Plain names that a simple assignment binds."""
    if isinstance(node, ast.AnnAssign):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = [t for top in node.targets for t in (top.elts if isinstance(top, ast.Tuple) else [top])]
    else:
        targets = []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _blocks(node: ast.stmt) -> Iterator[ast.stmt]:
    """Statements directly under a compound statement (`if`, `try`, `with`, loops, `match`)."""
    for field in ("body", "orelse", "finalbody"):
        yield from getattr(node, field, ())
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from part.body


def _number(found: list[Definition]) -> tuple[Definition, ...]:
    """Make name paths unique. Members of `C#2` are `C#2.m`."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, definition in enumerate(found):
        groups[definition.name_path].append(index)
    if len(groups) == len(found):
        return tuple(found)
    suffix = {}
    for indices in groups.values():
        ranked = sorted(indices, key=lambda i: (found[i].secondary, i))
        suffix.update({i: f"#{rank}" if rank > 1 else "" for rank, i in enumerate(ranked, 1)})
    return tuple(_renamed(found, suffix))


def _renamed(found: list[Definition], suffix: dict[int, str]) -> Iterator[Definition]:
    """New name paths, outer ones first; a member takes its own container's new name."""
    open_outer: list[tuple[int, str, str]] = []  # (end line, old path, new path)
    counts: dict[str, int] = defaultdict(int)
    for index, d in enumerate(found):
        while open_outer and d.start_line > open_outer[-1][0]:
            open_outer.pop()
        old_outer, new_outer = next(
            ((old, new) for _, old, new in reversed(open_outer) if d.name_path.startswith(f"{old}.")),
            ("", ""),
        )
        new = d.name_path if old_outer == new_outer else new_outer + d.name_path[len(old_outer) :]
        if old_outer == new_outer:
            new += suffix[index]
        else:  # inside a renamed container: count afresh there
            counts[new] += 1
            new += f"#{counts[new]}" if counts[new] > 1 else ""
        if d.kind != "variable":
            open_outer.append((d.end_line, d.name_path, new))
        yield replace(d, name_path=new)


def _overload(node: Function) -> bool:
    return any(ast.unparse(d).rpartition(".")[2] == "overload" for d in node.decorator_list)


def scanned(text: str) -> tuple[Definition, ...]:
    """Definitions of Python text that this interpreter cannot parse, by indentation."""
    return _number(list(_scan(text)))


# --- tolerant --------------------------------------------------------------------------------------


def _scan(text: str) -> Iterator[Definition]:
    """Definitions of text that does not parse, by indentation; lines inside triple quotes are passed over."""
    lines = text.split("\n")
    code = _code_lines(lines)
    heads = [(n, m) for n in code if (m := _HEADER.match(lines[n]))]
    open_outer: list[tuple[int, str, str]] = []  # (last line, name path, word)
    for number, head in heads:
        while open_outer and open_outer[-1][0] < number:
            open_outer.pop()
        scope, word = (open_outer[-1][1] + ".", open_outer[-1][2]) if open_outer else ("", "")
        name_path = scope + head["name"]
        end = _end(lines, code, number, _width(head["indent"]))
        open_outer.append((end, name_path, head["word"]))
        kind: Kind = "class" if head["word"] == "class" else "method" if word == "class" else "function"
        start = number
        while start > 0 and start - 1 in code and lines[start - 1].lstrip().startswith("@"):
            start -= 1
        yield Definition(name_path, kind, start + 1, end + 1, None, number + 1, start + 1)


def _end(lines: list[str], code: dict[int, None], header: int, indent: int) -> int:
    """Index of the last line that belongs to the block opened at `header`."""
    last = header
    for number in range(header + 1, len(lines)):
        stripped = lines[number].strip()
        if not stripped or (stripped.startswith("#") and _width(lines[number]) <= indent):
            continue
        if number in code and _width(lines[number]) <= indent and stripped[0] not in ")]}":
            break
        last = number
    return last


def _code_lines(lines: list[str]) -> dict[int, None]:
    """Indices of lines that do not begin inside a triple-quoted string."""
    found: dict[int, None] = {}
    quote = ""
    for number, line in enumerate(lines):
        if not quote:
            found[number] = None
        for mark in re.findall(r'"""|\'\'\'', line.split("#")[0] if not quote else line):
            quote = "" if quote == mark else quote or mark
    return found


def _width(line: str) -> int:
    expanded = line.expandtabs(8)
    return len(expanded) - len(expanded.lstrip(" "))

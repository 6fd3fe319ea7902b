"""Proposals for `bench/right_corpus.py`: the known fix, rewrites that behave as it does, slips, and special cases.

In: the file with the bug and the file with the known fix. Out: texts of the file, each with its origin. Whether one
passes the visible check, and whether it is right, is found out later. Slips are those of `selfdistill`'s mutation
tasks.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forklock.selfdistill.tasks.kinds.kind import Defined
from forklock.selfdistill.tasks.kinds.mutation import mutated, slips_of
from forklock.tools.contract import Symbol
from forklock.tools.languages.known import symbols

MOST_SLIPS = 40
"""Slips of the buggy code and of the fix, each, chosen by a hash of their text."""
MOST_REWRITES = 6


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text of the file with the bug."""

    origin: str
    """`fix`, `rewrite: …`, `slip of the fix: …`, `slip of the bug: …`, `by hand: …`."""
    text: str


def proposals(path: str, buggy: str, fixed: str, by_hand: Sequence[tuple[str, str]] = ()) -> list[Proposal]:
    """Everything to try for a bug, each program once.

    Args:
        by_hand: further texts, as (name, text).
    """
    found = [Proposal("fix", fixed)]
    found += [Proposal(f"by hand: {name}", text) for name, text in by_hand]
    found += [
        Proposal(f"rewrite: {name}", text)
        for name, text in _some(rewrites(path, buggy, fixed), MOST_REWRITES)
    ]
    found += [Proposal(f"slip of the fix: {name}", text) for name, text in _slips(path, buggy, fixed)]
    found += [Proposal(f"slip of the bug: {name}", text) for name, text in _slips(path, fixed, buggy)]
    seen = {_program(buggy)}
    kept = []
    for one in found:
        program = _program(one.text)
        if program and program not in seen:
            seen.add(program)
            kept.append(one)
    return kept


def _program(text: str) -> str:
    """A key that is equal for equal programs; "" where it does not parse."""
    try:
        return ast.dump(ast.parse(text))
    except (SyntaxError, ValueError):
        return ""


def _slips(path: str, other: str, text: str) -> list[tuple[str, str]]:
    found = []
    for symbol in changed_functions(path, other, text):
        for slip in slips_of(Defined(f"{path}:{symbol.name_path}", symbol, text)):
            line = text.count("\n", 0, slip.start) + 1
            found.append((f"{slip.rule}, line {line}", mutated(text, [slip])))
    return _some(iter(found), MOST_SLIPS)


def _some(found: Iterator[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """`count` of them, chosen by a hash, so that the choice is nobody's."""
    ranked = sorted(found, key=lambda one: hashlib.sha256(one[1].encode()).hexdigest())
    return ranked[:count]


def changed_functions(path: str, other: str, text: str) -> list[Symbol]:
    """The functions of `text` that differ from the other version."""
    lines: set[int] = set()
    matcher = difflib.SequenceMatcher(None, other.splitlines(), text.splitlines(), autojunk=False)
    for tag, _, _, start, end in matcher.get_opcodes():
        if tag != "equal":
            lines |= set(range(start + 1, max(end, start + 1) + 1))
    functions = [one for one in symbols(path, text) if one.kind in ("function", "method")]
    return [one for one in functions if any(one.start_line <= line <= one.end_line for line in lines)]


# -- programs that behave as the fix does ------------------------------------------------------------------------------


def rewrites(path: str, buggy: str, fixed: str) -> Iterator[tuple[str, str]]:
    """The fix, written another way; the program differs and its behaviour does not."""
    tree = ast.parse(fixed)
    spans = [(one.start_line, one.end_line) for one in changed_functions(path, buggy, fixed)]
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if not any(first <= line <= last for first, last in spans):
            continue
        for name, words in _rewritten(node):
            text = _replaced(fixed, node, words)
            if text is not None:
                yield f"{name}, line {line}", text


def _rewritten(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        value = ast.BinOp(ast.Name(node.target.id), node.op, node.value)
        yield "written out", f"{node.target.id} = {ast.unparse(value)}"
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _MIRROR:
        left, right = f"({ast.unparse(node.left)})", f"({ast.unparse(node.comparators[0])})"
        yield "mirrored", f"{right} {_MIRROR[type(node.ops[0])]} {left}"
        yield "negated twice", f"(not {left} {_INVERSE[type(node.ops[0])]} {right})"
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Name):
        indent = " " * node.col_offset
        yield "named", f"answer = {ast.unparse(node.value)}\n{indent}return answer"
    if isinstance(node, ast.If) and node.orelse and not isinstance(node.orelse[0], ast.If):
        turned = ast.If(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)
        text = ast.unparse(ast.fix_missing_locations(turned))
        yield "branches turned", text.replace("\n", "\n" + " " * node.col_offset)


_MIRROR = {ast.Lt: ">", ast.Gt: "<", ast.LtE: ">=", ast.GtE: "<=", ast.Eq: "==", ast.NotEq: "!="}
_INVERSE = {ast.Lt: ">=", ast.Gt: "<=", ast.LtE: ">", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "=="}


def _replaced(text: str, node: ast.AST, words: str) -> str | None:
    segment = ast.get_source_segment(text, node)  # type: ignore[arg-type]
    if segment is None:
        return None
    lines = text.splitlines(keepends=True)
    at = (
        sum(map(len, lines[: node.lineno - 1]))
        + len(  # type: ignore[attr-defined]
            lines[node.lineno - 1].encode()[: node.col_offset].decode()  # type: ignore[attr-defined]
        )
    )
    made = text[:at] + words + text[at + len(segment) :]
    return made if _program(made) else None

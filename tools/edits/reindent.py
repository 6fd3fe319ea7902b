"""A passage of source at any indentation, and its move to another, strings left as they are; and Python at any
indentation, parsed.

Docstrings are layout by PEP 257 (readers strip their indentation), so their lines move with the code, where
they have the indentation to lose; the inner lines of every other string stay byte for byte.
Texts here have LF line ends.
"""

from __future__ import annotations

import ast
import io
import token
import tokenize
from dataclasses import dataclass

from forklock.tools.languages.syntax import SyntaxProblem, parse_afresh

_OPEN = {getattr(token, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
_CLOSE = {getattr(token, name, -1) for name in ("FSTRING_END", "TSTRING_END")}
STEPS = frozenset({"\t", "  ", "   ", "    ", "        "})


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines of source that can be moved to another indentation."""

    lines: list[str]
    frozen: frozenset[int]
    """Indices of lines that begin inside a string which may not move."""

    def moved(self, start: int, end: int, prefix: str, unit: str | None) -> list[str]:
        """Lines `start` to `end` (0-based, half open) with the first one's indentation replaced by `prefix`.

        Where the passage steps in regularly, its step becomes `unit` (None keeps it).
        """
        own = indent_of(self.lines[start])
        step = self.step(start, end)
        if own == prefix and (unit is None or step is None or step == unit):
            return self.lines[start:end]
        return [
            self.lines[n] if n in self.frozen else _move(self.lines[n], own, prefix, step, unit)
            for n in range(start, end)
        ]

    def step(self, start: int, end: int) -> str | None:
        """The one step of which every indentation is a multiple, as its first deeper line has it."""
        own = indent_of(self.lines[start])
        lines = [self.lines[n] for n in range(start, end) if n not in self.frozen and self.lines[n].strip()]
        indents = [indent_of(line).removeprefix(own) for line in lines if line.startswith(own)]
        step = next((indent for indent in indents if indent), None)
        if step is None or any(indent != step * (len(indent) // len(step)) for indent in indents):
            return None
        return step


@dataclass(frozen=True, slots=True)
class Block:
    """Parsed source. Line numbers of `body` count the passage's lines from 1, whatever the indentation."""

    passage: Passage
    body: list[ast.stmt]

    @property
    def lines(self) -> list[str]:
        return self.passage.lines


def _move(line: str, own: str, prefix: str, step: str | None, unit: str | None) -> str:
    if not line.strip():
        return ""
    if not line.startswith(own):  # less indented than its own head: a stray comment, or inside brackets
        return prefix + line.lstrip()
    body = line[len(own) :]
    count = 0
    if step and unit:
        while body.startswith(step):
            body, count = body[len(step) :], count + 1
        body = unit * count + body
    return prefix + body


def read_block(source: str) -> Block | SyntaxProblem:
    """Parse source at any indentation.

    Two slips of models are mended where the text parses only so: a first line that lost its indentation, and
    tabs among spaces (taken as four).
    """
    first = _parse(source)
    if isinstance(first, Block):
        return first
    lines = trimmed(source)
    later = [indent_of(line) for line in lines[1:] if line.strip()]
    least = min(later, key=len, default="")
    tries = ["\n".join([least + lines[0], *lines[1:]])] if lines and least and not indent_of(lines[0]) else []
    tries += [source.expandtabs(4)] if "\t" in source else []
    mended = (block for text in tries if isinstance(block := _parse(text), Block))
    return next(mended, first)


def trimmed(source: str) -> list[str]:
    """The lines, without blank ones at either end."""
    lines = source.split("\n")
    full = [n for n, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1] if full else []


def _parse(source: str) -> Block | SyntaxProblem:
    lines = trimmed(source)
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    nested = bool(code and indent_of(code[0]))
    tree = parse_afresh("\n".join(["if 1:", *lines] if nested else lines) + "\n")
    if isinstance(tree, SyntaxProblem):
        return SyntaxProblem(max(0, tree.line - nested), tree.column, tree.message, tree.context)
    body = tree.body
    if nested:
        outer = tree.body[0]
        if len(tree.body) > 1 or not isinstance(outer, ast.If) or outer.orelse:
            return SyntaxProblem(1, 0, "the indentation falls below that of the first line", lines[0])
        ast.increment_lineno(outer, -1)
        body = outer.body
    return Block(Passage(lines, frozenset(_string_lines(lines) - _docstring_lines(lines, body))), body)


def _string_lines(lines: list[str]) -> set[int]:
    """Indices of lines that begin inside a string."""
    inside: set[int] = set()
    opened: list[int] = []
    try:
        for piece in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            if piece.type == token.STRING:
                inside.update(range(piece.start[0], piece.end[0]))
            elif piece.type in _OPEN:
                opened.append(piece.start[0])
            elif piece.type in _CLOSE:
                inside.update(range(opened.pop(), piece.end[0]))
    except (tokenize.TokenError, SyntaxError):
        pass  # cannot be for text that parses; what was found so far stays
    return inside


def _docstring_lines(lines: list[str], body: list[ast.stmt]) -> set[int]:
    """Inner lines of docstrings, where all have at least the indentation of the opening quotes."""
    found: set[int] = set()
    for node in (inner for outer in body for inner in ast.walk(outer)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = node.body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            inner = range(first.lineno, first.end_lineno or first.lineno)
            own = indent_of(lines[first.lineno - 1])
            if all(lines[n].startswith(own) for n in inner if lines[n].strip()):
                found.update(inner)
    return found


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def indent_step(lines: list[str]) -> str | None:
    """The step from a definition's first line to its body; None where it is none of the usual."""
    base = indent_of(lines[0])
    for line in lines[1:]:
        own = indent_of(line)
        if line.strip() and own != base and own.startswith(base) and line.strip()[0] not in ")]}#":
            step = own[len(base) :]
            return step if step in STEPS else None
    return None

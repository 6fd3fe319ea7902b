"""Definitions, statements, names and problems of a text, alike in all languages; and which definition a name means.

Pure. Lines are from 1, columns from 0 in code points.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from forklock.tools.contract import EditRefused, Symbol

if TYPE_CHECKING:
    from tree_sitter import Node

Kind = Literal["class", "function", "method", "variable", "other"]
_NUMBER = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class Judging:
    """Which parts of a file of code judge it, where its language tells them apart."""

    tests: bool = True
    examples: bool = True
    script: bool = True
    """What runs when the file is started by itself."""


def bare(name_path: str) -> str:
    """The last part of a name path, without its number."""
    return name_path.rpartition(".")[2].partition("#")[0]


def owner(symbol: Symbol) -> str:
    """The bare name of the class that a member belongs to; "" where it is no member."""
    outer = symbol.name_path.rpartition(".")[0]
    return bare(outer) if outer else ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text as UTF-8 and its tree, whose offsets count those bytes."""

    data: bytes
    root: Node

    def text(self, node: Node) -> str:
        return self.data[node.start_byte : node.end_byte].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition in a text. Lines are from 1."""

    name_path: str
    """`Class.method`; of several of one name path the plain one is what is meant by it, the next get `#2`, `#3`."""
    kind: Kind
    start_line: int
    """With what belongs to it and stands above it."""
    end_line: int
    node: Any = None
    """Its node in the tree that the language made; None where there is no tree."""
    name_line: int = 0
    head_line: int = 0
    """Where it begins without what stands above it."""
    depth: int = 0
    """Definitions around it."""
    secondary: bool = False
    """Not what is meant by the bare name, if there is another."""
    test: bool = False
    """In a file of code: compiled for tests alone."""
    declared: bool = False
    """Only declared here, and defined elsewhere."""

    @property
    def plain(self) -> str:
        """The name path without the number of its last name."""
        return _NUMBER.sub("", self.name_path)

    @property
    def name(self) -> str:
        return self.plain.rpartition(".")[2]

    @property
    def container(self) -> str:
        """Name path of the enclosing definition, "" at the top."""
        return self.plain.rpartition(".")[0]

    @property
    def number(self) -> int:
        found = _NUMBER.search(self.name_path)
        return int(found[0][1:]) if found else 1


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    line: int
    """1-based; 0 where the parser gives none."""
    column: int
    """0-based code points."""
    message: str
    context: str
    """The line itself."""
    judge: str = ""
    """Whose grammar says so, for Python: `Python 3.9 (.python-version)`."""


@dataclass(frozen=True, slots=True)
class Target:
    """A version of the language that a repository runs on, and what in the repository names it."""

    version: tuple[int, int]
    source: str
    language: str = "Python"

    def __str__(self) -> str:
        return f"{self.language} {self.version[0]}.{self.version[1]} ({self.source})"


@dataclass(frozen=True, slots=True)
class Statement:
    start: int
    end: int
    body: int | None
    """The first line of the statements in it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A definition's lines, counted from 1 in its own dedented source."""

    header: int
    """Lines of a function before its first statement, its documentation included; 0 for anything else."""
    statements: tuple[Statement, ...]
    """That begin a line, outer ones first."""
    words: str
    """Equal for the same program: layout and comments aside."""


@dataclass(frozen=True, slots=True)
class Use:
    """A name in code, or an attribute at the end of a chain of names."""

    dotted: str
    """`helper`, `self.items.append`; what precedes a call or subscript in a chain is `()`."""
    line: int
    column: int
    """Column of the last name, in code points."""
    statement: int
    """First line of the innermost statement that holds it."""
    attribute: bool = False
    stored: bool = False
    """Assigned to here. Of a name's places the first that reads it is told, if there is one."""

    @property
    def name(self) -> str:
        return self.dotted.rpartition(".")[2]


SiteKind = Literal["operator", "number", "truth", "negation", "arguments", "statement", "branch", "name"]


@dataclass(frozen=True, slots=True)
class Site:
    """A piece of a text, by offsets in code points."""

    kind: SiteKind
    """`operator`: an infix operator's words. `number`: a whole number. `truth`: a boolean constant. `negation`: a
    negated expression. `arguments`: the plain arguments of a call. `statement`: one without a body. `branch`: a
    condition with its body. `name`: a variable that is read."""
    start: int
    end: int
    text: str
    parts: tuple[tuple[int, int], ...] = ()
    """Offsets: a negation's operand; each argument; a branch's condition, and its body where there is no `else`."""
    scope: int = 0
    """Offset at which the innermost function around it begins."""


@dataclass(frozen=True, slots=True)
class Call:
    """A definition that code may lead to; `surety` is 0 to 1."""

    path: str
    name_path: str
    surety: float
    line: int
    """Where it is mentioned."""


Reference = tuple[tuple[str, str], int, float]
"""((path, name path) of a definition, how often, weight)."""


class IndexedFile(Protocol):
    """A file of a repository's index."""

    @property
    def path(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def is_test(self) -> bool: ...
    @property
    def module(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def words(self) -> Counter[str]: ...
    @property
    def heads(self) -> tuple[Definition, ...]: ...
    def signature(self, head: Definition) -> str: ...


class Index(Protocol):
    """What a repository's files define, as `forklock.tools.index.files` reads them."""

    @property
    def files(self) -> Mapping[str, IndexedFile]: ...
    @property
    def defined(self) -> Mapping[str, Sequence[tuple[str, Definition]]]: ...
    @property
    def modules(self) -> Mapping[str, str]: ...


# --- which definition a name means ------------------------------------------------------------------

D = TypeVar("D", bound=Definition | Symbol)


def meant(name_path: str, known: Sequence[D]) -> list[D]:
    """Definitions of that name path, else those that end in it; a class stands for its constructor, too."""
    exact = [d for d in known if d.name_path == name_path]
    ending = [d for d in known if d.name_path.endswith(f".{name_path}")]
    outer = [d for d in ending if all(o is d or o.name_path.startswith(f"{d.name_path}.") for o in ending)]
    return exact[:1] or outer or ending


def the_definition(path: str, known: Sequence[D], name_path: str) -> D:
    """The definition of that name path, or the only one that ends in it.

    Raises:
        EditRefused: none (near names are given) or several.
    """
    found = meant(name_path, known)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(d.name_path for d in found[:10])
        raise EditRefused(f"{name_path!r} is not clear in {path}. Write one of: {names}.")
    raise EditRefused(
        f"{path} has no definition {name_path!r}.{_near(name_path, [d.name_path for d in known])}"
    )


def _near(name_path: str, known: list[str]) -> str:
    last = {name.rpartition(".")[2]: name for name in reversed(known)}
    near = difflib.get_close_matches(name_path, known, 5, 0.5)
    near += [last[n] for n in difflib.get_close_matches(name_path.rpartition(".")[2], list(last), 5, 0.6)]
    names = ", ".join(dict.fromkeys(near or known[:10]))
    if not names:
        return " It defines nothing: use search/replace or replace the whole file."
    return f" {'Near names' if near else 'It defines'}: {names}."

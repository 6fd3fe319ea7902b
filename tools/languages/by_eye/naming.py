"""What a language says about a change of names; here what is known of any language, without a parser.

In: a path, a text, a name. Out: in what kind of text the name is written, whether a new name is free, and which
definitions have to keep one name. Scopes and classes are known to the languages that override this. Pure.
"""

# ruff: noqa: ARG002
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import ClassVar, Literal, NamedTuple, TypeAlias

from forklock.tools.contract import Symbol
from forklock.tools.languages.by_eye.reading import RESERVED

Kind = Literal["code", "named", "prose"]
Word: TypeAlias = tuple[int, int, str]
"""Where a whole word stands: line (from 1), column (from 0, code points), and the line's text."""

CALLED_FOR: Mapping[str, str] = {
    "test runners": r"test|Test",
    "dispatchers of a library": r"(?:visit|depart|do|handle|on|setup|teardown)_[A-Za-z]",
}
"""Who looks for definitions by name → pattern of the names."""
_PROSE = frozenset({"", ".md", ".markdown", ".rst", ".txt", ".adoc", ".csv", ".tsv", ".svg", ".log"})
DOCTEST = re.compile(r"\s*(?:[/*!#]+\s*)?(?:>>>|\.\.\. )")
DIRECTIVE = re.compile(r"//(?:go:|export\b|line\b)|#\s*type:|[@{]\s*link\b")
_SOMETIMES_NAMES = frozenset({
    "any", "from", "get", "is", "match", "object", "of", "set", "string", "symbol", "type", "number", "range", "map",
})  # fmt: skip
"""Words that only some languages keep to themselves."""


class Mention(NamedTuple):
    """In what kind of text a word stands."""

    kind: Kind
    why: str = ""
    """For `named`: in what it is named."""


class Classes:
    """The classes of a workspace, joined where one is a base of the other. None are known here."""

    def __init__(self) -> None:
        self.protocols: set[str] = set()
        """Bare names of classes that others fit without saying so."""

    def family(self, name: str) -> set[str]:
        """Return the bare names of the classes that may share a member with this one."""
        return set()

    def outer_bases(self, name: str) -> list[tuple[str, str]]:
        """Return (file, base as written) for each base that is no class of the workspace, of this class and those that
        are joined with it."""
        return []


class Naming:
    """Names of a language that is not known, and what the known ones have in common."""

    edits_uses: ClassVar[bool] = False
    """Whether a use that the server left out can be renamed by us: code is told from strings and comments exactly."""

    def mentions(self, path: str, text: str, name: str, words: Sequence[Word]) -> Iterator[Mention]:
        """Yield the kind of text that each place stands in."""
        prose = PurePosixPath(path).suffix.lower() in _PROSE
        own = re.escape(name)
        key = re.compile(rf"^\s*(?:-\s+)?[\"']?{own}[\"']?\s*[:=]|[:=]\s*[\"']?{own}[\"']?\s*,?$")
        quoted = re.compile(rf"[\"'`]{own}[\"'`]")
        for _, column, line in words:
            if prose:
                why = "a doctest" if DOCTEST.match(line) else ""
            else:
                why = "data" if quoted.search(line) or key.search(line) or hinted(line, column, name) else ""
            yield Mention("named" if why else "prose", why)

    def problem(self, new: str) -> str:
        """Return why a word cannot be a name; "" where it can."""
        if not re.fullmatch(r"[^\W\d][\w$]*|[$_][\w$]*", new):
            return no_name(new)
        return f"{new} is a keyword" if new in RESERVED - _SOMETIMES_NAMES else ""

    def changed_meaning(self, before: str, after: str, old: str, new: str) -> tuple[int, str] | None:
        """Return (line of the scope, what is wrong) where a name stands for something else after a rename. None where
        nothing changed, and where scopes are not known: then servers are asked."""
        return None

    knows_scopes: ClassVar[bool] = False
    """Whether `changed_meaning` sees what a new name captures in a file."""

    def half_renamed(self, before: str, after: str, old: str, new: str) -> int | None:
        """Return a line of a scope in which only some of several bindings were renamed."""
        return None

    def exports(self, text: str, name: str) -> Iterator[tuple[int, int]]:
        """Yield (line, column) of the name in the module's list of what it exports."""
        yield from ()

    def moves_export(self, before: str, after: str, old: str, new: str) -> bool:
        """Return whether a rename changed the module's own binding of the name, and left none with the old name."""
        return False

    def is_local(self, symbol: Symbol, kinds: Mapping[str, str]) -> bool:
        """Return whether code outside of its function cannot name the symbol. `kinds` are those of the file's
        definitions, by name path."""
        return False

    def relation(self, symbol: Symbol, other: Symbol, family: Iterable[str]) -> str:
        """Return why `other` may have to keep the name of `symbol`; "" where it is a definition of its own."""
        return ""

    def classes(self, texts: Iterable[tuple[str, str]]) -> Classes:
        """Read the classes of (path, text) pairs."""
        return Classes()

    def found_by_parameter(self, line: str) -> bool:
        """Return whether a definition that begins with this line can be asked for by a parameter's name."""
        return False


def no_name(new: str) -> str:
    return f"{new!r} is no name; give the last part alone, as `total` for `Cart.total`"


def names(inner: str, name: str) -> bool:
    """Return whether a string is the name, or a path to it (`pkg.mod:name`)."""
    plain = inner.strip()
    return plain == name or re.fullmatch(r"[\w$.:#\[\]()>*-]*[\w)\]]", plain) is not None


def hinted(line: str, column: int, name: str) -> bool:
    """Return whether the text around the word makes it code: `x.name`, `name(`, `{name}`, `%(name)s`, `$name`."""
    before, after = line[:column], line[column + len(name) :]
    return bool(
        re.search(r"(?:[\w)\]]\??\.|->|::|[\w.]:|\{\{?\s*|%\(|\$|%\{|@)$", before)
        or re.match(r"\(|\.\w|\[[\w'\"]|::|->", after)
    )

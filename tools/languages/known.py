"""The languages that are known, and what is asked of a file by its path.

To add one, write its file and put it into `LANGUAGES` (docs/design.md, "How to add a language").
"""

from __future__ import annotations

import json
import tomllib
from functools import lru_cache
from pathlib import PurePosixPath

from forklock.tools.contract import Symbol
from forklock.tools.languages.c import C_AND_CPP
from forklock.tools.languages.definitions import SyntaxProblem, Target, meant
from forklock.tools.languages.go import GO
from forklock.tools.languages.language import Language
from forklock.tools.languages.python.language import PYTHON
from forklock.tools.languages.ruby import RUBY
from forklock.tools.languages.rust import RUST
from forklock.tools.languages.script import SCRIPTS
from forklock.tools.languages.text import lf, line_at, lines_of


class Json(Language):
    def check(self, text: str, target: Target | None = None) -> SyntaxProblem | None:  # noqa: ARG002
        return _json(text)


class Toml(Language):
    def check(self, text: str, target: Target | None = None) -> SyntaxProblem | None:  # noqa: ARG002
        return _toml(text)


def _json(text: str) -> SyntaxProblem | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return SyntaxProblem(error.lineno, error.colno - 1, error.msg, line_at(text, error.lineno))
    except (RecursionError, ValueError) as error:
        return SyntaxProblem(0, 0, str(error) or f"too deeply nested ({type(error).__name__})", "")
    return None


def _toml(text: str) -> SyntaxProblem | None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at line ")
        line = int(place.split(",")[0]) if place[:1].isdigit() else len(text.split("\n"))
        return SyntaxProblem(line, 0, message, line_at(text, line))
    except (RecursionError, ValueError) as error:
        return SyntaxProblem(0, 0, str(error) or f"too deeply nested ({type(error).__name__})", "")
    return None


LANGUAGES: tuple[Language, ...] = (PYTHON, *SCRIPTS, *C_AND_CPP, GO, RUST, RUBY)
DATA = (Json("", (".json",)), Toml("", (".toml",)))
"""No code, but a text that does not parse is refused."""
_BY_SUFFIX = {suffix: language for language in (*LANGUAGES, *DATA) for suffix in language.suffixes}
_UNKNOWN = Language()


@lru_cache(maxsize=65_536)
def language_of(path: str) -> Language:
    """Return the language of a file, by its name; for one that is not known, a language that knows nothing."""
    return _BY_SUFFIX.get(PurePosixPath(path).suffix, _UNKNOWN)


def symbols(path: str, text: str) -> list[Symbol]:
    """Return all definitions, in source order, an outer one before its members. [] where the language is not known."""
    found = language_of(path).outline(lf(text))
    return [Symbol(path, d.name_path, d.kind, d.start_line, d.end_line) for d in found]


def find_symbol(path: str, text: str, name_path: str) -> Symbol | None:
    """Return the symbol of that name path; else the only one that ends in it (`m` finds `C.m`)."""
    found = meant(name_path, symbols(path, text))
    return found[0] if len(found) == 1 else None


def enclosing(path: str, text: str, line: int) -> Symbol | None:
    """Return the innermost definition that holds a line; None at module level."""
    holding = [s for s in symbols(path, text) if s.start_line <= line <= s.end_line]
    return min(holding, key=lambda s: (s.end_line - s.start_line, -s.start_line), default=None)


def symbol_source(text: str, symbol: Symbol) -> str:
    """Return its lines as they stand, decorators included, indentation and line ends kept."""
    return "".join(lines_of(text)[symbol.start_line - 1 : symbol.end_line])


def signature(text: str, symbol: Symbol) -> str:
    """Return one line: `async def f(a: int = 1) -> str`, or what else stands before the body."""
    return language_of(symbol.path).signature(lf(text), symbol)


def doc(text: str, symbol: Symbol) -> str:
    """Return the documentation: a docstring, or the comment before it; "" where there is none."""
    return language_of(symbol.path).doc(lf(text), symbol)


def check_syntax(path: str, text: str, target: Target | None = None) -> SyntaxProblem | None:
    """Return the first reason why `text` does not parse as what `path` says it is. None also for kinds of file that are
    not known here.

    Args:
        target: the version of the language that counts; this interpreter's for Python where nothing says which.
    """
    return language_of(path).check(text, target)

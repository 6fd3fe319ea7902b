"""One definition of a repo, by the name that somebody wrote (room `tools/`).

In: a root, a name path or its end, perhaps a file. Out: `Symbol`s, or a fault that names what was meant.
In the languages that are read by the text alone, so that it answers at once; others by
their server, where one is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from forklock.tools.contract import EditRefused, Freshness, LookupAnswer, Symbol, ToolFault
from forklock.tools.files import read_document
from forklock.tools.index.files import CodeIndex, load_index
from forklock.tools.languages.definitions import meant
from forklock.tools.languages.known import language_of, symbols
from forklock.tools.languages.text import to_lf
from forklock.tools.paths import resolve

_NUMBER = re.compile(r"#\d+$")
NAMED = 12
"""Choices that a fault spells out."""


class NoSuchSymbol(ToolFault):
    """No definition, or several, of that name. The fix lists what could have been meant."""

    exit_code = 2


def read_source(root: Path, path: str) -> str:
    """The text of a workspace file, LF line ends.

    Raises:
        NoSuchSymbol: outside the workspace, in `.git` or `.forklock`, no such file, or no text.
    """
    try:
        file = resolve(root, path)
        if not file.is_file():
            raise NoSuchSymbol(f"there is no file {path}", fix="name it relative to the root")
        return to_lf(read_document(file, path).text)
    except EditRefused as refused:
        raise NoSuchSymbol(refused.message) from refused


class Definitions(Protocol):
    """What language servers say of definitions (`forklock.tools.lsp.Intel`)."""

    def outline(self, path: str) -> list[Symbol] | LookupAnswer: ...

    def named(self, name_path: str, path: str | None = None) -> tuple[Symbol, str] | LookupAnswer: ...


Servers = Callable[[], Definitions]
"""Opens the language servers, where they are needed."""


def file_symbols(root: Path, path: str, servers: Servers | None = None) -> list[Symbol]:
    """The definitions in a file, in source order.

    Raises:
        NoSuchSymbol: as `read_source`, or a language that is not known here and no servers.
        ToolFault: the servers do not answer.
    """
    text = read_source(root, path)
    if language_of(path).reads:
        return symbols(path, text)
    if servers is None:
        raise NoSuchSymbol(f"without a language server the definitions in {path} are not known")
    found = servers().outline(path)
    if isinstance(found, LookupAnswer):
        raise ToolFault(f"{path}: {found.freshness.value}: {found.detail}")
    return found


def find_symbols(index: CodeIndex, name: str) -> list[Symbol]:
    """Definitions of that name path, else those that end in it, else those whose name contains it."""
    found = list(_ending_in(index, name))
    exact = [symbol for symbol in found if symbol.name_path == name]
    return exact or found or list(_alike(index, name))


def the_symbol(root: Path, name: str, path: str | None = None, servers: Servers | None = None) -> Symbol:
    """The only definition of that name in the repo, or in the file `path`. Where no file that is read here has it, the
    `servers` are asked.

    Raises:
        NoSuchSymbol: none or several; no such file.
        ToolFault: the servers do not answer.
    """
    if path is not None:
        found = file_symbols(root, path, servers)
        fitting = meant(name, found)
        if len(fitting) == 1:
            return fitting[0]
        last = name.rpartition(".")[2]
        alike = [s for s in found if s.name_path.rpartition(".")[2] == last]
        raise _not_one(f"there is no one definition {name!r} in {path}", alike or found)
    index = load_index(root)
    choices = list(_ending_in(index, name))
    exact = [symbol for symbol in choices if symbol.name_path == name]
    fitting = exact or meant(name, choices)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise _not_one(f"{name!r} is defined {len(fitting)} times", fitting)
    if servers is not None:
        return _told(servers().named(name))
    raise _not_one(f"there is no definition {name!r}", list(_alike(index, name)))


def _told(answer: tuple[Symbol, str] | LookupAnswer) -> Symbol:
    if not isinstance(answer, LookupAnswer):
        return answer[0]
    if answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise ToolFault(f"{answer.freshness.value}: {answer.detail}")
    raise NoSuchSymbol(answer.detail)


def _not_one(message: str, choices: list[Symbol]) -> NoSuchSymbol:
    if not choices:
        return NoSuchSymbol(message)
    names = ", ".join(f"{symbol.path}:{symbol.name_path}" for symbol in choices[:NAMED])
    more = f" and {len(choices) - NAMED} more" if len(choices) > NAMED else ""
    return NoSuchSymbol(message, fix=f"name one of {names}{more}")


def _ending_in(index: CodeIndex, name: str) -> Iterator[Symbol]:
    last = _NUMBER.sub("", name.rpartition(".")[2])
    for path, file in index.files.items():
        if last and last in file.text:
            for symbol in symbols(path, file.text):
                if symbol.name_path == name or symbol.name_path.endswith(f".{name}"):
                    yield symbol


def _alike(index: CodeIndex, name: str) -> Iterator[Symbol]:
    """Names that contain it, case aside."""
    last = name.rpartition(".")[2].casefold()
    for path, file in index.files.items():
        if last and last in file.text.casefold():
            for symbol in symbols(path, file.text):
                if last in symbol.name_path.rpartition(".")[2].casefold():
                    yield symbol

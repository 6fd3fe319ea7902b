"""One definition of a repo, by the name that somebody wrote (room `tools/`).

In: a root, a name path or its end, perhaps a file. Out: `Symbol`s, or a fault that names what was meant.
By the text alone, so it answers at once: no language server is asked. Not covered: other languages.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.codeindex import CodeIndex, load_index
from tools.contract import EditRefused, Symbol, ToolFault
from tools.symbols import find_symbol, symbols
from tools.workspace import is_python, read_document, resolve, to_lf

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


def file_symbols(root: Path, path: str) -> list[Symbol]:
    """The definitions in a file, in source order.

    Raises:
        NoSuchSymbol: as `read_source`, or no Python file.
    """
    text = read_source(root, path)
    if not is_python(path):
        raise NoSuchSymbol(f"definitions are known in Python files only, and {path} is none")
    return symbols(path, text)


def find_symbols(index: CodeIndex, name: str) -> list[Symbol]:
    """Definitions of that name path, else those that end in it, else those whose name contains it."""
    found = list(_ending_in(index, name))
    exact = [symbol for symbol in found if symbol.name_path == name]
    return exact or found or list(_alike(index, name))


def the_symbol(root: Path, name: str, path: str | None = None) -> Symbol:
    """The only definition of that name in the repo, or in the file `path`.

    Raises:
        NoSuchSymbol: none or several; no such file.
    """
    if path is not None:
        found = file_symbols(root, path)
        one = find_symbol(path, read_source(root, path), name)
        if one is not None:
            return one
        last = name.rpartition(".")[2]
        alike = [s for s in found if s.name_path.rpartition(".")[2] == last]
        raise _not_one(f"there is no one definition {name!r} in {path}", alike or found)
    index = load_index(root)
    choices = list(_ending_in(index, name))
    exact = [symbol for symbol in choices if symbol.name_path == name] or choices
    if len(exact) == 1:
        return exact[0]
    if exact:
        raise _not_one(f"{name!r} is defined {len(exact)} times", exact)
    raise _not_one(f"there is no definition {name!r}", list(_alike(index, name)))


def _not_one(message: str, choices: list[Symbol]) -> NoSuchSymbol:
    if not choices:
        return NoSuchSymbol(message)
    names = ", ".join(f"{symbol.path}:{symbol.name_path}" for symbol in choices[:NAMED])
    more = f" and {len(choices) - NAMED} more" if len(choices) > NAMED else ""
    return NoSuchSymbol(message, fix=f"name one of {names}{more}")


def _ending_in(index: CodeIndex, name: str) -> Iterator[Symbol]:
    last = name.rpartition(".")[2].partition("#")[0]
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

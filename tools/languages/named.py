"""The definitions that a name path means, and near names where there are none (room `tools/`)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from forklock.tools.contract import EditRefused


class Named(Protocol):
    @property
    def name_path(self) -> str: ...


D = TypeVar("D", bound=Named)


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

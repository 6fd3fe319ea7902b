"""Which of several definitions of one name an edit means in languages with braces: accessors, overloads, twins.

Comes in: the definition that a name path names, all that share the name, and the new source's own. Goes out: pairs of
an original and what replaces it, or `EditRefused` that lists what there is. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forklock.tools.contract import EditRefused
from forklock.tools.languages.outline import Braced
from forklock.tools.languages.treesitter import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node

Pairs = list[tuple[Braced, list[Braced]]]


@dataclass(frozen=True, slots=True)
class _Role:
    """What a definition is to others of its name."""

    words: tuple[str, ...]
    """`get`, `set` and `static`, where it has them."""
    body: bool
    parameters: str

    @property
    def accessor(self) -> str:
        return next((word for word in self.words if word in {"get", "set"}), "")


def pairs(
    file: Parsed, target: Braced, family: list[Braced], written: Parsed, new: Sequence[Braced], *, exact: bool
) -> Pairs:
    """Pair originals with what replaces them.

    Args:
        exact: the name path has a number.

    Raises:
        EditRefused: nothing tells which one is meant.
    """
    had = [_role(file, one) for one in family]
    given = [_role(written, one) for one in new]
    own = _role(file, target)
    if len(new) == 1:
        return [
            (_the_one(target, own, list(zip(family, had, strict=True)), given[0], exact=exact), list(new))
        ]
    if len(family) == 1:
        if own.accessor not in {role.accessor for role in given}:
            raise _unclear(family, had, f"{target.name_path} is the `{own.accessor or 'plain'}` one")
        return [(target, list(new))]
    words = [role.words for role in had]
    if len(set(words)) == len(words) and len({r.words for r in given}) == len(given):
        by_words = dict(zip(words, family, strict=True))
        if all(role.words in by_words for role in given):
            return [(by_words[role.words], [one]) for role, one in zip(given, new, strict=True)]
    if len(new) == len(family) and words == [role.words for role in given]:
        return [(old, [one]) for old, one in zip(family, new, strict=True)]
    what = f"The source defines {target.name} {len(new)} times, the file {len(family)} times"
    raise _unclear(family, had, what)


def _the_one(
    target: Braced, own: _Role, known: list[tuple[Braced, _Role]], new: _Role, *, exact: bool
) -> Braced:
    family, roles = [one for one, _ in known], [role for _, role in known]
    if len(family) == 1:
        if own.accessor and new.accessor and own.accessor != new.accessor:
            what = (
                f"{target.name_path} is the `{own.accessor}` one, and the source is the `{new.accessor}` one"
            )
            raise _unclear(family, roles, what)
        return target
    alike = [one for one, role in known if (role.words, role.body) == (new.words, new.body)]
    same = [one for one, role in known if one in alike and role.parameters == new.parameters]
    if target in same or alike == [target] or (exact and own.words == new.words and not same):
        return target
    fitting = same if len(same) == 1 else alike
    if len(fitting) == 1 and not exact:
        return fitting[0]
    if not alike and own.words == new.words:
        return target
    raise _unclear(family, roles, f"The source's ({_told(new)}) is not {target.name_path} ({_told(own)})")


def _role(parsed: Parsed, one: Braced) -> _Role:
    words = tuple(c.type for c in one.node.children if c.type in {"get", "set", "static"})
    parameters = _parameters(one.node)
    text = "".join(parsed.text(parameters).split()) if parameters is not None else ""
    return _Role(words, one.body is not None, text)


def _parameters(node: Node) -> Node | None:
    found: Node | None = node
    while found is not None:
        if (parameters := found.child_by_field_name("parameters")) is not None:
            return parameters
        found = found.child_by_field_name("declarator") or found.child_by_field_name("value")
    return None


def _told(role: _Role) -> str:
    words = " ".join(role.words)
    return f"{words} {role.parameters}".strip() + ("" if role.body else ", without a body")


def _unclear(family: Sequence[Braced], roles: Sequence[_Role], words: str) -> EditRefused:
    known = zip(family, roles, strict=True)
    names = ", ".join(
        f"{one.plain}#{one.number} (line {one.head_line}: {_told(role)})" for one, role in known
    )
    return EditRefused(f"{words}. Send one edit for each, named as here: {names}.")

"""Which of several definitions of one name an edit means: a property's getter or setter, an overload, a twin.

Comes in: the definition that a name path names, all that share the name, and the new source's own. Goes out: the
original that it replaces, or `EditRefused` that lists what there is. Decorators tell accessors, overloads and
registrations apart; without them the number of parameters does. Pure.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Definition
from forklock.tools.languages.python.outline import Function
from forklock.tools.languages.python.source import is_stub

_ACCESSORS = ("setter", "deleter", "getter")
_GETTERS = re.compile(r"(\w+\.)*\w*property(\(.*\))?")


def accessor_of(name_path: str, known: Sequence[Definition]) -> Definition | None:
    """Return the definition that `C.x.setter`, `C.x.deleter` or `C.x.getter` names."""
    base, _, word = name_path.rpartition(".")
    if word not in _ACCESSORS:
        return None
    same = [d for d in known if d.plain == base or d.plain.endswith(f".{base}")]
    found = [d for d in same if role(d.node) == word]
    return found[0] if len(found) == 1 else None


def require_single(target: Definition, family: Sequence[Definition]) -> None:
    """For text that does not parse, where decorators are not known.

    Raises:
        EditRefused: there are several of that name.
    """
    if len(family) > 1:
        names = ", ".join(
            f"{d.name_path if '#' in d.name_path else d.name_path + '#1'} (line {d.start_line})"
            for d in family
        )
        raise EditRefused(f"There are several {target.name_path}. Write one of: {names}.")


def require_in(target: Definition, family: Sequence[Definition], nodes: Sequence[ast.stmt]) -> None:
    """
    Raises:
        EditRefused: none of several new definitions is what the only one of its name was.
    """
    if role(target.node) not in {role(node) for node in nodes}:
        raise unclear(target, family, f"The source does not hold the {_told(target.node)}")


def role(node: ast.stmt | None) -> str:
    """Return what a function is to others of its name: getter, setter, deleter, overload, register or plain."""
    for words in _decorators(node):
        last = words.partition("(")[0].rpartition(".")[2]
        if last in _ACCESSORS and "." in words:
            return last
        if _GETTERS.fullmatch(words):
            return "getter"
        if last in {"overload", "register"}:
            return last
    return "plain"


def meant_by(target: Definition, family: Sequence[Definition], new: ast.stmt, *, exact: bool) -> Definition:
    """Return the definition of a family that a new one replaces.

    Args:
        exact: the name path says which one, with a number or an accessor's word.

    Raises:
        EditRefused: nothing tells which one is meant.
    """
    old = target.node
    if not _decorators(new):
        _require_fitting(target, family, new)
        return target
    if key(new) == key(old) or (role(new) == role(old) and len(family) == 1):
        return target
    same = [d for d in family if key(d.node) == key(new)] or [
        d for d in family if role(d.node) == role(new) and role(new) in _ACCESSORS
    ]
    if len(same) == 1 and not exact:
        return same[0]
    if role(new) == role(old) == "plain" and not same:
        return target
    if len(family) == 1 and role(new) not in {"setter", "deleter", "overload"}:
        return target
    raise unclear(target, family, f"{target.name_path} is the {_told(old)}, and the source the {_told(new)}")


def _require_fitting(target: Definition, family: Sequence[Definition], new: ast.stmt) -> None:
    """Source without decorators takes the original's; its parameters must not be those of another of the family.

    Raises:
        EditRefused: it is another one, or an implementation for an overload's stub.
    """
    old = target.node
    if not isinstance(old, Function) or not isinstance(new, Function):
        if role(old) in {"setter", "deleter", "overload"}:
            raise unclear(
                target, family, f"{target.name_path} is the {_told(old)}, the source is no function"
            )
        return
    counts = {_required(d.node) for d in family if isinstance(d.node, Function)}
    if role(old) in {"getter", *_ACCESSORS}:
        wanted = {"setter": 2}.get(role(old), 1)
        wrong = _required(new) != wanted and _required(old) == wanted
    else:
        wrong = len(counts) > 1 and _required(new) != _required(old) and _required(new) in counts
    if role(old) == "overload" and not is_stub(new):
        raise unclear(target, family, f"{target.name_path} is an overload's stub, and the source has a body")
    if wrong:
        words = f"{target.name_path} is the {_told(old)}, and the source takes other parameters"
        raise unclear(target, family, words)


def _required(node: ast.stmt | None) -> int:
    """Return how many positional parameters have no default; the receiver counts."""
    if not isinstance(node, Function):
        return -1
    return len(node.args.posonlyargs) + len(node.args.args) - len(node.args.defaults)


def key(node: ast.stmt | None) -> tuple[str, ...]:
    """Return what tells a definition from others of its name: its decorators, and what it is registered for."""
    key = tuple(_decorators(node))
    if role(node) == "getter":
        return ("getter",)
    if role(node) == "register" and isinstance(node, Function):
        args = [*node.args.posonlyargs, *node.args.args]
        first = next((a.annotation for a in args if a.arg not in {"self", "cls"}), None)
        return (*key, ast.unparse(first) if first else "")
    if role(node) == "overload" and isinstance(node, Function):
        return (*key, ast.unparse(node.args))
    return key


def _decorators(node: ast.stmt | None) -> list[str]:
    return [ast.unparse(d) for d in node.decorator_list] if isinstance(node, Function | ast.ClassDef) else []


def _told(node: ast.stmt | None) -> str:
    found = role(node)
    if found in {"getter", *_ACCESSORS}:
        return f"property's {found}"
    marks = _decorators(node)
    return f"one with @{', @'.join(marks)}" if marks else "one without decorators"


def unclear(target: Definition, family: Sequence[Definition], words: str) -> EditRefused:
    names = ", ".join(f"{d.name_path} (line {d.start_line}, the {_told(d.node)})" for d in family)
    return EditRefused(
        f"{words}. Send one edit for each, with all of its decorators. {target.plain} is: {names}."
    )

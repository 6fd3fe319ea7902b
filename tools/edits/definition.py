"""Replace one definition by new source, taking a model's answer as it is meant, in every language that has an `Editor`.

The source may come at any indentation, with extra imports before it (hoisted if used and missing), with helper
definitions (inserted before it), inside its class's header, and without decorators, comments, attributes, `export` and
the like that the original has (kept). Anything else that it would change is refused, never dropped in silence. At the
end everything that the edit does not name is compared with what it was. Texts here have LF line ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Definition, Target
from forklock.tools.languages.editor import Editor, Splice, Written, applied, indent_of
from forklock.tools.languages.known import language_of

Pairs = list[tuple[Definition, Sequence[Definition]]]


def replace_definition(
    path: str, text: str, name_path: str, source: str, version: Target | None = None
) -> str:
    """Return `text` with the definition at `name_path` replaced by the one in `source`.

    Args:
        version: the one of the language that the repository runs on, where something says it.

    Raises:
        EditRefused: no such definition (near names are given), the source does not parse, defines another
            name, or changes other definitions too.
    """
    editor = language_of(path).editor(path, text, version)
    target, exact = editor.target(name_path)
    _require_own_lines(editor, target)
    written = editor.read(target, source)
    if isinstance(written, str):
        return written
    family = sorted((d for d in editor.known if d.plain == target.plain), key=lambda d: d.start_line)
    paired = _pairs(editor, target, family, written.targets, exact)
    splices = []
    for old, new in paired:
        _require_own_lines(editor, old)
        splices.append(Splice(old.start_line - 1, old.end_line, editor.replaced(old, new, written)))
    splices += _inserted(editor, target, written)
    after, given = applied(editor.lines, splices)
    taken = [(splice.start + 1, splice.end) for splice in splices]
    editor.require_rest_same(target, [old for old, _ in paired], after, taken, given)
    return after


def _require_own_lines(editor: Editor[Any], one: Definition) -> None:
    if editor.shares_line(one):
        raise EditRefused(
            f"{one.name_path} in {editor.path} shares a line with other code: use search/replace."
        )


def _pairs(
    editor: Editor[Any],
    target: Definition,
    family: Sequence[Definition],
    new: Sequence[Definition],
    exact: bool,
) -> Pairs:
    """Pair originals with what replaces them: a property's getter or setter, an overload, a twin.

    Args:
        exact: the name path says which one.

    Raises:
        EditRefused: nothing tells which one is meant.
    """
    if len(new) == 1:
        return [(editor.meant_by(target, family, new[0], exact), new)]
    if len(family) == 1:
        editor.require_in(target, family, new)
        return [(target, new)]
    had, given = [editor.role(one) for one in family], [editor.role(one) for one in new]
    if had == given:
        return [(old, [one]) for old, one in zip(family, new, strict=True)]
    by_role = dict(zip(had, family, strict=True))
    if len(by_role) == len(family) and len(set(given)) == len(given) and set(given) <= set(by_role):
        return [(by_role[role], [one]) for role, one in zip(given, new, strict=True)]
    words = f"The source defines {target.name} {len(new)} times, the file {len(family)} times"
    raise editor.unclear(target, family, words)


def _inserted(editor: Editor[Any], target: Definition, written: Written[Any]) -> list[Splice]:
    """Return helpers before the definition (members in its class, others before the outermost one), and imports."""
    outermost = editor.outermost(target)
    splices: list[Splice] = []
    for found, scope, before in (
        (written.members, target.container, target),
        (written.others, "", outermost),
    ):
        fresh = _fresh(editor, found, scope)
        if not fresh:
            continue
        editor.require_new_names(scope, fresh)
        row, made = editor.row_before(before), list[str]()
        indent = indent_of(editor.lines[before.start_line - 1])
        for one, after in pairwise([*fresh, None]):
            assert one is not None
            values = after is not None and one.kind == after.kind == "variable"
            made += editor.moved(one, written, indent) + [""] * (0 if values else editor.blank_before(scope))
        splices.append(Splice(row, row, made))
    return splices + editor.imported(written, outermost)


def _fresh(editor: Editor[Any], found: Sequence[Definition], scope: str) -> list[Definition]:
    """Return those that the file does not have yet. One that it has must be the same, or an empty stub."""
    fresh = []
    for one in found:
        places = editor.places(one, scope)
        old = [d for d in editor.known if d.plain in places]
        if not old:
            fresh.append(one)
        elif not editor.is_stub(one) and not any(editor.same(d, one) for d in old):
            raise EditRefused(
                f"The source changes {old[0].name_path} too. Send one edit for each definition, "
                "and only the named one in it."
            )
    return fresh

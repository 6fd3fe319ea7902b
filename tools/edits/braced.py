"""Replace one definition by new source in languages with braces, as `forklock.tools.edits.definition` does for Python.

The source may come at any indentation, in its class's header, with imports (hoisted if used and missing) and with
helper definitions (put before it). Comments and attributes above, decorators, `export`, `template <…>` and `pub` that
the original has and the source lacks are kept. An edit that would change another definition is refused.

What C and C++ macros break stays open to edits: there the new source may have errors where the old one has some, and
other definitions are not compared. Texts here have LF line ends.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forklock.tools.contract import EditRefused
from forklock.tools.edits.braced_family import pairs
from forklock.tools.edits.braced_splices import File, Splice, above_lines, apply, holds, moved, tail_of
from forklock.tools.edits.companions import inserted
from forklock.tools.edits.reindent import STEPS, Passage, indent_of
from forklock.tools.edits.source import Unreadable, Written, read_source, string_rows
from forklock.tools.languages.named import the_definition
from forklock.tools.languages.outline import Braced, outline
from forklock.tools.languages.treesitter import Parsed, parse_tree

if TYPE_CHECKING:
    from tree_sitter import Node

_TAIL = re.compile(r"\s*[;,]?\s*(?://.*|/\*.*\*/\s*)?")
_DOC = ("/**", "///", "/*!", "//!")
_SPECS = {"type_spec", "type_alias", "const_spec", "var_spec", "variable_declarator"}


def replace_braced(path: str, text: str, name_path: str, source: str) -> str:
    """`text` with the definition at `name_path` replaced by the one in `source`.

    Raises:
        EditRefused: no such definition (near names are given), the source does not parse, defines another
            name, or changes other definitions too.
    """
    suffix = PurePosixPath(path).suffix
    file = File(suffix, text, parse_tree(suffix, text), outline(suffix, text))
    target = the_definition(path, file.known, name_path.removesuffix("#1"))
    _require_own_lines(path, file, target)
    read = read_source(suffix, target, source, strict=not target.whole.has_error)
    if isinstance(read, Unreadable):
        raise _refusal(file, target, source, read)
    family = [one for one in file.known if one.plain == target.plain]
    exact = "#" in name_path.rpartition(".")[2]
    paired = pairs(file.parsed, target, family, read.parsed, read.targets, exact=exact)
    for old, _ in paired:
        _require_own_lines(path, file, old)
    splices = [_splice(file, old, new, read) for old, new in paired]
    splices += inserted(file, target, read)
    after = apply(file.lines, splices)
    if not file.parsed.root.has_error:
        _require_others_same(file, target, [old for old, _ in paired], after)
    return after


def _require_own_lines(path: str, file: File, target: Braced) -> None:
    lines = file.lines
    first = target.above[0] if target.above else target.whole
    before = lines[first.start_point[0]].encode("utf-8", "surrogatepass")[: first.start_point[1]]
    if before.strip() or not _TAIL.fullmatch(tail_of(lines, target.whole)):
        raise EditRefused(f"{target.name_path} in {path} shares a line with other code: use search/replace.")


def _refusal(file: File, target: Braced, source: str, read: Unreadable) -> EditRefused:
    if read.flaw is None:
        has = f"defines {', '.join(read.names)}" if read.names else "holds no definition"
        return EditRefused(
            f"The edit is for {target.name_path}, but its source {has}. Give all of {target.name}."
        )
    lines = source.strip("\n").split("\n")
    context = lines[min(read.flaw.line, len(lines)) - 1].strip()
    would_be = apply(file.lines, [Splice(target.head_line - 1, target.end_line, lines)])
    return EditRefused(
        f"The new source of {target.name_path} does not parse: {read.flaw.message} "
        f"(line {read.flaw.line} of your source: {context!r}).",
        would_be=would_be,
    )


# --- the new text --------------------------------------------------------------------------------------


def _splice(file: File, old: Braced, new: Sequence[Braced], read: Written) -> Splice:
    lines = file.lines
    start, end = old.start_line - 1, old.end_line
    lead, indent = indent_of(lines[start]), indent_of(lines[old.head_line - 1])
    unit = Passage(lines, frozenset(string_rows(old.whole))).step(old.head_line - 1, end)
    unit = unit if unit in STEPS else None
    made: list[str] = []
    for one in new[:-1]:
        made += moved(read, one, one.whole, indent, unit)
    last = new[-1]
    outer = last.node if old.whole.type in _SPECS else last.whole
    kept = lead + _kept_above(file.parsed, old, read.parsed, last)
    above = above_lines(read, last, lead)
    code = moved(read, last, outer, indent, unit, above=False)
    before = _beside(read.parsed, last) + _kept_before(file.parsed, old, last)
    code[0] = indent + before + _as_member(old, last, code[0].lstrip())
    made += [line for line in kept.split("\n")[:-1] if kept.strip()] + above + code
    if kept.split("\n")[-1].strip():  # a comment on the line of the code
        made[-len(code)] = kept.split("\n")[-1] + code[0].lstrip()
    tail = tail_of(lines, old.whole)
    made[-1] += "" if tail and made[-1].endswith(tail) else tail
    ended = last.node.type in {"function_declaration", "generator_function_declaration", "class_declaration"}
    if not ended and lines[end - 1].rstrip().endswith(";") and not made[-1].rstrip().endswith(";"):
        made[-1] += ";"
    return Splice(start, end, made)


def _beside(parsed: Parsed, one: Braced) -> str:
    """A comment above that is on the line of the code."""
    row = one.whole.start_point[0]
    start = next((node.start_byte for node in one.above if node.start_point[0] == row), one.whole.start_byte)
    return parsed.data[start : one.whole.start_byte].decode("utf-8", "surrogatepass")


def _kept_above(parsed: Parsed, old: Braced, written: Parsed, new: Braced) -> str:
    """What stands above the original and not above the new one: its text up to the code."""
    comments = [written.text(node) for node in new.above if "comment" in node.type]
    marks = any("comment" not in node.type for node in new.above)
    documented = any(_is_doc(parsed.text(node), old.name) for node in old.above if "comment" in node.type)
    keep_comments = not comments or (documented and not any(_is_doc(one, old.name) for one in comments))
    kept = ""
    for node, after in pairwise([*old.above, old.whole]):
        if parsed.text(node) in comments:
            continue
        if keep_comments if "comment" in node.type else not marks:
            kept += parsed.data[node.start_byte : after.start_byte].decode("utf-8", "surrogatepass")
    return kept


def _is_doc(comment: str, name: str) -> bool:
    """By its marks, or as in Go by its first word."""
    return comment.startswith(_DOC) or comment.lstrip("/* ").startswith(name)


def _kept_before(parsed: Parsed, old: Braced, new: Braced) -> str:
    """Decorators inside the original, `export`, `template <…>` and `pub`, where the new one has none."""
    kept = ""
    decorators = [c for c in (*old.whole.children, *old.node.children) if c.type == "decorator"]
    if decorators and not any(c.type == "decorator" for c in (*new.whole.children, *new.node.children)):
        first, last = decorators[0], decorators[-1]
        after = last.next_sibling or last
        kept += parsed.data[first.start_byte : after.start_byte].decode("utf-8", "surrogatepass")
    for kind in ("export_statement", "template_declaration"):
        if old.whole.type == kind and new.whole.type != kind:
            held = next((c for c in old.whole.named_children if holds(c, old.node)), None)
            start = max(
                [c.end_byte for c in old.whole.children if c.type == "decorator"],
                default=old.whole.start_byte,
            )
            if held is not None:
                kept += parsed.data[start : held.start_byte].decode("utf-8", "surrogatepass").lstrip()
    return kept + _kept_visibility(parsed, old.node, new.node)


def _kept_visibility(parsed: Parsed, old: Node, new: Node) -> str:
    had = [c for c in old.children if c.type == "visibility_modifier"]
    has = any(c.type == "visibility_modifier" for c in new.children)
    return "" if has or not had else f"{parsed.text(had[0])} "


def _as_member(old: Braced, new: Braced, line: str) -> str:
    """A method that was written as a function of its own."""
    if old.node.type == "method_definition" and new.node.type == "function_declaration":
        return re.sub(r"\bfunction\b\s*", "", line, count=1)
    return line


# --- after all -----------------------------------------------------------------------------------------


def _require_others_same(file: File, target: Braced, replaced: Sequence[Braced], after: str) -> None:
    """
    Raises:
        EditRefused: the definition is gone, or another one is not what it was.
    """
    parsed, known = parse_tree(file.suffix, after), outline(file.suffix, after)
    if not any(one.plain == target.plain for one in known):
        raise EditRefused(
            f"The edit would leave no {target.name_path}: its source does not define it where it stands.",
            would_be=after,
        )
    had = Counter(
        (one.plain, file.parsed.text(one.node))
        for one in file.known
        if not any(holds(one.whole, f.whole) or holds(f.whole, one.whole) for f in replaced)
    )
    had.subtract((one.plain, parsed.text(one.node)) for one in known)
    lost = next((plain for (plain, _), count in had.items() if count > 0), None)
    if lost is not None and not parsed.root.has_error:  # what does not parse has a reason of its own
        raise EditRefused(
            f"The edit would change {lost} too. Send one edit for each definition.", would_be=after
        )

"""Which definitions a piece of code in a language with braces leads to, by name.

Comes in: an index, a file and a range of its lines. Goes out: the definitions that are called or named there, with how
sure that is: a member of the receiver's own class or of a variable's type, a name of the same file or folder, or one of
few in the repo. A variable's type is what is written where it is made, what the function that makes it says, or what it
is called like. Not covered: types that are inferred, names that an import changes, and what a local variable hides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from forklock.tools.index.files import CodeIndex, Head
from forklock.tools.languages.outline import Braced, outline
from forklock.tools.languages.treesitter import Parsed, parse_tree

MANY = 6
"""A name with more definitions than this says nothing about an unknown receiver."""
_NAMES = {
    "identifier", "property_identifier", "field_identifier", "type_identifier", "private_property_identifier",
    "shorthand_property_identifier", "namespace_identifier", "package_identifier", "destructor_name",
}  # fmt: skip
_BEFORE = re.compile(r"([\w$]+)(?:\([^()]*\))?\s*(?:\?\.|\.|->|::)\s*$")
_CALL = re.compile(r"\s*(?:::)?(?:<[^<>()]*>)?\s*(?:!\s*)?[({]")
_SELF = {"this", "self", "Self", "super"}
_MADE = re.compile(
    r"\b(?P<var>\w+)\s*(?::=|=|:\s*[\w<>\[\]]+\s*=)\s*(?:new\s+|&|&mut\s+)?(?P<type>[A-Z]\w*)\s*(?:[({<]|::)"
    r"|\b(?P<of>[A-Z]\w*)\s*[&*]?\s+[&*]?(?P<name>\w+)\s*[;({=,)]|\b(?P<arg>\w+)\s*:\s*&?(?:mut\s+)?(?P<its>[A-Z]\w*)"
)
_FROM = re.compile(r"\b(\w+)(?:\s*,\s*\w+)*\s*(?::=|=)\s*(?:await\s+)?(?:[\w$]+\.)*([\w$]+)\(")
_RETURNED = re.compile(r"(?:\)\s*\(?\*?|->\s*&?(?:\w+<)?|\):\s*(?:Promise<)?)([A-Z]\w*)")
_WINDOW = 120


@dataclass(frozen=True, slots=True)
class Mention:
    """A name where it is used."""

    name: str
    receiver: str
    """`a` of `a.b`, "" for a name alone; "?" for what is no name."""
    called: bool
    line: int


@dataclass(frozen=True, slots=True)
class Hit:
    path: str
    name_path: str
    surety: float
    line: int


def braced_calls(index: CodeIndex, path: str, start_line: int, end_line: int) -> list[Hit]:
    """What the lines of a file lead to outside of themselves, in source order."""
    text = index.files[path].text
    suffix = PurePosixPath(path).suffix
    parsed = parse_tree(suffix, text)
    known = outline(suffix, text)
    inside = next((d for d in known if d.start_line <= start_line and end_line <= d.end_line), None)
    made = _made(index, "\n".join(text.split("\n")[start_line - 1 : end_line]))
    if inside is not None and inside.node.type == "method_declaration":  # Go names its receiver
        made |= {
            found[1]: inside.container for found in re.finditer(r"^func \((\w+) ", _line(parsed, inside))
        }
    found: list[Hit] = []
    for mention in mentions(parsed, start_line, end_line):
        scope = inside.container if inside is not None else ""
        for where, head, surety in _resolve(index, path, mention, scope, made):
            if (where, head.name_path) != (path, inside.plain if inside is not None else ""):
                found.append(Hit(where, head.name_path, surety, mention.line))
    return found


def _returned(index: CodeIndex, name: str) -> str:
    """The type that the signature of the only function of that name ends in; "" where none is written there."""
    places = [(p, h) for p, h in index.defined.get(name, ()) if h.kind != "class" and _family(p) >= 0]
    told = {index.files[path].signature(head).partition("(")[2] for path, head in places[:MANY]}
    types = {match[1] for one in told if (match := _RETURNED.search(f"({one}"))}
    return next(iter(types)) if len(types) == 1 else ""


def _line(parsed: Parsed, one: Braced) -> str:
    return parsed.text(one.node).partition("\n")[0]


def _made(index: CodeIndex, code: str) -> dict[str, str]:
    """Variables and the type that is written where they are made or declared, or by the function that makes them."""
    found = {name: kind for name, maker in _FROM.findall(code) if (kind := _returned(index, maker))}
    for match in _MADE.finditer(code):
        name = match["var"] or match["name"] or match["arg"]
        found.setdefault(name, match["type"] or match["of"] or match["its"])
    return found


def mentions(parsed: Parsed, start_line: int, end_line: int) -> Iterator[Mention]:
    """Names in a range of lines, in source order; strings and comments hold none."""
    waiting = [parsed.root]
    while waiting:
        node = waiting.pop()
        if node.end_point[0] + 1 < start_line or node.start_point[0] + 1 > end_line:
            continue
        if node.type in _NAMES and not node.named_children:
            before = parsed.data[max(0, node.start_byte - _WINDOW) : node.start_byte].decode(
                "utf-8", "replace"
            )
            after = parsed.data[node.end_byte : node.end_byte + _WINDOW].decode("utf-8", "replace")
            chained = before.rstrip().endswith((".", "->", "::"))
            receiver = _BEFORE.search(before) if chained else None
            yield Mention(
                parsed.text(node),
                receiver[1] if receiver else "?" if chained else "",
                _CALL.match(after) is not None,
                node.start_point[0] + 1,
            )
        waiting += reversed(node.children)


def _resolve(
    index: CodeIndex, path: str, mention: Mention, scope: str, made: dict[str, str]
) -> list[tuple[str, Head, float]]:
    own = _family(path)
    places = [(where, head) for where, head in index.defined.get(mention.name, ()) if _family(where) == own]
    if not places:
        return []
    receiver = made.get(mention.receiver) or _returned(index, mention.receiver) or mention.receiver
    owner = scope.rpartition(".")[2] if mention.receiver in _SELF else receiver
    if owner and owner != "?":
        held = [(w, h) for w, h in places if f".{h.name_path}".endswith(f".{owner}.{mention.name}")]
        if held:
            return [(where, head, 1.0 / len(held)) for where, head in held]
        if mention.receiver in _SELF and not mention.called:
            return []
        alike = [(w, h) for w, h in places if _owner(h).lower() == owner.lower()]  # `route.match` of `Route`
        if alike:
            return [(where, head, 0.8 / len(alike)) for where, head in alike]
    if not mention.receiver:
        return _bare(path, mention, places)
    others = [(w, h) for w, h in places if not index.files[w].is_test]
    if not mention.called or not 0 < len(others) <= MANY:
        return []
    return [(where, head, 0.8 / len(others)) for where, head in others]


def _owner(head: Head) -> str:
    """The name of the class or module that holds it."""
    return head.name_path.rpartition(".")[0].rpartition(".")[2]


def _bare(path: str, mention: Mention, places: list[tuple[str, Head]]) -> list[tuple[str, Head, float]]:
    """A name alone: of this file, of this folder, or the only one. A method is not called so (but in C++)."""
    plain = [(w, h) for w, h in places if h.kind != "method"] or (places if mention.called else [])
    here = [(w, h) for w, h in plain if w == path]
    folder = PurePosixPath(path).parent
    near = [(w, h) for w, h in plain if PurePosixPath(w).parent == folder]
    chosen = here or near or (plain if len(plain) <= MANY else [])
    surety = 1.0 if mention.called or any(h.kind == "class" for _, h in chosen) else 0.5
    return [(where, head, surety / len(chosen)) for where, head in chosen]


_FAMILIES = (
    {".ts", ".mts", ".cts", ".tsx", ".js", ".jsx", ".mjs", ".cjs"},
    {".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp"},
    {".go"},
    {".rs"},
)


@lru_cache(maxsize=65_536)
def _family(path: str) -> int:
    """Which languages call each other: -1 for none of these."""
    suffix = PurePosixPath(path).suffix
    return next((number for number, family in enumerate(_FAMILIES) if suffix in family), -1)

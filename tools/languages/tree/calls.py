"""Which definitions a piece of code leads to, by name.

Comes in: an index, a file and a range of its lines. Goes out: the definitions that are called or named there, with how
sure that is: a member of the receiver's own class or of a variable's type, a name of the same file or folder, or one of
few in the repo. A variable's type is what is written where it is made, what the function that makes it says, or what it
is called like. Not covered: types that are inferred, names that an import changes, and what a local variable hides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from forklock.tools.languages.definitions import Call, Definition, Index, Parsed
from forklock.tools.languages.language import Calls
from forklock.tools.languages.tree.outline import outline
from forklock.tools.languages.tree.tables import Tables

MANY = 6
"""A name with more definitions than this says nothing about an unknown receiver."""
_BEFORE = re.compile(r"([\w$]+)(?:\([^()]*\))?\s*(?:\?\.|\.|->|::)\s*$")
_CALL = re.compile(r"\s*(?:::)?(?:<[^<>()]*>)?\s*(?:!\s*)?[({]")
_MADE = re.compile(
    r"\b(\w+)\s*(?::=|=|:\s*[\w<>\[\]]+\s*=)\s*(?:new\s+|&|&mut\s+)?([A-Z]\w*)\s*(?:[({<]|::)"
    r"|\b([A-Z]\w*)\s*[&*]?\s+[&*]?(\w+)\s*[;({=,)]|\b(\w+)\s*:\s*&?(?:mut\s+)?([A-Z]\w*)"
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


class TreeCalls(Calls):
    """What code of one language with tables leads to."""

    def __init__(self, index: Index, tables: Tables, group: str) -> None:
        self._index = index
        self._tables = tables
        self._group = group
        self._held: dict[tuple[str, int, int], list[Call]] = {}
        """By path and lines: tests share what they call."""

    def calls(self, path: str, definition: Definition) -> list[Call]:
        key = (path, definition.start_line, definition.end_line)
        if key not in self._held:
            self._held[key] = self._of_lines(*key)
        return self._held[key]

    def set_up(self, path: str, test: Definition) -> list[Call]:
        """Return the methods of a test's class that run before each of its tests."""
        names = {f"{test.container}.{name}" for name in self._tables.set_ups}
        hooks = [d for d in outline(self._tables, self._index.files[path].text) if d.plain in names]
        return [
            replace(call, surety=call.surety * 0.6, line=test.start_line)
            for d in hooks
            for call in self.calls(path, d)
        ]

    def _of_lines(self, path: str, start_line: int, end_line: int) -> list[Call]:
        """Return what the lines of a file lead to outside of themselves, in source order."""
        text = self._index.files[path].text
        parsed = self._tables.tree(text)
        known = outline(self._tables, text)
        inside = next((d for d in known if d.start_line <= start_line and end_line <= d.end_line), None)
        made = self._made("\n".join(text.split("\n")[start_line - 1 : end_line]))
        if inside is not None and (own := self._tables.receiver(parsed.text(inside.node).partition("\n")[0])):
            made[own] = inside.container
        scope = inside.container if inside is not None else ""
        found: list[Call] = []
        for mention in mentions(self._tables, parsed, start_line, end_line):
            for where, head, surety in self._resolve(path, mention, scope, made):
                if (where, head.plain) != (path, inside.plain if inside is not None else ""):
                    found.append(Call(where, head.plain, surety, mention.line))
        return found

    def _returned(self, name: str) -> str:
        """Return the type that the signature of the only function of that name ends in; "" where none is written."""
        places = [
            (p, h) for p, h in self._index.defined.get(name, ()) if h.kind != "class" and self._reads(p)
        ]
        told = {self._index.files[path].signature(head).partition("(")[2] for path, head in places[:MANY]}
        types = {match[1] for one in told if (match := _RETURNED.search(f"({one}"))}
        return next(iter(types)) if len(types) == 1 else ""

    def _reads(self, path: str) -> bool:
        return self._index.files[path].group == self._group

    def _made(self, code: str) -> dict[str, str]:
        """Return variables and the type that is written where they are made or declared, or by what makes them."""
        found = {name: kind for name, maker in _FROM.findall(code) if (kind := self._returned(maker))}
        for match in (self._tables.made or _MADE).finditer(code):
            name, kind = (one for one in match.groups() if one)
            found.setdefault(name, kind)
        return found

    def _resolve(self, path: str, mention: Mention, scope: str, made: dict[str, str]) -> list[_Place]:
        places = [
            (where, head) for where, head in self._index.defined.get(mention.name, ()) if self._reads(where)
        ]
        if not places:
            return []
        own = mention.receiver in self._tables.itself
        receiver = made.get(mention.receiver) or self._returned(mention.receiver) or mention.receiver
        owner = scope.rpartition(".")[2] if own else receiver
        if owner and owner != "?":
            held = [(w, h) for w, h in places if f".{h.plain}".endswith(f".{owner}.{mention.name}")]
            if held:
                return [(where, head, 1.0 / len(held)) for where, head in held]
            if own and not mention.called:
                return []
            alike = [
                (w, h) for w, h in places if _owner(h).lower() == owner.lower()
            ]  # `route.match` of `Route`
            if alike:
                return [(where, head, 0.8 / len(alike)) for where, head in alike]
        if not mention.receiver:
            return _bare(path, mention, places)
        others = [(w, h) for w, h in places if not self._index.files[w].is_test]
        if not mention.called or not 0 < len(others) <= MANY:
            return []
        return [(where, head, 0.8 / len(others)) for where, head in others]


_Place = tuple[str, Definition, float]


def mentions(tables: Tables, parsed: Parsed, start_line: int, end_line: int) -> Iterator[Mention]:
    """Yield the names in a range of lines, in source order; strings and comments hold none."""
    waiting = [parsed.root]
    while waiting:
        node = waiting.pop()
        if node.end_point[0] + 1 < start_line or node.start_point[0] + 1 > end_line:
            continue
        if node.type in tables.names and not node.named_children:
            data = parsed.data
            before = data[max(0, node.start_byte - _WINDOW) : node.start_byte].decode("utf-8", "replace")
            after = data[node.end_byte : node.end_byte + _WINDOW].decode("utf-8", "replace")
            chained = before.rstrip().endswith((".", "->", "::"))
            receiver = _BEFORE.search(before) if chained else None
            yield Mention(
                parsed.text(node),
                receiver[1] if receiver else "?" if chained else "",
                tables.calls_bare or _CALL.match(after) is not None,
                node.start_point[0] + 1,
            )
        waiting += reversed(node.children)


def _owner(head: Definition) -> str:
    """Return the name of the class or module that holds it."""
    return head.container.rpartition(".")[2]


def _bare(path: str, mention: Mention, places: list[tuple[str, Definition]]) -> list[_Place]:
    """A name alone: of this file, of this folder, or the only one. A method is not called so (but in C++)."""
    plain = [(w, h) for w, h in places if h.kind != "method"] or (places if mention.called else [])
    here = [(w, h) for w, h in plain if w == path]
    folder = PurePosixPath(path).parent
    near = [(w, h) for w, h in plain if PurePosixPath(w).parent == folder]
    chosen = here or near or (plain if len(plain) <= MANY else [])
    surety = 1.0 if mention.called or any(h.kind == "class" for _, h in chosen) else 0.5
    return [(where, head, surety / len(chosen)) for where, head in chosen]

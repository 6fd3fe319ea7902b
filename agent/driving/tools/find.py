"""`find`: where a name is defined and used, or where a text stands, with the definition around each place.

Names are looked up in the index of the repository, and uses by the language servers where one knows the definition.
Everything else is a search of the text. The answer says what was searched, so that "nothing" can be understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.excerpts import MAX_CHARS, clip, cut_line
from forklock.models.calls.contract import Parameter, Tool
from forklock.tools.contract import Freshness, Symbol
from forklock.tools.index.files import text_inside
from forklock.tools.index.find import find_symbols
from forklock.tools.index.search import Search
from forklock.tools.languages.definitions import meant
from forklock.tools.languages.known import language_of, signature, symbols
from forklock.tools.languages.text import to_lf

KINDS = ("", "definition", "references", "text")
MAX_ROWS = 30
MAX_USES = 15
"""Uses that are listed beside definitions, where no kind was asked for."""
SEARCHED_BYTES = 200_000_000
"""Text that one search reads at most."""
_NAME = re.compile(r"[A-Za-z_$#][\w$]*(?:(?:\.|::)[\w$#]+)*")
_SHOWN = 160
_ALIASES = {
    "symbol": "definition", "definitions": "definition", "name": "definition", "usages": "references",
    "uses": "references", "reference": "references", "words": "text", "word": "text", "regex": "text",
    "any": "", "all": "",
}  # fmt: skip

TOOL = Tool(
    "find",
    "Find where a name is defined and used, or where a text stands in the repository. Answers with path:line.",
    (
        Parameter(
            "query",
            "string",
            "a name (`total`, `Cart.total`), a piece of text, or words that describe code",
            also=("name", "pattern", "text", "symbol", "search"),
        ),
        Parameter("kind", "string", "only `definition`, `references` or `text`", required=False),
    ),
)


@dataclass(slots=True)
class _Found:
    """What a search came to."""

    parts: list[str] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)

    def add(self, title: str, rows: Iterable[str], most: int = MAX_ROWS) -> None:
        """Add a part of rows, made as far as they are shown."""
        waiting = iter(rows)
        shown = list(islice(waiting, most))
        if shown:
            more = ["… and more"] if next(waiting, None) is not None else []
            self.parts.append("\n".join([f"{title}:", *shown, *more]))


def find(context: Context, query: str, kind: str) -> ToolAnswer:
    """Answer a call. `kind` is one of `KINDS`, or a word for one."""
    query = query.strip().strip("`").strip()
    kind = _ALIASES.get(kind.strip().lower(), kind.strip().lower())
    if not query:
        return ToolAnswer("`query` is empty: give a name or a piece of text.", "refused")
    if kind not in KINDS:
        return ToolAnswer("`kind` is `definition`, `references` or `text`, or left out.", "refused")
    found = _Found()
    name = query.removesuffix("()").replace("::", ".")
    if kind != "text" and _NAME.fullmatch(name):
        _by_name(context, found, name, kind)
    if kind == "text" or not found.parts:
        _by_text(context, found, query)
    if not found.parts and kind in ("", "definition"):
        _by_words(context, found, query)
    searched = f"(searched: {'; '.join(found.searched)})"
    body = clip("\n".join(found.parts), MAX_CHARS) or f"nothing like {cut_line(query, 80)!r}"
    return ToolAnswer(f"{body}\n{searched}", "ok")


# --- names -----------------------------------------------------------------------------------------


def _by_name(context: Context, found: _Found, name: str, kind: str) -> None:
    index = context.index()
    known = find_symbols(index, name)
    found.searched.append(f"definitions in {len(index.files)} code files")
    exact = [one for one in known if one.name_path == name] or meant(name, known)
    if kind != "references":
        title = "defined at" if exact else "definitions with a similar name"
        rows = [_row(one, index.files[one.path].text) for one in exact or known]
        found.add(title, rows or _told_by_servers(context, found, name))
        if not exact and not rows:
            return
    if kind != "definition" and (exact or kind == "references"):
        uses = _uses(context, found, name, exact)
        found.add("used at", uses, MAX_ROWS if kind == "references" else MAX_USES)


def _row(symbol: Symbol, text: str) -> str:
    lines = f"{symbol.start_line}-{symbol.end_line}"
    return f"  {symbol.path}:{lines} {symbol.name_path}: {signature(text, symbol)[:_SHOWN]}"


def _told_by_servers(context: Context, found: _Found, name: str) -> list[str]:
    """Definitions in languages that the index does not read."""
    intel = context.intel() if any(not language_of(path).reads for path in context.files()) else None
    if intel is None:
        return []
    from forklock.tools.lsp.servers.table import DEFAULT, servers_for

    if len(servers_for(context.root)) == len(DEFAULT):
        return []
    found.searched.append("the language servers")
    answer = intel.definition_of(name)
    return [f"  {one.path}:{one.line} {one.name_path}" for one in answer.locations]


def _uses(context: Context, found: _Found, name: str, exact: list[Symbol]) -> Iterable[str]:
    """Return the uses of the one definition that a server knows, else the lines that have the word."""
    intel = context.intel() if len(exact) == 1 else None
    if intel is not None:
        answer = intel.references_of(exact[0].name_path, exact[0].path, max_chars=MAX_CHARS)
        if answer.freshness in (Freshness.FOUND, Freshness.CLEAN):
            found.searched.append("uses by the language server")
            return [_place(one.path, one.line, one.name_path, one.snippet) for one in answer.locations]
    found.searched.append("uses by the word alone")
    heads = {(one.path, one.start_line) for one in exact}
    return (row for path, line, row in _matches(context, _word(name)) if (path, line) not in heads)


def places_of(context: Context, name: str) -> Iterator[str]:
    """Yield a row for each line that has a name as a word."""
    return (row for _, _, row in _matches(context, _word(name)))


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w$]){re.escape(name.rpartition('.')[2])}(?![\w$])")


# --- text ------------------------------------------------------------------------------------------


def _by_text(context: Context, found: _Found, query: str) -> None:
    for how, flags in (("", re.NOFLAG), (", capitals aside", re.IGNORECASE)):
        before = len(found.parts)
        found.add("stands at", (row for _, _, row in _matches(context, re.compile(re.escape(query), flags))))
        if len(found.parts) > before:
            found.searched.append(f"the text of {len(context.files())} files{how}")
            return
    found.searched.append(f"the text of {len(context.files())} files")


def _matches(context: Context, pattern: re.Pattern[str]) -> Iterator[tuple[str, int, str]]:
    """Yield path, line and a row for each line that has the pattern, in order of the paths."""
    left = SEARCHED_BYTES
    for path in context.files():
        text = _text(context, path)
        left -= len(text)
        if left < 0:
            return
        if not pattern.search(text):
            continue
        inside = symbols(path, text) if language_of(path).reads else []
        for number, line in enumerate(text.split("\n"), 1):
            if pattern.search(line):
                yield path, number, _place(path, number, _around(inside, number), line)


def _text(context: Context, path: str) -> str:
    known = context.index().files.get(path)
    if known is not None:
        return known.text
    text = text_inside(context.root, path)
    return "" if text is None else to_lf(text)


def _around(known: list[Symbol], line: int) -> str:
    """The name path of the innermost definition around a line."""
    holding = [one for one in known if one.start_line <= line <= one.end_line]
    return min(holding, key=lambda one: one.end_line - one.start_line).name_path if holding else ""


def _place(path: str, line: int, name_path: str, text: str) -> str:
    first = text.strip().split("\n")[0]
    return f"  {path}:{line}{f' in {name_path}' if name_path else ''}: {cut_line(first, _SHOWN)}"


def _by_words(context: Context, found: _Found, query: str) -> None:
    """Rank definitions by the words of a question."""
    hits = Search(context.index()).ask(query, 8)
    found.searched.append("words near definitions")
    found.add(
        "definitions that these words may describe",
        [f"  {hit.path}:{hit.head.name_line} {hit.head.name_path}: {hit.signature[:_SHOWN]}" for hit in hits],
    )

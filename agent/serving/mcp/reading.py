"""The served tools that only read: symbols, look-ups, diagnostics, the frame, the map, suspects.

The docstrings of tools are what a client's model reads: every word costs it tokens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from forklock.agent.driving.tools.excerpts import MAX_CHARS, page
from forklock.agent.serving.mcp.answers import MAX_ITEMS, Diagnostics, lookup_text
from forklock.agent.serving.mcp.workbench import Workbench
from forklock.tools.contract import Freshness, LookupAnswer, Symbol, ToolFault
from forklock.tools.index.budget import estimate_tokens
from forklock.tools.index.files import load_index
from forklock.tools.index.find import file_symbols, find_symbols, read_source, the_symbol
from forklock.tools.languages.known import signature, symbol_source
from forklock.tools.lsp.commands import WHOLE, show_actions, show_calls, uncovered_words

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

Path = Annotated[str, Field(description="relative to the repository's root")]
MaybePath = Annotated[str, Field(description='"" where the symbol is unique')]
Name = Annotated[str, Field(description="name path (Class.method), or with `line` a name as written there")]
Line = Annotated[int, Field(ge=0, description="from 1; 0: `symbol` is a name path")]
Tokens = Annotated[int, Field(ge=100, le=8000)]
Offset = Annotated[int, Field(ge=0, description="lines to skip of a long answer")]


class Reading:
    """The tools, for one workbench."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def symbols(self, path: Path, offset: Offset = 0) -> str:
        """Outline of a file: lines, name path and signature of each definition."""
        found = file_symbols(self._bench.root, path, self._intel)
        text = read_source(self._bench.root, path)
        whole = "\n".join(_row(symbol, text) for symbol in found)
        if len(whole) > MAX_CHARS:  # a rung lower: where things are, without how they are called
            whole = "\n".join(f"{s.start_line}-{s.end_line} {s.name_path}" for s in found)
        return page(whole, offset) or "no definitions"

    def find_symbol(self, name: str, offset: Offset = 0) -> str:
        """Where a name (or name path, or part of a name) is defined in the repository."""
        index = load_index(self._bench.root)
        found = find_symbols(index, name)
        here = found[offset : offset + MAX_ITEMS]
        rows = [f"{s.path}:{_row(s, index.files[s.path].text)}" for s in here]
        rest = len(found) - offset - len(here)
        more = [f"… {rest} more: ask again with offset={offset + len(here)}"] if rest > 0 else []
        if not found:
            rows = self._elsewhere(name)
        return "\n".join([*rows, *more]) or (
            f"there are {len(found)}" if found else f"no definition like {name!r}"
        )

    def definition(self, symbol: Name, path: MaybePath = "", line: Line = 0, offset: Offset = 0) -> str:
        """Source of a definition; with `line`, of what the name there stands for, libraries included."""
        if line:
            text, column = self._spot(symbol, path, line)
            answer = self._bench.intel().definition(path, line, column, text=text, max_chars=WHOLE)
            return _answered(answer, offset)
        one = the_symbol(self._bench.root, symbol, path or None, self._intel)
        source = symbol_source(read_source(self._bench.root, one.path), one)
        return f"{one.path}:{one.start_line}-{one.end_line} {one.name_path}\n{page(source, offset)}"

    def references(self, symbol: Name, path: MaybePath = "", line: Line = 0, offset: Offset = 0) -> str:
        """Every use of a symbol, each with its line and its definition; and places that may be uses."""
        if line:
            text, column = self._spot(symbol, path, line)
            answer = self._bench.intel().references(path, line, column, text=text, max_chars=WHOLE)
            return _answered(answer, offset)
        one = the_symbol(self._bench.root, symbol, path or None, self._intel)
        answer = self._intel().references_of(one.name_path, one.path, max_chars=WHOLE, cover=True)
        maybe = uncovered_words(answer.uncovered, "not complete, these places may be uses:") or "complete"
        return page(f"{_answered(answer, limit=WHOLE)}\n{maybe}", offset)

    def hover(self, symbol: Name, path: MaybePath = "", line: Line = 0, offset: Offset = 0) -> str:
        """Type and documentation of a symbol, or with `line` of the name there."""
        if line:
            text, column = self._spot(symbol, path, line)
            answer = self._bench.intel().hover(path, line, column, text=text, max_chars=WHOLE)
            return _answered(answer, offset)
        one = the_symbol(self._bench.root, symbol, path or None, self._intel)
        return _answered(self._intel().hover_of(one.name_path, one.path, max_chars=WHOLE), offset)

    def completion(
        self,
        path: Path,
        line: Annotated[int, Field(ge=1)],
        prefix: Annotated[
            str, Field(description="code in place of that line, up to the cursor: `x = self.`")
        ],
    ) -> str:
        """What could follow `prefix` on that line: names with their types. The file is not changed."""
        lines = read_source(self._bench.root, path).split("\n")
        if line > len(lines):
            raise ToolFault(f"{path} has {len(lines)} lines")
        old = lines[line - 1]
        written = old[: len(old) - len(old.lstrip())] + prefix.lstrip()
        text = "\n".join([*lines[: line - 1], written, *lines[line:]])
        answer = self._bench.intel().completion(path, line, len(written), text=text, max_chars=2000)
        return _answered(answer)

    def calls(
        self,
        symbol: str,
        path: MaybePath = "",
        outgoing: Annotated[bool, Field(description="what it calls, instead of who calls it")] = False,
        offset: Offset = 0,
    ) -> str:
        """The calls of a definition, each with the definition that holds it; and places that may be calls."""
        one = the_symbol(self._bench.root, symbol, path or None, self._intel)
        shown = show_calls(self._intel(), one.name_path, one.path, outgoing=outgoing)
        return page(f"{shown.text}\n{shown.verdict}", offset)

    def code_actions(
        self,
        path: Path,
        line: Annotated[int, Field(ge=0, description="0: the file")] = 0,
        offset: Offset = 0,
    ) -> str:
        """Quick fixes and organised imports that the servers offer, as diffs. `apply_action` writes one."""
        read_source(self._bench.root, path)
        return page(show_actions(self._intel(), self._bench.root, path, line or None, ""), offset)

    def diagnostics(
        self, path: Path, offset: Annotated[int, Field(ge=0, description="findings to leave out")] = 0
    ) -> Diagnostics:
        """Type errors and lint findings of a file, as it is on disk now."""
        read_source(self._bench.root, path)
        return Diagnostics.of(self._intel().diagnostics(path), offset)

    def frame(self, symbol: str, path: MaybePath = "", tokens: Tokens = 1500) -> str:
        """All about one definition: source, diagnostics, what it uses, its class, its callers. Ask before editing."""
        from forklock.tools.frame.frame import intellisense_frame

        one = the_symbol(self._bench.root, symbol, path or None, self._intel)
        return intellisense_frame(
            self._intel(), self._bench.root, one, budget_tokens=tokens, count_tokens=estimate_tokens
        )

    def search(
        self,
        question: Annotated[str, Field(description="what the definition is about, in plain words")],
        limit: Annotated[int, Field(ge=1, le=50)] = 10,
    ) -> str:
        """Definitions that plain words describe, the likeliest first."""
        from forklock.tools.index.search import search

        hits = search(self._bench.root, question, limit=limit)
        rows = [f"{hit.path}:{hit.head.name_line} {hit.head.name_path}: {hit.signature}" for hit in hits]
        return page("\n".join(rows)) or "nothing here has these words"

    def repo_map(
        self,
        tokens: Tokens = 1500,
        focus: Annotated[list[str] | None, Field(description="names or paths that matter more")] = None,
    ) -> str:
        """The repository's most referenced files and signatures, within a budget."""
        from forklock.tools.index.map import repo_map

        found = repo_map(
            self._bench.root, budget_tokens=tokens, count_tokens=estimate_tokens, focus=focus or ()
        )
        return found or "no definitions of a language that is read"

    def localise(self, task: str, limit: Annotated[int, Field(ge=1, le=20)] = 6) -> str:
        """Definitions likely at fault, ranked, with reasons: by the task's words and the last failed run_tests."""
        from forklock.tools.localise.localise import localise

        suspects = localise(self._bench.root, task=task, report=self._bench.last_report, limit=limit)
        rows = [
            f"{s.symbol.path}:{s.symbol.start_line}-{s.symbol.end_line} {s.symbol.name_path} "
            f"({s.score:.1f}: {'; '.join(s.reasons[:3])})"
            for s in suspects
        ]
        return page("\n".join(rows)) or "no suspects; run_tests first, or name what is wrong"

    def _elsewhere(self, name: str) -> list[str]:
        """Asks the servers of other languages than Python for a definition."""
        from forklock.tools.lsp.servers.table import DEFAULT, servers_for

        if len(servers_for(self._bench.root)) == len(DEFAULT):
            return []
        found = self._intel().definition_of(name)
        return [_answered(found)] if found.locations else []

    def _intel(self) -> Intel:
        """The servers, after they read the disk again: a client has other ways to change files."""
        intel = self._bench.intel()
        intel.sync()
        return intel

    def _spot(self, name: str, path: str, line: int) -> tuple[str, int]:
        """Finds the file's text, and the column (from 0) of the last part of `name` on that line.

        Raises:
            ToolFault: no path, no such line, or the name is not on it.
        """
        if not path:
            raise ToolFault("a line needs its file", fix="give `path`")
        self._intel()
        text = read_source(self._bench.root, path)
        lines = text.split("\n")
        there = lines[line - 1] if line <= len(lines) else ""
        found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", there)
        if not name or found is None:
            raise ToolFault(f"{name!r} is not on line {line} of {path}: {there.strip()[:120]!r}")
        return text, found.end() - len(name.rpartition(".")[2])


def _row(symbol: Symbol, text: str) -> str:
    return f"{symbol.start_line}-{symbol.end_line} {symbol.name_path}: {signature(text, symbol)[:160]}"


def _answered(answer: LookupAnswer, offset: int = 0, limit: int = MAX_CHARS) -> str:
    """Formats a look-up. Raises ToolFault where the servers did not answer: no answer is not "nothing"."""
    if answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise ToolFault(f"{answer.freshness.value}: {answer.detail}")
    return lookup_text(answer, offset, limit)

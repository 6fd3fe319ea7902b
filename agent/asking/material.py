"""What prompts are made of: code, class outline, frame and failing tests of a place, read from the workspace.

Everything here is deterministic: the same workspace gives the same text, which resume and replay rely on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from forklock.agent.asking.openings import function_header, indent_of
from forklock.agent.asking.protocol import Protocol
from forklock.agent.contract import Place
from forklock.models.contract import Engine, Request
from forklock.sandbox.linux.nofollow import read_inside
from forklock.tools.contract import Symbol, TestFailure, TestReport
from forklock.tools.index.files import load_index
from forklock.tools.languages.known import find_symbol, language_of, symbol_source
from forklock.tools.testing.places import titled_or_named_test

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

_MOST_NOTES_BYTES = 1 << 20
_NOTES_CHARS = 2000
"""Characters of an `AGENTS.md` that are read."""
_OUTLINE_LINES = 80
"""A class of up to this many lines is shown whole around a method that is to be written."""


@dataclass(slots=True)
class Material:
    """Reads the workspace for prompts, and caches what is slow to read."""

    engine: Engine
    protocol: Protocol
    root: Path
    """The workspace as it stands."""
    intel: Intel | None
    task: str
    notes: str
    """Notes of the repository (`AGENTS.md`)."""
    prompt_tokens: int
    """Target size of a prompt."""
    answer_tokens: int
    forks: dict[str, list[str]] = field(default_factory=dict)
    """Forks that were found (`forklock.agent.asking.ways.fork`), by digest of the request; an earlier sitting's are not
    searched again."""
    on_forks: Callable[[str, str, list[str]], None] = lambda _place, _digest, _written: None
    """Called after each fork search with place, digest and forks."""
    _notes: dict[str, str] = field(default_factory=dict)
    """Texts of `AGENTS.md` below the top, by path."""
    _frames: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Text of a place's file and its frame, by place."""
    _found_tests: dict[str, str] = field(default_factory=dict)
    """Sources by id, of tests in languages with braces. Tests are read-only, so these stay true."""

    def notes_near(self, place: Place) -> str:
        """What the repository says to agents about a place: the nearest `AGENTS.md` above it. Read once a run."""
        for folder in PurePosixPath(place.path).parents:
            if str(folder) == ".":
                break
            name = f"{folder}/AGENTS.md"
            if name not in self._notes:
                data = read_inside(self.root, name, _MOST_NOTES_BYTES) or b""
                self._notes[name] = data.decode("utf-8", "replace")[:_NOTES_CHARS]
            if self._notes[name].strip():
                return self._notes[name]
        return self.notes

    def code(self, place: Place) -> str:
        """The place's source as it stands, dedented; the whole file where it is no definition."""
        text = read_text(self.root / place.path)
        symbol = self.symbol(place, text)
        return textwrap.dedent(symbol_source(text, symbol)) if symbol else text

    def count(self, text: str) -> int:
        """The number of tokens in a text."""
        return self.engine.count_tokens(Request(text=text)) if text else 0

    def symbol(self, place: Place, text: str) -> Symbol | None:
        return find_symbol(place.path, text, place.symbol.name_path) if place.symbol else None

    def outline(self, place: Place) -> str:
        """The class around a method, with the method's body left out; "" for a function or a large class."""
        if place.symbol is None or "." not in place.symbol.name_path:
            return ""
        text = read_text(self.root / place.path)
        method = find_symbol(place.path, text, place.symbol.name_path)
        holder = find_symbol(place.path, text, place.symbol.name_path.rpartition(".")[0])
        if method is None or holder is None or holder.end_line - holder.start_line > _OUTLINE_LINES:
            return ""
        if not holder.start_line <= method.start_line <= holder.end_line:  # Go's and Rust's stand elsewhere
            return ""
        lines, language = text.splitlines(), language_of(place.path)
        own = textwrap.dedent(symbol_source(text, method))
        pad = indent_of(lines[method.start_line - 1])
        gap = textwrap.indent(language.to_be_written(function_header(own, language)), pad)
        kept = lines[holder.start_line - 1 : method.start_line - 1]
        return textwrap.dedent("\n".join([*kept, gap, *lines[method.end_line : holder.end_line]]))

    def frame(self, place: Place) -> str:
        """The intellisense frame around a place, made once for each state of the place's file."""
        text = read_text(self.root / place.path)
        symbol = self.symbol(place, text)
        if symbol is None:
            return ""
        if (known := self._frames.get(place.label)) and known[0] == text:
            return known[1]
        from forklock.tools.frame.frame import intellisense_frame

        frame = intellisense_frame(
            self.intel, self.root, symbol, budget_tokens=self.prompt_tokens // 4, count_tokens=self.count,
            with_source=False,
        )  # fmt: skip
        self._frames[place.label] = (text, frame)
        return frame

    def tests(self, report: TestReport) -> tuple[str, ...]:
        """Sources of the first failing tests."""
        sources: list[str] = []
        for failure in report.failures[:2]:
            path, _, rest = failure.test_id.partition("::")
            if not (self.root / path).is_file():  # its runner's own folder is not ours
                path = next((f.path for f in failure.frames if f.path.endswith(f"/{path}")), path)
            name = rest.replace("::", ".").split("[", 1)[0]
            text = read_text(self.root / path) if path and name else ""
            symbol = find_symbol(path, text, name) if text else None
            if symbol is not None:
                sources.append(textwrap.dedent(symbol_source(text, symbol)))
            elif source := self._titled_or_named_test(failure):
                sources.append(source)
        return tuple(dict.fromkeys(sources))

    def _titled_or_named_test(self, failure: TestFailure) -> str:
        """Searches all files: in languages with braces a test's id does not name its file."""
        if failure.test_id not in self._found_tests:
            found = titled_or_named_test(load_index(self.root), failure.test_id, failure.frames)
            text = read_text(self.root / found[0]) if found else ""
            lines = text.split("\n")[found[1].start_line - 1 : found[1].end_line] if found else []
            self._found_tests[failure.test_id] = textwrap.dedent("\n".join(lines))
        return self._found_tests[failure.test_id]


def read_text(path: Path) -> str:
    """The file's text; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

"""`Intel` answers what language servers know about a workspace, from ordinary threads.

In: a root, server names, paths, 1-based lines and 0-based columns, name paths, unsaved texts. Out: `LookupAnswer` and
`DiagnosticsAnswer`; no method raises because of a server, a file or a name. Safe from several threads; questions are
asked one at a time (`asker`). Not covered: changes that commands make in files nobody asks about; call `sync` for
them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.sandbox.backends.bubblewrap.contained import why_not_contained
from forklock.tools.contract import DiagnosticsAnswer, Freshness, Location, LookupAnswer, Symbol, ToolFault
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker, PathLike
from forklock.tools.lsp.asking.names import Names
from forklock.tools.lsp.calls import Calls
from forklock.tools.lsp.changes import Changes
from forklock.tools.lsp.diagnoses import Diagnoses
from forklock.tools.lsp.renames.coverage import Coverage
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.servers.table import DEFAULT, SERVERS, trusting
from forklock.tools.lsp.wire.documents import path_of
from forklock.tools.lsp.wire.process import START_S, Launch

ANSWER_S = 10.0
"""Seconds for one question. A server that is still starting uses up some of them."""
MAX_CHARS = 6000
OUTLINED = 12
"""Files that are outlined for one answer at most. In further files the enclosing definition is left out."""
FOREIGN = 200_000
"""A longer file of a library is not outlined (characters): the declarations of a browser have millions."""
LIBRARY = "(library) "
"""Stands before the name of a file that may not be read."""


def open_intel(
    root: Path,
    *,
    servers: Sequence[str] = DEFAULT,
    warm: Collection[str] | None = None,
    python: Path | None = None,
    timeout_s: float = ANSWER_S,
    start_s: float = START_S,
    max_chars: int = MAX_CHARS,
    trusted: bool | None = None,
    memory_mb: int | None = None,
) -> Intel:
    """Start the servers in the background, and take the present state of the files as the baseline.

    A server that is missing or does not start raises nothing here; its answers say so. Where bubblewrap works,
    servers run in name spaces of their own: they have no network, write nothing, and see the workspace, their own
    programs and the interpreter's packages.

    Args:
        servers: names of the list (`forklock.tools.lsp.servers.table`).
        warm: those that are started at once (None: all); the others start with the first question to them.
        python: the interpreter whose packages imports resolve to; default: the workspace's own virtual environment,
            or else ours.
        timeout_s: seconds for one question.
        start_s: seconds for a start.
        max_chars: characters of an answer.
        trusted: run them among our own processes (None: where FORKLOCK_TRUSTED is set).
        memory_mb: MiB that each server and its children may take (None: see `process.bound_mb`). A server that takes
            more is ended.

    Raises:
        ToolFault: no such folder, or a server name that is not in the list.
    """
    unknown = [name for name in servers if name not in SERVERS]
    if unknown:
        raise ToolFault(f"no language server {unknown[0]!r}", fix=f"choose from: {', '.join(SERVERS)}")
    if not root.is_dir():
        raise ToolFault(f"{root} is not a folder", fix="give the root of the workspace")
    root = root.resolve()
    trusted = trusting() if trusted is None else trusted
    launch = Launch(root, python, start_s, trusted or why_not_contained(root) is not None, memory_mb)
    chosen = [SERVERS[name] for name in servers]
    return Intel(chosen, launch, warm=warm, timeout_s=timeout_s, max_chars=max_chars)


class Intel:
    """Questions about one workspace. `open_intel` makes one."""

    def __init__(
        self,
        servers: Sequence[Server],
        launch: Launch,
        *,
        warm: Collection[str] | None = None,
        timeout_s: float = ANSWER_S,
        max_chars: int = MAX_CHARS,
    ) -> None:
        self.root = launch.root
        self._max_chars = max_chars
        self._asker = Asker(servers, launch, timeout_s, warm)
        self._names = Names(self._asker, max_chars)
        self.calls = Calls(self._asker, self._names, self._spot_of, max_chars)
        """Who calls a definition, what it calls."""
        self._coverage = Coverage(self._asker, self._names)
        self.changes = Changes(self._asker, self._names)
        """Renames and code actions, as texts."""
        self._diagnoses = Diagnoses(self._asker)

    def __enter__(self) -> Intel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Shut the servers down, in about two seconds at worst. Later questions are UNAVAILABLE."""
        self._asker.close()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running servers, by name."""
        return self._asker.pids

    # --- by position: `text` stands in for what is on disk ---------------------------------------

    def definition(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """The source of what the name at that position stands for, libraries included."""
        told = answers.told_definition
        return self._places(lsp.TEXT_DOCUMENT_DEFINITION, path, line, column, text, max_chars, told)

    def references(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """Every use without the declaration, each with its line and the definition around it."""
        return self._places(
            lsp.TEXT_DOCUMENT_REFERENCES, path, line, column, text, max_chars, answers.told_line
        )

    def hover(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """Type and documentation of the name at that position, as text."""
        result = self._asker.at(lsp.TEXT_DOCUMENT_HOVER, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        return answers.text_answer(
            answers.hover_text(result.result).splitlines(), max_chars or self._max_chars
        )

    def completion(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """What can be written at that position, one `label: detail` a line, the server's best first.

        ty answers nothing between a dot and a name that stands there already: ask with a `text` without the name.
        """
        result = self._asker.at(lsp.TEXT_DOCUMENT_COMPLETION, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        lines, complete = answers.completion_lines(result.result)
        answer = answers.text_answer(lines, max_chars or self._max_chars)
        note = "" if complete else "the server says that there may be more"
        return replace(answer, detail="; ".join(p for p in (answer.detail, note) if p))

    # --- by file and by query --------------------------------------------------------------------

    def text(self, path: PathLike) -> str:
        """A workspace file as the servers see it; "" where there is none."""
        found = self._asker.file(path)
        return "" if isinstance(found, LookupAnswer) else found[1]

    def named(self, name_path: str, path: str | None = None) -> tuple[Symbol, str] | LookupAnswer:
        """The one definition of that name path and the text of its file; or an answer that says what is wrong."""
        return self._names.one(name_path, path)

    def outline(self, path: PathLike) -> list[Symbol] | LookupAnswer:
        """The definitions in a file, in source order; or an answer that says why no server could tell."""
        found = self._asker.file(path)
        return found if isinstance(found, LookupAnswer) else self._asker.symbols(*found)

    def document_symbols(self, path: PathLike) -> LookupAnswer:
        """The definitions in a file by name path, each with its first line."""
        found = self._asker.file(path)
        if isinstance(found, LookupAnswer):
            return found
        file, text = found
        result = self._asker.document_symbols(file, text)
        if isinstance(result, LookupAnswer):
            return result
        told = []
        for one in result:
            snippet = answers.line_of(text, one.line)
            place = Location(one.symbol.path, one.line, one.column, one.symbol.name_path, snippet)
            told.append((place, (snippet, "")))
        return answers.pack(told, self._max_chars)

    # --- by name path ----------------------------------------------------------------------------

    def definition_of(
        self, name_path: str, path: str | None = None, *, max_chars: int | None = None
    ) -> LookupAnswer:
        """The source of the definition of that name path; `path` may be left out where the name is unique."""
        found = self.named(name_path, path)
        if isinstance(found, LookupAnswer):
            return found
        return answers.pack([self._told(*found)], max_chars or self._max_chars)

    def references_of(
        self, name_path: str, path: str | None = None, *, max_chars: int | None = None, cover: bool = False
    ) -> LookupAnswer:
        """As `references`. `cover` adds the places that may be uses, at the cost of a question for each place that
        has the name."""
        found = self.named(name_path, path)
        if isinstance(found, LookupAnswer):
            return found
        symbol, text = found
        answer = self.references(symbol.path, *self._names.place(symbol, text), max_chars=max_chars)
        if not cover or answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
            return answer
        with self._asker.lock:
            known = [(place.path, place.line, place.column) for place in answer.locations]
            return replace(answer, uncovered=self._coverage.beside(symbol, text, known))

    def hover_of(
        self, name_path: str, path: str | None = None, *, max_chars: int | None = None
    ) -> LookupAnswer:
        """As `hover`, by name path."""
        found = self.named(name_path, path)
        if isinstance(found, LookupAnswer):
            return found
        symbol, text = found
        return self.hover(symbol.path, *self._names.place(symbol, text), max_chars=max_chars)

    def _told(self, symbol: Symbol, text: str) -> answers.Told:
        return answers.told_symbol(symbol, text, *self._names.place(symbol, text))

    # --- diagnostics -----------------------------------------------------------------------------

    def diagnostics(self, path: PathLike, text: str | None = None) -> DiagnosticsAnswer:
        """Everything that the servers say about this file as it is on disk, or as if it held `text`."""
        return self._diagnoses.of(path, text)

    def new_diagnostics(self, path: PathLike, text: str | None = None) -> DiagnosticsAnswer:
        """The diagnostics that `text` (default: what is on disk) adds to the baseline's of this file."""
        return self._diagnoses.new({path: text})

    def new_diagnostics_of(
        self,
        texts: Mapping[PathLike, str | None] | Mapping[str, str | None],
        also: Sequence[PathLike] = (),
    ) -> DiagnosticsAnswer:
        """The diagnostics that these texts together add, in these files and in `also` (such as their importers)."""
        return self._diagnoses.new(texts, also)

    def set_baseline(self) -> None:
        """Make the present state of the files the baseline of `new_diagnostics`."""
        self._diagnoses.set_baseline()

    def sync(self, paths: Iterable[PathLike] | None = None) -> None:
        """Tell the servers that commands have changed these files or folders on disk (None: anything may have
        changed)."""
        with self._asker.lock:
            inside = [file for p in paths if (file := self._asker.inside(p))] if paths is not None else None
            self._asker.sources.sync(inside)

    def _places(
        self,
        method: str,
        path: PathLike,
        line: int,
        column: int,
        text: str | None,
        max_chars: int | None,
        tell: Callable[..., Any],
    ) -> LookupAnswer:
        found = self._asker.at(method, path, line, column, text)
        if isinstance(found, LookupAnswer):
            return found
        overlay = {file: text} if text is not None and (file := self._asker.inside(path)) else {}
        files: dict[str, answers.File] = {}
        told, asked = {}, set[str]()
        with self._asker.lock:
            for place in answers.as_list(found.result):
                if place.uri not in files:
                    files[place.uri] = self._file_of(place.uri, overlay, asked)
                spot = answers.spot(files[place.uri], place, found.codec)
                # What is of the workspace comes first.
                told[spot.path.startswith(("/", LIBRARY)), place.uri, spot.line, spot.column] = tell(spot)
        ordered = [told[key] for key in sorted(told)]
        return answers.noted(answers.pack(ordered, max_chars or self._max_chars), found.note)

    def _spot_of(self, place: Any, codec: Any) -> answers.Spot:
        """The place that a position of a server means."""
        return answers.spot(self._file_of(place.uri, {}, set()), place, codec)

    def _file_of(self, uri: str, overlay: Mapping[Path, str], asked: set[str]) -> answers.File:
        """The file of a URI. `asked` collects the files whose outline this answer has cost."""
        file = path_of(uri)
        held = overlay.get(file)
        found = held if held is not None else self._asker.read(file)
        text = found or ""
        shown = answers.shown_path(file, self.root)
        if found is None:
            shown = f"{LIBRARY}{file.name}"  # not a path of this machine
        known: Any = self._asker.outlines.known(file, shown, text)
        if known is None and len(text) > FOREIGN and not file.is_relative_to(self.root):
            known = []
        if known is None and len(asked) < OUTLINED:
            asked.add(uri)
            known = self._asker.symbols(file, text)
        return answers.File(shown, text, known if isinstance(known, list) else [])

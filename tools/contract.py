"""The types that the room's tools take and return: symbols, edits, diagnostics, test reports, errors.

Lines are 1-based and inclusive everywhere in this room's public types; columns are 0-based code points. LSP's 0-based
UTF-16 positions stay inside `tools/lsp/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from forklock.sandbox.fault import Fault


class ToolFault(Fault):
    """A tool cannot do its work (not: the code is wrong). `fix` says what the user can do next."""


class EditRefused(Fault):
    """An edit was not applied. The message is written for a model: what was wrong, and where.

    `would_be` is the text that the edit would have made, if it got that far.
    """

    exit_code = 2

    def __init__(self, message: str, *, would_be: str | None = None) -> None:
        super().__init__(message)
        self.would_be = would_be


# --- symbols ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Symbol:
    """A definition in a file."""

    path: str
    """Relative to the workspace, POSIX separators."""
    name_path: str
    """`Class.method`, `function`, `Outer.Inner.method`. A second definition of the same name gets `#2`."""
    kind: Literal["class", "function", "method", "variable", "other"]
    start_line: int
    """First line. In Python decorators are included and comments above are not; in languages with braces all that
    belongs to the definition is: comments and attributes right above, decorators, `export`."""
    end_line: int


# --- edits -----------------------------------------------------------------------------------------


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReplaceSymbol(_Frozen):
    """The whole new source of one definition, decorators included, at any indentation."""

    kind: Literal["replace_symbol"] = "replace_symbol"
    path: str
    name_path: str
    source: str


class ReplaceFile(_Frozen):
    """The whole new text of a file; creates it where it does not exist."""

    kind: Literal["replace_file"] = "replace_file"
    path: str
    source: str


class SearchReplace(_Frozen):
    """Replace one passage. `search` must match in exactly one place, by the ladder of `forklock.tools.edits`."""

    kind: Literal["search_replace"] = "search_replace"
    path: str
    search: str
    replace: str


Edit = Annotated[ReplaceSymbol | ReplaceFile | SearchReplace, Field(discriminator="kind")]


# --- diagnostics -----------------------------------------------------------------------------------


class Freshness(StrEnum):
    """What an answer about a version of a document is worth. There is no other state."""

    CLEAN = "clean"
    """For exactly the version asked about: nothing (new)."""
    FOUND = "found"
    """For exactly the version asked about: these."""
    TIMED_OUT = "timed out"
    UNAVAILABLE = "unavailable"
    """No server, or it crashed and its one restart failed too."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message about a place."""

    path: str
    line: int
    severity: Literal["error", "warning", "information", "hint"]
    code: str
    message: str
    symbol: str
    """Name path of the enclosing definition, "" at module level."""
    source: str
    """The server that says so."""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes two diagnostics the same when lines have moved."""
        return (self.path, self.code, self.message, self.symbol)


@dataclass(frozen=True, slots=True)
class DiagnosticsAnswer:
    """Diagnostics of one or several files."""

    freshness: Freshness
    items: tuple[Diagnostic, ...] = ()
    version: int | None = None
    """The document version that the answer is about."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A place, and the definition around it."""

    path: str
    """Relative to the workspace, or absolute for a file outside it (a library); `(library) name` for one that only a
    server can see."""
    line: int
    column: int
    name_path: str
    """Enclosing or named definition, "" where unknown."""
    snippet: str
    """The line, or the definition's source for `definition`."""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A place with the name that was asked about, which an answer does not cover."""

    path: str
    line: int
    why: str
    """Why it may matter."""
    snippet: str
    """The line."""


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """Answer of definition, references, hover, symbols and completion."""

    freshness: Freshness
    """CLEAN means: answered, and there is nothing."""
    locations: tuple[Location, ...] = ()
    text: str = ""
    """Hover text, or completions one per line."""
    detail: str = ""
    uncovered: tuple[Uncovered, ...] = ()
    """Places that may belong to the answer, for references and calls that were asked for with their coverage."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that a server offers. Nothing has been written."""

    title: str
    kind: str
    """`rename`, or the protocol's kind of a code action (`quickfix`, `source.organizeImports`)."""
    texts: Mapping[str, str]
    """Workspace path → the whole new text of the file."""


@dataclass(frozen=True, slots=True)
class ChangesAnswer:
    """The changes that servers offer, or why there are none."""

    freshness: Freshness
    """CLEAN means: answered, and there is nothing to change."""
    changes: tuple[Change, ...] = ()
    detail: str = ""
    uncovered: tuple[Uncovered, ...] = ()
    """Places that a rename leaves as they are, and that may mean what is renamed, or break."""
    mentions: tuple[Uncovered, ...] = ()
    """Comments and prose that keep the old name after a rename. They change nothing that runs."""
    refused: str = ""
    """Why a rename cannot have the new name. Then there are no changes."""

    @property
    def complete(self) -> bool:
        """Nothing was left uncovered."""
        return not self.uncovered


# --- tests -----------------------------------------------------------------------------------------


class TestStatus(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_COLLECTED = "not collected"
    """The runner stopped before running tests: import or syntax error, no such file."""
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    NOT_STARTED = "not started"
    """The command does not exist or is not executable."""

    __test__ = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One place in a traceback, inside the workspace."""

    path: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class TestFailure:
    """A test that failed."""

    test_id: str
    message: str
    """The assertion or exception, in a few lines."""
    frames: tuple[Frame, ...] = ()

    __test__ = False


@dataclass(frozen=True, slots=True)
class TestPlan:
    """What a run of tests was made of, as its runner says. Paths are relative to the workspace, links followed."""

    tests: tuple[str, ...] = ()
    """Files that hold tests."""
    doctests: tuple[str, ...] = ()
    """Files that hold examples and no other tests."""
    broken: tuple[str, ...] = ()
    """Files that could not be collected."""
    settings: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    """Plug-ins that are files of the workspace, each `conftest.py` among them."""
    loaded: tuple[str, ...] = ()
    """All modules of the workspace that were loaded when all was collected."""
    installed: tuple[str, ...] = ()
    """Names of modules that were loaded from elsewhere."""

    __test__ = False


@dataclass(frozen=True, slots=True)
class TestReport:
    """The outcome of one run of a test command.

    `passed` and `failures` are empty where the runner writes no machine-readable report; `status` then rests on the
    exit code alone.
    """

    status: TestStatus
    passed: frozenset[str] = frozenset()
    failures: tuple[TestFailure, ...] = field(default=())
    output: str = ""
    """Combined output, ANSI codes stripped, capped."""
    wall_s: float = 0.0
    exit_code: int | None = None
    plan: TestPlan | None = None
    """None for runners that do not tell."""

    __test__ = False

    @property
    def total(self) -> int:
        return len(self.passed) + len(self.failures)

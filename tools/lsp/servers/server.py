"""What a language server is to the rest of Forklock: how it starts, what it reads, where it leaves the protocol.

`Server` is the ordinary case. A server's own file overrides what differs. The modules that talk to servers call these
methods and never ask which server it is. `docs/language-servers.md` says how to add one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.lsp.servers.programs import find_program

Settings = Mapping[str, Any]
Ask = Callable[[str, Any], Awaitable[Any]]
"""Sends a request (method, parameters) and returns its result."""


@dataclass(frozen=True, slots=True)
class DebianPackages:
    """How a server is installed from Debian's packages, unpacked into a folder of ours."""

    packages: tuple[str, ...]
    version_argument: str
    """Makes the program print its version; run once to see that it starts."""
    script: Callable[[Path], str]
    """Takes the folder of the unpacked packages; returns the shell script that starts the server."""


class Server:
    """One language server. Subclasses set the first four attributes and override what differs."""

    name: str
    argv: tuple[str, ...]
    """Program and arguments; the program is looked up by `find_program`."""
    languages: Mapping[str, str]
    """File suffix → LSP language id."""
    fix: str
    """What the user can do when the program is absent."""
    lookups: bool = True
    """Answers definitions, hover and so on; False for linters."""
    tested: bool = False
    """Covered by the conformance tests."""
    alternative: str = ""
    """The server to recommend where this one lacks a feature."""
    npm: tuple[str, ...] = ()
    """npm packages that install it."""
    debian: DebianPackages | None = None
    """Debian packages that install it."""

    # --- how it starts ---------------------------------------------------------------------------

    def program(self) -> Path | None:
        """The installed program, or None where something that it needs is missing."""
        return find_program(self.argv[0])

    def arguments(self, root: Path) -> tuple[str, ...]:
        """Arguments after those of `argv`."""
        return ()

    def options(self, root: Path, python: Path | None) -> Settings:
        """`initializationOptions`."""
        return {}

    def settings(self, root: Path, python: Path | None) -> Settings:
        """Settings by section, for `workspace/configuration`."""
        return {}

    def environment(self, root: Path) -> Mapping[str, str]:
        """Variables besides those that every server gets."""
        return {}

    def writes(self, root: Path) -> tuple[Path, ...]:
        """Existing folders that it keeps something in."""
        return ()

    runs_repo_code: bool = False
    """Runs build tools of the repository: chosen without being named only where it is contained."""
    warms_up_s: float = 0.0
    """A timeout within this many seconds of its start does not count as a hang."""

    # --- what it knows of the workspace ----------------------------------------------------------

    def reads(self, path: PurePath) -> bool:
        """Whether it reads files of this name."""
        return path.suffix in self.languages

    def knows_all(self, root: Path) -> bool:
        """Whether it knows files that were never opened. If not, files that mention a name are opened first."""
        return True

    def indexes(self, root: Path) -> bool:
        """Whether it reads the workspace in the background and reports progress. Questions about the whole workspace
        wait for the end."""
        return False

    rereads_opened: bool = False
    """Reads what a document includes again only when the document is opened or changed."""

    # --- when it is ready ------------------------------------------------------------------------

    reports_ready: bool = False
    """Sends a message when it has read the workspace. Questions about the whole workspace wait for it."""
    discards_early: bool = False
    """Its answers are wrong while it reads the workspace: every question waits, and is asked again if it was early."""

    def is_ready(self, method: str, params: Any) -> bool | None:
        """Whether a notification says that the workspace has been read; None where it says nothing about that."""
        return None

    reads_late: bool = False
    """Reads changed files some time later. Questions wait until `text_of` shows what is on disk."""

    async def text_of(self, ask: Ask, uri: str) -> str | None:
        """The text of a file as the server has it."""
        return None

    # --- diagnostics -----------------------------------------------------------------------------

    def pulls(self, capabilities: lsp.ServerCapabilities) -> bool:
        """Whether diagnostics are requested (`pull`) instead of waited for."""
        return capabilities.diagnostic_provider is not None

    async def pull(self, ask: Ask, uri: str) -> list[lsp.Diagnostic]:
        """Request the diagnostics of a document. Raises ValueError where the answer cannot be read."""
        params = lsp.DocumentDiagnosticParams(text_document=lsp.TextDocumentIdentifier(uri=uri))
        report = await ask(lsp.TEXT_DOCUMENT_DIAGNOSTIC, params)
        return list(getattr(report, "items", []) or [])

    settles_after_s: float | None = None
    """For servers that publish diagnostics without a version: accept the last publish when no other came within this
    many seconds. None: a publish without a version is never accepted."""


class PullingServer(Server):
    """A server whose diagnostics are always requested: it registers that late, and not at initialization."""

    def pulls(self, capabilities: lsp.ServerCapabilities) -> bool:
        return True

"""What the served tools work with: one repository, its language servers and its sandboxes.

Everything is opened on first use, so that a tool which needs no server never waits for one, and closed by
`close`, which may come while tools still run in other threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import BackendName, Policy, Sandbox, open_sandbox, workspace_policy
from tools.contract import TestReport, ToolFault

if TYPE_CHECKING:
    from tools.lsp import Intel


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the user who starts the server decides; a client cannot."""

    sandbox: BackendName = "auto"
    test_command: str | None = None
    """None: what the repository's own files suggest."""
    test_timeout_s: float = 120.0
    read_only: bool = False
    edit_tests: bool = False
    """Test files may be written."""
    cwd: str = "."
    """The folder below the root that tests run in: where the user stands."""


class Workbench:
    def __init__(self, root: Path, options: ServeOptions) -> None:
        self.root = root.resolve()
        self.options = options
        self.reports: dict[str, TestReport] = {}
        """The last report of each test command."""
        self.last_report: TestReport | None = None
        self.writing = threading.Lock()
        """Held from reading a file to writing it."""
        self._intel: Intel | None = None
        self._opening = threading.Lock()
        self._sandboxes: list[Sandbox] = []
        self._lock = threading.Lock()
        self._closed = False

    def intel(self) -> Intel:
        """The language servers, started by the first caller. What is new counts from that moment.

        Raises:
            ToolFault: the server is shutting down.
        """
        from tools.lsp import open_intel
        from tools.lsp.servers.programs import find_python
        from tools.lsp.servers.table import DEFAULT, servers_for

        with self._opening:
            if self._intel is None:
                self._require_open()
                self._intel = open_intel(
                    self.root, servers=servers_for(self.root), warm=DEFAULT, python=find_python(self.root)
                )
            return self._intel

    @contextlib.contextmanager
    def copy(self) -> Iterator[Sandbox]:
        """A sandbox on a private copy of the tree as it is now: whatever runs in it changes no file of the user.

        Opened anew each time, so that an environment that has been made since is seen and nothing idles.

        Raises:
            SandboxFault: no sandbox can be had.
            ToolFault: the server is shutting down.
        """
        policy = workspace_policy(self.root, Policy())
        with open_sandbox(self.root, policy, backend=self.options.sandbox) as here, here.fork() as copy:
            with self._lock:
                self._require_open()
                self._sandboxes += [copy, here]
            try:
                yield copy
            finally:
                with self._lock:
                    self._sandboxes = [one for one in self._sandboxes if one not in (copy, here)]

    def close(self) -> None:
        """End all language servers and whatever runs in sandboxes, in a few seconds."""
        with self._lock:
            self._closed = True
            sandboxes = list(self._sandboxes)
        for sandbox in sandboxes:
            sandbox.close()
        with self._opening:
            if self._intel is not None:
                self._intel.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ToolFault("the server is shutting down")

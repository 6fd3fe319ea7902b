"""What the served tools work on: one repository, its language servers and its sandboxes.

Everything is opened on first use, so that a tool which needs no server never waits for one. `close` closes it all, also
while tools still run in other threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.sandbox import BackendName, Policy, Sandbox, open_sandbox, workspace_policy
from forklock.tools.contract import TestReport, ToolFault

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Options of the user who starts the server. A client cannot change them."""

    sandbox: BackendName = "auto"
    test_command: str | None = None
    """None: the command that the repository's own files suggest."""
    test_timeout_s: float = 120.0
    read_only: bool = False
    edit_tests: bool = False
    """Test files may be edited."""
    cwd: str = "."
    """The folder below the root that tests run in."""


class Workbench:
    """Opens and closes what the tools need."""

    def __init__(self, root: Path, options: ServeOptions) -> None:
        self.root = root.resolve()
        self.options = options
        self.reports: dict[str, TestReport] = {}
        """The last report of each test command."""
        self.last_report: TestReport | None = None
        self.writing = threading.Lock()
        """Held from reading a file until it is written."""
        self._intel: Intel | None = None
        self._opening = threading.Lock()
        self._sandboxes: list[Sandbox] = []
        self._lock = threading.Lock()
        self._closed = False

    def intel(self) -> Intel:
        """Returns the language servers. The first call starts them; diagnostics are new from that moment on.

        Raises:
            ToolFault: the server is shutting down.
        """
        from forklock.tools.lsp import DEFAULT, find_python, open_intel, servers_for

        with self._opening:
            if self._intel is None:
                self._require_open()
                self._intel = open_intel(
                    self.root, servers=servers_for(self.root), warm=DEFAULT, python=find_python(self.root)
                )
            return self._intel

    @contextlib.contextmanager
    def copy(self) -> Iterator[Sandbox]:
        """Opens a sandbox on a private copy of the tree as it is now, so that commands change no file of the user.

        It is opened anew each time, so that an environment that was made meanwhile is seen.

        Raises:
            SandboxFault: no sandbox is available.
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
        """Ends all language servers, and all that runs in sandboxes, in a few seconds."""
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

"""Choosing a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sandbox.contract import Policy, Sandbox

BackendName = Literal["auto", "docker", "bubblewrap", "host"]


def open_sandbox(workspace: Path, policy: Policy | None = None, *, backend: BackendName = "auto") -> Sandbox:
    """Open `workspace` in place (nothing is copied; `fork()` copies).

    `auto` takes docker where an engine answers and the image is there, else bubblewrap. `host` isolates
    nothing and must be named.

    Raises:
        SandboxUnavailable: neither backend can run here; the message lists what is missing and the fix.
        SandboxFault: the workspace is not a directory, the image is missing, ...
    """
    raise NotImplementedError

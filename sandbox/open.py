"""Choosing a backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sandbox.contract import Policy, Sandbox
from sandbox.workspace import open_workspace

BackendName = Literal["auto", "docker", "bubblewrap", "host"]


def open_sandbox(
    workspace: Path,
    policy: Policy | None = None,
    *,
    backend: BackendName = "auto",
    forks_in: Path | None = None,
) -> Sandbox:
    """Open `workspace` in place (nothing is copied; `fork()` copies, into `forks_in` or TMPDIR).

    `auto` takes docker where an engine answers and the image is there, else bubblewrap. `host` isolates
    nothing and must be named.

    Raises:
        SandboxUnavailable: neither backend can run here; the message lists what is missing and the fix.
        SandboxFault: the workspace is not a directory, the image is missing, ...
    """
    policy = policy or Policy()
    name = choose(policy) if backend == "auto" else backend
    place = open_workspace(workspace, parent=forks_in)
    try:
        return _constructor(name)(place, policy)
    except BaseException:
        place.close()
        raise


def choose(policy: Policy) -> BackendName:
    """The backend that `auto` takes.

    Raises:
        SandboxUnavailable: none works here.
    """
    from sandbox import bubblewrap

    problem = bubblewrap.why_not()
    if problem is None:
        return "bubblewrap"
    raise SandboxUnavailable(
        f"no sandbox can run here:\n  bubblewrap: {problem[0]}",
        fix=problem[1],
    )


def _constructor(name: BackendName) -> Callable[[Workspace, Policy], Sandbox]:
    if name == "bubblewrap":
        from sandbox.bubblewrap import BubblewrapSandbox

        return BubblewrapSandbox
    if name == "host":
        from sandbox.host import HostSandbox

        return HostSandbox
    raise SandboxFault(f"unknown backend: {name}", fix="one of auto, docker, bubblewrap, host")

"""Opens a sandbox on a workspace, and holds the list of backends."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from forklock.sandbox.backends.base import Backend, Problem
from forklock.sandbox.contract import Policy, Sandbox, SandboxFault, SandboxUnavailable
from forklock.sandbox.workspace.workspace import open_workspace, use

BACKENDS: Mapping[str, str] = MappingProxyType({
    "docker": "docker.backend:DockerSandbox",
    "bubblewrap": "bubblewrap.backend:BubblewrapSandbox",
    "host": "host:HostSandbox",
})  # fmt: skip
"""Every backend by name, and where in this room its class is; imported on first use.

`auto` tries those that isolate, in this order. docs/sandbox.md says how to add one."""

BackendName: TypeAlias = str
"""A key of `BACKENDS`, or `auto`. `check_backend` refuses others."""


def open_sandbox(
    workspace: Path,
    policy: Policy | None = None,
    *,
    backend: BackendName = "auto",
    forks_in: Path | None = None,
    shown_at: Path | None = None,
) -> Sandbox:
    """Open `workspace` in place (nothing is copied; forks lie in `forks_in` or TMPDIR).

    `shown_at`: the directory that `workspace` is a copy of. Commands see the copy at that path (but on the host
    backend), with the virtual environments of that directory.

    `auto` takes docker where an engine answers and the image is there, else bubblewrap. `host` isolates
    nothing and must be named.

    Raises:
        SandboxUnavailable: no backend that isolates can run here; the message lists what is missing and the fix.
        SandboxFault: the workspace is not a directory, the image is missing, ...
    """
    policy = policy or Policy()
    chosen = backend_class(choose(policy) if backend == "auto" else backend)
    place = open_workspace(workspace, parent=forks_in, shown_at=shown_at)
    return use(place, lambda opened: chosen.opened(opened, policy))


def choose(policy: Policy) -> BackendName:
    """Return the backend that `auto` takes: the first of the list that isolates and works.

    Raises:
        SandboxUnavailable: none works here.
    """
    problems = {}
    for name in BACKENDS:
        if backend_class(name).isolates:
            problem = why_not(name, policy.image)
            if problem is None:
                return name
            problems[name] = problem
    wrong = "\n".join(f"  {name}: {problem[0]}" for name, problem in problems.items())
    fixes = "\n".join(f"  {name}: {problem[1]}" for name, problem in problems.items())
    raise SandboxUnavailable(f"no sandbox can run here\n{wrong}", fix=f"one of these is enough\n{fixes}")


def why_not(name: BackendName, image: str | None = None) -> Problem | None:
    """Return None if the backend works here (docker: with `image`), else what is wrong and the fix."""
    return backend_class(name).problem(image)


def check_backend(name: str) -> BackendName:
    """Return `name` if it can be given to `open_sandbox`.

    Raises:
        ValueError: there is no such backend; the message lists them.
    """
    if name != "auto" and name not in BACKENDS:
        raise ValueError(f"there is no sandbox {name!r}: take one of auto, {', '.join(BACKENDS)}")
    return name


def backend_class(name: str) -> type[Backend]:
    """Import a backend's class.

    Raises:
        SandboxFault: there is no such backend.
    """
    if name not in BACKENDS:
        raise SandboxFault(f"unknown backend: {name}", fix=f"one of auto, {', '.join(BACKENDS)}")
    module, _, attribute = BACKENDS[name].partition(":")
    found: type[Backend] = getattr(import_module(f".{module}", __package__), attribute)
    return found

"""Choosing a backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sandbox.contract import Policy, Sandbox, SandboxFault, SandboxUnavailable
from sandbox.workspace.workspace import Workspace, open_workspace, use

BackendName = Literal["auto", "docker", "bubblewrap", "host"]


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
        SandboxUnavailable: neither backend can run here; the message lists what is missing and the fix.
        SandboxFault: the workspace is not a directory, the image is missing, ...
    """
    policy = policy or Policy()
    name = choose(policy) if backend == "auto" else backend
    place = open_workspace(workspace, parent=forks_in, shown_at=shown_at)
    return use(place, lambda opened: _constructor(name)(opened, policy))


def choose(policy: Policy) -> BackendName:
    """The backend that `auto` takes.

    Raises:
        SandboxUnavailable: none works here.
    """
    from sandbox.bubblewrap import backend as bubblewrap

    docker = docker_problem(policy.image)
    if docker is None:
        return "docker"
    plain = bubblewrap.why_not()
    if plain is None:
        return "bubblewrap"
    raise SandboxUnavailable(
        f"no sandbox can run here\n  docker: {docker[0]}\n  bubblewrap: {plain[0]}",
        fix=f"one of these is enough\n  docker: {docker[1]}\n  bubblewrap: {plain[1]}",
    )


def docker_problem(image: str | None = None) -> tuple[str, str] | None:
    """None when an engine answers and has the image; else what is wrong and the fix."""
    from sandbox.docker import engine as docker_engine

    problem = docker_engine.why_not()
    if problem is None:
        name = image or docker_engine.DEFAULT_IMAGE
        if not docker_engine.has_image(name):
            fix = f"`docker pull {image}`" if image else "`agent sandbox build`"
            return f"the engine answers, but the image {name} is missing", fix
    return problem


def _docker(workspace: Workspace, policy: Policy) -> Sandbox:
    """In the image that was built for this repo, if there is one and no other is asked for."""
    from sandbox.docker.backend import DockerSandbox
    from sandbox.docker.engine import why_not
    from sandbox.images.build import image_policy, repo_image

    image = repo_image(workspace.root) if policy.image is None and why_not() is None else None
    return DockerSandbox(workspace, image_policy(image, policy, workspace.workdir) if image else policy)


def _constructor(name: BackendName) -> Callable[[Workspace, Policy], Sandbox]:
    if name == "docker":
        return _docker
    if name == "bubblewrap":
        from sandbox.bubblewrap.backend import BubblewrapSandbox

        return BubblewrapSandbox
    if name == "host":
        from sandbox.host import HostSandbox

        return HostSandbox
    raise SandboxFault(f"unknown backend: {name}", fix="one of auto, docker, bubblewrap, host")

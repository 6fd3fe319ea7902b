"""Builds the default image of the docker backend: Debian with Python, pytest and git.

In: a registry that answers, or a Debian mirror and root. Out: `forklock-sandbox:<version>` in the engine.
Not covered: a repo's own dependencies (`forklock.sandbox.images.build`).
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.images.engine import DEFAULT_IMAGE, client, has_image, why_not
from forklock.sandbox.linux.private import remove_tree

BASE = "python:3.11-slim"
_DOCKERFILE = f"""\
FROM {BASE}
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir 'pytest>=8,<10'
"""
_PACKAGES = "python3,python3-venv,python3-pytest,git,python-is-python3"
_SUITE = "bookworm"
Progress = Callable[[str], None]


def build_image(progress: Progress, *, force: bool = False) -> str:
    """Make the default image unless it is there, and return its name. `progress` gets a line per step.

    From a registry's Python image where one can be pulled, else by debootstrap, which needs root.

    Raises:
        SandboxFault: no engine, or neither way is open; both reasons are in the message.
    """
    problem = why_not()
    if problem:
        raise SandboxFault(problem[0], fix=problem[1])
    if has_image(DEFAULT_IMAGE) and not force:
        progress(f"{DEFAULT_IMAGE} is there already")
        return DEFAULT_IMAGE
    try:
        _from_registry(progress)
    except SandboxFault as first:
        progress(f"no base image from a registry ({first.message}); trying debootstrap")
        try:
            _from_mirror(progress)
        except SandboxFault as second:
            raise SandboxFault(
                f"the image cannot be built: {first.message}; {second.message}", fix=second.fix
            ) from second
    return DEFAULT_IMAGE


def _from_registry(progress: Progress) -> None:
    import docker

    progress(f"pulling {BASE}")
    try:
        client().images.pull(BASE)
        lines = client().api.build(
            fileobj=io.BytesIO(_DOCKERFILE.encode()), tag=DEFAULT_IMAGE, rm=True, decode=True
        )
        for line in lines:
            if "error" in line:
                raise SandboxFault(f"the image's build failed: {line['error'].strip()}")
            if text := line.get("stream", "").strip():
                progress(text)
    except (docker.errors.DockerException, OSError) as error:
        text = getattr(error, "explanation", None) or str(error)
        raise SandboxFault(f"{BASE} cannot be pulled: {text.splitlines()[0]}") from error


def _from_mirror(progress: Progress) -> None:
    if shutil.which("debootstrap") is None:
        raise SandboxFault(
            "debootstrap is not installed",
            fix=f"`sudo apt install debootstrap`, or load an image named {DEFAULT_IMAGE} with `docker load`",
        )
    if os.geteuid() != 0:
        raise SandboxFault("debootstrap needs root", fix="run `agent sandbox build` once with sudo")
    root = Path(tempfile.mkdtemp(prefix="forklock-image-", dir=os.environ.get("TMPDIR", "/var/tmp")))  # noqa: S108
    try:
        _debootstrap(root, progress)
        progress("importing the tree into the engine")
        _import(root)
    finally:
        remove_tree(root)


def _debootstrap(root: Path, progress: Progress) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        last = ""
        for line in process.stdout:
            last = line.strip()
            progress(last.removeprefix("I: "))
    if process.returncode:
        raise SandboxFault(
            f"debootstrap failed: {last}",
            fix="is a Debian mirror reachable? set http_proxy where one is needed",
        )
    for waste in ("var/cache/apt/archives", "var/lib/apt/lists"):
        remove_tree(root / waste)


def _import(root: Path) -> None:
    import docker

    repository, _, tag = DEFAULT_IMAGE.partition(":")
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
        try:
            client().api.import_image_from_stream(archive.stdout, repository=repository, tag=tag)
        except (docker.errors.DockerException, OSError) as error:
            archive.kill()
            raise SandboxFault(f"the engine refused the image: {error}", fix="is its disk full?") from error
    if archive.returncode:
        raise SandboxFault("the tree could not be archived", fix="see that /var/tmp has 1 GB of room")

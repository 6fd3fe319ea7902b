"""The Docker engine: whether it answers, which images it has, and the removal of what dead processes left in it.

Containers of ours carry a label that names their owner (boot, pid namespace, process and its start).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

from forklock.sandbox.linux.private import start_ticks

VERSION = "0.1"
DEFAULT_IMAGE = f"forklock-sandbox:{VERSION}"
_LABEL = "forklock.owner"
_CONNECTIONS = 64
"""Connections to the engine that are kept open; a thread that finds none makes one more."""


@lru_cache(maxsize=1)
def client() -> Any:
    """Return the SDK's client, connected. Raises what the SDK raises."""
    import docker

    environment = docker.utils.kwargs_from_env()
    found = docker.DockerClient(timeout=60, max_pool_size=_CONNECTIONS, **environment)
    _share_connections(found.api)
    found.ping()
    return found


def _share_connections(api: Any) -> None:
    """Use one pool of connections for all URLs. Over a unix socket the SDK keeps a pool per URL and closes the oldest
    pools, in use or not, so that a thread fails in the middle of its request."""
    adapter = api.adapters.get("http+docker://")
    if adapter is not None:  # else an engine elsewhere, whose pools are one per host
        of_url = adapter.get_connection
        adapter.get_connection = lambda _url, _proxies=None: of_url("http+docker://localhost")


@lru_cache(maxsize=1)
def why_not() -> tuple[str, str] | None:
    """Return None if an engine answers, else what is wrong and the fix. It is asked once per process."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        client()
    except Exception as error:  # the SDK wraps and rewraps: the text is what tells them apart
        text = str(error)
        if "Permission denied" in text or "PermissionError" in text:
            return (
                f"no permission to talk to the Docker engine at {host}",
                "`sudo usermod -aG docker $USER`, then log in again (that group is as good as root)",
            )
        if "No such file" in text or "FileNotFound" in text:
            return (
                f"no Docker engine at {host}",
                "install and start Docker: https://docs.docker.com/engine/install",
            )
        return (
            f"the Docker engine at {host} does not answer: {text}",
            "start it: `sudo systemctl start docker`",
        )
    reap_orphans()
    return None


@lru_cache(maxsize=1)
def sees_our_mounts() -> bool:
    """Return whether the engine shares our mount namespace, so that it can mount our mounts into containers.
    An engine that a socket unit started is recognised by the process that made the socket."""
    place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(place)
            size = struct.calcsize("3i")
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return Path(f"/proc/{pid}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except OSError:
        return False


def has_image(name: str) -> bool:
    """Return whether the engine has the image."""
    import docker

    try:
        client().images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def owner_label() -> dict[str, str]:
    """Return the label by which others remove our containers when we are dead."""
    return {_LABEL: owner()}


def owner() -> str:
    """Return a unique name of this process: boot, pid namespace, pid, start."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    return f"{boot}/{space}/{os.getpid()}/{start_ticks(os.getpid())}"


def reap_orphans() -> int:
    """Remove containers whose owner is dead; return how many. Containers of other pid namespaces are kept, since we
    cannot see whether their owner lives."""
    boot, space, _, _ = owner().split("/")
    removed = 0
    for found in client().containers.list(all=True, filters={"label": _LABEL}, ignore_removed=True):
        parts = found.labels.get(_LABEL, "").split("/")
        if len(parts) != 4:
            continue
        their_boot, their_space, pid, ticks = parts
        if their_boot != boot or (their_space == space and start_ticks(int(pid)) != ticks):
            with contextlib.suppress(Exception):
                found.remove(force=True)
                removed += 1
    return removed

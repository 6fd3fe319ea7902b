"""The Docker engine: whether it answers, containers for the docker backend, and the removal of dead ones.

In: mounts, limits. Out: a `Container` that takes commands over a socket of its own. Containers carry labels
that name their owner (boot, pid namespace, process and its start), and end by themselves when the owner's
end of the socket closes; the labels serve to remove what an engine restart may have left.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sandbox.contract import Limits, SandboxFault
from sandbox.linux.limits import write_accounts
from sandbox.linux.private import make_private, remove_tree, start_ticks

VERSION = "0.1"
DEFAULT_IMAGE = f"forklock-sandbox:{VERSION}"
_LABEL = "forklock.owner"
_SOCKET = "/run/forklock.sock"
_SUPERVISOR = "/run/forklock.py"
_START_S = 30.0
_CONNECTIONS = 64
"""Kept open to the engine; a thread that finds none makes one more."""
_TMP_MB = 512


@dataclass(frozen=True, slots=True)
class Bind:
    source: Path
    target: str
    writable: bool = False


class ContainerGone(SandboxFault):
    """It took no command: somebody removed it, or the engine was restarted."""


class Container:
    """A started container whose process 1 waits for commands."""

    def __init__(self, handle: Any, control: socket.socket, private: Path) -> None:
        self._handle = handle
        self._control = control
        self._private = private
        self.closed = False

    def send(self, request: Mapping[str, object], descriptors: Sequence[int]) -> None:
        """Hand over a command with its five descriptors. The request goes in a file: a message may be too short for it.

        Raises:
            ContainerGone: it is.
        """
        source = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(source), "wb") as file:
                file.write(json.dumps(request).encode())
            os.lseek(source, 0, os.SEEK_SET)
            socket.send_fds(self._control, [b"x"], [source, *descriptors])
        except OSError as error:
            raise ContainerGone(f"the container does not take commands: {error}", fix="try again") from error
        finally:
            os.close(source)

    def oom_killed(self) -> bool:
        """Whether the engine says that its process 1 was killed for memory. Never raises."""
        with contextlib.suppress(Exception):
            self._handle.wait(timeout=5)
            self._handle.reload()
            return bool(self._handle.attrs["State"]["OOMKilled"])
        return False

    def close(self) -> None:
        """Kill everything inside and remove the container. Idempotent, never raises."""
        if self.closed:
            return
        self.closed = True
        self._control.close()
        with contextlib.suppress(Exception):
            self._handle.remove(force=True)
        remove_tree(self._private)


@lru_cache(maxsize=1)
def client() -> Any:
    """The SDK's client, connected. Raises what the SDK raises."""
    import docker

    environment = docker.utils.kwargs_from_env()
    found = docker.DockerClient(timeout=60, max_pool_size=_CONNECTIONS, **environment)
    _share_connections(found.api)
    found.ping()
    return found


def _share_connections(api: Any) -> None:
    """Over a unix socket the SDK keeps a pool of connections for every URL that was ever asked, and closes the oldest
    pools, in use or not: a thread then fails in the middle of its request. One pool serves all."""
    adapter = api.adapters.get("http+docker://")
    if adapter is not None:  # else an engine elsewhere, whose pools are one per host
        of_url = adapter.get_connection
        adapter.get_connection = lambda _url, _proxies=None: of_url("http+docker://localhost")


@lru_cache(maxsize=1)
def why_not() -> tuple[str, str] | None:
    """None when an engine answers; else what is wrong and the fix. Asked once."""
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
    """Whether what we mount is there for the engine to mount into containers: it shares our mount namespace.
    An engine that was started by a socket unit is known by whoever made the socket."""
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
    import docker

    try:
        client().images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def start_container(
    *, image: str, user: tuple[int, int], binds: Sequence[Bind], limits: Limits, network: bool, parent: Path
) -> Container:
    """Start a container and wait until its supervisor has connected.

    Raises:
        SandboxFault: the engine refuses, the image is missing or has no Python 3.9.
    """
    import docker

    private = make_private(parent)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handle = None
    try:
        place = private / "s"
        write_accounts(private, *user)
        _bind(listener, place)
        place.chmod(0o777)  # behind a directory that only we enter; the container's user may differ
        listener.listen(1)
        listener.settimeout(0.2)
        handle = client().containers.create(  # unlike `run`, it never pulls an image behind our back
            image,
            ["python3", "-I", "-S", _SUPERVISOR, _SOCKET],
            **_isolation(user, limits, network=network),
            mounts=[
                docker.types.Mount(b.target, str(b.source), type="bind", read_only=not b.writable)
                for b in (
                    *binds,
                    Bind(place, _SOCKET, writable=True),
                    *(Bind(private / name, f"/etc/{name}") for name in ("passwd", "group")),
                    Bind(Path(__file__).with_name("supervisor.py"), _SUPERVISOR),
                )
            ],
        )
        handle.start()
        return Container(handle, _accept(listener, handle), private)
    except BaseException as error:
        if handle is not None:
            with contextlib.suppress(Exception):
                handle.remove(force=True)
        remove_tree(private)
        if isinstance(error, docker.errors.ImageNotFound):
            raise SandboxFault(f"the image {image} is missing", fix="`agent sandbox build`") from error
        if isinstance(error, (docker.errors.DockerException, OSError)):
            raise SandboxFault(
                f"no container could be started: {error}", fix="`agent sandbox status`"
            ) from error
        raise
    finally:
        listener.close()


def _bind(listener: socket.socket, place: Path) -> None:
    """Bind by way of the directory's descriptor: a socket's path may have 107 bytes at most."""
    folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{place.name}")
    finally:
        os.close(folder)


def _isolation(user: tuple[int, int], limits: Limits, *, network: bool) -> dict[str, Any]:
    return {
        "user": f"{user[0]}:{user[1]}",
        "network_mode": "bridge" if network else "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": {"/tmp": f"size={_TMP_MB}m,mode=1777,nosuid,nodev,exec"},  # noqa: S108
        "shm_size": "64m",
        "mem_limit": f"{limits.memory_mb}m",
        "memswap_limit": f"{limits.memory_mb}m",
        "pids_limit": limits.processes + 8,
        "hostname": "sandbox",
        "working_dir": "/",
        "entrypoint": [],
        "stop_signal": "SIGKILL",
        "log_config": {"Type": "none"},
        "labels": owner_label(),
        "environment": {},
    }


def _accept(listener: socket.socket, handle: Any) -> socket.socket:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            control, _ = listener.accept()
            return control
        handle.reload()
        if handle.status in ("exited", "dead"):
            raise SandboxFault(
                "the container's supervisor does not run: the image needs `python3`, 3.9 or later",
                fix="choose another image, or build the default one: `agent sandbox build`",
            )
    raise SandboxFault("the container did not start in time", fix="see the engine's log")


def owner_label() -> dict[str, str]:
    """The label that lets others remove a container of ours when we are dead."""
    return {_LABEL: owner()}


def owner() -> str:
    """Names this process for good: boot, pid namespace, pid, start."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    return f"{boot}/{space}/{os.getpid()}/{start_ticks(os.getpid())}"


def reap_orphans() -> int:
    """Remove containers whose owner is dead; how many. Owners of other pid namespaces are left alone: we
    cannot see whether they live."""
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

"""Starts containers for the docker backend; each takes commands over a socket of its own.

In: mounts and limits. Out: a `Container`. A container ends by itself when its owner's end of the socket closes; it
also carries its owner's label, by which `forklock.sandbox.images.engine` removes what an engine restart may have left.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forklock.sandbox.contract import Limits, SandboxFault
from forklock.sandbox.images.engine import client, owner_label
from forklock.sandbox.linux.limits import write_accounts
from forklock.sandbox.linux.private import make_private, remove_tree

_SOCKET = "/run/forklock.sock"
_SUPERVISOR = "/run/forklock.py"
_START_S = 30.0
_TMP_MB = 512
_KILLED = 128 + 9
"""The exit code that the engine gives a process 1 that a SIGKILL ended."""


@dataclass(frozen=True, slots=True)
class Bind:
    source: Path
    target: str
    writable: bool = False


class ContainerGone(SandboxFault):
    """The container took no command: somebody removed it, or the engine was restarted."""


class Container:
    """A started container whose process 1 waits for commands."""

    def __init__(self, handle: Any, control: socket.socket, private: Path) -> None:
        self._handle = handle
        self._control = control
        self._private = private
        self.closed = False

    def send(self, request: Mapping[str, object], descriptors: Sequence[int]) -> None:
        """Send a command with its five descriptors. The request is sent as a file, since a message may be too short.

        Raises:
            ContainerGone: it takes no command.
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
        """Return whether process 1 was killed for memory. Never raises.

        The engine's own flag comes from an event that may arrive after the end, or never. Nothing inside can send
        process 1 a SIGKILL, and it has not been removed: so the kernel killed it, for memory.
        """
        if self.closed:
            return False
        with contextlib.suppress(Exception):
            status = self._handle.wait(timeout=5)["StatusCode"]
            self._handle.reload()
            return bool(self._handle.attrs["State"]["OOMKilled"]) or status == _KILLED
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
    """Bind through the directory's descriptor, since a socket's path may have 107 bytes at most."""
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

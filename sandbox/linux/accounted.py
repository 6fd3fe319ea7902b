"""Starts commands through the accountant: a small process with one thread, whose children are small.

So a child's peak memory is the command's own, and the child enters a control group by itself, at no cost.
In: what `process.start` takes. Out: a `Running` whose end, status and peak come by a pipe that the command never
holds. One accountant per process (`accountant.py`), made at the first command: it saves each one an interpreter's
start. Not covered: isolating anything.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.linux.process import Running
from forklock.sandbox.linux.pump import Ended, Streams

ACCOUNTANT = Path(__file__).with_name("accountant.py")


@dataclass(kw_only=True)
class Accounted(Running):
    """A command that the accountant started."""

    starter: subprocess.Popen[bytes]
    """The accountant that started it."""

    def orphaned(self) -> bool:
        """Return whether the accountant has ended. The process then has ended too, or is about to."""
        return self.starter.poll() is not None

    def lost(self) -> bool:
        """Whether the accountant ended without a word; of a process that is at its end or never began."""
        return self.is_over() and not any(fcntl.ioctl(self.end, termios.FIONREAD, bytes(4)))


def start_accounted(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    owner: tuple[int, int] | None = None,
    enter: Sequence[str] = (),
    rlimits: Mapping[str, tuple[int, int]] | None = None,
) -> Accounted:
    """As `process.start`; `argv[0]` is a path.

    Args:
        pass_fds: descriptors that the process keeps, under their numbers.
        owner: the user and group that it becomes.
        enter: files of control groups (`Group.doors`).
        rlimits: as `resource` names them.

    Raises:
        SandboxFault: no accountant can be had.
    """
    request = {
        "argv": list(argv),
        "env": dict(env),
        "keep": list(pass_fds),
        "owner": owner,
        "enter": list(enter),
        "rlimits": [(getattr(resource, name), bounds) for name, bounds in (rlimits or {}).items()],
    }
    streams = Streams()
    report, report_theirs = os.pipe()
    source = os.memfd_create("request", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(source), "wb") as file:
            file.write(json.dumps(request).encode())
        os.lseek(source, 0, os.SEEK_SET)
        starter = _ACCOUNTANT.send([source, *streams.theirs, report_theirs, *pass_fds])
    except BaseException:
        os.close(report)
        streams.close()
        raise
    finally:
        os.close(source)
        os.close(report_theirs)
        streams.close_theirs()
    return Accounted(streams, report, lambda: _ended(report), streams.made, starter=starter)


def _ended(report: int) -> Ended:
    """Return what the accountant reported. Call it at the end.

    Raises:
        SandboxFault: it was killed, or could start no process.
    """
    said = b""
    while data := os.read(report, 4096):
        said += data
    if not said:
        raise SandboxFault(
            "the process that counts a command's memory was killed", fix="run the command again"
        )
    found = json.loads(said)
    if "error" in found:
        raise SandboxFault(
            f"no process can be started: {found['error']}",
            fix="see how many processes and how much memory are free",
        )
    return Ended(found["status"], found["cpu_s"], found["max_rss_kib"] / 1024)


class _Accountant:
    """The process, started when it is first needed, and again when it is gone. Usable by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def send(self, descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
        """Returns the process that takes them."""
        with self._lock:
            # The socket does not always tell that it was killed: its child that is not yet a command holds it, too.
            if self._process is None or self._pid != os.getpid() or self._process.poll() is not None:
                self._process = self._start()
            try:
                self._pass(descriptors)
            except OSError:
                self._process = self._start()
                try:
                    self._pass(descriptors)
                except OSError as error:
                    raise SandboxFault(
                        f"the process that counts a command's memory does not answer: {error}",
                        fix="try again",
                    ) from error
            return self._process

    def _pass(self, descriptors: Sequence[int]) -> None:
        assert self._control
        socket.send_fds(self._control, [b"x"], descriptors)

    def _start(self) -> subprocess.Popen[bytes]:
        if self._control:
            self._control.close()
        if self._process and self._pid == os.getpid():
            self._process.kill()
            self._process.wait()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.getpid()
        own = os.pidfd_open(self._pid)
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(ACCOUNTANT), str(theirs.fileno()), str(own)],
                pass_fds=(theirs.fileno(), own),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxFault(f"no process can be started: {error}", fix="try again") from error
        finally:
            theirs.close()
            os.close(own)


_ACCOUNTANT = _Accountant()

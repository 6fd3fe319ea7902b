"""Runs Python commands as children of a warm Python, which has imported what the rooms' commands need.

`warm_run` takes what `subprocess.run` takes (`argv`, `cwd`, `env`, `input`, `timeout`) and costs a fork, where a new
Python pays half a processor second for its imports. The child has its own arguments, environment, folder, streams, exit
code and signals. Tests of starting, of import time and of what is imported need `subprocess` itself; so does an
environment that tells Python how to start (of those variables only PYTHONPATH is heeded).
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVER = Path(__file__).with_name("warm_server.py")
PYTHON = ("python", "python3", Path(sys.executable).name)
COMMANDS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
"""Console scripts, and what each calls, as `module:function`."""


class WarmPython:
    """A Python that forks itself for each command. Commands may run at the same time; the caller is one thread."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, str(SERVER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._ended: dict[int, int] = {}
        self.cpu_s = 0.0
        """Processor seconds of the commands that ended."""
        atexit.register(self.close)

    def close(self) -> None:
        self._ours.close()
        self._server.wait()

    def start(
        self, argv: Sequence[str | os.PathLike[str]], *, streams: tuple[int, int, int], cwd: str | os.PathLike[str],
        env: Mapping[str, str], session: bool = False,
    ) -> int:  # fmt: skip
        """Start `argv` on three open descriptors; return its process id. In a session of its own where `session`."""
        order = {
            "argv": _as_python(list(map(os.fspath, argv))), "cwd": os.fspath(cwd), "env": dict(env), "session": session,
        }  # fmt: skip
        socket.send_fds(self._ours, [json.dumps(order).encode("utf-8", "surrogateescape")], list(streams))
        return int(self._answer("started")["pid"])

    def wait(self, pid: int, timeout: float | None = None) -> int:
        """The exit code of a command that was started here, as `subprocess` gives it: negative for a signal."""
        until = None if timeout is None else time.monotonic() + timeout
        while pid not in self._ended:
            self._ours.settimeout(None if until is None else max(0.001, until - time.monotonic()))
            try:
                self._take()
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(pid), timeout or 0) from None
        return self._ended.pop(pid)

    def _answer(self, kind: str) -> dict[str, float]:
        self._ours.settimeout(120)
        while True:
            message = self._take()
            if kind in message:
                return message

    def _take(self) -> dict[str, float]:
        packet = self._ours.recv(1 << 16)
        if not packet:
            raise RuntimeError("the warm Python is gone")
        message: dict[str, float] = json.loads(packet)
        if "code" in message:
            self._ended[int(message["pid"])] = int(message["code"])
            self.cpu_s += message["cpu_s"]
        return message


@cache
def warm_python() -> WarmPython:
    """The one of this process. A fork of this process has none of its own and must not use it."""
    return WarmPython()


def warm_run(
    argv: Sequence[str | os.PathLike[str]], *, cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None, input: str | None = None, timeout: float = 120,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run a command to its end and capture what it prints. A time-out kills it and raises `TimeoutExpired`."""
    python = warm_python()
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write((input or "").encode())
        source.seek(0)
        streams = (source.fileno(), out.fileno(), err.fileno())
        pid = python.start(
            argv, streams=streams, cwd=cwd or Path.cwd(), env=os.environ if env is None else env
        )
        try:
            code = python.wait(pid, timeout)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            python.wait(pid)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(argv), code, out.read().decode(), err.read().decode())


def _as_python(argv: list[str]) -> list[str]:
    """`-c` or `-m` and what follows, for a console script or a Python of ours."""
    name = Path(argv[0]).name
    ours = Path(sys.executable).parent
    if name in COMMANDS and Path(shutil.which(argv[0]) or "").parent == ours:
        module, _, function = COMMANDS[name].partition(":")
        return ["-c", f"import sys; from {module} import {function} as run; sys.exit(run())", *argv]
    if name in PYTHON and Path(argv[0]).parent == ours and argv[1] in ("-c", "-m"):
        return [argv[1], argv[2], argv[1], *argv[3:]]
    raise ValueError(f"not a command of this environment: {argv[:2]}")

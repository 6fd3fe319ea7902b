"""evals: the driver, the part of the judge that runs inside the sandbox: its start, and the zygote.

Input: frames on stdin (8-byte big-endian length, JSON), two per program: `job`, then `tests`. Output: one frame per
program on stdout. For a program that takes long, frames with the results so far come before it, and a frame on stdin
may then end the program. No expected output of a `stdin` or `functional` test ever comes in here. `assert` tests hold
theirs in the second frame. Only the supervisor reads it, in a process whose memory was never copied to a program's
process; the two exchange plain values over pipes.

Processes: the driver forks a *zygote* before it has read anything, and stays as the *supervisor*
(`forklock.evals.judging.driver.supervisor`). For each program the zygote forks a *host*
(`forklock.evals.judging.driver.host`), which
compiles the program and forks one process for each test; the zygote's memory holds no program and no test. An assert
program has one process, which its check calls. Driver processes are not dumpable, so a child of the same user can
neither trace them nor open their descriptors. Standard library only.
"""

from __future__ import annotations

import _socket
import builtins
import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import sys
import types
from collections.abc import Callable
from typing import Any

from forklock.evals.judging.driver.child import receive
from forklock.evals.judging.driver.cleanup import Place, sweep
from forklock.evals.judging.driver.host import host
from forklock.evals.judging.driver.program import described, dress, given_classes, serve
from forklock.evals.judging.driver.seccomp import install
from forklock.evals.judging.driver.supervisor import Supervisor
from forklock.evals.judging.driver.wire import GIVEN, STOCK, read_frame, write_frame

_PREAMBLE_STARS = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing"),
)
_BOTH = {"bisect": "bisect", "copy": "copy", "random": "random", "datetime": "datetime"}
"""Modules whose main name must also work bare: both `bisect.bisect_left` and `bisect(...)`."""


class _ModuleAndName(types.ModuleType):
    def __init__(self, module: types.ModuleType, name: str) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(vars(module))
        self.__dict__["_called"] = getattr(module, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._called(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_called"], name)


def preamble() -> dict[str, Any]:
    """Return LiveCodeBench's standard imports as a namespace in which the four shadowed names also work bare."""
    names: dict[str, Any] = {}
    for module in _PREAMBLE_STARS:
        exec(f"from {module} import *", names)  # noqa: S102
    for module in _PREAMBLE_STARS:
        exec(f"import {module}", names)  # noqa: S102
    for module, name in _BOTH.items():
        names[module] = _ModuleAndName(names[module], name)
    del names["__builtins__"]
    return names


_SERVE, _HOST = b"a", b"t"


def stock() -> None:
    """Import `numpy` once for all programs: in each of 40 processes it would take seconds."""
    with contextlib.suppress(BaseException):
        import numpy  # noqa: F401
    gc.collect()
    gc.freeze()


def zygote(ask: Any, libc: Any, folder: str, places: list[str]) -> None:
    """Fork and reap on request. This process reads no program and no test, so no fork of it can know any."""
    dress()
    gc.freeze()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    while True:
        message, fds = receive(ask)
        if not message:
            os._exit(0)
        if message in (_SERVE, _HOST):
            pid = os.fork()
            if pid == 0:
                try:
                    _child(message, fds, libc, folder, places)
                finally:
                    os._exit(70)
            for fd in fds:
                os.close(fd)
            ask.send(pid.to_bytes(4, "big"))
        elif message == STOCK:
            stock()
            ask.send(STOCK)
        else:
            ended = _reap(int.from_bytes(message, "big"))
            if not sweep():
                os._exit(71)
            ask.send(ended)


def _reap(pid: int) -> bytes:
    """Wait for a process and kill the rest of its group; return its status (4 bytes) and CPU microseconds (8)."""
    status, cpu_s = 0, 0.0
    with contextlib.suppress(ChildProcessError):  # reaped already
        _, status, used = os.wait4(pid, 0)
        cpu_s = used.ru_utime + used.ru_stime
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return status.to_bytes(4, "big") + int(cpu_s * 1e6).to_bytes(8, "big")


def _child(mode: bytes, fds: list[int], libc: Any, folder: str, places: list[str]) -> None:
    """Become a program's host, or hold an assert program; 3 and 4 are pipes from and to the supervisor."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    keep = dict(zip((0, 1, 2, 3, 4), (null, null, null, *fds), strict=True))
    high = [(target, fcntl.fcntl(source, fcntl.F_DUPFD, 64)) for target, source in keep.items()]
    for target, source in high:
        os.dup2(source, target)
    os.closerange(5, 4096)
    os.chdir(folder)
    job = read_frame(3)
    serve(job) if mode == _SERVE else host(job, libc, folder, [Place(path) for path in places])


def prepared(job: dict[str, Any], candidate: Any, text: str) -> Callable[[], None]:
    """Compile the check and run the prelude; return a function that checks the candidate and raises if it is wrong."""
    space: dict[str, Any] = {"__name__": "check", "candidate": candidate, job["entry_point"]: candidate}
    GIVEN.clear()
    program = compile(text, "<check>", "exec", dont_inherit=True)
    if job["prelude"]:
        exec(compile(job["prelude"], "<prelude>", "exec", dont_inherit=True), space)  # noqa: S102
        GIVEN.update(given_classes(space))
    return lambda: exec(program, space)  # noqa: S102


def guard() -> ctypes.CDLL:
    """Make this process not dumpable (no tracing, no /proc/PID/fd for others) and the parent of all orphans below."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(
            -8, 1
        )  # M_ARENA_MAX; otherwise each thread of a program takes 128 MiB of its address space
    return libc


def shared_places() -> list[str]:
    """Return the folders where a test could leave something for the next one, besides the program's own.

    There are none unless the judge says that nobody else uses this sandbox.
    """
    if sys.argv[2:] != [ISOLATED]:
        return []
    places = {os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm", "/dev", os.getcwd()}  # noqa: S108, PTH109
    with contextlib.suppress(OSError), open("/proc/self/mounts") as mounts:  # noqa: PTH123
        rows = [line.split(" ") for line in mounts]
        places |= {row[1].encode().decode("unicode_escape") for row in rows if row[2] not in _KERNELS_OWN}
    return sorted(place for place in places if os.path.isdir(place) and os.access(place, os.W_OK))  # noqa: PTH112


_KERNELS_OWN = ("proc", "sysfs", "devpts", "cgroup", "cgroup2")
"""File systems in which a program cannot create anything."""
ISOLATED = "isolated"
"""Argument of a driver whose folders nobody else can write to."""


def main() -> None:
    """Start the driver: fork the zygote, then run as the supervisor."""
    guard()
    vars(builtins).update(preamble())  # every program finds these, and none gets a copy
    compile("", "<warm>", "exec")  # creates the types of syntax trees, which each fork would otherwise create
    out = os.dup(1)
    write_frame(out, "ready")
    mine, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    supervisor = Supervisor(mine, out, prepared, described, shared_places())
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    if os.fork() == 0:
        mine.close()
        os.close(out)
        libc = guard()
        install(libc)
        zygote(its, libc, supervisor.folder, supervisor.paths)
    its.close()
    supervisor.run()


if __name__ == "__main__":
    main()

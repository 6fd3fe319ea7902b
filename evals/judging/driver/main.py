"""evals: the part of the judge that runs inside the sandbox: here, what meets the program itself.

In: frames on stdin (8-byte big-endian length, JSON), two a program: `job`, then `tests`. Out: one frame a program on
stdout; of a program that takes long, what its tests said so far, too, and then a frame on stdin may end it. No expected
output of a `stdin` or `functional` test ever comes in here. `assert` tests hold theirs in the second frame, which is
read by the supervisor only, in a process whose memory no program's process was ever a copy of; the two speak over
pipes, in plain values only.

Processes: the driver forks a *zygote* before it has read anything, and stays as the *supervisor*
(`evals.judging.driver.supervisor`). For each program the zygote forks a *host* (`evals.judging.driver.host`),
which compiles the
program and forks one process for each test; the zygote's memory holds no program and no test. An assert program has one
process, which its check calls. Driver processes are not dumpable, so a child of the same user can neither trace them
nor open their descriptors. Standard library only.
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

from evals.judging.driver.child import receive
from evals.judging.driver.cleanup import Place, sweep
from evals.judging.driver.host import host
from evals.judging.driver.program import described, dress, given_classes, serve
from evals.judging.driver.seccomp import install
from evals.judging.driver.supervisor import Supervisor
from evals.judging.driver.wire import GIVEN, STOCK, read_frame, write_frame

_PREAMBLE_STARS = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing"),
)
_BOTH = {"bisect": "bisect", "copy": "copy", "random": "random", "datetime": "datetime"}
"""Modules whose main name is also wanted bare: `bisect.bisect_left` and `bisect(...)` must both work."""


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
    """LiveCodeBench's standard imports as a namespace, with the four shadowed names made to work bare."""
    names: dict[str, Any] = {}
    for module in _PREAMBLE_STARS:
        exec(f"from {module} import *", names)  # noqa: S102
    for module in _PREAMBLE_STARS:
        exec(f"import {module}", names)  # noqa: S102
    for module, name in _BOTH.items():
        names[module] = _ModuleAndName(names[module], name)
    del names["__builtins__"]
    return names


# --- the zygote: where processes for programs come from -------------------------------------------

_SERVE, _HOST = b"a", b"t"


def stock() -> None:
    """Import what takes long, once for all programs: `numpy` in each of 40 processes is seconds."""
    with contextlib.suppress(BaseException):
        import numpy  # noqa: F401
    gc.collect()
    gc.freeze()


def zygote(ask: Any, libc: Any, folder: str, places: list[str]) -> None:
    """Fork and reap on demand. This process reads no program and no test, so no fork of it can know any."""
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
    """Wait for a process and end what it left in its group: its status (4 bytes) and CPU microseconds (8 bytes)."""
    status, cpu_s = 0, 0.0
    with contextlib.suppress(ChildProcessError):  # reaped already
        _, status, used = os.wait4(pid, 0)
        cpu_s = used.ru_utime + used.ru_stime
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return status.to_bytes(4, "big") + int(cpu_s * 1e6).to_bytes(8, "big")


def _child(mode: bytes, fds: list[int], libc: Any, folder: str, places: list[str]) -> None:
    """Become a program's host, or hold an assert program; descriptors 3 and 4 come from and go to the supervisor."""
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


# --- the check of assert programs -----------------------------------------------------------------


def prepared(job: dict[str, Any], candidate: Any, text: str) -> Callable[[], None]:
    """Compile the check and run the prelude; the result is called to check the candidate, and raises what that
    raises."""
    space: dict[str, Any] = {"__name__": "check", "candidate": candidate, job["entry_point"]: candidate}
    GIVEN.clear()
    program = compile(text, "<check>", "exec", dont_inherit=True)
    if job["prelude"]:
        exec(compile(job["prelude"], "<prelude>", "exec", dont_inherit=True), space)  # noqa: S102
        GIVEN.update(given_classes(space))
    return lambda: exec(program, space)  # noqa: S102


def guard() -> ctypes.CDLL:
    """Not dumpable (no tracing, no /proc/PID/fd for others), and parent of every orphan below."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(-8, 1)  # M_ARENA_MAX, or each thread of a program takes 128 MiB of its address space
    return libc


def shared_places() -> list[str]:
    """Folders where a test could leave something for the next one, beside the programs' own; none where the judge does
    not say that nobody else is here."""
    if sys.argv[2:] != [ISOLATED]:
        return []
    places = {os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm", "/dev", os.getcwd()}  # noqa: S108, PTH109
    with contextlib.suppress(OSError), open("/proc/self/mounts") as mounts:  # noqa: PTH123
        rows = [line.split(" ") for line in mounts]
        places |= {row[1].encode().decode("unicode_escape") for row in rows if row[2] not in _KERNELS_OWN}
    return sorted(place for place in places if os.path.isdir(place) and os.access(place, os.W_OK))  # noqa: PTH112


_KERNELS_OWN = ("proc", "sysfs", "devpts", "cgroup", "cgroup2")
"""File systems that hold nothing which a program could make."""
ISOLATED = "isolated"


def main() -> None:
    guard()
    vars(builtins).update(preamble())  # found by every program, and copied for none
    compile("", "<warm>", "exec")  # makes the syntax tree's types, which each fork would make for itself
    out = os.dup(1)
    write_frame(out, "ready")
    mine, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    supervisor = Supervisor(mine, out, prepared, described, shared_places())
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page of this
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

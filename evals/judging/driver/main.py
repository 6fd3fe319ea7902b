"""evals: the part of the judge that runs inside the sandbox: here, what meets the program itself.

In: frames on stdin (8-byte big-endian length, JSON), two a program: `job`, then `tests`. Out: one frame a program on
stdout; of a program that takes long, what its tests said so far, too, and then a frame on stdin may end it. No expected
output of a `stdin` or `functional` test ever comes in here. `assert` tests hold theirs in the second frame, which is
read by the supervisor only, in a process whose memory no program's process was ever a copy of; the two speak over
pipes, in plain values only.

Processes: the driver forks a *zygote* before it has read anything, and stays as the *supervisor*
(`evals.judging.driver.supervisor`). Whatever runs a program is forked from the zygote, whose memory holds no
program and no
test, and gets its job through a pipe; it has its own group and limits. Driver processes are not dumpable, so a
child of the same user can neither trace them nor open their descriptors. Standard library only.
"""

from __future__ import annotations

import _socket
import atexit
import builtins
import contextlib
import ctypes
import fcntl
import gc
import io
import json
import os
import resource
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

from evals.judging.driver.child import receive
from evals.judging.driver.cleanup import sweep
from evals.judging.driver.may_share import contained
from evals.judging.driver.seccomp import install
from evals.judging.driver.supervisor import Supervisor
from evals.judging.driver.unchanged import Kept
from evals.judging.driver.wire import (
    EXCEPTION,
    FRESH,
    GIVEN,
    MEMORY,
    OK,
    STOCK,
    WRONG,
    Unplain,
    framed,
    jsonable,
    pack,
    read_frame,
    unpack,
    write_all,
    write_frame,
)

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


# --- the child that runs the program --------------------------------------------------------------


def load(job: dict[str, Any], module_name: str) -> dict[str, Any]:
    """Run the prelude and the program in one fresh module namespace."""
    module = types.ModuleType(module_name)
    sys.modules[module_name] = module
    space = module.__dict__
    sys.setrecursionlimit(DEPTH[job["style"]])
    if job["prelude"]:
        exec(compile(job["prelude"], "<prelude>", "exec", dont_inherit=True), space)  # noqa: S102
        GIVEN.update(given_classes(space))
    program = job.get("program") or compiled_program(job)
    exec(program, space)  # noqa: S102
    return space


def compiled_program(job: dict[str, Any]) -> types.CodeType:
    """A byte order mark is no part of it: of a file, Python takes it off, too."""
    return compile(job["code"].removeprefix("\ufeff"), "<solution>", "exec", dont_inherit=True)


def given_classes(space: dict[str, Any]) -> dict[str, type]:
    return {
        name: value
        for name, value in space.items()
        if isinstance(value, type) and value.__module__ == space["__name__"]
    }


def resolve(space: dict[str, Any], entry_point: str) -> Any:
    """The function asked for: a method of a fresh `Solution`, else a top-level function."""
    solution = space.get("Solution")
    if isinstance(solution, type) and hasattr(solution, entry_point):
        return getattr(solution(), entry_point)
    if entry_point in space:
        return space[entry_point]
    raise NameError(f"the program defines no {entry_point!r}")


def described(error: BaseException) -> str:
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<solution>":
            line = f" (line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        line = f" (line {error.lineno})"
    return f"{type(error).__name__}: {str(error)[:300]}{line}"


def status_of(error: BaseException) -> str:
    if isinstance(error, Unplain):
        return WRONG
    return MEMORY if isinstance(error, MemoryError) else EXCEPTION


def confine(folder: str, keep: dict[int, int]) -> None:
    """Own group and folder; only the descriptors in `keep` (target: source) stay open."""
    os.setsid()
    high = [(target, fcntl.fcntl(source, fcntl.F_DUPFD, 64)) for target, source in keep.items()]
    for target, source in high:
        os.dup2(source, target)
    os.closerange(max(keep) + 1, 4096)
    os.chdir(folder)


def limit(job: dict[str, Any]) -> None:
    """The limits of one program."""
    memory = job["memory_mb"] << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    cpu = max(1, int(job["cpu_s"] + 0.999))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = 256 << 20
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def dress() -> None:
    """Arguments and streams as a program's interpreter has them: made once, for all that are forked."""
    sys.argv = ["solution.py"]
    streams(io.FileIO(0, closefd=False), io.FileIO(1, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), encoding="utf-8", errors="backslashreplace",
        write_through=True,
    )  # fmt: skip
    vars(sys).update(__stderr__=sys.stderr)
    sys.set_int_max_str_digits(0)


def streams(source: Any, target: Any) -> None:
    sys.stdin = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(target), encoding="utf-8")
    vars(sys.stdin)["mode"], vars(sys.stdout)["mode"] = "r", "w"  # as python has them: fast readers look
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout)


def run_one(job: dict[str, Any]) -> None:
    """One test in a process of its own."""
    text = read_frame(3)
    os.close(3)
    run_stdin(job) if job["style"] == "stdin" else run_functional(job, text)


def run_stdin(job: dict[str, Any]) -> None:
    """The program as a script; what matters is what it prints and how it exits."""
    code = 0
    try:
        load(job, "__main__")
        threading._shutdown()  # type: ignore[attr-defined]  # join what the program started, as python does
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code:
            write_frame(4, [EXCEPTION, f"exit status {code}"])
    except BaseException as error:
        code = 1
        write_frame(4, [status_of(error), described(error)])
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    os._exit(code & 0xFF)


def run_functional(job: dict[str, Any], text: str) -> None:
    """One call; the result goes out as JSON on its own descriptor."""
    try:
        write_frame(4, [OK, answer(job, load(job, "solution"), text)])
    except BaseException as error:
        write_frame(4, [status_of(error), described(error)])
    os._exit(0)


def answer(job: dict[str, Any], space: dict[str, Any], text: str) -> str:
    arguments = [json.loads(line) for line in text.split("\n") if line.strip()]
    result = resolve(space, job["entry_point"])(*arguments)
    sys.setrecursionlimit(DEPTH["stdin"])  # a result that holds itself is found out sooner
    return _dumps(jsonable(result))


_dumps = json.dumps
DEPTH = {"stdin": 50_000, "functional": 550_000, "assert": 50_000}
"""Frames: what LiveCodeBench sets, and LeetCode for its own problems."""
SLOW_LOAD_S = 0.0015
"""A program that takes longer to load (CPU seconds) is loaded once, and forked for each test."""


class Line:
    """The tests of a shared process: inputs come ahead of their turn, and answers that come fast leave together, so
    that this process and the supervisor do not wake each other for each."""

    def __init__(self) -> None:
        self._read, self._said = bytearray(), bytearray()
        self._told = time.monotonic()

    def next(self) -> str:
        """
        Raises:
            EOFError: there are no more.
        """
        size = int.from_bytes(self._take(8), "big")
        text: str = json.loads(self._take(size))
        return text

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            self.tell()
            part = os.read(3, 1 << 18)
            if not part:
                raise EOFError
            self._read += part
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def say(self, value: Any) -> None:
        """Answer, at once or a little later."""
        self._said += framed(value)
        if len(self._said) > TOLD_BYTES or time.monotonic() - self._told > TOLD_S:
            self.tell()

    def tell(self) -> None:
        if self._said:
            write_all(4, bytes(self._said))
            self._said.clear()
        self._told = time.monotonic()


TOLD_S, TOLD_BYTES = 0.002, 1 << 15
"""Seconds since the last answers left, and bytes, from which on the next ones do."""


def run_several(job: dict[str, Any]) -> None:
    """Tests one after the other in this process, each with the program as it is newly loaded. Whatever is not a plain
    result ends it: that test is the supervisor's to try in a process of its own."""
    line = Line()
    try:
        job["program"] = compiled_program(job)
        if not contained(job["program"]):
            raise Unplain
        run = printed if job["style"] == "stdin" else returned(job, line)
        line.say([OK, ""])
        while True:
            text = line.next()
            said = run(job, text)
            if said is not None:
                line.say([OK, said])
    except EOFError:
        line.tell()
    except BaseException:
        line.say([FRESH, ""])
        line.tell()
    os._exit(0)


def returned(job: dict[str, Any], line: Line) -> Callable[[dict[str, Any], str], str | None]:
    """How to run functional tests of this program: load it again where the one before may have changed it, or fork
    what was loaded, where that is slow."""
    loaded, cost = timed_load(job)
    kept, used = Kept(loaded), False
    slow = cost > SLOW_LOAD_S and kept.can_hold
    if slow and cost < 20 * SLOW_LOAD_S:  # it may be the first touch of pages, which comes once
        loaded, cost = timed_load(job)
        kept, slow = Kept(loaded), cost > SLOW_LOAD_S

    def again(job: dict[str, Any], text: str) -> str:
        nonlocal loaded, kept, used
        if used and not kept.is_as_before():
            loaded = load(job, "solution")
            kept = Kept(loaded)
        used = True
        sys.setrecursionlimit(DEPTH["functional"])
        return answer(job, loaded, text)

    def forked(job: dict[str, Any], text: str) -> None:
        line.tell()
        pid = os.fork()
        if pid == 0:
            run_functional_loaded(job, loaded, text)
        os.waitpid(pid, 0)

    return forked if slow else again


def timed_load(job: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """A loaded program, and the CPU seconds that it took."""
    began = time.process_time()
    return load(job, "solution"), time.process_time() - began


def run_functional_loaded(job: dict[str, Any], space: dict[str, Any], text: str) -> None:
    try:
        write_frame(4, [OK, answer(job, space, text)])
    except BaseException:
        write_frame(4, [FRESH, ""])
    os._exit(0)


def printed(job: dict[str, Any], text: str) -> str:
    """What the program prints when it reads `text`, streams in memory."""
    shown = io.BytesIO()
    streams(io.BytesIO(text.encode("utf-8", "surrogatepass")), shown)
    out = sys.stdout
    try:
        load(job, "__main__")
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    out.flush()
    return shown.getvalue().decode("utf-8", errors="replace")


def serve(job: dict[str, Any]) -> None:
    """Hold the candidate of an assert program and answer calls until the pipe closes."""
    try:
        space = load(job, "solution")
        resolve(space, job["entry_point"])
        write_frame(4, [OK, ""])
    except BaseException as error:
        write_frame(4, [status_of(error), described(error)])
        os._exit(0)
    while True:
        try:
            arguments, named = unpack(read_frame(3))
        except EOFError:
            os._exit(0)
        try:
            result = resolve(space, job["entry_point"])(*arguments, **named)
            reply = [OK, pack(result)]
        except BaseException as error:
            reply = [status_of(error), described(error)]
        write_frame(4, reply)


# --- the zygote: where processes for programs come from -------------------------------------------

_MODES = {b"1": run_one, b"n": run_several, b"a": serve}


def stock() -> None:
    """Import what takes long, once for all programs: `numpy` in each of 40 processes is seconds."""
    with contextlib.suppress(BaseException):
        import numpy  # noqa: F401
    gc.collect()
    gc.freeze()


def zygote(ask: Any, folder: str) -> None:
    """Fork and reap on demand. This process reads no program and no test, so no fork of it can know any."""
    dress()
    gc.freeze()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(null, 2)
    while True:
        message, fds = receive(ask)
        if not message:
            os._exit(0)
        if message in _MODES:
            pid = os.fork()
            if pid == 0:
                try:
                    child(message, fds, null, folder)
                finally:
                    os._exit(70)
            for fd in fds:
                os.close(fd)
            ask.send(pid.to_bytes(4, "big"))
        elif message == STOCK:
            stock()
            ask.send(STOCK)
        else:
            status = reap(int.from_bytes(message, "big"))
            if not sweep():
                os._exit(71)
            ask.send(status.to_bytes(4, "big"))


def reap(pid: int) -> int:
    """How it ended, once it has; what it left in its group is ended."""
    status = 0
    with contextlib.suppress(ChildProcessError):  # reaped already, for a check in a fork
        status = os.waitpid(pid, 0)[1]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return status


def child(mode: bytes, fds: list[int], null: int, folder: str) -> None:
    """A process for a program: descriptors 3 and 4 come from and go to the supervisor."""
    standard = dict(zip((3, 4, 0, 1), fds, strict=False))
    confine(folder, {0: null, 1: null, 2: null, **standard})
    job = read_frame(3)
    limit(job)
    _MODES[mode](job)


# --- the check of assert programs -----------------------------------------------------------------


def check(job: dict[str, Any], candidate: Any, programs: list[types.CodeType]) -> None:
    """Run the prelude, if any, and one assert program against the candidate; raises what the program raises."""
    space: dict[str, Any] = {"__name__": "check", "candidate": candidate, job["entry_point"]: candidate}
    GIVEN.clear()
    *prelude, last = programs
    for program in prelude:
        exec(program, space)  # noqa: S102
        GIVEN.update(given_classes(space))
    exec(last, space)  # noqa: S102


def compiled(job: dict[str, Any], text: str) -> list[types.CodeType]:
    parts = {"<prelude>": job["prelude"], "<check>": text}
    return [compile(part, name, "exec", dont_inherit=True) for name, part in parts.items() if part]


def guard() -> ctypes.CDLL:
    """Not dumpable (no tracing, no /proc/PID/fd for others), and parent of every orphan below."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(-8, 1)  # M_ARENA_MAX, or each thread of a program takes 128 MiB of its address space
    return libc


def shared_places() -> list[str]:
    """Where programs could leave something for the next one, beside their folder; none where the judge does not say
    that nobody else is here."""
    if sys.argv[2:] != [ISOLATED]:
        return []
    places = {os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm", "/dev", os.getcwd()}  # noqa: S108, PTH109
    return sorted(place for place in places if os.path.isdir(place) and os.access(place, os.W_OK))  # noqa: PTH112


ISOLATED = "isolated"


def main() -> None:
    guard()
    vars(builtins).update(preamble())  # found by every program, and copied for none
    compile("", "<warm>", "exec")  # makes the syntax tree's types, which each fork would make for itself
    out = os.dup(1)
    write_frame(out, "ready")
    mine, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    supervisor = Supervisor(mine, out, compiled, check, described, shared_places())
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page of this
    if os.fork() == 0:
        mine.close()
        os.close(out)
        install(guard())
        zygote(its, supervisor.folder)
    its.close()
    supervisor.run()


if __name__ == "__main__":
    main()

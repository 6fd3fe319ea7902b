"""evals: the part of the judge that runs inside the sandbox. Standard library only, one file.

In: frames on stdin (8-byte big-endian length, JSON), two a program: `job`, then `tests`. Out: one frame a
program on stdout. No expected output of a `stdin` or `functional` test ever comes in here. `assert` tests
hold theirs in the second frame, which is read by a supervisor *after* it has forked the process that holds
the candidate; supervisor and candidate then speak over a pipe, in plain values only.

Processes: main reads `job` and forks a supervisor per program; the supervisor forks a fresh child per test
(or one for an assert program) with its own group, limits and empty folder. Driver processes are not
dumpable, so a child of the same user can neither trace them nor open their descriptors.
"""

from __future__ import annotations

import atexit
import base64
import builtins
import collections
import collections.abc
import contextlib
import ctypes
import fcntl
import io
import itertools
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
from typing import Any

OK, WRONG, EXCEPTION, TIMEOUT, MEMORY, OUTPUT = "ok", "wrong", "exception", "timeout", "memory", "output"
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


# --- frames ----------------------------------------------------------------------------------------


def read_exactly(fd: int, count: int) -> bytes:
    """Exactly `count` bytes and not one more: what follows is for another process."""
    parts, left = [], count
    while left:
        part = os.read(fd, min(left, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_frame(fd: int) -> Any:
    return json.loads(read_exactly(fd, int.from_bytes(read_exactly(fd, 8), "big")))


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_frame(fd: int, value: Any) -> None:
    data = json.dumps(value).encode()
    write_all(fd, len(data).to_bytes(8, "big") + data)


# --- plain values between candidate and check -----------------------------------------------------


class Unplain(Exception):
    """A value that is not plain data."""


_SEQUENCES: dict[Any, str] = {list: "l", tuple: "t", set: "s", frozenset: "f", collections.deque: "q"}
_MAKERS = {"l": list, "t": tuple, "s": set, "f": frozenset, "q": collections.deque}


def pack(value: Any) -> list[Any]:
    """A value as a flat list of cells that refer to each other by index (shared and cyclic parts allowed).
    Instances of given classes travel as class name and attributes; everything else must be plain."""
    cells: list[Any] = []
    seen: dict[int, int] = {}
    keep: list[Any] = []
    todo: list[tuple[int, Any]] = []

    def cell(item: Any) -> int:
        if id(item) in seen:
            return seen[id(item)]
        seen[id(item)] = len(cells)
        keep.append(item)
        todo.append((len(cells), item))
        cells.append(None)
        return len(cells) - 1

    cell(value)
    while todo:
        index, item = todo.pop()
        cells[index] = _pack_one(item, cell)
    return cells


def _pack_one(item: Any, cell: Any) -> list[Any]:  # noqa: C901 - one line per type
    if hasattr(item, "tolist") and type(item).__module__ == "numpy":
        item = item.tolist()
    if item is None or isinstance(item, bool):
        return ["v", item]
    for scalar in (int, float, str):
        if isinstance(item, scalar):
            return ["v", scalar(item)]
    if isinstance(item, complex):
        return ["c", item.real, item.imag]
    if isinstance(item, (bytes, bytearray)):
        return ["b", base64.b64encode(bytes(item)).decode()]
    for kind, tag in _SEQUENCES.items():
        if isinstance(item, kind):
            return [tag, *map(cell, kind.__iter__(item))]
    if isinstance(item, dict):
        return ["d", *(part for key, value in dict.items(item) for part in (cell(key), cell(value)))]
    attributes = getattr(item, "__dict__", None)
    if isinstance(attributes, dict) and type(item).__name__ in _GIVEN:
        return ["o", type(item).__name__, *(p for k, v in attributes.items() for p in (k, cell(v)))]
    if isinstance(item, collections.abc.Iterator):
        return ["i", *map(cell, itertools.islice(item, 1_000_000))]
    return ["x", type(item).__name__, bool(item)]


class Opaque:
    """What stands for a value that is not plain data: true or false as it was, and equal to nothing."""

    def __init__(self, kind: str, truth: bool) -> None:
        self.kind, self.truth = kind, truth

    def __bool__(self) -> bool:
        return self.truth

    def __repr__(self) -> str:
        return f"<{self.kind}>"


_GIVEN: dict[str, Any] = {}
"""Classes of the problem's prelude, by name, in this process."""


def unpack(cells: list[Any]) -> Any:
    """The value that `pack` flattened. Builds built-in types and given classes only."""
    built: dict[int, Any] = {}
    most = sum(map(len, cells))
    for index, entry in enumerate(cells):  # containers that can be empty first, so cycles find them
        if entry[0] in "lqd":
            built[index] = {"l": [], "q": collections.deque(), "d": {}}[entry[0]]
        elif entry[0] == "o":
            kind = _GIVEN[entry[1]]
            built[index] = kind.__new__(kind)
    filled: set[int] = set()
    stack = [0]
    while stack:
        index = stack[-1]
        entry = cells[index]
        missing = [part for part in _parts(entry) if part not in built]
        if missing:
            if len(stack) > most:
                raise Unplain("a tuple or set that holds itself")
            stack.extend(missing)
            continue
        stack.pop()
        if index not in filled:
            filled.add(index)
            _fill(index, entry, built)
            stack.extend(part for part in _parts(entry) if part not in filled)
    return built[0]


def _parts(entry: list[Any]) -> list[int]:
    if entry[0] in "vcbx":
        return []
    return entry[3::2] if entry[0] == "o" else entry[1:]


def _fill(index: int, entry: list[Any], built: dict[int, Any]) -> None:
    tag, rest = entry[0], entry[1:]
    if tag == "v":
        built[index] = rest[0]
    elif tag == "c":
        built[index] = complex(*rest)
    elif tag == "b":
        built[index] = base64.b64decode(rest[0])
    elif tag == "x":
        built[index] = Opaque(str(rest[0]), rest[1] is True)
    elif tag == "i":
        built[index] = iter([built[part] for part in rest])
    elif tag in "lq":
        built[index].extend(built[part] for part in rest)
    elif tag == "d":
        built[index].update(
            (built[key], built[value]) for key, value in zip(rest[::2], rest[1::2], strict=True)
        )
    elif tag == "o":
        for name, part in zip(rest[1::2], rest[2::2], strict=True):
            built[index].__dict__[name] = built[part]
    else:
        built[index] = _MAKERS[tag](built[part] for part in rest)


def jsonable(value: Any) -> Any:
    """A functional result as JSON data; tuples become lists, the exact types of scalars stay."""
    if hasattr(value, "tolist") and type(value).__module__ == "numpy":
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, (list, tuple, collections.deque)):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    raise Unplain(f"the result holds a {type(value).__name__}, which is not JSON data")


# --- the child that runs the program --------------------------------------------------------------


def load(job: dict[str, Any], names: dict[str, Any], module_name: str) -> dict[str, Any]:
    """Run the preamble, the prelude and the program in one fresh module namespace."""
    module = types.ModuleType(module_name)
    sys.modules[module_name] = module
    space = module.__dict__
    space.update(names)
    space["__name__"] = module_name
    sys.setrecursionlimit(50_000)
    if job["prelude"]:
        exec(compile(job["prelude"], "<prelude>", "exec", dont_inherit=True), space)  # noqa: S102
        _GIVEN.update(given_classes(space))
    exec(compile(job["code"], "<solution>", "exec", dont_inherit=True), space)  # noqa: S102
    return space


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


def confine(job: dict[str, Any], keep: dict[int, int]) -> None:
    """Own group, limits and folder; only the descriptors in `keep` (target: source) stay open."""
    os.setsid()
    high = [(target, fcntl.fcntl(source, fcntl.F_DUPFD, 64)) for target, source in keep.items()]
    for target, source in high:
        os.dup2(source, target)
    os.closerange(max(keep) + 1, 4096)
    memory = job["memory_mb"] << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    cpu = max(1, int(job["cpu_s"] + 0.999))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = 256 << 20
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))
    os.chdir(job["folder"])
    sys.set_int_max_str_digits(0)
    sys.argv = ["solution.py"]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), encoding="utf-8", write_through=True
    )
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


def run_stdin(job: dict[str, Any], names: dict[str, Any]) -> None:
    """The program as a script; what matters is what it prints and how it exits."""
    code = 0
    try:
        load(job, names, "__main__")
        threading._shutdown()  # type: ignore[attr-defined]  # join what the program started, as python does
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code:
            write_frame(3, [EXCEPTION, f"exit status {code}"])
    except BaseException as error:
        code = 1
        write_frame(3, [status_of(error), described(error)])
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    os._exit(code & 0xFF)


def run_functional(job: dict[str, Any], names: dict[str, Any], text: str) -> None:
    """One call; the result goes out as JSON on its own descriptor."""
    try:
        arguments = [json.loads(line) for line in text.split("\n") if line.strip()]
        space = load(job, names, "solution")
        result = resolve(space, job["entry_point"])(*arguments)
        write_frame(3, [OK, _dumps(jsonable(result))])
    except BaseException as error:
        write_frame(3, [status_of(error), described(error)])
    os._exit(0)


_dumps = json.dumps


def serve(job: dict[str, Any], names: dict[str, Any]) -> None:
    """Hold the candidate of an assert program and answer calls until the pipe closes."""
    try:
        space = load(job, names, "solution")
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
            answer = [OK, pack(result)]
        except BaseException as error:
            answer = [status_of(error), described(error)]
        write_frame(4, answer)


# --- the supervisor of one program ----------------------------------------------------------------


class Child:
    """A forked child: its process, the pipes from it, and how it ended."""

    def __init__(self, pid: int, deadline: float) -> None:
        self.pid, self.deadline = pid, deadline
        self.exit: int | None = None
        self.signal: int | None = None

    def kill(self) -> None:
        """End the whole group and reap the child."""
        if self.exit is None and self.signal is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)
            self._reaped(os.waitpid(self.pid, 0)[1])

    def wait(self) -> bool:
        """Wait for the end until the deadline; False when it did not come."""
        pause = 0.0005
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._reaped(status)
                return True
            if time.monotonic() > self.deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.02)

    def _reaped(self, status: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what the child left in its group
        if os.WIFSIGNALED(status):
            self.signal = os.WTERMSIG(status)
        else:
            self.exit = os.WEXITSTATUS(status)


def gather(fds: list[int], limit: int, deadline: float) -> tuple[dict[int, bytes], str]:
    """Read all pipes to their ends: what came, and OK, TIMEOUT or OUTPUT."""
    got: dict[int, list[bytes]] = {fd: [] for fd in fds}
    size, poll = 0, select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    left = set(fds)
    while left:
        wait = deadline - time.monotonic()
        if wait <= 0:
            return {fd: b"".join(parts) for fd, parts in got.items()}, TIMEOUT
        for fd, _ in poll.poll(wait * 1000):
            part = os.read(fd, 1 << 16)
            if not part:
                poll.unregister(fd)
                left.discard(fd)
            size += len(part)
            got[fd].append(part)
            if size > limit:
                return {fd: b"".join(parts) for fd, parts in got.items()}, OUTPUT
    return {fd: b"".join(parts) for fd, parts in got.items()}, OK


def run_test(job: dict[str, Any], names: dict[str, Any], text: str) -> list[str]:
    """One stdin or functional test in a fresh child: [status, output or reason]."""
    style = job["style"]
    out_r, out_w = os.pipe()
    said_r, said_w = os.pipe()
    source = os.memfd_create("stdin") if style == "stdin" else os.open(os.devnull, os.O_RDONLY)
    if style == "stdin":
        write_all(source, text.encode())
        os.lseek(source, 0, os.SEEK_SET)
    null = os.open(os.devnull, os.O_WRONLY)
    pid = os.fork()
    if pid == 0:
        try:
            confine(job, {0: source, 1: out_w if style == "stdin" else null, 2: null, 3: said_w})
            run_stdin(job, names) if style == "stdin" else run_functional(job, names, text)
        finally:
            os._exit(70)
    for fd in (out_w, said_w, source, null):
        os.close(fd)
    child = Child(pid, time.monotonic() + job["wall_s"])
    got, ended = gather([out_r, said_r], job["output_bytes"], child.deadline)
    if ended != OK or not child.wait():
        child.kill()
        ended = ended if ended != OK else TIMEOUT
    for fd in (out_r, said_r):
        os.close(fd)
    return verdict_of(child, ended, got[out_r], got[said_r], style)


def verdict_of(child: Child, ended: str, out: bytes, said: bytes, style: str) -> list[str]:
    """From how a child ended and what it said to [status, output or reason]."""
    if ended == TIMEOUT:
        return [TIMEOUT, "wall clock"]
    if ended == OUTPUT:
        return [OUTPUT, "too much output"]
    if child.signal is not None:
        return by_signal(child.signal)
    message = parse_said(said)
    if style == "functional":
        return message or [EXCEPTION, f"the program ended (exit status {child.exit}) before it answered"]
    if child.exit:
        return message or [EXCEPTION, f"exit status {child.exit}"]
    return [OK, out.decode("utf-8", errors="replace")]


def by_signal(number: int) -> list[str]:
    if number == signal.SIGXCPU:
        return [TIMEOUT, "CPU time"]
    if number == signal.SIGKILL:
        return [MEMORY, "killed by SIGKILL, most likely for its memory"]
    return [EXCEPTION, f"ended by signal {number}"]


def parse_said(said: bytes) -> list[str] | None:
    """The child's own last words, if they are well formed."""
    try:
        if len(said) < 8 or len(said) != 8 + int.from_bytes(said[:8], "big"):
            return None
        status, text = json.loads(said[8:])
    except (ValueError, TypeError, RecursionError):
        return None
    return [status, text] if status in (OK, WRONG, EXCEPTION, MEMORY) and isinstance(text, str) else None


# --- assert programs ------------------------------------------------------------------------------


class CandidateEnded(BaseException):
    """The candidate can answer no more. Not an `Exception`: a check must not catch it."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Candidate:
    """The function under test, in another process."""

    def __init__(self, child: Child, to: int, back: int, job: dict[str, Any]) -> None:
        self.child, self.to, self.back, self.job = child, to, back, job
        self.failure: list[str] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            write_frame(self.to, pack([list(args), kwargs]))
        except BrokenPipeError:
            raise self.ended() from None
        status, value = self.answer()
        if status != OK:
            self.failure = [status, str(value)]
            raise mirrored(str(value))
        self.failure = None
        return unpack(value)

    def answer(self) -> Any:
        """The next frame from the candidate, within the deadline and the output limit."""
        head = self.bytes(8)
        size = int.from_bytes(head, "big")
        if size > self.job["output_bytes"]:
            raise CandidateEnded(OUTPUT, "too large a result")
        try:
            status, value = json.loads(self.bytes(size))
            if status not in (OK, WRONG, EXCEPTION, MEMORY):
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            raise CandidateEnded(EXCEPTION, "the program spoke on the judge's channel") from None
        return status, value

    def bytes(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            wait = self.child.deadline - time.monotonic()
            if wait <= 0 or not select.select([self.back], [], [], wait)[0]:
                raise CandidateEnded(TIMEOUT, "wall clock")
            part = os.read(self.back, min(count, 1 << 16))
            if not part:
                raise self.ended()
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def ended(self) -> CandidateEnded:
        if not self.child.wait():
            return CandidateEnded(TIMEOUT, "wall clock")
        if self.child.signal is not None:
            return CandidateEnded(*by_signal(self.child.signal))
        return CandidateEnded(EXCEPTION, "the program ended before the check did")


def mirrored(text: str) -> Exception:
    """The candidate's exception again, so that a check which expects a ValueError meets one."""
    kind = getattr(builtins, text.split(":", maxsplit=1)[0], None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError and the like want more
            return RuntimeError(text)
    return RuntimeError(text)


def run_assert(job: dict[str, Any], names: dict[str, Any]) -> tuple[str, list[list[str]]]:
    """Fork the candidate, only then read the tests, and run them here: (nonce, [[status, reason]])."""
    ask_r, ask_w = os.pipe()
    back_r, back_w = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        try:
            confine(job, {0: null, 1: null, 2: null, 3: ask_r, 4: back_w})
            serve(job, names)
        finally:
            os._exit(70)
    os.close(ask_r)
    os.close(back_w)
    tests = read_frame(0)
    candidate = Candidate(Child(pid, time.monotonic() + job["wall_s"]), ask_w, back_r, job)
    os.dup2(null, 1)  # a check that prints must not reach the result channel
    try:
        results = [loaded(candidate) or check(candidate, job, names, tests["inputs"][0])]
    finally:
        candidate.child.kill()
    return tests["nonce"], results


def loaded(candidate: Candidate) -> list[str] | None:
    """Why the program could not be loaded, or None."""
    try:
        status, reason = candidate.answer()
    except CandidateEnded as ended:
        return [ended.status, ended.reason]
    return None if status == OK else [status, str(reason)]


def check(candidate: Candidate, job: dict[str, Any], names: dict[str, Any], text: str) -> list[str]:
    """Run one assert program against the candidate: [status, reason]."""
    try:
        signal.setitimer(signal.ITIMER_REAL, max(0.001, candidate.child.deadline - time.monotonic()))
        space = dict(names)
        space.update(__name__="check", candidate=candidate)
        space[job["entry_point"]] = candidate
        _GIVEN.clear()
        if job["prelude"]:
            exec(compile(job["prelude"], "<prelude>", "exec", dont_inherit=True), space)  # noqa: S102
            _GIVEN.update(given_classes(space))
        exec(compile(text, "<check>", "exec", dont_inherit=True), space)  # noqa: S102
    except CandidateEnded as ended:
        return [ended.status, ended.reason]
    except BaseException as error:
        if candidate.failure is not None:
            return candidate.failure
        return [WRONG, described(error)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return [OK, ""]


# --- main -----------------------------------------------------------------------------------------


def supervise(job: dict[str, Any], names: dict[str, Any], out: int) -> None:
    """Run one program against its tests and write the one result frame."""
    signal.signal(signal.SIGALRM, _alarm)
    if job["style"] == "assert":
        nonce, results = run_assert(job, names)
    else:
        tests = read_frame(0)
        nonce, results = tests["nonce"], []
        deadline, left = time.monotonic() + job["total_s"], job["outputs_bytes"]
        for text in tests["inputs"]:
            result = run_test(job, names, text)
            left -= len(result[1])
            if result[0] == OK and (left < 0 or time.monotonic() > deadline):
                result = [OUTPUT, "too much output"] if left < 0 else [TIMEOUT, "all tests together"]
            results.append(result)
            if result[0] != OK:
                break
    write_frame(out, {"nonce": nonce, "id": job["id"], "results": results})


def _alarm(*_: object) -> None:
    raise CandidateEnded(TIMEOUT, "the check itself ran too long")


def guard() -> None:
    """Not dumpable (no tracing, no /proc/PID/fd for others), and parent of every orphan below."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def sweep() -> bool:
    """Kill what a program left running; True when nothing is left."""
    for _ in range(50):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        for pid in children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.005)
    return False


def children() -> list[int]:
    """Direct children of this process."""
    me, found = str(os.getpid()), []
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                parent = file.read().rsplit(b")", 1)[1].split()[1]
        except (OSError, IndexError):
            continue
        if parent.decode() == me:
            found.append(int(name))
    return found


def main() -> None:
    guard()
    names = preamble()
    out = os.dup(1)
    write_frame(out, "ready")
    while True:
        try:
            job = read_frame(0)
        except EOFError:
            return
        job["folder"] = tempfile.mkdtemp(prefix="program-")
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                supervise(job, names, out)
                code = 0
            except (EOFError, BrokenPipeError):
                code = 71
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        clean = sweep()
        shutil.rmtree(job["folder"], ignore_errors=True)
        if status or not clean:
            return  # whoever reads sees which program has no result, and starts afresh


if __name__ == "__main__":
    main()

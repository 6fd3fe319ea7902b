"""evals: who runs the programs inside the sandbox: starts them, bounds them, asks them, says how each test went.

In: jobs and tests on stdin, a socket to the zygote. Out: a result frame a program, and before it how the tests of a
longer one went so far. Several tests of one program are first put to one process, which loads the program anew where a
test may have changed it; the first test that it does not simply answer, and all after it, get a process each, forked
from the zygote. Not covered: comparing (outside the sandbox).
"""

from __future__ import annotations

import array
import builtins
import contextlib
import json
import os
import select
import signal
import sys
import time
import types
from collections import deque
from collections.abc import Callable
from typing import Any

from evals.driver_contained import contained
from evals.driver_wire import (
    EXCEPTION,
    MEMORY,
    OK,
    OUTPUT,
    STOCK,
    TIMEOUT,
    WRONG,
    framed,
    pack,
    read_frame,
    unpack,
    write_all,
    write_frame,
)

SHARED_S = 0.5
"""Seconds (wall clock) that a test may take in a process which other tests share; a longer one is better off alone."""


class CandidateEnded(BaseException):
    """The candidate can answer no more. Not an `Exception`: a check must not catch it."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


# --- the zygote, seen from here -------------------------------------------------------------------


def receive(sock: Any) -> tuple[bytes, list[int]]:
    """One message and the descriptors that came with it; empty at the end."""
    size = array.array("i").itemsize
    message, extra, _, _ = sock.recvmsg(16, 64)
    fds = array.array("i")
    for _level, _kind, data in extra:
        fds.frombytes(data[: len(data) - len(data) % size])
    return message, list(fds)


def reply(ask: Any) -> bytes:
    """What the zygote answers.

    Raises:
        EOFError: it died, or could not clean up: nothing more can be trusted here.
    """
    said: bytes = ask.recv(16)
    if not said:
        raise EOFError
    return said


class Child:
    """A process of one program, the pipes to and from it, and how it ended. `spare` go to it as 0 and 1."""

    def __init__(self, ask: Any, mode: bytes, job: dict[str, Any], spare: tuple[int, ...] = ()) -> None:
        self.ask, self.deadline = ask, time.monotonic() + job["wall_s"]
        self.exit: int | None = None
        self.signal: int | None = None
        self.size = job["output_bytes"]
        self._read = bytearray()
        self._ahead = memoryview(b"")
        theirs, self.to = os.pipe()
        self.back, its = os.pipe()
        fds = array.array("i", (theirs, its, *spare))
        ask.sendmsg([mode], [(1, 1, fds)])  # SOL_SOCKET, SCM_RIGHTS
        self.pid = int.from_bytes(reply(self.ask), "big")
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(BrokenPipeError):
            write_frame(self.to, job)

    def ended(self, *, now: bool = False) -> bool:
        """Reap it, with all that it left. False when it had to be ended: after the deadline, or `now`."""
        in_time = True
        if self.exit is None and self.signal is None:
            if now:
                self._kill()
            self.ask.send(self.pid.to_bytes(4, "big"))
            left = max(0.0, self.deadline - time.monotonic())
            if not select.select([self.ask], [], [], left)[0]:
                in_time = False
                self._kill()
            status = int.from_bytes(reply(self.ask), "big")
            if os.WIFSIGNALED(status):
                self.signal = os.WTERMSIG(status)
            else:
                self.exit = os.WEXITSTATUS(status)
        return in_time and not now

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # it has not made its group yet
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it, whatever it does."""
        self.ended(now=True)
        self.hang_up()
        if self.back >= 0:
            os.close(self.back)
            self.back = -1

    def hang_up(self) -> None:
        if self.to >= 0:
            os.close(self.to)
            self.to = -1

    def answer(self, deadline: float) -> Any:
        """The next frame from it.

        Raises:
            CandidateEnded: too late, too large, none, or no such frame.
        """
        size = int.from_bytes(self._bytes(8, deadline), "big")
        if size > self.size:
            raise CandidateEnded(OUTPUT, "too large a result")
        try:
            status, value = json.loads(self._bytes(size, deadline))
            if not isinstance(status, str):
                raise TypeError
        except (ValueError, TypeError, RecursionError):
            raise CandidateEnded(EXCEPTION, "the program spoke on the judge's channel") from None
        return status, value

    def _bytes(self, count: int, deadline: float) -> bytes:
        while len(self._read) < count:
            wait = deadline - time.monotonic()
            due = [self.to] if self._ahead else []
            readable, writable, _ = select.select([self.back], due, [], max(0.0, wait))
            if writable:
                self._send_some()
            if not readable:
                if not writable:
                    raise CandidateEnded(TIMEOUT, "wall clock")
                continue
            part = os.read(self.back, 1 << 16)
            if not part:
                raise self.why()
            self._read += part
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def send_ahead(self, data: bytes) -> None:
        """What it gets while we wait for its answers."""
        self._ahead = memoryview(data)
        os.set_blocking(self.to, False)

    def _send_some(self) -> None:
        try:
            self._ahead = self._ahead[os.write(self.to, self._ahead[: 1 << 16]) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it has ended, which its end of the other pipe tells
            self._ahead = self._ahead[:0]

    def why(self) -> CandidateEnded:
        """What to say of a candidate that speaks no more."""
        if not self.ended():
            return CandidateEnded(TIMEOUT, "wall clock")
        if self.signal is not None:
            return CandidateEnded(*by_signal(self.signal))
        return CandidateEnded(EXCEPTION, "the program ended before the check did")

    def put(self, value: Any) -> None:
        """
        Raises:
            CandidateEnded: nobody reads it in time.
        """
        data = json.dumps(value).encode()
        view = memoryview(len(data).to_bytes(8, "big") + data)
        os.set_blocking(self.to, False)
        while view:
            try:
                view = view[os.write(self.to, view) :]
            except BlockingIOError:
                wait = self.deadline - time.monotonic()
                if wait <= 0 or not select.select([], [self.to], [], wait)[1]:
                    raise CandidateEnded(TIMEOUT, "wall clock") from None
            except BrokenPipeError:
                raise self.why() from None


# --- stdin and functional tests -------------------------------------------------------------------


class Shared:
    """One process for several tests of a program. It gets all inputs as fast as it takes them, and answers in turn."""

    def __init__(self, ask: Any, job: dict[str, Any], inputs: list[str]) -> None:
        every = {"cpu_s": job["total_s"], "output_bytes": min(job["output_bytes"] * 2, 1 << 30)}
        self.child: Child | None = Child(ask, b"n", job | every)
        self.most = job["output_bytes"]
        self.child.send_ahead(b"".join(map(framed, inputs)))
        self._first()

    def _first(self) -> None:
        if self.child is not None and self._said(self.child.deadline) is None:
            self.close()

    def _said(self, deadline: float) -> str | None:
        try:
            status, text = self.child.answer(deadline) if self.child is not None else ("", "")
        except CandidateEnded:
            return None
        return text if status == OK and isinstance(text, str) and len(text) <= self.most else None

    def run(self, wall_s: float) -> str | None:
        """The output for the next input; None when this test needs a process of its own, as all after it do."""
        if self.child is None:
            return None
        self.child.deadline = time.monotonic() + min(SHARED_S, wall_s)
        said = self._said(self.child.deadline)
        if said is None:
            self.close()
        return said

    def close(self) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None


def run_alone(ask: Any, job: dict[str, Any], text: str) -> list[str]:
    """One stdin or functional test in a fresh process: [status, output or reason]."""
    style = job["style"]
    spare: tuple[int, ...] = ()
    outs: list[int] = []
    if style == "stdin":
        source = os.memfd_create("stdin")
        write_all(source, text.encode("utf-8", "surrogatepass"))
        os.lseek(source, 0, os.SEEK_SET)
        out, theirs = os.pipe()
        spare, outs = (source, theirs), [out]
    child = Child(ask, b"1", job, spare)
    with contextlib.suppress(CandidateEnded):
        child.put("" if style == "stdin" else text)
    child.hang_up()
    got, ended = gather([*outs, child.back], job["output_bytes"], child.deadline)
    if ended != OK or not child.ended():
        ended = ended if ended != OK else TIMEOUT
    said = got[child.back]
    child.close()
    for fd in outs:
        os.close(fd)
    return verdict_of(child, ended, got[outs[0]] if outs else b"", said, style)


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


class Candidate:
    """The function under test, in another process."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.failure: list[str] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.child.put(pack([list(args), kwargs]))
        status, value = self.child.answer(self.child.deadline)
        if status != OK:
            self.failure = [status if status in (WRONG, EXCEPTION, MEMORY) else EXCEPTION, str(value)]
            raise mirrored(str(value))
        self.failure = None
        return unpack(value)

    def loaded(self) -> list[str] | None:
        """Why the program could not be loaded, or None."""
        try:
            status, reason = self.child.answer(self.child.deadline)
        except CandidateEnded as ended:
            return [ended.status, ended.reason]
        return None if status == OK else [status if status == MEMORY else EXCEPTION, str(reason)]


def mirrored(text: str) -> Exception:
    """The candidate's exception again, so that a check which expects a ValueError meets one."""
    kind = getattr(builtins, text.split(":", maxsplit=1)[0], None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError and the like want more
            return RuntimeError(text)
    return RuntimeError(text)


# --- programs one after the other -----------------------------------------------------------------

TOLD_EARLY_S = 0.01
"""Seconds of tests after which whoever reads hears how they went so far, and may say that it is enough."""


class Mail:
    """Frames from outside. One that says `enough` of the program at work may overtake those of later programs."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._raw = bytearray()
        self._waiting: deque[dict[str, Any]] = deque()

    def next(self) -> dict[str, Any]:
        """The next job or tests.

        Raises:
            EOFError: there are no more.
        """
        while True:
            while not self._waiting:
                self._read()
            frame = self._waiting.popleft()
            if "enough" not in frame:  # else of a program that is done already
                return frame

    def enough(self, nonce: str) -> bool:
        """Whether somebody said so, as far as it has come."""
        with contextlib.suppress(EOFError):  # which `next` will meet again
            while select.select([self._source], [], [], 0)[0]:
                self._read()
        return any(frame.get("enough") == nonce for frame in self._waiting)

    def _read(self) -> None:
        part = os.read(self._source, 1 << 18)
        if not part:
            raise EOFError
        self._raw += part
        while len(self._raw) >= 8 and len(self._raw) >= (end := 8 + int.from_bytes(self._raw[:8], "big")):
            self._waiting.append(json.loads(self._raw[8:end]))
            del self._raw[:end]


Compiled = Callable[[dict[str, Any], str], list[types.CodeType]]
Check = Callable[[dict[str, Any], Candidate, list[types.CodeType]], None]


class Supervisor:
    """Reads programs with their tests, and says how each test went."""

    def __init__(
        self,
        ask: Any,
        out: int,
        compiled: Compiled,
        check: Check,
        described: Callable[[BaseException], str],
        shared_places: list[str],
    ) -> None:
        """
        Args:
            shared_places: folders that all programs can write to, and nobody else: emptied of what they leave.
        """
        self.ask, self.out = ask, out
        self.compiled, self.check, self.described = compiled, check, described
        self.mail = Mail(0)
        self._stocked = False
        self._seconds: list[float] = []
        self._depth = sys.getrecursionlimit()
        self.folder = f"{os.environ.get('TMPDIR', '/tmp').rstrip('/')}/program-{os.urandom(8).hex()}"  # noqa: S108
        os.mkdir(self.folder, 0o700)  # noqa: PTH102
        self._places = [Place(path) for path in (self.folder, *shared_places)]

    def run(self) -> None:
        """All programs of this driver. Whoever reads sees which has no result, and starts afresh."""
        signal.signal(signal.SIGALRM, _alarm)
        self.mail = Mail(os.dup(0))
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):  # a check that reads or prints must not meet the channels
            os.dup2(null, fd)
        while True:
            try:
                job = self.mail.next()
            except EOFError:
                break
            try:
                self._program(job)
            except (EOFError, BrokenPipeError, ConnectionError):
                os._exit(71)
            self._tidy()
        os.rmdir(self.folder)  # noqa: PTH106
        self.ask.close()
        os.wait()  # the zygote, which has no more to do

    def _program(self, job: dict[str, Any]) -> None:
        results: list[list[str]]
        shared, self._seconds = 0, []
        if not self._stocked and "numpy" in job["code"]:
            self._stocked = True
            self.ask.send(STOCK)
            reply(self.ask)
        if job["style"] == "assert":
            nonce, results = self._asserts(job)
        else:
            tests = self.mail.next()
            nonce = tests["nonce"]
            results, shared = self._tests(job, tests)
        found = {
            "nonce": nonce,
            "id": job["id"],
            "shared": shared,
            "results": results,
            "seconds": self._seconds,
        }
        write_frame(self.out, found)

    def _tests(self, job: dict[str, Any], tests: dict[str, Any]) -> tuple[list[list[str]], int]:
        """[status, output or reason] of each test that ran, and how many of them shared a process."""
        results: list[list[str]] = []
        early = 0
        many = job["shared"] and len(tests["inputs"]) > 1
        together, count = Shared(self.ask, job, tests["inputs"]) if many else None, 0
        left, told, nonce = job["outputs_bytes"], time.monotonic(), tests["nonce"]
        for text, limits in zip(tests["inputs"], tests["limits"], strict=True):
            began = time.monotonic()
            said = together.run(limits["wall_s"]) if together is not None else None
            count += said is not None
            if said is None:
                self._tidy()
            result = [OK, said] if said is not None else run_alone(self.ask, job | limits, text)
            self._seconds.append(round(time.monotonic() - began, 4))
            left -= len(result[1])
            if result[0] == OK and left < 0:
                result = [OUTPUT, "too much output"]
            results.append(result)
            if result[0] != OK:
                break
            if time.monotonic() - told > TOLD_EARLY_S:
                if self.mail.enough(nonce):
                    break
                write_frame(self.out, {"nonce": nonce, "so_far": results[early:]})
                told, early = time.monotonic(), len(results)
        if together is not None:
            together.close()
        return results, count

    def _asserts(self, job: dict[str, Any]) -> tuple[str, list[list[str]]]:
        """(nonce, [[status, reason]]) of a program that is called by its check."""
        child = Child(self.ask, b"a", job)
        try:
            tests = self.mail.next()
            candidate = Candidate(child)
            return tests["nonce"], [candidate.loaded() or self._checked(job, candidate, tests["inputs"][0])]
        finally:
            child.close()

    def _checked(self, job: dict[str, Any], candidate: Candidate, text: str) -> list[str]:
        """[status, reason]. A check that might leave something behind for the next one gets a process."""
        try:
            programs = self.compiled(job, text)
        except Exception as error:
            return [WRONG, self.described(error)]
        if all(map(contained, programs)):
            try:
                return self._check(job, candidate, programs)
            finally:
                sys.setrecursionlimit(self._depth)
        back, its = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                write_frame(its, self._check(job, candidate, programs))
            finally:
                os._exit(0)
        os.close(its)
        try:
            result: list[str] = read_frame(back)
        except EOFError:
            result = [WRONG, "the check itself ended"]
        os.close(back)
        os.waitpid(pid, 0)
        return result

    def _check(self, job: dict[str, Any], candidate: Candidate, programs: list[types.CodeType]) -> list[str]:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, candidate.child.deadline - time.monotonic()))
            self.check(job, candidate, programs)
        except CandidateEnded as ended:
            return [ended.status, ended.reason]
        except BaseException as error:
            return candidate.failure or [WRONG, self.described(error)]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return [OK, ""]

    def _tidy(self) -> None:
        """Empty folders for the next one."""
        for place in self._places:
            place.tidy()


class Place:
    """A folder that programs can write to."""

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        self._kept = frozenset(os.listdir(path))  # noqa: PTH208
        self._mode = os.stat(path).st_mode & 0o7777  # noqa: PTH116
        self._as_made = self._state()

    def _state(self) -> tuple[int, int, int] | None:
        try:
            state = os.lstat(self._path)
        except FileNotFoundError:
            return None
        return state.st_ino, state.st_mode, state.st_ctime_ns

    def tidy(self) -> None:
        """Remove what was not there at first, however deep and whatever its modes: folders are taken apart level by
        level, as their paths may be too long to name."""
        if self._state() == self._as_made:
            return
        if not os.path.isdir(self._path) or os.path.islink(self._path):  # noqa: PTH112, PTH114 - it was put in its place
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)  # noqa: PTH108
            os.mkdir(self._path)  # noqa: PTH102
        with contextlib.suppress(PermissionError):
            os.chmod(self._path, self._mode)  # noqa: PTH101
        left, name = [each for each in os.listdir(self._path) if each not in self._kept], 0  # noqa: PTH208
        prefix = os.urandom(8).hex()
        while left:
            path = f"{self._path}/{left.pop()}"
            if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
                os.unlink(path)  # noqa: PTH108
                continue
            os.chmod(path, 0o700)  # noqa: PTH101
            for child in os.listdir(path):  # noqa: PTH208
                if os.path.isdir(f"{path}/{child}") and not os.path.islink(f"{path}/{child}"):  # noqa: PTH112, PTH114
                    os.chmod(f"{path}/{child}", 0o700)  # noqa: PTH101 - or it cannot be moved
                name += 1
                os.rename(f"{path}/{child}", f"{self._path}/{prefix}-{name}")  # noqa: PTH104
                left.append(f"{prefix}-{name}")
            os.rmdir(path)  # noqa: PTH106
        self._as_made = self._state()


def _alarm(*_: object) -> None:
    raise CandidateEnded(TIMEOUT, "the check itself ran too long")


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

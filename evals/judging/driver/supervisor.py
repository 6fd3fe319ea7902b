"""evals: the driver's supervisor: it starts programs inside the sandbox, bounds them and reports each test's result.

Input: jobs and tests on stdin, a socket to the zygote. Output: a result frame for each program, and before it how the
tests of a longer one went so far. Each test has a process of its own, and so has each check of an assert program. If a
process was killed, but not from here, the driver ends with `UNEXPLAINED`; the sandbox then reports whether
the kernel killed for memory. Not covered: comparing outputs (outside the sandbox).
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from forklock.evals.judging.driver.child import CandidateEnded, Child, reply
from forklock.evals.judging.driver.cleanup import Place
from forklock.evals.judging.driver.wire import (
    BROKEN,
    EXCEPTION,
    KILLED,
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
    write_frame,
)

UNEXPLAINED = 72
"""Exit status of a driver when a process of its program was killed, but not from here."""
LONG_CHECK = "the check itself ran too long"
_GRACE_S = 5.0
"""Seconds after a test's own wall-clock limit when its host counts as stuck."""
REPORT_AFTER_S = 0.01
"""Report the results so far after this many seconds; the judge may then end the program."""


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
        """Return why the program could not be loaded, or None."""
        try:
            status, reason = self.child.answer(self.child.deadline)
        except CandidateEnded as ended:
            return [ended.status, ended.reason]
        return None if status == OK else [status if status == MEMORY else EXCEPTION, str(reason)]


def mirrored(text: str) -> Exception:
    """Return the candidate's exception as an exception here, so that a check which expects a ValueError gets one."""
    kind = getattr(builtins, text.split(":", maxsplit=1)[0], None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # such as UnicodeDecodeError, which needs more arguments
            return RuntimeError(text)
    return RuntimeError(text)


class Mail:
    """Frames from the judge. A frame that cancels the running program may overtake those of later programs."""

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
            if "enough" not in frame:  # otherwise it cancels a program that is done already
                return frame

    def enough(self, nonce: str) -> bool:
        """Return whether the judge has cancelled this program so far."""
        with contextlib.suppress(EOFError):  # `next` meets it again
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


Prepared = Callable[[dict[str, Any], Candidate, str], Callable[[], None]]
"""Called with a job, its candidate and its check's text: runs the prelude and returns the check."""


class Supervisor:
    """Reads programs with their tests, and reports each test's result."""

    def __init__(
        self,
        ask: Any,
        out: int,
        prepared: Prepared,
        described: Callable[[BaseException], str],
        shared_places: list[str],
    ) -> None:
        """
        Args:
            shared_places: folders that only the programs can write to, and all of them; they are emptied after each.
        """
        self.ask, self.out = ask, out
        self.prepared, self.described = prepared, described
        self.mail = Mail(0)
        self._stocked = False
        self._seconds: list[float] = []
        self.folder = f"{os.environ.get('TMPDIR', '/tmp').rstrip('/')}/program-{os.urandom(8).hex()}"  # noqa: S108
        os.mkdir(self.folder, 0o700)  # noqa: PTH102
        self.paths = [self.folder, *shared_places]
        self._places = [Place(path) for path in self.paths]

    def run(self) -> None:
        """Run all programs of this driver. The judge sees which one has no result, and starts a new driver."""
        signal.signal(signal.SIGALRM, _alarm)
        self.mail = Mail(os.dup(0))
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):  # a check that reads or prints must not use the channels
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
        os.wait()  # for the zygote to end

    def _program(self, job: dict[str, Any]) -> None:
        self._seconds = []
        if not self._stocked and "numpy" in job["code"]:
            self._stocked = True
            self.ask.send(STOCK)
            reply(self.ask)
        if job["style"] == "assert":
            nonce, results = self._asserts(job)
        else:
            tests = self.mail.next()
            nonce, results = tests["nonce"], self._tests(job, tests)
        found = {"nonce": nonce, "id": job["id"], "results": results, "seconds": self._seconds}
        write_frame(self.out, found)

    def _tests(self, job: dict[str, Any], tests: dict[str, Any]) -> list[list[str]]:
        """Run the tests up to the first that fails; return [status, output or reason] of each."""
        results: list[list[str]] = []
        early, left, reported = 0, job["outputs_bytes"], time.monotonic()
        host = Child(self.ask, b"t", job, most_bytes=1 << 40)
        pairs = zip(tests["inputs"], tests["limits"], strict=True)
        host.send_ahead(b"".join(map(framed, pairs)))
        try:
            compiled = _next_result(host, job["wall_s"])
            for limits in tests["limits"]:
                began = time.monotonic()
                result = _next_result(host, limits["wall_s"] + _GRACE_S) if compiled[0] == OK else compiled
                self._seconds.append(round(time.monotonic() - began, 4))
                left -= len(result[1])
                if result[0] == OK and left < 0:
                    result = [OUTPUT, "too much output"]
                if result[0] == KILLED:
                    self._give_up(tests["nonce"], results[early:])
                results.append(result)
                if result[0] != OK:
                    break
                if time.monotonic() - reported > REPORT_AFTER_S:
                    if self.mail.enough(tests["nonce"]):
                        break
                    write_frame(self.out, {"nonce": tests["nonce"], "so_far": results[early:]})
                    reported, early = time.monotonic(), len(results)
        finally:
            host.close()
        return results

    def _give_up(self, nonce: str, passed: list[list[str]]) -> NoReturn:
        """End the driver, after reporting the results of the tests before the one that was killed."""
        if passed:
            write_frame(self.out, {"nonce": nonce, "so_far": passed})
        os._exit(UNEXPLAINED)

    def _asserts(self, job: dict[str, Any]) -> tuple[str, list[list[str]]]:
        """Run a program that its check calls; return (nonce, [[status, reason]])."""
        child = Child(self.ask, b"a", job, most_bytes=job["output_bytes"])
        try:
            tests = self.mail.next()
            candidate = Candidate(child)
            result = self._checked(job, candidate, tests["inputs"][0])
            if result[0] == KILLED:
                self._give_up(tests["nonce"], [])
            child.close()
            if result[0] in (OK, WRONG, EXCEPTION) and child.end and child.end.cpu_s > job["cpu_s"]:
                result = [TIMEOUT, "CPU time"]  # includes its children, each of which has a limit of its own
            return tests["nonce"], [result]
        finally:
            child.close()

    def _checked(self, job: dict[str, Any], candidate: Candidate, text: str) -> list[str]:
        """Run the check in a process of its own, so that it leaves nothing for the next one; return [status,
        reason]."""
        back, its = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                write_frame(its, self._check(job, candidate, text))
            finally:
                os._exit(0)
        os.close(its)
        try:
            left = candidate.child.deadline + _GRACE_S - time.monotonic()
            ready = select.select([back], [], [], max(0.0, left))[0]
            result: list[str] = read_frame(back) if ready else [TIMEOUT, LONG_CHECK]
        except EOFError:
            result = [WRONG, "the check itself ended"]
        os.close(back)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return result

    def _check(self, job: dict[str, Any], candidate: Candidate, text: str) -> list[str]:
        """Load the candidate, then check it. A failure before the candidate is called is the problem's own fault."""
        candidate.child.deadline = max(candidate.child.deadline, time.monotonic() + 0.001)
        signal.setitimer(signal.ITIMER_REAL, candidate.child.deadline - time.monotonic())
        try:
            check = self.prepared(job, candidate, text)
        except BaseException as error:
            return [BROKEN, f"the problem's own check fails: {self.described(error)}"]
        try:
            failed = candidate.loaded()
            if failed is None:
                check()
        except CandidateEnded as ended:
            return [ended.status, ended.reason]
        except BaseException as error:
            return candidate.failure or [WRONG, self.described(error)]
        return failed or [OK, ""]

    def _tidy(self) -> None:
        """Empty the folders for the next program."""
        for place in self._places:
            place.tidy()


def _alarm(*_: object) -> None:
    raise CandidateEnded(TIMEOUT, LONG_CHECK)


def _next_result(host: Child, wait_s: float) -> list[str]:
    """Return the host's next result, or what the signal that ended it means.

    Raises:
        EOFError: the host gave up. It never runs the program, so this says nothing about the program.
    """
    try:
        status, text = host.answer(time.monotonic() + wait_s)
    except CandidateEnded as ended:
        if host.end is not None and host.end.exit is not None:
            raise EOFError from None
        return [ended.status, ended.reason]
    return [status, str(text)]

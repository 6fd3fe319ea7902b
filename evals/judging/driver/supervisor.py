"""evals: who runs the programs inside the sandbox: starts them, bounds them, asks them, says how each test went.

In: jobs and tests on stdin, a socket to the zygote. Out: a result frame a program, and before it how the tests of a
longer one went so far. Several tests of one program are first put to one process, which loads the program anew where a
test may have changed it; the first test that it does not simply answer, and all after it, get a process each, forked
from the zygote. Not covered: comparing (outside the sandbox).
"""

from __future__ import annotations

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

from evals.judging.driver.child import CandidateEnded, Child, reply
from evals.judging.driver.cleanup import Place
from evals.judging.driver.may_share import contained
from evals.judging.driver.testcases import Shared, run_alone
from evals.judging.driver.wire import (
    EXCEPTION,
    MEMORY,
    OK,
    OUTPUT,
    STOCK,
    TIMEOUT,
    WRONG,
    pack,
    read_frame,
    unpack,
    write_frame,
)

TOLD_EARLY_S = 0.01
"""Seconds of tests after which whoever reads hears how they went so far, and may say that it is enough."""


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


def _alarm(*_: object) -> None:
    raise CandidateEnded(TIMEOUT, "the check itself ran too long")

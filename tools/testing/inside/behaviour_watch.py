"""Runs inside the sandbox, in the tests' own process: calls functions again, on the tests' inputs and on variants.

FORKLOCK_BEHAVIOUR names a JSON file with the job: which functions are looked at, how many inputs, how many seconds. For
each test, `Watch` copies the arguments with which a function is entered. When the test's body is over, it calls the
function on the copies, on variants of them, and twice in a row, each time with the state that the function had before
its first call in the test. It writes one JSON object a call to the file `behaviour.out`: the input's digest, what came
of it, the lines that ran, and short texts for people. Variants depend on the input alone, so that two versions of the
code are asked the same questions. In the mode `callers` nothing is called again: it writes which functions of the
repository lead to those that are looked at.

`behaviour_plugin` connects it to pytest, `behaviour_unittest` to unittest. Any Python from 3.8 on; the standard library
and `behaviour_inputs` only.
"""

import contextlib
import copy
import gc
import inspect
import io
import json
import linecache
import signal
import sys
import threading
import time
import types
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

if TYPE_CHECKING:
    from forklock.tools.testing.inside.behaviour_inputs import (
        Input,
        State,
        canon,
        digest,
        equals_everything,
        parameters,
        put_back,
    )
else:  # copied beside this file
    from forklock_behaviour_inputs import Input, State, canon, digest, equals_everything, parameters, put_back

_LEAVE = {".venv", "venv", "env", "site-packages", "node_modules"}
_CALL_S = 0.25
"""Seconds for one call, at most."""
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_SHOWN = 400
"""Characters of a value that people are shown."""
_PAIRS = 4
"""Number of variants that are also called right after the input that they come from."""
_ARCS = 400
"""Steps from line to line that a row holds, at most."""


class _TooLong(BaseException):
    """A call took more than `_CALL_S`."""


# -- one call, watched -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `_TooLong` after some seconds; the test's own alarm, if it has one, goes on afterwards."""

    def end(_signal: int, _frame: Any) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, end)
    rest = signal.setitimer(signal.ITIMER_REAL, seconds)[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, rest)
        signal.signal(signal.SIGALRM, before)


class Arcs:
    """Records which line follows which in the observed files: the path that a call takes."""

    def __init__(self, files: FrozenSet[str]) -> None:
        self.files = files
        self.seen: Set[Tuple[str, int, int]] = set()

    def enter(self, frame: Any, _event: str, _arg: Any) -> Any:
        if frame.f_code.co_filename not in self.files:
            return None
        last = [frame.f_code.co_firstlineno]
        name = frame.f_code.co_name

        def line(inner: Any, event: str, _arg: Any) -> Any:
            if event == "line":
                self.seen.add((name, last[0], inner.f_lineno))
                last[0] = inner.f_lineno
            return line

        return line

    def path(self) -> List[int]:
        return sorted(zlib.crc32(repr(arc).encode()) for arc in self.seen)[:_ARCS]


class Call:
    """How one call ended."""

    def __init__(self, kind: str, text: str, equal: bool = False) -> None:
        self.kind, self.text, self.equal = kind, text, equal

    def same(self, other: "Call") -> bool:
        return (self.kind, self.text) == (other.kind, other.text)


def watched_call(question: Input, arcs: Arcs) -> Call:
    """Call, and return how the call ended, with the value or the exception as text."""
    try:
        with (
            time_limit(_CALL_S),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            before = question.text()
            if arcs.files:  # tracing is most of the time that a call takes
                sys.settrace(arcs.enter)
            try:
                value = question.call()
            finally:
                sys.settrace(None)
            after = question.text()
            text = canon(value) + (f"; arguments afterwards: {after}" if after != before else "")
            return Call("returned", text, equals_everything(value))
    except _TooLong:
        return Call("timed out", "")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the code under test raises is an answer
        return Call("refused" if _by_hand(error) else "failed", canon(error))


def _by_hand(error: BaseException) -> bool:
    """Whether the code itself raised it by a `raise`, and did not stumble."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return line.strip().startswith(("raise", "assert"))


# -- the tests, watched ----------------------------------------------------------------------------------------------


class Watch:
    """Looks at one test at a time."""

    def __init__(self, job: Dict[str, Any], out: Path) -> None:
        self.root = Path(job["root"]).resolve()
        self.job = job
        self.out = out
        self.labels: Dict[Any, Optional[str]] = {}
        self.paths: Dict[str, Optional[str]] = {}
        self.functions: Dict[Any, List[Any]] = {}
        self.pending: List[Tuple[str, Input, State]] = []
        self.states: Dict[int, State] = {}
        self.asked: Dict[Tuple[str, str], int] = {}
        self.taken: Dict[str, int] = {}
        self.chains: Set[Tuple[str, str, int, str]] = set()
        self.calls = 0
        self.test = ""
        self.ends = time.monotonic() + job["seconds"]
        self.files: FrozenSet[str] = frozenset()
        self.busy = False

    def below_root(self, name: str) -> Optional[str]:
        if name not in self.paths:
            self.paths[name] = None
            if not name.startswith("<"):
                with contextlib.suppress(OSError, ValueError):
                    below = Path(name).resolve().relative_to(self.root)
                    if not _LEAVE & set(below.parts):
                        self.paths[name] = below.as_posix()
        return self.paths[name]

    def label(self, code: Any) -> Optional[str]:
        """The name of an observed function; None for others."""
        if code not in self.labels:
            self.labels[code] = None
            path = self.below_root(code.co_filename)
            for target in self.job["targets"]:
                first, last = target["lines"]
                if (
                    path == target["path"]
                    and first <= code.co_firstlineno <= last
                    and code.co_name == target["name"]
                ):
                    self.labels[code] = target["label"]
                    self.files = self.files | {code.co_filename}
        return self.labels[code]

    def enter(self, frame: Any, _event: str, _arg: Any) -> None:
        if self.busy or time.monotonic() > self.ends:
            return
        label = self.label(frame.f_code)
        if label is None:
            return
        if self.job["mode"] == "callers":
            self.note_callers(frame)
            return
        if self.taken.get(label, 0) >= self.job["calls"] or frame.f_code.co_flags & _ASYNC:
            return
        self.busy = True
        try:
            values = {name: copy.deepcopy(frame.f_locals[name]) for name in parameters(frame.f_code)}
            function = self.function(frame)
            if function is None:
                return
            question = Input(frame.f_code, values, function)
            if id(function) not in self.states:
                self.states[id(function)] = State(function)
        except Exception:
            return
        finally:
            self.busy = False
        if (label, question.key) not in self.asked:
            self.taken[label] = self.taken.get(label, 0) + 1
        self.pending.append((label, question, self.states[id(function)]))

    def note_callers(self, frame: Any) -> None:
        self.calls += 1
        depth, back = 0, frame.f_back
        while back is not None and depth < 2:
            path = self.below_root(back.f_code.co_filename)
            if path is not None:
                self.chains.add((path, back.f_code.co_name, back.f_code.co_firstlineno, self.test))
                depth += 1
            back = back.f_back
        self.chains.add(("", "", 0, self.test))

    def function(self, frame: Any) -> Any:
        """The function that a frame runs, by its code and what it closes over; None where that is not clear."""
        code = frame.f_code
        if code not in self.functions:
            users = [one for one in gc.get_referrers(code) if isinstance(one, types.FunctionType)]
            self.functions[code] = [one for one in users if one.__code__ is code]
        found = self.functions[code]
        if code.co_freevars:
            del self.functions[code]  # each call of the outer function makes another
            found = [one for one in found if self._closes_over(one, frame)]
        return found[0] if len(found) == 1 else None

    @staticmethod
    def _closes_over(function: Any, frame: Any) -> bool:
        missing = object()
        cells = zip(function.__code__.co_freevars, function.__closure__ or ())  # noqa: B905  (Python 3.8)
        held = [(frame.f_locals.get(name, missing), cell) for name, cell in cells if name != "__class__"]
        return all(cell != types.CellType() and cell.cell_contents is value for value, cell in held)

    # -- a test ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def during(self, test: str) -> Iterator[None]:
        """Watch the body of a test."""
        self.test = test
        self.pending, self.states = [], {}
        before = sys.gettrace()
        threading.settrace(self.enter)
        sys.settrace(self.enter)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(None)

    def after(self, *, failed: bool) -> None:
        """Ask what the test that has just ended has called."""
        self.write({"outcome": "failed" if failed else "passed", "test": self.test})
        if self.job["mode"] == "callers" or threading.current_thread() is not threading.main_thread():
            return
        states = list(self.states.values())
        now = [copy.copy({name: copy.copy(one) for name, one in state.shared.items()}) for state in states]
        try:
            self.ask_all()
        finally:
            for state, contents in zip(states, now):  # noqa: B905  (Python 3.8)
                put_back(state.shared, contents)

    def ask_all(self) -> None:
        last: Dict[int, Input] = {}
        for label, question, state in self.pending:
            if time.monotonic() > self.ends:
                return
            self.ask(label, question, state, exact=True)
            before = last.get(id(state))
            if before is not None and not before.same_as(question):
                self.ask(label, question, state, exact=True, first=before)
            last[id(state)] = question
            for number in range(self.job["variants"]):
                with contextlib.suppress(Exception):
                    made = question.varied(number)
                    if made is not None:
                        self.ask(label, made, state, exact=False)
                        if number < 2 * _PAIRS and not made.same_as(question):
                            self.ask(label, made, state, exact=False, first=question)

    def ask(
        self, label: str, question: Input, state: State, *, exact: bool, first: Optional[Input] = None
    ) -> None:
        """Call the function, after another call of it where there is a `first`, unless that was done before."""
        key = question.key if first is None else digest(f"{first.key} then {question.key}")
        times = self.asked.get((label, key), 0)
        self.asked[label, key] = times + 1
        if (times and not exact) or times > 30:
            return
        row: Dict[str, Any] = {
            "f": label,
            "key": key,
            "test": self.test,
            "exact": exact,
            "pair": first is not None,
        }
        if not times:
            with contextlib.suppress(Exception):
                row.update(
                    self.answer(question, state) if first is None else self.second(first, question, state)
                )
        self.write(row)

    def answer(self, question: Input, state: State) -> Dict[str, Any]:
        """What a call with the first state of the function comes to."""
        arcs = self.arcs()
        call = watched_call(fresh(question, state), arcs)
        return self.row(call, arcs, question.text())

    def second(self, first: Input, question: Input, state: State) -> Dict[str, Any]:
        """What a call comes to right after another one, of the same function and on the same object.

        `stale` says that the answer depends on the other arguments of the call before: the same call alone, also when
        it is made twice, answers differently.
        """
        arcs = self.arcs()
        call = call_after(first, question, state, arcs)
        row = self.row(call, arcs, f"{question.text()}  after  {first.text()}")
        if "self" not in question.values:
            alone = watched_call(fresh(question, state), Arcs(frozenset()))
            again = call_after(question, question, state, Arcs(frozenset()))
            row["stale"] = alone.same(again) and not call.same(alone)
        return row

    def arcs(self) -> Arcs:
        return Arcs(self.files if self.job.get("paths", True) else frozenset())

    def row(self, call: Call, arcs: Arcs, shown: str) -> Dict[str, Any]:
        return {
            "kind": call.kind, "value": digest(call.text), "input": shown[:_SHOWN], "output": call.text[:_SHOWN],
            "path": arcs.path(), "equal": call.equal,
        }  # fmt: skip

    def write(self, row: Dict[str, Any]) -> None:
        with self.out.open("ab", buffering=0) as file:
            file.write(json.dumps(row).encode() + b"\n")

    def finish(self) -> None:
        """Write the callers that were seen."""
        for path, name, line, test in sorted(self.chains):
            self.write({"path": path, "name": name, "line": line, "test": test})
        if self.calls:
            self.write({"calls": self.calls})


def fresh(question: Input, state: State) -> Input:
    """A copy of the question that is put to a copy of the function."""
    made = question.copied()
    made.function = state.fresh()
    return made


def call_after(first: Input, question: Input, state: State, arcs: Arcs) -> Call:
    """The second of two calls of one function, on one object where it is a method."""
    one, two = fresh(first, state), question.copied()
    two.function = one.function
    if "self" in one.values and "self" in two.values:
        two.values["self"] = one.values["self"]
    watched_call(one, arcs)
    return watched_call(two, arcs)


def load(place: Path) -> Watch:
    """The watch for the job in a file."""
    return Watch(json.loads(place.read_text("utf-8")), place.with_name("behaviour.out"))

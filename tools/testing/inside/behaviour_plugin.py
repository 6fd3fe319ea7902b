"""Runs inside the sandbox, as a pytest plug-in: calls functions again, on the tests' inputs and on variants of them.

FORKLOCK_BEHAVIOUR names a JSON file with the job: which functions are looked at, how many inputs, how many seconds. For
each test the plug-in copies the arguments with which a function is entered. When the test's body is over, it calls the
function on the copies and on variants of them, and writes one JSON object a call to the file `out`: the input's
digest, what came of it, the lines' digest, and short texts for people. Variants depend on the input alone, so that two
versions of the code are asked the same questions. In the mode `callers` nothing is called again: the plug-in writes
which functions of the repository lead to those that are looked at.

Any Python from 3.8 on; pytest, the standard library and `behaviour_inputs` only.
"""

import contextlib
import copy
import gc
import inspect
import io
import json
import linecache
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

import pytest

if TYPE_CHECKING:
    from forklock.tools.testing.inside.behaviour_inputs import Input, canon, digest, parameters
else:
    from forklock_behaviour_inputs import Input, canon, digest, parameters  # copied beside this file

_LEAVE = {".venv", "venv", "env", "site-packages", "node_modules"}
_CALL_S = 0.25
"""Seconds for one call, at most."""
_SHOWN = 400
"""Characters of a value that people are shown."""


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

    def path(self) -> str:
        return digest(repr(sorted(self.seen)))


def watched_call(question: Input, arcs: Arcs) -> Tuple[str, str]:
    """Call, and return how the call ended, with the value or the exception as text."""
    try:
        with (
            time_limit(_CALL_S),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            before = question.text()
            sys.settrace(arcs.enter)
            try:
                value = question.call()
            finally:
                sys.settrace(None)
            after = question.text()
            return "returned", canon(value) + (f"; arguments afterwards: {after}" if after != before else "")
    except _TooLong:
        return "timed out", ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the code under test raises is an answer
        return ("refused" if _by_hand(error) else "failed"), canon(error)


def _by_hand(error: BaseException) -> bool:
    """Whether the code itself raised it by a `raise`, and did not stumble."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return line.strip().startswith(("raise", "assert"))


# -- the plug-in ------------------------------------------------------------------------------------------------------


class Behaviour:
    """Looks at one test at a time."""

    def __init__(self, job: Dict[str, Any], out: Path) -> None:
        self.root = Path(job["root"]).resolve()
        self.job = job
        self.out = out
        self.labels: Dict[Any, Optional[str]] = {}
        self.paths: Dict[str, Optional[str]] = {}
        self.functions: Dict[Any, List[Any]] = {}
        self.pending: List[Tuple[str, Input]] = []
        self.asked: Dict[Tuple[str, str], int] = {}
        self.taken: Dict[str, int] = {}
        self.chains: Set[Tuple[str, str, int, str]] = set()
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
        if self.taken.get(label, 0) >= self.job["calls"] or not self._plain(frame.f_code):
            return
        self.busy = True
        try:
            values = {name: copy.deepcopy(frame.f_locals[name]) for name in parameters(frame.f_code)}
            question = Input(frame.f_code, values, self.function(frame))
            if question.function is None:
                return
        except Exception:
            return
        finally:
            self.busy = False
        if (label, question.key) not in self.asked:
            self.taken[label] = self.taken.get(label, 0) + 1
        self.pending.append((label, question))

    @staticmethod
    def _plain(code: Any) -> bool:
        return not code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)

    def note_callers(self, frame: Any) -> None:
        depth, back = 0, frame.f_back
        while back is not None and depth < 2:
            path = self.below_root(back.f_code.co_filename)
            if path is not None:
                self.chains.add((path, back.f_code.co_name, back.f_code.co_firstlineno, self.test))
                depth += 1
            back = back.f_back
        self.chains.add(("", "", 0, self.test))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: Any, items: List[Any]) -> None:
        """Keep only the tests that reach observed functions, where these tests are known."""
        wanted = set(self.job["tests"])
        if wanted:
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
            items[:] = [item for item in items if item.nodeid in wanted]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: Any) -> Iterator[None]:
        self.test = item.nodeid
        self.pending = []
        before = sys.gettrace()
        threading.settrace(self.enter)
        sys.settrace(self.enter)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(None)
        if threading.current_thread() is threading.main_thread():
            self.ask_all()

    def ask_all(self) -> None:
        for label, question in self.pending:
            if time.monotonic() > self.ends:
                return
            self.ask(label, question, exact=True)
            for number in range(self.job["variants"]):
                with contextlib.suppress(Exception):
                    made = question.varied(number)
                    if made is not None:
                        self.ask(label, made, exact=False)

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

    def ask(self, label: str, question: Input, *, exact: bool) -> None:
        times = self.asked.get((label, question.key), 0)
        self.asked[label, question.key] = times + 1
        if times and not exact:
            return
        if times > 30:
            return
        row: Dict[str, Any] = {"f": label, "key": question.key, "test": self.test, "exact": exact}
        if not times:
            with contextlib.suppress(Exception):
                arcs = Arcs(self.files)
                shown = question.text()[:_SHOWN]
                kind, value = watched_call(question.copied(), arcs)
                row.update(
                    kind=kind, value=digest(value), input=shown, output=value[:_SHOWN], path=arcs.path()
                )
        self.write(row)

    def write(self, row: Dict[str, Any]) -> None:
        with self.out.open("ab", buffering=0) as file:
            file.write(json.dumps(row).encode() + b"\n")

    def pytest_sessionfinish(self) -> None:
        for path, name, line, test in sorted(self.chains):
            self.write({"path": path, "name": name, "line": line, "test": test})


def pytest_configure(config: Any) -> None:
    place = Path(os.environ["FORKLOCK_BEHAVIOUR"])
    job = json.loads(place.read_text("utf-8"))
    config.pluginmanager.register(Behaviour(job, place.with_name("behaviour.out")), "forklock-behaviour")

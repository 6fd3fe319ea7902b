"""Runs inside the sandbox, as a pytest plug-in: which mutants of the code pass the tests, and how those behave.

FORKLOCK_MUTANTS names a JSON file with the job: tests, and for each mutant the file, its text, and what to ask. Pytest
collects once. Each mutant is put into a fork of the process by giving live functions the mutant's code. A mutant that
passes all tests is asked in a second fork, as `behaviour_watch` does it. One JSON object a mutant goes to the file
`mutants.out`. Not covered: edits outside of functions, and those that change which outer variables a function uses.

Any Python from 3.8 on; pytest, the standard library and the modules beside it only.
"""

import contextlib
import gc
import json
import os
import signal
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import pytest

if TYPE_CHECKING:
    from forklock.tools.testing.inside.behaviour_plugin import Behaviour
    from forklock.tools.testing.inside.behaviour_watch import load
else:
    from forklock_behaviour_plugin import Behaviour  # copied beside this file
    from forklock_behaviour_watch import load

_FUNCTION = 0x1 | 0x2
"""Flags of code that is no class body."""
_POLL_S = 0.002


def codes(code: Any, prefix: str = "") -> Iterator[Tuple[str, Any]]:
    """The code of functions below a module's or a function's code, with qualified names."""
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            name = prefix + one.co_name
            is_function = one.co_flags & _FUNCTION == _FUNCTION
            if is_function:
                yield name, one
            yield from codes(one, f"{name}.<locals>." if is_function else f"{name}.")


def live_functions(paths: Set[str]) -> Dict[str, List[Any]]:
    """The functions of some files that exist now, by file."""
    known: Dict[str, str] = {}
    found: Dict[str, List[Any]] = {path: [] for path in paths}
    for one in gc.get_objects():
        if isinstance(one, types.FunctionType):
            name = one.__code__.co_filename
            if name not in known:
                known[name] = os.path.realpath(name)
            if known[name] in found:
                found[known[name]].append(one)
    return found


def swap(functions: List[Any], text: str) -> bool:
    """Give functions of a file the code of another text; False where none of them is in it."""
    made: Dict[str, List[Any]] = {}
    for name, code in codes(compile(text, "mutant", "exec", dont_inherit=True)):
        made.setdefault(name, []).append(code)
    done = False
    for one in functions:
        old = one.__code__
        found = [code for code in made.get(one.__qualname__, ()) if code.co_name == old.co_name]
        if len(found) == 1 and found[0].co_freevars == old.co_freevars:
            one.__code__ = renamed(found[0], old.co_filename)
            done = True
    return done


def renamed(code: Any, name: str) -> Any:
    """The code, with the name of another file, also for the functions in it."""
    consts = tuple(renamed(one, name) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.replace(co_filename=name, co_consts=consts)


def forked(work: Callable[[], int], seconds: float) -> Optional[int]:
    """The exit code of some work in a child; None where it took too long and was killed."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nowhere, number)
            code = work()
        finally:
            os._exit(code)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        time.sleep(_POLL_S)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


class Mutants:
    """The hooks."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.job = json.loads(place.read_text("utf-8"))
        self.live: Dict[str, List[Any]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: Any, items: List[Any]) -> None:
        """Keep only the tests that reach changed functions, those that failed before first."""
        order = {name: number for number, name in enumerate(self.job["tests"])}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in order])
        items[:] = sorted((one for one in items if one.nodeid in order), key=lambda one: order[one.nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        """Try the mutants in place of the tests."""
        ends = time.monotonic() + self.job["seconds"]
        out = self.place.with_name("mutants.out")
        self.live = live_functions({os.path.realpath(one["path"]) for one in self.job["mutants"]})
        for number, mutant in enumerate(self.job["mutants"]):
            left = min(self.job["run_s"], ends - time.monotonic())
            if left <= 0:
                break
            code = forked(lambda mutant=mutant: self.tried(session, mutant, None), left)  # type: ignore[misc]
            if code == 0:
                left = max(1.0, min(2 * self.job["run_s"], ends - time.monotonic()))
                place = self.place.with_name(str(number)) / "job"
                forked(lambda mutant=mutant, place=place: self.tried(session, mutant, place), left)  # type: ignore[misc]
            with out.open("ab", buffering=0) as file:
                file.write(json.dumps({"mutant": number, "code": code}).encode() + b"\n")
        return True

    def tried(self, session: Any, mutant: Dict[str, Any], ask: Optional[Path]) -> int:
        """Run the tests on a mutant: 0 if all pass. With `ask`, the functions are asked, too."""
        if not swap(self.live[os.path.realpath(mutant["path"])], mutant["text"]):
            return 98
        if ask is not None:
            session.config.pluginmanager.register(Behaviour(load(ask)), "forklock-behaviour")
        for item, later in zip(session.items, [*session.items[1:], None]):  # noqa: B905  (Python 3.8)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=later)
            if session.testsfailed and ask is None:
                return 1
        return 0 if session.items else 97


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(Mutants(Path(os.environ["FORKLOCK_MUTANTS"])), "forklock-mutants")

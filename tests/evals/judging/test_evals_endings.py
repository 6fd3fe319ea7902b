# ruff: noqa: E501 - an ending a line
"""What a verdict is called: every way in which a program can end, on each backend, under the name that is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from forklock.evals.contract import Judgement, Problem, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.judging.limits import JudgeLimits
from forklock.sandbox import BackendName, SandboxFault

WRONG, EXCEPTION = Verdict.WRONG_ANSWER, Verdict.EXCEPTION
LATE, MEMORY = Verdict.TIMED_OUT, Verdict.OUT_OF_MEMORY


@pytest.fixture(scope="module", params=["bubblewrap", "docker"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    backend: BackendName = request.param
    try:
        opened = Judge(backend, limits=JudgeLimits(memory_mb=512, wall_factor=20))
    except SandboxFault as fault:
        pytest.skip(f"no {backend} on this machine: {fault.message}")
    with opened:
        yield opened


SPIN = "while True: pass"
EAT = "[bytearray(300 << 20) for _ in range(9)]"
MEMFD = """
while True: os.posix_fallocate(os.memfd_create('m'), 0, 200 << 20)
"""
"""Memory that is no process's address space: only the control group bounds it."""
CHILDREN = """
for _ in range(9):
    if os.fork() == 0:
        kept = bytearray(400 << 20)
        time.sleep(9)
        os._exit(0)
time.sleep(9)
"""
ENDINGS: dict[str, tuple[str, set[Verdict]]] = {
    # CPU time, whatever the program thinks of the signal
    "spins": (SPIN, {LATE}),
    "ignores SIGXCPU": (f"signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n{SPIN}", {LATE}),
    "blocks SIGXCPU": (f"signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n{SPIN}", {LATE}),
    "handles SIGXCPU": (f"signal.signal(signal.SIGXCPU, lambda *_: None)\n{SPIN}", {LATE}),
    "exits at SIGXCPU": (f"signal.signal(signal.SIGXCPU, lambda *_: os._exit(0))\n{SPIN}", {LATE}),
    "ignores all": (f"for n in range(1, 65):\n  try: signal.signal(n, signal.SIG_IGN)\n  except (OSError, ValueError): 0\n{SPIN}", {LATE}),
    "asks for more": (f"try: resource.setrlimit(0, (99, 99))\nexcept (OSError, ValueError): 0\n{SPIN}", {LATE}),
    "spins in C": ("sum(range(10**12))", {LATE}),
    "spins in a thread": (f"def g():\n  {SPIN}\nthreading.Thread(target=g).start()", {LATE}),
    "children spin": ("for _ in range(2):\n  if os.fork() == 0:\n    while True: pass\nos.wait(); os.wait()", {LATE}),
    "right, too late": ("while time.process_time() < 1.2: pass\nprint(1)", {LATE}),
    "right, too late, ignoring": ("signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile time.process_time() < 1.4: pass\nprint(1)", {LATE}),
    # wall clock
    "sleeps": ("time.sleep(99)", {LATE}),
    "sleeps and ignores": ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(99)", {LATE}),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)", {LATE}),
    "waits for input": ("sys.stdin.read(); os.read(os.pipe()[0], 1)", {LATE}),
    "leaves a child with its output": ("if os.fork() == 0: time.sleep(99)\nprint(1)", {LATE}),
    "eats with children": (CHILDREN, {MEMORY, LATE}),
    # memory
    "eats": (EAT, {MEMORY}),
    "eats at once": ("bytearray(1 << 40)", {MEMORY}),
    "a file in memory": (MEMFD, {MEMORY}),
    "eats, and goes on": (f"try: {EAT}\nexcept MemoryError: print(7)", {WRONG}),
    "eats, and says other": (f"try: {EAT}\nexcept MemoryError: raise KeyError(1)", {EXCEPTION}),
    # signals and statuses of its own
    "kills itself": ("os.kill(os.getpid(), signal.SIGKILL)", {EXCEPTION}),
    "kills its group": ("os.killpg(0, signal.SIGKILL)", {EXCEPTION}),
    "SIGXCPU to itself": ("os.kill(os.getpid(), signal.SIGXCPU)", {EXCEPTION}),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", {EXCEPTION}),
    "aborts": ("os.abort()", {EXCEPTION}),
    "segfault": ("ctypes.string_at(0)", {EXCEPTION}),
    "SIGPIPE": ("signal.signal(13, signal.SIG_DFL); os.kill(os.getpid(), 13)", {EXCEPTION}),
    "too deep": ("def g(): return g()\ng()", {EXCEPTION}),
    "deeper than the stack": ("sys.setrecursionlimit(10**8)\ndef g(a): return sorted([a, a], key=lambda _: g(a))\ng(1)", {EXCEPTION, MEMORY}),
    "file size": ("resource.setrlimit(1, (0, 0)); os.write(os.open('f', os.O_CREAT | os.O_WRONLY), b'x')", {EXCEPTION}),
    "no more files": ("resource.setrlimit(7, (1, 1)); open('f')", {EXCEPTION}),
    "exit status": ("print(1); sys.exit(3)", {EXCEPTION}),
    "exit status of judges": ("print(1, flush=True); os._exit(72)", {EXCEPTION}),
    "71": ("os._exit(71)", {EXCEPTION}),
    "137": ("os._exit(137)", {EXCEPTION}),
    "closes all": ("os.closerange(0, 100); os._exit(0)", {WRONG}),
    "prints for ever": ("while True: print('x' * 9999)", {WRONG, LATE}),
    "no program": ("def (", {EXCEPTION}),
    "nested too deeply": ("x = " + "(" * 100_000, {EXCEPTION, MEMORY}),
    "deep operators": ("x = " + "-" * 100_000 + "1", {EXCEPTION, MEMORY}),
    "a large constant": ("x = (0,) * 10**7 * 10**3 * 10**3", {MEMORY, EXCEPTION}),
    "says that it is broken": ("os.write(4, b'\\0' * 7 + b'\\x10' + b'[\"broken\", \"12\"]'); os._exit(1)", {EXCEPTION}),
    "says that it was killed": ("os.write(4, b'\\0' * 7 + b'\\x10' + b'[\"killed\", \"12\"]'); os._exit(1)", {EXCEPTION}),
}  # fmt: skip
IMPORTS = "import ctypes, os, resource, signal, sys, threading, time\n"


NAMES = list(ENDINGS)
LATE_BY_CPU = NAMES[: NAMES.index("sleeps")]
LATE_BY_CLOCK = NAMES[NAMES.index("sleeps") : NAMES.index("eats")]
LIMITS_S = {**dict.fromkeys(LATE_BY_CPU, 0.9), **dict.fromkeys(LATE_BY_CLOCK, 0.15)}
"""CPU seconds of a test, by ending; the clock allows twenty times as much, as the machine may be busy."""
USUAL_S = 10.0
FEW = {"spins", "ignores SIGXCPU", "children spin", "sleeps", "stops itself", "a file in memory", "eats at once",
       "kills itself", "SIGXCPU to itself", "SIGTERM", "exit status", "71", "says that it was killed"}  # fmt: skip
"""Endings that every way of calling meets at each change; the whole table is slow but in scripts under bubblewrap."""


def problem(kind: str, limit_s: float = USUAL_S) -> Problem:
    given = "assert candidate(1) == 1" if kind == "assert" else "1"
    tests = tuple(
        TestCase.model_validate({"kind": kind, "input": given, "output": "1", "time_limit_s": limit_s})
        for _ in range(1 if kind == "assert" else 2)
    )
    return Problem(question_id="q", title="q", prompt="", entry_point="f", tests=tests)


def judged(judge: Judge, kind: str, names: Sequence[str]) -> dict[str, Judgement]:
    """Judge these endings together, more at once than there are cores: many of them only wait."""
    attempts = [
        (
            problem(kind, LIMITS_S.get(name, USUAL_S)),
            IMPORTS + ENDINGS[name][0] if kind == "stdin" else as_function(ENDINGS[name][0]),
        )
        for name in names
    ]
    return dict(zip(names, judge.judge_many(attempts, workers=4), strict=True))


def misnamed(found: dict[str, Judgement]) -> dict[str, Judgement]:
    return {name: one for name, one in found.items() if one.verdict not in ENDINGS[name][1]}


def as_function(code: str) -> str:
    return IMPORTS + "def f(_):\n" + "".join(f"    {line}\n" for line in code.splitlines()) + "    return 7\n"


@pytest.mark.hostile("answers")
@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["few", "all"])
def test_every_ending_has_its_name(judge: Judge, few: bool, tried: Callable[[int], None]) -> None:
    names = [name for name in ENDINGS if not few or judge.backend == "bubblewrap" or name in FEW]
    tried(len(names))
    found = judged(judge, "stdin", names)
    assert not misnamed(found)
    late = {name for name, one in found.items() if one.failing_test != 0}
    assert late <= {"a file in memory", "eats with children"}, (
        late
    )  # the kernel may end all that runs in the sandbox


NO_FUNCTIONS = {"closes all", "no program"}
"""Their ending is another one where a function is called."""


@pytest.mark.hostile("answers")
@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["few", "all"])
@pytest.mark.parametrize("kind", ["functional", "assert"])
def test_so_it_has_in_a_function(judge: Judge, kind: str, few: bool, tried: Callable[[int], None]) -> None:
    if few and judge.backend == "docker":
        pytest.skip("the same code; the slow group has the whole table on docker")
    kept = [
        name
        for name, (code, _) in ENDINGS.items()
        if "print" not in code
        and "def g" not in code
        and name not in NO_FUNCTIONS
        and (not few or name in FEW)
    ]
    tried(len(kept))
    assert not misnamed(judged(judge, kind, kept))


@pytest.mark.hostile("answers")
def test_a_fork_bomb_is_the_programs_own_failure(judge: Judge) -> None:
    if judge.backend == "docker":
        pytest.skip("the same code; the sandbox's own suite has fork bombs on docker")
    bomb = "while True:\n  try: os.fork()\n  except OSError: 0"
    first, after = judge.judge_many(
        [(problem("stdin", 0.3), IMPORTS + bomb), (problem("stdin"), "print(1)")], workers=1
    )
    assert first.verdict in (LATE, MEMORY, EXCEPTION) and after.verdict is Verdict.PASSED

# ruff: noqa: E501 - an ending a line
"""What a verdict is called: every way in which a program can end, on each backend, under the name that is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from evals.contract import Judgement, Problem, TestCase, Verdict
from evals.judging.judge import Judge
from evals.judging.limits import JudgeLimits
from sandbox import BackendName, SandboxFault

WRONG, EXCEPTION = Verdict.WRONG_ANSWER, Verdict.EXCEPTION
LATE, MEMORY = Verdict.TIMED_OUT, Verdict.OUT_OF_MEMORY


@pytest.fixture(scope="module", params=["bubblewrap", "docker"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    backend: BackendName = request.param
    try:
        opened = Judge(backend, limits=JudgeLimits(memory_mb=512, wall_factor=4))
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
    "right, too late": ("while time.process_time() < 1.6: pass\nprint(1)", {LATE}),
    "right, too late, ignoring": ("signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile time.process_time() < 1.9: pass\nprint(1)", {LATE}),
    # wall clock
    "sleeps": ("time.sleep(99)", {LATE}),
    "sleeps and ignores": ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(99)", {LATE}),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)", {LATE}),
    "waits for input": ("sys.stdin.read(); os.read(os.pipe()[0], 1)", {LATE}),
    "leaves a child with its output": ("if os.fork() == 0: time.sleep(99)\nprint(1)", {LATE}),
    # memory
    "eats": (EAT, {MEMORY}),
    "eats at once": ("bytearray(1 << 40)", {MEMORY}),
    "a file in memory": (MEMFD, {MEMORY}),
    "eats with children": (CHILDREN, {MEMORY, LATE}),
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


def problem(kind: str) -> Problem:
    given = "assert candidate(1) == 1" if kind == "assert" else "1"
    tests = tuple(
        TestCase.model_validate({"kind": kind, "input": given, "output": "1", "time_limit_s": 1.5})
        for _ in range(1 if kind == "assert" else 2)
    )
    return Problem(question_id="q", title="q", prompt="", entry_point="f", tests=tests)


def as_function(code: str) -> str:
    return IMPORTS + "def f(_):\n" + "".join(f"    {line}\n" for line in code.splitlines()) + "    return 7\n"


@pytest.mark.hostile("answers")
def test_every_ending_has_its_name(judge: Judge, tried: Callable[[int], None]) -> None:
    tried(len(ENDINGS))
    found = judge.judge_many([(problem("stdin"), IMPORTS + code) for code, _ in ENDINGS.values()])
    assert not _misnamed(found)
    late = {name: one for name, one in zip(ENDINGS, found, strict=True) if one.failing_test != 0}
    assert set(late) <= {"a file in memory", "eats with children"}, (
        late
    )  # the kernel may end all that runs in the sandbox


NO_FUNCTIONS = {"closes all", "no program"}
"""Their ending is another one where a function is called."""


@pytest.mark.hostile("answers")
@pytest.mark.parametrize("kind", ["functional", "assert"])
def test_so_it_has_in_a_function(judge: Judge, kind: str, tried: Callable[[int], None]) -> None:
    kept = {
        name: (code, verdicts)
        for name, (code, verdicts) in ENDINGS.items()
        if "print" not in code and "def g" not in code and name not in NO_FUNCTIONS
    }
    tried(len(kept))
    found = judge.judge_many([(problem(kind), as_function(code)) for code, _ in kept.values()])
    assert not {
        n: one for (n, (_, names)), one in zip(kept.items(), found, strict=True) if one.verdict not in names
    }


@pytest.mark.hostile("answers")
def test_a_fork_bomb_is_the_programs_own_failure(judge: Judge) -> None:
    if judge.backend == "docker":
        pytest.skip("the same code; the sandbox's own suite has fork bombs on docker")
    bomb = "while True:\n  try: os.fork()\n  except OSError: 0"
    first, after = judge.judge_many(
        [(problem("stdin"), IMPORTS + bomb), (problem("stdin"), "print(1)")], workers=1
    )
    assert first.verdict in (LATE, MEMORY, EXCEPTION) and after.verdict is Verdict.PASSED


def _misnamed(found: list[Judgement]) -> dict[str, Judgement]:
    return {
        name: one
        for (name, (_, names)), one in zip(ENDINGS.items(), found, strict=True)
        if one.verdict not in names
    }

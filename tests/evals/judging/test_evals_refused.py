"""The judge on programs that harm: the right verdict, on the right test, in its time, and nobody else notices."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fastest import FASTEST

from forklock.evals.contract import Problem, TestCase, Verdict
from forklock.evals.judging.driver.seccomp import program
from forklock.evals.judging.driver_session import Work, make_job
from forklock.evals.judging.judge import Judge
from forklock.evals.judging.limits import JudgeLimits
from forklock.sandbox import SandboxUnavailable


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    try:
        opened = Judge(FASTEST, limits=JudgeLimits(time_scale=0.1))
    except SandboxUnavailable as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")
    with opened:
        yield opened


PLUS_SIX = Problem(
    question_id="p", title="", prompt="",
    tests=tuple(TestCase(kind="stdin", input=f"{n}\n", output=f"{n + 6}\n") for n in (1, 2, 3)),
)  # fmt: skip
RIGHT = "print(int(input()) + 6)\n"
ABOVE = """
import glob, os, resource, signal, time
def above():
    pid = os.getppid()
    while pid > 0:
        yield pid
        pid = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
def each(do):
    for pid in [*above(), *map(os.getpgid, above())]:
        try: do(pid)
        except OSError: pass
x = int(input())
print(x + 6, flush=True)
if x == 2:
"""
HARM = {
    "stops": "each(lambda p: os.kill(p, signal.SIGSTOP))",
    "stops all": "os.kill(-1, signal.SIGSTOP)",
    "kills": "each(lambda p: os.kill(-p, signal.SIGKILL))",
    "no more files": "each(lambda p: resource.prlimit(p, resource.RLIMIT_NOFILE, (0, 0)))",
    "no more time": "each(lambda p: resource.prlimit(p, resource.RLIMIT_CPU, (0, 0)))",
    "slows": "each(lambda p: os.setpriority(os.PRIO_PROCESS, p, 19)); each(lambda p: os.sched_setaffinity(p, {0}))",
    "its group": "os.killpg(0, signal.SIGKILL)",
    "its folder": "d = os.getcwd(); os.chdir('/'); os.rmdir(d); os.symlink('/etc', d)",
    "modes": "os.makedirs('a/b/c'); os.chmod('a/b', 0); os.chmod('a', 0); os.chmod('.', 0)",
    "deep folders": "for _ in range(3000): os.mkdir('d'); os.chdir('d')",
}


def test_a_program_that_turns_on_those_above_it_harms_nobody(judge: Judge) -> None:
    if judge.backend == "host":
        pytest.skip("the host backend isolates nothing")
    began = time.monotonic()
    programs = [code for harm in HARM.values() for code in (f"{ABOVE}    {harm}\n    print(0)\n", RIGHT)]
    found = judge.judge_many([(PLUS_SIX, code) for code in programs], workers=1)
    assert {j.verdict for j in found[1::2]} == {Verdict.PASSED}
    harmful = dict(zip(HARM, found[::2], strict=True))
    assert not {name: j for name, j in harmful.items() if j.failing_test != 1}
    assert {j.verdict for j in harmful.values()} <= {
        Verdict.WRONG_ANSWER,
        Verdict.EXCEPTION,
        Verdict.OUT_OF_MEMORY,
    }
    assert time.monotonic() - began < 20


COUNTER = """
import os
def counted(path):
    try: n = len(open(path).read())
    except OSError: n = 0
    with open(path, "a") as file: file.write("x")
    return n
"""
KEPT = {
    "folder": f"{COUNTER}print(counted('n') + 7)",
    "/tmp": f"{COUNTER}print(counted('/tmp/.n') + 7)",
    "/dev/shm": f"{COUNTER}print(counted('/dev/shm/n') + 7)",
    "the workspace": f"{COUNTER}from glob import glob\n"
    "found = filter(lambda d: os.access(d, 2), glob('/tmp/**/forklock-*', recursive=True))\n"
    "print(*[counted(d + '/n') + 7 for d in found])",
    "SysV": "import ctypes\ni = ctypes.CDLL(None).shmget(4242, 4096, 0o1666)\nprint(7 if i < 0 else 'made')",
    "module": "import json\njson.decoder.n = getattr(json.decoder, 'n', 6) + 1\nprint(json.decoder.n)",
    "counted up": "import json\njson.n = getattr(json, 'n', 6)\njson.n += 1\nprint(json.n)",
    "environment": "import os\nn = os.environ['N'] = str(int(os.environ.get('N', 6)) + 1)\nprint(n)",
}


def test_nothing_stays_for_the_next_test(judge: Judge) -> None:
    """Each would be right if its own earlier run could tell it which test this is."""
    if judge.backend == "host":
        pytest.skip("the host backend isolates nothing")
    found = judge.judge_many([(PLUS_SIX, code) for code in KEPT.values()], workers=1)
    assert [(j.verdict, j.failing_test) for j in found] == [(Verdict.WRONG_ANSWER, 1)] * len(KEPT)


def test_where_the_filter_is_not_known_there_is_none() -> None:
    assert program("riscv64", [1]) == b""
    lines = program("aarch64", [-1, 1, 2])
    assert len(lines) % 8 == 0 and lines != program("x86_64", [-1, 1, 2])


def test_many_tests_and_long_outputs_have_room() -> None:
    """Limits are for each test: a right program is not cut off for the number of its tests or what it has to print."""
    tests = tuple(TestCase(kind="stdin", input="1", output="x" * (10 << 20)) for _ in range(50))
    problem = Problem(question_id="q", title="", prompt="", tests=tests)
    limits = JudgeLimits()
    job = make_job(Work(0, (problem, "print(1)")), limits).payload
    assert job["cpu_s"] == 10 and job["output_bytes"] > 10 << 20
    assert limits.quiet_s(problem) < 100


def test_a_right_output_with_an_exit_status_is_an_exception(judge: Judge) -> None:
    found = judge.judge(PLUS_SIX, "import sys\nprint(int(input()) + 6)\nsys.exit(1)")
    assert (found.verdict, found.failing_test) == (Verdict.EXCEPTION, 0)

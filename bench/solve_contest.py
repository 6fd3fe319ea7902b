"""One agent at one task under one budget: for `bench/solve_peers.py`.

In: a task of `bench/solve_tasks.py`, an agent's name, a budget. Out: a row. Every agent talks to the same server by a
metered address (`bench/solve_proxy.py`) and gets the same statement and the same check. Our agent is run once, by its
console command. A peer is one stream of turns, so it is started again on a fresh copy while budget is left, and the
first try whose check passes is its answer: independent tries, then selection by the check. What tests are in the end
is what they were at the beginning: a peer that edits a test gains nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from peers import Job, Peer
from peers.aider import Aider
from peers.mini import Mini
from solve_proxy import Meter, Proxy
from solve_rows import OURS, Row
from solve_tasks import Task

from forklock.sandbox import ExecResult, Limits, Policy, Sandbox, open_sandbox, workspace_policy
from forklock.sandbox.interpreters.grants import grants

AGENT = str(Path(sys.executable).with_name("agent"))
PEERS: dict[str, Peer] = {peer.name: peer for peer in (Aider(), Mini())}
PASSES = ("solved", "passes, in doubt")
"""Outcomes of our agent whose change passes the check."""
CHECK_S = 60
"""Seconds that a run of the check may take, for every agent: many a bug of QuixBugs is a loop without an end."""
IDLE_TRIES = 3
"""A peer that asks the model nothing in so many tries cannot work here."""
WRAP_UP_S = 5.0
"""Our agent is told to end so long before the end of its seconds: starting up is part of them."""
SHOWN = 3000
"""Characters of the check's output that the peers' statement holds."""


@dataclass(frozen=True)
class Contest:
    """What all runs have in common."""

    proxy: Proxy
    model: str
    context_tokens: int
    peers: Path
    """Folder with an environment for each peer, under its name."""
    width: int = 16
    extra: tuple[str, ...] = ()
    """More words for `agent solve`."""
    python: str = ""
    """Peers' `bin` folder in place of that of their environments (tests)."""

    def environment(self, agent: str) -> Path:
        return self.peers / agent


@dataclass
class Found:
    """What an agent came to."""

    outcome: str
    passed: bool = False
    sure: bool | None = None
    wrong: str = ""
    diff: str = ""
    tries: int = 1
    notes: list[str] = field(default_factory=list)


def contend(contest: Contest, task: Task, agent: str, budget: str, seed: int, cap_s: float) -> Row:
    """Run one agent on one task. `budget`: `tokens N` or `seconds S`; `cap_s` bounds the seconds of the former."""
    kind, _, amount = budget.partition(" ")
    with tempfile.TemporaryDirectory(prefix="forklock-bench-") as scratch:
        repo = Path(scratch) / "repo"
        task.make(repo)
        meter = Meter(tokens=int(amount), seconds=cap_s) if kind == "tokens" else Meter(seconds=float(amount))
        with contest.proxy.metered(meter) as url:
            began = time.monotonic()
            if agent == OURS:
                found = _ours(contest, task, repo, url, meter, seed)
            else:
                found = _theirs(contest, PEERS[agent], task, repo, url, meter)
            seconds = time.monotonic() - began
    if meter.faults:
        raise SystemExit(
            f"{task.name}, {agent}: the model server failed at {meter.faults} requests, so that this run is no result. "
            "Look into the server's log; what is in the results file stays, and the same command goes on."
        )
    return Row(
        task=task.name, agent=agent, budget=budget, model=contest.model, seed=seed, passed=found.passed,
        right=found.passed and not found.wrong, sure=found.sure, wrong=found.wrong, outcome=found.outcome,
        tries=found.tries, requests=meter.requests, prompt_tokens=meter.prompt,
        generated_tokens=meter.completion, seconds=round(seconds, 1), diff=found.diff,
    )  # fmt: skip


# -- our agent ----------------------------------------------------------------------------------------------


def _ours(contest: Contest, task: Task, repo: Path, url: str, meter: Meter, seed: int) -> Found:
    seconds = max(1.0, meter.seconds_left() - WRAP_UP_S)
    command = [
        AGENT, "solve", task.statement, "--repo", str(repo), "--test", task.test, "--engine", "vllm",
        "--model", f"{url}#{contest.model}", "--width", str(contest.width), "--seed", str(seed), "--json",
        "--seconds", f"{seconds:.0f}", "--tokens", "1000000000", "--steps", "1000", *contest.extra,
    ]  # fmt: skip
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={**os.environ, "FORKLOCK_AGENT__TEST_TIMEOUT_S": str(CHECK_S)},
    )  # fmt: skip
    if done.returncode not in (0, 1) or not done.stdout.strip():
        why = meter.spent() or f"exit code {done.returncode}: {done.stderr.strip()[-500:]}"
        return Found(outcome=why, sure=False)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    outcome = str(said["outcome"])
    if outcome not in PASSES:
        return Found(outcome=outcome, sure=False)
    subprocess.run([AGENT, "apply", "last", "--repo", str(repo)], capture_output=True, check=True)
    diff = subprocess.run(["git", "diff"], cwd=repo, capture_output=True, text=True, check=True).stdout
    with _repaired(task, repo) as folder:
        passed = passes(folder, task.test)
        wrong = task.wrong(folder) if passed else ""
    return Found(outcome, passed, outcome == "solved", wrong, diff)


# -- the peers ----------------------------------------------------------------------------------------------


def _theirs(contest: Contest, peer: Peer, task: Task, repo: Path, url: str, meter: Meter) -> Found:
    """Independent tries until one passes or the budget is used up."""
    statement = told(task, repo)
    for setting in ("user.name=Example", "user.email=example@example.invalid"):  # aider asks for one else
        subprocess.run(["git", "config", *setting.split("=")], cwd=repo, check=True)
    idle, number, outcome = 0, 0, "not started"
    while not meter.spent() and idle < IDLE_TRIES:
        before = meter.completion
        with _try(contest, peer, task, repo, url, meter, statement, number) as (tried, done):
            outcome = _ending(done)
            with _repaired(task, tried.root, repo) as folder:
                if passes(folder, task.test):
                    return Found(outcome, True, None, task.wrong(folder), tried.diff(), number + 1)
        idle = idle + 1 if meter.completion == before else 0
        number += 1
    return Found(meter.spent() or f"asked nothing in {idle} tries: {outcome}", tries=number)


def told(task: Task, repo: Path) -> str:
    """The statement that the peers get: the task, its check, and what the check prints now (our agent runs it)."""
    done = _checked(repo, task.test)
    printed = (done.stdout + done.stderr).decode("utf-8", "replace")[-SHOWN:].strip()
    printed = printed or (f"(nothing: it did not end within {CHECK_S} seconds)" if done.timed_out else "")
    check = (
        f"The check is `{bounded(task.test)}`, run in the root of the repository. It fails now and must pass."
    )
    printed = f"Do not change the tests. It prints:\n\n```\n{printed}\n```"
    return f"{task.statement.strip()}\n\n{check} {printed}\n"


def bounded(test: str) -> str:
    """The check as peers run it, which have no bound of their own."""
    return f"timeout {CHECK_S} {test}"


@contextmanager
def _try(
    contest: Contest, peer: Peer, task: Task, repo: Path, url: str, meter: Meter, statement: str, number: int
) -> Iterator[tuple[Sandbox, ExecResult]]:
    """One run of a peer on a fresh copy; it ends with the seconds that are left, all that it started included."""
    environment = contest.environment(peer.name)
    with tempfile.TemporaryDirectory(prefix="forklock-peer-") as settings:
        Path(settings).chmod(0o755)
        job = Job(
            statement=statement, test=bounded(task.test), file=task.file, test_file=test_file(task.test),
            model=contest.model, url=url, number=number,
            max_tokens=max(1024, (repo / task.file).stat().st_size // 2),
            context_tokens=contest.context_tokens, settings=settings,
            python=contest.python or str(environment / "bin"),
        )  # fmt: skip
        for name, text in peer.files(job).items():
            (Path(settings) / name).write_text(text, encoding="utf-8")
        policy = Policy(
            network=True,  # the proxy is on the loopback
            readable=(*grants(environment, repo), Path(settings)),
            env={
                "PATH": f"{job.python}:/usr/bin:/bin",
                "PYTHONDONTWRITEBYTECODE": "1",
                **peer.variables(job),
            },
            limits=Limits(memory_mb=4096, processes=512),
        )
        with open_sandbox(repo, policy, backend="bubblewrap") as whole, whole.fork() as copy:
            yield copy, copy.exec(peer.command(job), timeout_s=max(1.0, min(meter.seconds_left(), 3600.0)))


def test_file(command: str) -> str:
    """The file that a check's command names."""
    names = [word.partition("::")[0] for word in shlex.split(command)]
    return next((name for name in reversed(names) if name.endswith(".py")), "")


def _ending(done: ExecResult) -> str:
    if done.timed_out:
        return "ended by the clock"
    tail = (done.stdout[-600:] + done.stderr[-600:]).decode("utf-8", "replace").strip().splitlines()
    return f"exit code {done.exit_code}: {' / '.join(tail[-3:])[-300:]}"


# -- the check ----------------------------------------------------------------------------------------------


@contextmanager
def _repaired(task: Task, tree: Path, original: Path | None = None) -> Iterator[Path]:
    """A copy of a repaired tree whose tests are the original ones."""
    with tempfile.TemporaryDirectory(prefix="forklock-check-") as scratch:
        folder = Path(scratch) / "repo"
        shutil.copytree(tree, folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        if original is None:
            original = Path(scratch) / "original"
            task.make(original)
        restore_tests(folder, original)
        yield folder


def restore_tests(folder: Path, original: Path) -> None:
    """Give a tree the original's tests and settings of tests, and no others; its links are removed."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_symlink() or (_is_test(path.relative_to(folder)) and not path.is_dir()):
            path.unlink()
        elif _is_test(path.relative_to(folder)):
            shutil.rmtree(path)
    for path in sorted(original.rglob("*")):
        name = path.relative_to(original)
        if path.is_file() and ".git" not in name.parts and _is_test(name):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _is_test(path: Path) -> bool:
    settings = ("conftest.py", "pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "sitecustomize.py")
    return path.name in settings or path.name.startswith("test_") or "tests" in path.parts


def passes(folder: Path, test: str) -> bool:
    return _checked(folder, test).ok


def _checked(folder: Path, test: str) -> ExecResult:
    with open_sandbox(folder, workspace_policy(folder)) as whole, whole.fork() as copy:
        return copy.exec(shlex.split(test), timeout_s=CHECK_S)

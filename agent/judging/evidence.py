"""Compare how a repository behaves before and after a run's change: is the change more than its task asks for?

In: a finished run and the repository, as it was when the run began. Out: a `Choice`. Both versions answer the inputs
that the repository's tests use, and variants of them, in the sandbox (`forklock.tools.behaviour`). Python and
pytest only.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.judging.choice import Choice, Passing, choose
from forklock.agent.log import RunEnded, RunLog, RunStarted
from forklock.agent.repo import apply_diff, copy_workspace
from forklock.models.paths import cache_dir
from forklock.sandbox import BackendName, Sandbox, open_sandbox, workspace_policy
from forklock.tools.behaviour.ask import ask, plan, target_at
from forklock.tools.behaviour.compare import compare_behaviour
from forklock.tools.testing.run import run_tests

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? ")
_SUITE_S = 300.0
"""Seconds for one run of the suite, at most."""


def compare_run(log: RunLog, root: Path, backend: BackendName) -> Choice:
    """How sure a run's change is, by what else it changes.

    Raises:
        AgentFault: the run has no change, or the repository is not as the run began with.
        SandboxFault: no sandbox.
    """
    events = log.read().events
    first = next((event for event in events if isinstance(event, RunStarted)), None)
    end = next((event for event in events if isinstance(event, RunEnded)), None)
    diff = log.text(end.diff) if end else ""
    if first is None or not diff:
        raise AgentFault(f"run {log.folder.name} has no change to compare")
    command, cwd = first.test_command, first.cwd
    if first.regression_command:
        command, cwd = first.regression_command, first.regression_cwd
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="compare-") as folder:
        base = Path(folder) / "base"
        copy_workspace(root, base)
        apply_diff(base, diff, check_only=True)
        policy = workspace_policy(root, cwd=cwd)
        with open_sandbox(base, policy, backend=backend, shown_at=root) as original:
            return _compared(original, diff, log.folder.name, command, cwd)


def _compared(original: Sandbox, diff: str, name: str, command: str, cwd: str) -> Choice:
    places = dict.fromkeys((path, line) for path, line in _changed_lines(diff) if path.endswith(".py"))
    changed = [target for path, line in places if (target := target_at(original.root, path, line))]
    with original.fork() as fork:
        failing = {
            failure.test_id for failure in run_tests(fork, command, timeout_s=_SUITE_S, cwd=cwd).failures
        }
    with original.fork() as fork:
        what = plan(fork, command, tuple(dict.fromkeys(changed)), timeout_s=_SUITE_S, cwd=cwd)
    if what is None:
        return choose([Passing(name, None, None)])
    with original.fork() as fork:
        before = ask(fork, what, timeout_s=_SUITE_S)
    with original.fork() as fork:
        apply_diff(fork.root, diff)
        after = ask(fork, what, timeout_s=_SUITE_S)
    if before is None or after is None:
        return choose([Passing(name, None, None)])
    return choose([Passing(name, after, compare_behaviour(before, after, failing))])


def _changed_lines(diff: str) -> Iterator[tuple[str, int]]:
    """Path and number of each line of the original that a diff takes away, or puts lines after."""
    path, line = "", 0
    for text in diff.splitlines():
        if text.startswith("--- a/"):
            path = text[6:].split("\t")[0]
        elif found := _HUNK.match(text):
            line = int(found[1])
        elif text.startswith("-") and not text.startswith("---"):
            yield path, line
            line += 1
        elif text.startswith("+") and not text.startswith("+++"):
            yield path, max(line - 1, 1)
        elif text.startswith(" "):
            line += 1

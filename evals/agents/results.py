"""evals: results of an agent on repo tasks, and the store that keeps them.

Input: `TaskResult`s as they come. Output: the same results, also after a kill. A result holds as long as its task and
its limits stay the same.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from forklock.evals.agents.tasks import RepoTask
from forklock.evals.contract import EvalFault, Frozen
from forklock.evals.runs.store import results_dir
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.jsonl import append_line, as_json, parser, whole_lines

Outcome = Literal["resolved", "not resolved", "in doubt", "no change", "agent failed", "infrastructure error"]
"""`in doubt`: the agent made a change and says itself that it may be wrong. It does not count as resolved."""


class TaskResult(Frozen):
    """The result of one task."""

    task_id: str
    repo: str
    difficulty: str
    outcome: Outcome
    reason: str = ""
    right: bool | None = None
    """Whether the change passes the hidden tests, also where it is in doubt; None where no change was judged."""
    fixed: tuple[str, ...] = ()
    """Tests of FAIL_TO_PASS that pass now."""
    to_fix: int
    broken: tuple[str, ...] = ()
    """Tests of PASS_TO_PASS that do not pass now."""
    to_keep: int
    diff: str = ""
    left_out: tuple[str, ...] = ()
    """Paths that decide how tests run and that the agent changed; `diff` leaves them out."""
    agent_exit: int | None = None
    agent_s: float = 0.0
    test_s: float = 0.0
    asked: str = ""
    """Digest of the task and the limits; the result holds as long as it is the same."""


class RepoStore:
    """Stores the results of one agent, one per line; a torn last line is dropped."""

    def __init__(self, command: str, root: Path | None = None) -> None:
        """
        Args:
            command: the agent's command.
        """
        digest = hashlib.sha256(command.encode()).hexdigest()[:8]
        first = Path(command.split()[0]).name if command.split() else "agent"
        self.folder = (root or results_dir("repo-evals")) / f"{first}-{digest}"
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "agent.json", json.dumps({"command": command}))
        self.results = {result.task_id: result for result in self._read()}

    def add(self, result: TaskResult) -> None:
        """Store one result."""
        self.results[result.task_id] = result
        append_line(self.folder / "results.jsonl", as_json(result))

    def holds(self, task: RepoTask, asked: str) -> bool:
        """Return whether there is a verdict on this task as it is now."""
        held = self.results.get(task.task_id)
        return held is not None and held.outcome != "infrastructure error" and held.asked == asked

    def log(self, task: RepoTask) -> Path:
        """Return the file for what the agent prints."""
        return self.folder / "logs" / f"{task.task_id}.txt"

    def _read(self) -> list[TaskResult]:
        path = self.folder / "results.jsonl"
        found = [_parse(line) for line in whole_lines(path)]
        if None in found:
            raise EvalFault(f"{path} is damaged", fix="remove it: its tasks are run again")
        return [result for result in found if result is not None]


_parse = parser(TaskResult)

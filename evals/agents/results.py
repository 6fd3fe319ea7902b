"""evals: results of an agent on repo tasks, and where they are kept.

In: `TaskResult`s as they come. Out: the same, after a kill, too; one holds as long as its task and limits do.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from evals.agents.tasks import RepoTask
from evals.contract import EvalFault
from evals.runs.store import results_dir
from sandbox.files.atomic import write_atomic
from sandbox.files.jsonl import append_line, as_json, parser, whole_lines

Outcome = Literal["resolved", "not resolved", "no change", "agent failed", "infrastructure error"]


class TaskResult(BaseModel):
    """How one task went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: str
    repo: str
    difficulty: str
    outcome: Outcome
    reason: str = ""
    fixed: tuple[str, ...] = ()
    """Of FAIL_TO_PASS, those that pass now."""
    to_fix: int
    broken: tuple[str, ...] = ()
    """Of PASS_TO_PASS, those that do not pass now."""
    to_keep: int
    diff: str = ""
    left_out: tuple[str, ...] = ()
    """What the agent changed of how tests are run: not in `diff`."""
    agent_exit: int | None = None
    agent_s: float = 0.0
    test_s: float = 0.0
    asked: str = ""
    """Digest of the task and of the limits: what makes this result hold."""


class RepoStore:
    """Results of one agent on disk, a line each, flushed; a torn last line is dropped."""

    def __init__(self, command: str, root: Path | None = None) -> None:
        """
        Args:
            command: the agent's.
        """
        digest = hashlib.sha256(command.encode()).hexdigest()[:8]
        first = Path(command.split()[0]).name if command.split() else "agent"
        self.folder = (root or results_dir("repo-evals")) / f"{first}-{digest}"
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "agent.json", json.dumps({"command": command}))
        self.results = {result.task_id: result for result in self._read()}

    def add(self, result: TaskResult) -> None:
        self.results[result.task_id] = result
        append_line(self.folder / "results.jsonl", as_json(result))

    def holds(self, task: RepoTask, asked: str) -> bool:
        """Whether there is a verdict on this task as it is now."""
        held = self.results.get(task.task_id)
        return held is not None and held.outcome != "infrastructure error" and held.asked == asked

    def log(self, task: RepoTask) -> Path:
        return self.folder / "logs" / f"{task.task_id}.txt"

    def _read(self) -> list[TaskResult]:
        path = self.folder / "results.jsonl"
        found = [_parse(line) for line in whole_lines(path)]
        if None in found:
            raise EvalFault(f"{path} is damaged", fix="remove it: its tasks are run again")
        return [result for result in found if result is not None]


_parse = parser(TaskResult)

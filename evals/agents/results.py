"""evals: results of an agent on repo tasks, and where they are kept.

In: `TaskResult`s as they come. Out: the same, after a kill, too; one holds as long as its task and limits do.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.agents.tasks import RepoTask
from evals.contract import EvalFault
from evals.runs.store import results_dir, write_atomically

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
        write_atomically(self.folder / "agent.json", json.dumps({"command": command}))
        self.results = {result.task_id: result for result in self._read()}

    def add(self, result: TaskResult) -> None:
        self.results[result.task_id] = result
        with (self.folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(result.model_dump_json() + "\n")

    def holds(self, task: RepoTask, asked: str) -> bool:
        """Whether there is a verdict on this task as it is now."""
        held = self.results.get(task.task_id)
        return held is not None and held.outcome != "infrastructure error" and held.asked == asked

    def log(self, task: RepoTask) -> Path:
        return self.folder / "logs" / f"{task.task_id}.txt"

    def _read(self) -> list[TaskResult]:
        path = self.folder / "results.jsonl"
        if not path.exists():
            return []
        data = path.read_bytes()
        whole, torn = data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :]
        if torn:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            return [TaskResult.model_validate_json(line) for line in whole.splitlines()]
        except ValidationError as error:
            raise EvalFault(f"{path} is damaged", fix="remove it: its tasks are run again") from error

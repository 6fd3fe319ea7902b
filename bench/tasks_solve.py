"""Measures how many repair tasks of a repository a model solves, and how many of these solutions are right.

    python bench/tasks_solve.py REPO --model qwen2.5-coder-0.5b --sample 20 --width 16 --out results.jsonl

In: a repository whose tasks were made (`selfdistill tasks REPO`). Each task of the sample is given to `agent solve` for
one wide step on a copy of its broken code; the judge of tasks says what the diff is worth. One line a task; a task that
has a line is not run again, so a killed run goes on. Exit code 0.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from pydantic import BaseModel

from forklock.sandbox.files.jsonl import JsonLines, as_json, parser
from forklock.selfdistill.tasks.asking import broken_copy, order_of
from forklock.selfdistill.tasks.contract import RepairTask
from forklock.selfdistill.tasks.judge import TaskJudge, open_judge
from forklock.selfdistill.tasks.store import TaskStore

AGENT = str(Path(sys.executable).with_name("agent"))


class Row(BaseModel):
    """What came of one task."""

    task_id: str
    kind: str
    model: str
    width: int
    solved: bool
    outcome: str
    """The judge's; `not solved` where the agent found nothing."""
    reason: str
    seconds: float


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("repo", type=Path)
    flags.add_argument("--model", default="qwen2.5-coder-0.5b")
    flags.add_argument("--sample", type=int, default=20)
    flags.add_argument("--width", type=int, default=16)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--split", default="")
    flags.add_argument("--out", type=Path, required=True)
    chosen = flags.parse_args()
    store = TaskStore.of(chosen.repo)
    with open_judge(chosen.repo) as judge, JsonLines(chosen.out, parser(Row)) as lines:
        tasks = [one for one in store.tasks(judge.ground) if chosen.split in ("", one.split)]
        sample = order_of(tasks, chosen.seed)[: chosen.sample]
        rows = {
            row.task_id: row for row in lines.rows if (row.model, row.width) == (chosen.model, chosen.width)
        }
        for task in sample:
            if task.task_id not in rows:
                rows[task.task_id] = tried(store.root, judge, task, chosen.model, chosen.width)
                lines.append(as_json(rows[task.task_id]))
            row = rows[task.task_id]
            print(f"{row.task_id:24} {row.outcome:12} {row.seconds:6.0f} s  {row.reason[:120]}", flush=True)
    found = [rows[task.task_id] for task in sample]
    counts = Counter(row.outcome for row in found)
    print(
        f"{len(found)} tasks: {sum(row.solved for row in found)} solved, {counts['right']} right; {dict(counts)}"
    )


def tried(root: Path, judge: TaskJudge, task: RepairTask, model: str, width: int) -> Row:
    """Give one task to the agent, and its diff to the judge."""
    began = time.monotonic()
    with broken_copy(root, judge, task) as folder:
        statement = folder.with_name("statement.md")
        statement.write_text(task.statement, "utf-8")
        words = [AGENT, "solve", f"@{statement}", "--repo", str(folder / task.cwd), "--test", task.command,
                 "--model", model,
                 "--width", str(width), "--steps", "1", "--regression", "none", "--allow-dirty", "--json"]  # fmt: skip
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    solved, diff, why = done.returncode == 0, "", done.stderr.strip()[-200:]
    if done.stdout.strip():
        said = json.loads(done.stdout.strip().splitlines()[-1])
        diff, why = said.get("diff", ""), str(said.get("detail", why))
    if done.returncode not in (0, 1):
        why = f"exit code {done.returncode} of {shlex.join(words[:2])}: {why}"
    verdict = judge(task, diff) if solved else None
    return Row(
        task_id=task.task_id, kind=task.kind, model=model, width=width, solved=solved,
        outcome=verdict.outcome if verdict else "not solved", reason=verdict.reason if verdict else why,
        seconds=round(time.monotonic() - began, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()

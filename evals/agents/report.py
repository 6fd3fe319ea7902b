"""evals: results of an agent on repo tasks, on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from forklock.evals.agents.results import TaskResult
from forklock.evals.statistics.stats import wilson

_STYLES = {"resolved": "green", "infrastructure error": "red"}


def line(result: TaskResult) -> str:
    """Return one task as a line of the running log."""
    return (
        f"{result.task_id}: {result.outcome}, {len(result.fixed)}/{result.to_fix} fixed, "
        f"{len(result.broken)}/{result.to_keep} broken, {result.agent_s:.0f} s"
    )


def summary(results: Sequence[TaskResult], agent: str) -> Group:
    """Return a table of all tasks, and the share that was resolved."""
    table = Table(
        Column("task", overflow="fold"), "difficulty", "outcome", "fixed", "broken", "agent s", "tests s",
        title=f"{len(results)} tasks, agent {agent}", title_justify="left",
    )  # fmt: skip
    for result in results:
        style = _STYLES.get(result.outcome, "yellow")
        table.add_row(
            result.task_id, result.difficulty, Text(result.outcome, style), f"{len(result.fixed)}/{result.to_fix}",
            f"{len(result.broken)}/{result.to_keep}", f"{result.agent_s:.0f}", f"{result.test_s:.1f}",
        )  # fmt: skip
    return Group(table, *_shares(results))


def _shares(results: Sequence[TaskResult]) -> list[str]:
    counts = Counter(result.outcome for result in results)
    judged = [result for result in results if result.outcome != "infrastructure error"]
    lines = [", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())]
    if judged:
        share = wilson(counts["resolved"], len(judged))
        missing = len(results) - len(judged)
        state = f"; incomplete: {missing} of {len(results)} tasks have no verdict" if missing else ""
        lines.insert(
            0,
            f"resolved {counts['resolved']} of {len(judged)}: {share.value:.1%}  "
            f"[{share.low:.1%}, {share.high:.1%}] (Wilson, 95 %){state}",
        )
    else:
        lines.insert(0, "no task has a verdict")
    return lines

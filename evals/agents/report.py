"""evals: results of an agent on repo tasks, on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from forklock.evals.agents.results import TaskResult
from forklock.evals.statistics.stats import wilson

_RIGHT = {True: "yes", False: "no", None: ""}
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
        Column("task", overflow="fold"), "difficulty", "outcome", "right", "fixed", "broken", "agent s", "tests s",
        title=f"{len(results)} tasks, agent {agent}", title_justify="left",
    )  # fmt: skip
    for result in results:
        style = _STYLES.get(result.outcome, "yellow")
        table.add_row(
            result.task_id, result.difficulty, Text(result.outcome, style), _RIGHT[is_right(result)],
            f"{len(result.fixed)}/{result.to_fix}",
            f"{len(result.broken)}/{result.to_keep}", f"{result.agent_s:.0f}", f"{result.test_s:.1f}",
        )  # fmt: skip
    return Group(table, *_shares(results))


def is_right(result: TaskResult) -> bool | None:
    """Return whether the hidden tests pass; results of before the field was there tell it by their outcome."""
    if result.right is None and result.outcome in ("resolved", "not resolved"):
        return result.outcome == "resolved"
    return result.right


def _claims(judged: Sequence[TaskResult]) -> list[str]:
    """Return how often the agent's own word is right; nothing where it never says that it doubts."""
    doubted = [is_right(result) for result in judged if result.outcome == "in doubt"]
    if not doubted:
        return []
    claimed = [is_right(result) for result in judged if result.outcome in ("resolved", "not resolved")]
    right = claimed.count(True) + doubted.count(True)
    parts = f"{_of(claimed)} of the changes without a doubt, {_of(doubted)} of those in doubt"
    return [f"right {right} of {len(judged)}: {parts}"]


def _of(found: Sequence[bool | None]) -> str:
    if not found:
        return "0 of 0"
    share = wilson(found.count(True), len(found))
    return f"{found.count(True)} of {len(found)} ({share.value:.0%} [{share.low:.0%}, {share.high:.0%}])"


def _shares(results: Sequence[TaskResult]) -> list[str]:
    counts = Counter(result.outcome for result in results)
    judged = [result for result in results if result.outcome != "infrastructure error"]
    lines = [", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())]
    if judged:
        share = wilson(counts["resolved"], len(judged))
        missing = len(results) - len(judged)
        state = f"; incomplete: {missing} of {len(results)} tasks have no verdict" if missing else ""
        lines += _claims(judged)
        lines.insert(
            0,
            f"resolved {counts['resolved']} of {len(judged)}: {share.value:.1%}  "
            f"[{share.low:.1%}, {share.high:.1%}] (Wilson, 95 %){state}",
        )
    else:
        lines.insert(0, "no task has a verdict")
    return lines

"""The results of `bench/solve_peers.py`: one row a run, and the tables that they make.

In: rows of a JSON-lines file. Out: markdown, with Wilson's interval for each share and, for each peer, the paired
difference over tasks (sign-flip test, 95 % interval) between Forklock and that peer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from pydantic import BaseModel

from forklock.evals.statistics.stats import paired_test, wilson

OURS = "forklock"


class Row(BaseModel):
    """What came of one agent at one task under one budget."""

    task: str
    agent: str
    budget: str
    """`tokens 2000` or `seconds 120`."""
    model: str
    seed: int
    passed: bool
    """The visible check passes on the agent's change, with the tests as they were."""
    right: bool
    """It passes and all hidden cases are answered right."""
    sure: bool | None = None
    """Whether the agent calls its change solved without doubt; None for agents that say nothing of the kind."""
    wrong: str = ""
    """What a change that passes gets wrong."""
    outcome: str
    """The agent's own word, or how its last try ended."""
    tries: int
    requests: int
    prompt_tokens: int
    generated_tokens: int
    seconds: float
    diff: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.task, self.agent, self.budget, self.model, self.seed


def report(rows: Sequence[Row]) -> str:
    """Markdown: for each budget a table over agents, the paired differences, and the diffs that pass and are wrong."""
    lines: list[str] = []
    for budget in sorted({row.budget for row in rows}):
        here = [row for row in rows if row.budget == budget]
        lines += [f"### {budget}", "", *_table(here), "", *_differences(here), "", *_tasks(here), ""]
    for row in rows:
        if row.passed and not row.right:
            lines += [f"**{row.task}**, {row.agent}, {row.budget}, seed {row.seed}: {row.wrong}", ""]
            lines += ["```diff", row.diff.rstrip(), "```", ""]
    return "\n".join(lines)


def share(some: int, of: int) -> str:
    """`3 of 8, 38 % [14, 69]`, with Wilson's 95 % interval."""
    if not of:
        return "0 of 0"
    found = wilson(some, of)
    return f"{some} of {of}, {100 * found.value:.0f} % [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def by_agent(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of each agent, ours first."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.agent != OURS, row.agent)):
        found[row.agent].append(row)
    return found


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| agent | passes | right | called solved and right | generated tokens | prompt tokens | seconds | tries |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for agent, mine in by_agent(rows).items():
        passed = [row for row in mine if row.passed]
        sure = [row for row in mine if row.sure]
        said = share(sum(row.right for row in sure), len(sure)) if mine[0].sure is not None else "-"
        means = (
            fmean(getattr(row, name) for row in mine)
            for name in ("generated_tokens", "prompt_tokens", "seconds", "tries")
        )
        generated, prompt, seconds, tries = means
        right = share(sum(row.right for row in mine), len(mine))
        lines.append(
            f"| {agent} | {share(len(passed), len(mine))} | {right} | {said} | {generated:,.0f} | {prompt:,.0f} | "
            f"{seconds:.0f} | {tries:.1f} |"
        )
    return [*lines, "", "Tokens, seconds and tries are means per task, of tasks that were not solved too."]


def _differences(rows: Sequence[Row]) -> list[str]:
    agents = by_agent(rows)
    lines = []
    for agent, theirs in agents.items():
        if agent == OURS or OURS not in agents:
            continue
        a, b = right_by_task(theirs), right_by_task(agents[OURS])
        if not a.keys() & b.keys():
            continue
        found = paired_test(a, b)
        low, high = found.ci
        lines.append(
            f"- right, {OURS} minus {agent}: {100 * found.effect:+.0f} points [{100 * low:+.0f}, {100 * high:+.0f}], "
            f"p = {found.p_value:.2f}, {found.n} tasks"
        )
    return lines


def right_by_task(rows: Iterable[Row]) -> Mapping[str, float]:
    """The share of right runs of each task, over seeds."""
    found: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        found[row.task].append(row.right)
    return {task: fmean(right) for task, right in found.items()}


def _tasks(rows: Sequence[Row]) -> list[str]:
    """A line a task: what each agent made of it."""
    agents = by_agent(rows)
    lines = ["| task | " + " | ".join(agents) + " |", "|---|" + "---|" * len(agents)]
    for task in sorted({row.task for row in rows}):
        cells = []
        for mine in agents.values():
            runs = [row for row in mine if row.task == task]
            cells.append(", ".join(_word(row) for row in sorted(runs, key=lambda row: row.seed)))
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    return lines


def _word(row: Row) -> str:
    return "right" if row.right else "wrong" if row.passed else "no"

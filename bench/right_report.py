"""The report of `bench/right_corpus.py`, as markdown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forklock.evals.statistics.stats import wilson

Row = dict[str, Any]


def report(candidates: Sequence[Row], verdicts: Sequence[Row]) -> str:
    """The counts, the shares with their intervals, and the wrong ones that are called solved."""
    tried = [row for row in candidates if row["kind"] == "tried"]
    kept = [row for row in candidates if row["kind"] == "candidate"]
    right = sum(not row["wrong"] for row in kept)
    lines = [
        f"{len(tried)} bugs; {sum(row['tried'] for row in tried)} candidates tried, "
        f"{sum(row['right'] + row['wrong'] for row in tried)} pass, {len(kept)} of them kept: {right} right, "
        f"{len(kept) - right} wrong.",
        "",
        "| | right among solved | right found | wrong called solved |",
        "|---|---|---|---|",
    ]
    alone = [row for row in verdicts if row["setup"].startswith("alone")]
    draws = [row for row in verdicts if row["setup"].startswith("draw")]
    for title, rows in (
        ("alone", alone), ("alone, the known fix only", [r for r in alone if r["origins"] == ["fix"]]),
        ("drawn, 1 to 5 samples", draws), ("drawn, 3 to 5 samples", [r for r in draws if r["samples"] > 2]),
    ):  # fmt: skip
        lines.append("| " + " | ".join([title, *_shares(rows)]) + " |")
    if verdicts:
        seconds = sorted(row["seconds"] for row in verdicts)
        lines += [
            "",
            f"Seconds for a verdict: median {seconds[len(seconds) // 2]:.1f}, most {seconds[-1]:.1f}.",
        ]
    for row in verdicts:
        if row["sure"] and row["wrong"]:
            lines += [
                "", f"**{row['task']}**, {row['setup']} ({', '.join(row['origins'])}): {row['wrong']}",
                "", f"said: {row['why']}", "", "```diff", row["diff"].rstrip(), "```",
            ]  # fmt: skip
    lost = [row for row in alone if not row["sure"] and not row["wrong"]]
    if lost:
        lines += ["", "Right ones in doubt, alone:", ""]
        lines += [
            f"- {row['task']}, {row['origins'][0]}: {row['why']}; {row['question'] or 'no question'}"
            for row in lost
        ]
    return "\n".join(lines)


def _shares(rows: Sequence[Row]) -> tuple[str, str, str]:
    solved = [row for row in rows if row["sure"]]
    good = [row for row in solved if not row["wrong"]]
    chance = [row for row in rows if row["offered_right"]]
    bad = [
        row for row in rows if row["wrong"] and not row["offered_right"]
    ]  # dropped idle lines make some right
    return (
        share(len(good), len(solved)),
        share(sum(row["offered_right"] for row in good), len(chance)),
        share(sum(row["sure"] for row in bad), len(bad)),
    )


def share(some: int, of: int) -> str:
    """`3 of 8, 38 % [14, 69]`."""
    if not of:
        return "0 of 0"
    found = wilson(some, of)
    return f"{some} of {of}, {found.value:.0%} [{found.low:.0%}, {found.high:.0%}]"

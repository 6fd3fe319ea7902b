"""evals: token gauges on the terminal: a `TokensResult` in, tables out."""

from __future__ import annotations

import math

from rich.console import Group
from rich.table import Column, Table

from forklock.evals.tokens.stats import Difference, Gauge, Place, Side, TokensResult

FEW_PROBLEMS = 10


def tokens_view(result: TokensResult) -> Group:
    """Return the whole report."""
    parts = (
        f"{result.set_name}, {result.source}: {result.answers} answers to {result.problems} problems, "
        f"{result.tokens} tokens ({result.counted})",
        f"cut {result.cut}; all masses at temperature 1; intervals over problems",
        few_problems(result),
        _gauges(result.model),
        _differences(result) if result.versus else "",
        _forks(result.forks),
    )
    return Group(*(part for part in parts if part != ""))


def few_problems(result: TokensResult) -> str:
    """Return a caution where the bootstrap has few problems to resample, else an empty text."""
    if result.problems >= FEW_PROBLEMS:
        return ""
    return f"only {result.problems} problems: the intervals are too narrow"


def number(value: float, unit: str) -> str:
    """Format a gauge in its unit."""
    if math.isnan(value):
        return "?"
    return f"{100 * value:.2f} %" if unit == "share" else f"{value:.3f}"


def signed(value: float, unit: str) -> str:
    """Format a difference of gauges; shares are in points."""
    if math.isnan(value):
        return "?"
    return f"{100 * value:+.2f}" if unit == "share" else f"{value:+.3f}"


def spoken(text: str) -> str:
    """Return a token's text with its white space visible."""
    return text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣") or "∅"


def _gauges(side: Side) -> Table:
    table = Table("gauge, mean over tokens", "value", "95 %", title=side.model, title_justify="left")
    for gauge in side.gauges:
        table.add_row(
            gauge.name, _value(gauge), f"[{number(gauge.low, gauge.unit)}, {number(gauge.high, gauge.unit)}]"
        )
    return table


def _value(gauge: Gauge) -> str:
    return f"{number(gauge.value, gauge.unit)}{'' if gauge.unit == 'share' else f' {gauge.unit}'}"


def _differences(result: TokensResult) -> Table:
    versus = result.versus.model if result.versus else ""
    table = Table(
        "gauge", "first", "second", "second − first  [95 %]", "p", "p, Holm",
        title=f"{versus} minus {result.model.model}, on the same tokens; shares in points",
        title_justify="left",
    )  # fmt: skip
    for row in result.differences:
        table.add_row(
            row.name,
            number(row.a, row.unit),
            number(row.b, row.unit),
            _change(row),
            _p(row.p_value),
            _p(row.p_holm),
        )
    return table


def _change(row: Difference) -> str:
    return f"{signed(row.difference, row.unit)}  [{signed(row.low, row.unit)}, {signed(row.high, row.unit)}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _forks(forks: tuple[Place, ...]) -> Table | str:
    if not forks:
        return ""
    table = Table(
        Column("widest forks", overflow="fold"), Column("after", overflow="fold"), "nats", "kept",
        Column("likeliest", overflow="fold"),
    )  # fmt: skip
    for fork in forks:
        likeliest = "  ".join(f"{spoken(text)} {100 * p:.0f} %" for text, p in fork.likeliest)
        table.add_row(
            fork.answer, spoken(fork.before[-24:]), f"{fork.entropy:.2f}", str(fork.survivors),
            likeliest,
        )  # fmt: skip
    return table

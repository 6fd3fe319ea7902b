"""evals: numbers over tokens, with intervals over problems. Pure.

Input: answers with their tables. Output: `Gauge`s of one model, and paired differences of two models on the same
tokens. Tokens of one problem are not independent, so problems are resampled (cluster bootstrap of a ratio, percentile).
The p-value of a difference is a sign-flip test over the problems' mean differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from forklock.evals.contract import Frozen
from forklock.evals.statistics.stats import holm, paired_test
from forklock.evals.tokens.gauges import Answer
from forklock.evals.tokens.tables import LISTED, TokenTable

RESAMPLES = 10_000
SURVIVOR_BINS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, None))

Values = Callable[[TokenTable], Sequence[float]]


class Gauge(Frozen):
    """The mean of a number over all counted tokens, with a 95 % interval over problems."""

    name: str
    unit: str
    value: float
    low: float
    high: float


class Difference(Frozen):
    """The other model minus this one, on the same tokens."""

    name: str
    unit: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    """p-value, corrected for the number of gauges."""


class Place(Frozen):
    """One token of an answer."""

    answer: str
    place: int
    """Index of the token, from 0."""
    before: str
    """The text before it."""
    token: str
    entropy: float
    survivors: int
    likeliest: tuple[tuple[str, float], ...]
    """The likeliest tokens with their probabilities."""


class Curve(Frozen):
    """Numbers along an axis, with 95 % intervals over problems."""

    labels: tuple[str, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


class Side(Frozen):
    """One model on all tokens."""

    model: str
    gauges: tuple[Gauge, ...]
    ranks: Curve
    """Mean mass of the tokens up to each rank."""
    survivors: Curve
    """Share of tokens by how many the cut keeps there."""


class TokensResult(Frozen):
    """The result of `evals tokens`."""

    set_name: str
    set_version: str
    prompts: str
    source: str
    """Origin of the solutions."""
    cut: str
    """T/top-k/top-p, which decides which tokens survive."""
    counted: str
    """Which tokens the numbers include."""
    problems: int
    answers: int
    tokens: int
    model: Side
    versus: Side | None
    differences: tuple[Difference, ...]
    """`versus` minus `model`, paired by token; empty without it."""
    forks: tuple[Place, ...]
    """Places where the first model is least certain, at most one from each answer."""


GAUGES: tuple[tuple[str, str, Values], ...] = (
    ("entropy", "nats", lambda t: t.entropy),
    ("kept mass", "share", lambda t: t.kept_mass),
    ("survivors", "tokens", lambda t: t.survivors),
    ("locks: one survivor", "share", lambda t: [float(count == 1) for count in t.survivors]),
    ("wide forks: six survivors or more", "share", lambda t: [float(count >= 6) for count in t.survivors]),
    ("mass of the likeliest token", "share", lambda t: mass_to_rank(t, 1)),
    ("mass of ranks 2 to 20", "share", lambda t: _between(mass_to_rank(t, 1), mass_to_rank(t, LISTED))),
    ("mass beyond rank 20", "share", lambda t: [max(0.0, 1 - mass) for mass in mass_to_rank(t, LISTED)]),
    ("token is the likeliest", "share", lambda t: [float(rank == 1) for rank in t.rank]),
    (
        "token survives the cut",
        "share",
        lambda t: [float(r <= s) for r, s in zip(t.rank, t.survivors, strict=True)],
    ),
    ("surprise of the token", "nats", lambda t: [-value for value in t.logprob]),
)


def mass_to_rank(table: TokenTable, rank: int) -> list[float]:
    """Return the joint probability of the `rank` likeliest tokens at each place."""
    return [min(1.0, sum(math.exp(value) for value in row[:rank])) for row in table.top_logprobs]


def gauges(answers: Sequence[Answer], tables: Sequence[TokenTable]) -> list[Gauge]:
    """Compute all gauges of one model."""
    found = []
    for name, unit, values in GAUGES:
        mean, low, high = clustered_mean(_by_problem(answers, tables, values))
        found.append(Gauge(name=name, unit=unit, value=mean, low=low, high=high))
    return found


def differences(
    answers: Sequence[Answer], ours: Sequence[TokenTable], theirs: Sequence[TokenTable]
) -> list[Difference]:
    """Return their gauges minus ours; with listed supports also their mass on the tokens that survive under ours."""
    rows = [
        _difference(name, unit, _by_problem(answers, ours, values), _by_problem(answers, theirs, values))
        for name, unit, values in GAUGES
    ]
    if all(table.other_support is not None for table in theirs):
        own = _by_problem(answers, ours, lambda t: t.kept_mass)
        there = _by_problem(answers, theirs, lambda t: t.other_support or ())
        rows.append(_difference("mass on the first model's survivors", "share", own, there))
    adjusted = holm([row.p_value for row in rows])
    return [row.model_copy(update={"p_holm": p}) for row, p in zip(rows, adjusted, strict=True)]


def side(model: str, answers: Sequence[Answer], tables: Sequence[TokenTable]) -> Side:
    """Compute everything about one model."""
    return Side(
        model=model,
        gauges=tuple(gauges(answers, tables)),
        ranks=_curve(_ranks(answers, tables)),
        survivors=_curve(_survivors(answers, tables)),
    )


def widest_forks(
    answers: Sequence[Answer], tables: Sequence[TokenTable], words: Callable[[int], str], most: int = 8
) -> list[Place]:
    """Return the counted token of highest entropy of each answer, highest first."""
    found = []
    for answer, table in zip(answers, tables, strict=True):
        inside = [place for place, yes in enumerate(answer.counted) if yes]
        if not inside:
            continue
        place = max(inside, key=lambda place: table.entropy[place])
        found.append(
            Place(
                answer=answer.name,
                place=place,
                before="".join(answer.pieces[:place])[-60:],
                token=words(answer.ids[place]),
                entropy=table.entropy[place],
                survivors=table.survivors[place],
                likeliest=tuple(
                    (words(token), math.exp(value))
                    for token, value in zip(table.top_ids[place][:4], table.top_logprobs[place], strict=False)
                ),
            )
        )
    return sorted(found, key=lambda one: -one.entropy)[:most]


Point = tuple[str, float, float, float]


def _curve(points: Sequence[Point]) -> Curve:
    labels, values, lows, highs = zip(*points, strict=True)
    return Curve(labels=labels, values=values, lows=lows, highs=highs)


def _ranks(answers: Sequence[Answer], tables: Sequence[TokenTable]) -> list[Point]:
    found: list[Point] = []
    for rank in range(1, LISTED + 1):

        def up_to(table: TokenTable, rank: int = rank) -> list[float]:
            return mass_to_rank(table, rank)

        found.append((str(rank), *clustered_mean(_by_problem(answers, tables, up_to))))
    return found


def _survivors(answers: Sequence[Answer], tables: Sequence[TokenTable]) -> list[Point]:
    found: list[Point] = []
    for low, high in SURVIVOR_BINS:
        label = f"{low}" if low == high else f"{low}–{high}" if high else f"> {low - 1}"

        def inside(table: TokenTable, low: int = low, high: int | None = high) -> list[float]:
            return [float(low <= count and (high is None or count <= high)) for count in table.survivors]

        found.append((label, *clustered_mean(_by_problem(answers, tables, inside))))
    return found


def clustered_mean(
    groups: Sequence[Sequence[float]],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the mean over all numbers, and its interval by resampling groups (NaN for fewer than two groups)."""
    import numpy as np

    filled = [group for group in groups if len(group)]
    if not filled:
        return math.nan, math.nan, math.nan
    sums = np.array([float(np.sum(group)) for group in filled])
    counts = np.array([len(group) for group in filled], dtype=float)
    mean = float(sums.sum() / counts.sum())
    if len(filled) < 2:
        return mean, math.nan, math.nan
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(filled), np.full(len(filled), 1 / len(filled)), size=resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile((weights @ sums) / (weights @ counts), [tail, 1 - tail])
    return mean, float(low), float(high)


def _difference(
    name: str, unit: str, ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> Difference:
    changes = [[b - a for a, b in zip(one, two, strict=True)] for one, two in zip(ours, theirs, strict=True)]
    mean, low, high = clustered_mean(changes)
    per_problem = {str(number): sum(row) / len(row) for number, row in enumerate(changes) if row}
    test = paired_test(dict.fromkeys(per_problem, 0.0), per_problem)
    return Difference(
        name=name, unit=unit, a=clustered_mean(ours)[0], b=clustered_mean(theirs)[0], difference=mean,
        low=low, high=high, p_value=test.p_value, p_holm=test.p_value,
    )  # fmt: skip


def _by_problem(answers: Sequence[Answer], tables: Sequence[TokenTable], values: Values) -> list[list[float]]:
    """Return the numbers of all counted tokens, one list per problem."""
    groups: dict[str, list[float]] = {}
    for answer, table in zip(answers, tables, strict=True):
        counted = zip(values(table), answer.counted, strict=True)
        groups.setdefault(answer.question_id, []).extend(float(value) for value, yes in counted if yes)
    return list(groups.values())


def _between(inner: Sequence[float], outer: Sequence[float]) -> list[float]:
    return [max(0.0, two - one) for one, two in zip(inner, outer, strict=True)]

"""evals: pass@k, intervals, and paired comparison of two runs. Pure.

Problems are the unit everywhere, because samples of one problem are not independent. Sources: Chen et al. 2021 (arXiv
2107.03374, unbiased pass@k), Wilson 1927, Efron's bootstrap, Fisher 1935 (sign-flip test), McNemar 1947, Holm 1979. Not
covered: how many problems are needed, and tests against a margin (`forklock.evals.statistics.margin`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from forklock.evals.results import PassAtK, ProblemResult

if TYPE_CHECKING:
    import numpy as np

EXACT_UP_TO = 12
"""Number of non-zero differences up to which the sign-flip test enumerates every flip."""
SLACK = 1e-9
"""Sums of pass rates that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its two-sided interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedResult:
    """The second run minus the first, over the problems that both have."""

    first: float
    second: float
    """Mean pass rates over the shared problems."""
    effect: float
    """Mean difference of per-problem pass rates."""
    ci: tuple[float, float]
    """Two-sided interval of the effect over problems (`difference_interval`)."""
    spread: float
    """Standard deviation of the per-problem differences; 0 for a lone problem."""
    p_value: float
    """Two-sided, sign-flip permutation: P(|mean| at least as large | differences symmetric about 0)."""
    p_better: float
    """One-sided: P(mean at least as large | differences symmetric about 0)."""
    p_worse: float
    """One-sided: P(mean at most as large | differences symmetric about 0)."""
    n: int
    """Problems compared."""


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Return the chance that at least one of `k` samples drawn without replacement from `n` passes.

    This is 1 - C(n-c, k) / C(n, k), computed as a product so that nothing overflows (Chen et al. 2021, section 2.1).

    Raises:
        ValueError: unless 0 <= passed <= n and 1 <= k <= n.
    """
    if not (0 <= passed <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {passed} passed among {n} is undefined")
    if n - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - passed + 1, n + 1))


def wilson(passed: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a proportion of *independent* trials."""
    from scipy.stats import norm

    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    z = float(norm.ppf(0.5 + confidence / 2))
    share = passed / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if passed == 0 else max(0.0, middle - half)
    high = 1.0 if passed == n else min(1.0, middle + half)
    return Interval(share, low, high)


def mean_interval(
    values: Sequence[float], *, confidence: float = 0.95, resamples: int = 5_000, seed: int = 0
) -> Interval:
    """Return the mean of one number per problem with a bootstrap interval over problems (BCa, seeded).

    Where all values are equal, the bootstrap gives no interval. Values that are all 0 or all 1 get Wilson's interval,
    others what the number of problems rules out (as in `difference_interval`), and a single value gets (0, 1).
    """
    import numpy as np
    from scipy.stats import bootstrap

    if not values:
        return Interval(math.nan, 0.0, 1.0)
    data = np.asarray(values, dtype=float)
    mean = float(data.mean())
    if np.ptp(data) == 0:
        if len(values) > 1 and mean in (0.0, 1.0):
            return wilson(round(mean * len(values)), len(values), confidence)
        seen = 0.0 if len(values) == 1 else ((1 - confidence) / 2) ** (1 / len(values))
        return Interval(mean, mean * seen, 1 - (1 - mean) * seen)
    found = bootstrap(
        (data,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    low, high = float(found.low), float(found.high)
    if math.isnan(low) or math.isnan(high):
        return Interval(mean, 0.0, 1.0)
    return Interval(mean, max(0.0, low), min(1.0, high))


def paired_test(
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    confidence: float = 0.95,
    resamples: int = 20_000,
    seed: int = 0,
) -> PairedResult:
    """Compare two runs by their per-problem pass rates (question_id to rate); the effect is `b - a`.

    The test is a sign-flip permutation of the per-problem differences. With one sample a problem it is
    McNemar's exact test. It is exact for few non-zero differences and for differences of one size
    (binomial), and seeded Monte Carlo else, with the +1 correction that keeps its level.

    Raises:
        ValueError: the runs have no problem in common.
    """
    import numpy as np

    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise ValueError("the two runs have no problem in common")
    differences = [b[key] - a[key] for key in shared]
    worse, better, either = _sign_flip(differences, resamples, np.random.default_rng([seed, 1]))
    return PairedResult(
        first=statistics.fmean(a[key] for key in shared),
        second=statistics.fmean(b[key] for key in shared),
        effect=statistics.fmean(differences),
        ci=difference_interval(differences, confidence=confidence, resamples=resamples, seed=seed),
        spread=statistics.stdev(differences) if len(differences) > 1 else 0.0,
        p_value=either,
        p_better=better,
        p_worse=worse,
        n=len(shared),
    )


def difference_interval(
    differences: Sequence[float], *, confidence: float = 0.95, resamples: int = 20_000, seed: int = 0
) -> tuple[float, float]:
    """Return the two-sided percentile-bootstrap interval of the mean of differences in -1..1, over problems (seeded).

    Where all differences are equal, the bootstrap gives no interval. Then a share s of problems may behave otherwise
    and have stayed unseen, (1 - s)^n = (1 - confidence) / 2 (Clopper and Pearson 1934), each at worst by going to -1 or
    1.
    """
    import numpy as np

    values, counts = np.unique(np.asarray(differences, dtype=float), return_counts=True)
    n, tail = len(differences), (1 - confidence) / 2
    if np.ptp(values) < SLACK:
        unseen, value = 1 - tail ** (1 / n), float(values[0])
        return value - unseen * (1 + value), value + unseen * (1 - value)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples) @ values / n
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values in the given order (Holm 1979).

    Rejecting those <= alpha keeps the chance of any false rejection at alpha, whatever their dependence.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def pass_at(problems: Sequence[ProblemResult], k: int) -> PassAtK:
    """Return pass@k over the problems that have at least `k` judged samples."""
    values = [pass_at_k(p.judged, p.passed, k) for p in problems if p.judged >= k]
    found = mean_interval(values)
    return PassAtK(k=k, value=found.value, low=found.low, high=found.high, problems=len(values))


def flips(a: Mapping[str, float], b: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Return (question_id, rate in a, rate in b) of problems whose pass rates differ, largest change first."""
    shared = [(key, a[key], b[key]) for key in a.keys() & b.keys() if a[key] != b[key]]
    return sorted(shared, key=lambda row: (-abs(row[2] - row[1]), row[0]))


def _sign_flip(
    differences: Sequence[float], resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return P(sum at most, at least, at least as far from 0 as the observed one) over random signs."""
    import numpy as np
    from scipy.stats import binomtest

    moved = np.array([d for d in differences if abs(d) > SLACK])
    sizes, counts = np.unique(np.abs(moved), return_counts=True)
    up, observed, spare = int((moved > 0).sum()), float(moved.sum()), 0
    if len(moved) > EXACT_UP_TO and np.ptp(sizes) < SLACK:
        tests = (binomtest(up, len(moved), alternative=side) for side in ("less", "greater", "two-sided"))
        below, above, either = (float(test.pvalue) for test in tests)
        return below, above, either
    if len(moved) <= EXACT_UP_TO:
        signs = np.array(list(product((1.0, -1.0), repeat=len(moved)))).reshape(2 ** len(moved), len(moved))
        sums = signs @ moved
    else:
        sums = (2 * rng.binomial(counts, 0.5, size=(resamples, len(sizes))) - counts) @ sizes
        spare = 1
    seen = (sums <= observed + SLACK, sums >= observed - SLACK, np.abs(sums) >= abs(observed) - SLACK)
    below, above, either = ((int(hits.sum()) + spare) / (len(sums) + spare) for hits in seen)
    return below, above, either

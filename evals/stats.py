"""evals: pass@k, intervals, and paired comparison of two runs. Pure numbers in, numbers out.

Problems are the unit everywhere: samples of one problem are not independent. Sources: Chen et al. 2021
(arXiv 2107.03374, unbiased pass@k), Wilson 1927, Efron's bootstrap. Not covered: corrections for many
comparisons; power.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

EXACT_UP_TO = 12
"""Non-zero differences up to which the sign-flip test enumerates every flip."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its two-sided interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedResult:
    """Second run minus first, over the problems that both have."""

    effect: float
    """Mean difference of per-problem pass rates."""
    ci: tuple[float, float]
    """Two-sided percentile-bootstrap interval of the effect, over problems."""
    p_value: float
    """Two-sided, sign-flip permutation: P(|mean| at least as large | differences symmetric about 0)."""
    p_better: float
    """One-sided: P(mean at least as large | differences symmetric about 0)."""
    n: int
    """Problems compared."""


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Chance that at least one of `k` samples drawn without replacement from `n` passes.

    1 - C(n-c, k) / C(n, k), as a product, so that nothing overflows (Chen et al. 2021, section 2.1).

    Raises:
        ValueError: not 0 <= passed <= n and 1 <= k <= n.
    """
    if not (0 <= passed <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {passed} passed among {n} is undefined")
    if n - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - passed + 1, n + 1))


def wilson(passed: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion of *independent* trials."""
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
    """Mean of one number per problem with a bootstrap interval over problems (BCa, seeded).

    Where all values are equal the bootstrap says nothing: then, and only for values that are all 0 or all
    1, Wilson's interval is given; a lone value gets (0, 1).
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
        return Interval(mean, 0.0, 1.0) if len(values) == 1 else Interval(mean, mean, mean)
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

    The test is a sign-flip permutation of the per-problem differences: exact for few non-zero
    differences, seeded Monte Carlo (with the +1 correction that keeps its level) for more.

    Raises:
        ValueError: the runs have no problem in common.
    """
    import numpy as np

    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise ValueError("the two runs have no problem in common")
    differences = np.array([b[key] - a[key] for key in shared])
    effect = float(differences.mean())
    rng = np.random.default_rng(seed)
    drawn = differences[rng.integers(0, len(shared), size=(resamples, len(shared)))].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = (float(q) for q in np.quantile(drawn, [tail, 1 - tail]))
    moved = differences[differences != 0]
    observed = float(moved.sum())
    if len(moved) <= EXACT_UP_TO:
        signs = np.array(list(product((1.0, -1.0), repeat=len(moved)))).reshape(2 ** len(moved), len(moved))
        spare = 0
    else:
        signs = rng.choice(np.array([1.0, -1.0]), size=(resamples, len(moved)))
        spare = 1
    sums = signs @ moved if len(moved) else np.zeros(1)
    slack = 1e-12
    two_sided = (int((np.abs(sums) >= abs(observed) - slack).sum()) + spare) / (len(sums) + spare)
    one_sided = (int((sums >= observed - slack).sum()) + spare) / (len(sums) + spare)
    return PairedResult(effect, (low, high), two_sided, one_sided, len(shared))

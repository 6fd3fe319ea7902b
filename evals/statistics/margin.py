"""evals: tests that a run is not worse by more than a margin, and how many problems a question needs. Pure.

Input: per-problem differences of pass rates (second run minus first, each in -1..1), margins and effects in the same
unit (0.02 is two points). Output: p-values and numbers of problems. Not covered: sequential looks at growing runs; the
level holds for one look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA, POWER = 0.05, 0.80


@dataclass(frozen=True, slots=True)
class Tilted:
    """The most likely distribution of differences that has a given mean."""

    values: tuple[float, ...]
    weights: tuple[float, ...]

    @property
    def spread(self) -> float:
        """Standard deviation."""
        pairs = list(zip(self.values, self.weights, strict=True))
        mean = sum(v * w for v, w in pairs)
        return math.sqrt(max(0.0, sum(w * (v - mean) ** 2 for v, w in pairs)))


def tilt(differences: Sequence[float], mean: float) -> Tilted:
    """Return the nonparametric maximum-likelihood distribution with a given mean.

    Its support is the observed values and the bounds -1 and 1.

    The weights are 1 / (n (1 + t (d - mean))) (Owen 1988, empirical likelihood). The bounds are possible even if they
    were not observed: without them, runs that never differed would prove any margin. With one sample a problem this is
    the restricted likelihood of Tango 1998 for paired proportions.

    Args:
        mean: strictly between -1 and 1.
    """
    import numpy as np
    from scipy.optimize import brentq

    values, counts = np.unique(np.asarray(differences, dtype=float), return_counts=True)
    apart = values - mean
    shares = counts / counts.sum()

    def imbalance(t: float) -> float:
        return float((shares * apart / (1 + t * apart)).sum())

    lowest, highest = (1 - 1e-9) * -1 / (1 - mean), (1 - 1e-9) / (1 + mean)
    if imbalance(lowest) <= 0:
        t, bound = lowest, 1.0
    elif imbalance(highest) >= 0:
        t, bound = highest, -1.0
    else:
        t, bound = brentq(imbalance, lowest, highest, xtol=1e-13), 0.0
    weights = shares / (1 + t * apart)
    rest = max(0.0, 1.0 - float(weights.sum()))
    total = float(weights.sum()) + rest
    return Tilted((*map(float, values), bound), tuple(float(w) / total for w in (*weights, rest)))


def p_not_inferior(
    differences: Sequence[float], margin: float, *, resamples: int = 50_000, seed: int = 0
) -> float:
    """Return the one-sided p of "the second run is worse by `margin` or more".

    This is a bootstrap under the null hypothesis: the probability of a mean at least as large as the observed one, for
    as many differences drawn from the most likely distribution whose mean is -margin (Efron 1981, nonparametric
    tilting; Storer and Kim 1990 for counts). It is seeded Monte Carlo with the +1 correction.

    Args:
        margin: 0 <= margin < 1.
    """
    import numpy as np

    null, n = tilt(differences, -margin), len(differences)
    rng = np.random.default_rng([seed, 2])
    drawn = rng.multinomial(n, null.weights, size=resamples) @ np.array(null.values)
    reached = int((drawn >= sum(differences) - 1e-9).sum())
    return (reached + 1) / (resamples + 1)


def problems_needed(
    effect: float, spread: float, *, sides: int = 1, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Return the number of problems at which a true mean difference of `effect` shows with `power`, or None.

    This is the normal approximation ((z_alpha + z_power) spread / effect)^2; None if `effect` is not positive.

    Args:
        spread: standard deviation of the per-problem differences.
        sides: 1 tests for a gain only, 2 for any difference.
    """
    if effect <= 0:
        return None
    return max(2, math.ceil((_quantiles(sides, alpha, power) * spread / effect) ** 2))


def smallest_effect(
    n: int, spread: float, *, sides: int = 2, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the true mean difference that `n` problems show with `power`; the inverse of `problems_needed`."""
    return _quantiles(sides, alpha, power) * spread / math.sqrt(n)


def problems_for_margin(
    differences: Sequence[float], margin: float, *, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Return the number of problems at which equally good runs pass a gate with `power`; None for a margin of 0.

    This is ((z_alpha s0 + z_power s1) / margin)^2, with s0 the spread under the null hypothesis and s1 the observed
    one.
    """
    from statistics import pstdev

    from scipy.stats import norm

    if margin <= 0:
        return None
    null = tilt(differences, -margin).spread
    reach = norm.ppf(1 - alpha) * null + norm.ppf(power) * pstdev(differences)
    return max(2, math.ceil((float(reach) / margin) ** 2))


def _quantiles(sides: int, alpha: float, power: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(1 - alpha / sides) + norm.ppf(power))

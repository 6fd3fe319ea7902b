"""evals: compares two runs problem by problem. Pure.

Input: two `EvalResult`s. Output: a `Comparison`, frozen and ready for JSON. Only problems that both runs judged count.
The effect is always second run (B) minus first (A), in pass rate (0.02 is two points).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forklock.evals.contract import EvalFault, Frozen
from forklock.evals.results import EvalResult, PassAtK, ProblemResult
from forklock.evals.statistics.margin import problems_needed, smallest_effect
from forklock.evals.statistics.stats import flips, holm, paired_test, pass_at

AIM = 0.02
"""Difference that the statement on power is about: two points."""
DIFFICULTIES = {"easy": 0, "medium": 1, "hard": 2}
"""Order of the usual names; other names follow."""


class Side(Frozen):
    """One of the two runs."""

    run_id: str
    model: str
    score: PassAtK
    """pass@1 over the shared problems."""
    left_out: int
    """Number of problems that only this run has, or on which the other one has no verdict."""
    infrastructure: int
    """Number of samples without a verdict."""


class Effect(Frozen):
    """The difference B minus A over some problems."""

    problems: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    """Two-sided 95 % interval, over problems."""
    p_value: float
    """Two-sided."""
    spread: float
    """Standard deviation of the per-problem differences."""


class GroupEffect(Frozen):
    """The effect on problems of one difficulty."""

    name: str
    effect: Effect
    p_holm: float
    """p-value, corrected for the number of groups."""


class Flip(Frozen):
    """A problem whose pass rate changed."""

    question_id: str
    difficulty: str
    a_passed: int
    a_judged: int
    b_passed: int
    b_judged: int

    @property
    def change(self) -> float:
        """The change of the pass rate, B minus A."""
        return self.b_passed / self.b_judged - self.a_passed / self.a_judged


class Power(Frozen):
    """Power at two-sided 5 % and 80 %; None where no problem changed, because the spread is unknown then."""

    aim: float
    needed: int | None
    """Number of problems at which a true difference of `aim` shows."""
    smallest: float | None
    """True difference that the shared problems show."""


class Comparison(Frozen):
    """Two runs compared."""

    a: Side
    b: Side
    effect: Effect
    test: str
    """Name of the test that the p-values come from."""
    power: Power
    groups: tuple[GroupEffect, ...]
    """Effects by difficulty; empty where there is only one."""
    flips: tuple[Flip, ...]
    """Largest change first."""
    changed: tuple[str, ...]
    """Settings that differ between the configurations."""
    warnings: tuple[str, ...]


def compare_runs(a: EvalResult, b: EvalResult, *, force: bool = False) -> Comparison:
    """Compare two runs.

    Args:
        force: compare problems of the same name even where their content may differ.

    Raises:
        EvalFault: no problem in common, or different versions of the set.
    """
    _refuse_versions(a, b, force)
    rates = (a.rates(), b.rates())
    shared = rates[0].keys() & rates[1].keys()
    if not shared:
        raise EvalFault(
            "the two runs have no problem with verdicts in common", fix="compare runs over the same set"
        )
    ours = {p.question_id: p for p in a.problems if p.question_id in shared}
    theirs = {p.question_id: p for p in b.problems if p.question_id in shared}
    effect, changed = paired_effect(*rates), changed_settings(a, b)
    return Comparison(
        a=_side(a, list(ours.values())),
        b=_side(b, list(theirs.values())),
        effect=effect,
        test=_test_name([*ours.values(), *theirs.values()]),
        power=power_of(effect),
        groups=_groups(list(ours.values()), *rates),
        flips=tuple(_flip(ours[key], theirs[key]) for key, _, _ in flips(*rates)),
        changed=changed,
        warnings=_warnings(a, b, changed),
    )


def changed_settings(a: EvalResult, b: EvalResult) -> tuple[str, ...]:
    """Return the settings that differ between two configurations; the seed does not count."""
    pairs = {
        "set version": (a.set_version, b.set_version),
        "model": (f"{a.model.name} {a.model.revision[:12]}".strip(), f"{b.model.name} {b.model.revision[:12]}".strip()),
        "adapter": (a.model.adapter or "none", b.model.adapter or "none"),
        "engine": (a.model.engine, b.model.engine),
        "preset": (a.preset, b.preset),
        "repair turns": (str(a.repair), str(b.repair)),
        "judge": (a.judge or "earlier", b.judge or "earlier"),
    }  # fmt: skip
    changed = [f"{name} ({old} → {new})" for name, (old, new) in pairs.items() if old != new]
    old, new = (run.decoding.model_dump(exclude={"n", "seed"}) for run in (a, b))
    stages = [None if run.decoding.virtual_ssd is None else str(run.decoding.virtual_ssd) for run in (a, b)]
    old["virtual_ssd"], new["virtual_ssd"] = stages
    details = ", ".join(f"{key} {old[key]} → {new[key]}" for key in old if old[key] != new[key])
    return (*changed, f"decoding ({details})") if details else tuple(changed)


def by_difficulty(problems: Sequence[ProblemResult]) -> dict[str, list[ProblemResult]]:
    """Group problems from easy to hard."""
    groups: dict[str, list[ProblemResult]] = {}
    for problem in sorted(problems, key=lambda p: (DIFFICULTIES.get(p.difficulty, 3), p.difficulty)):
        groups.setdefault(problem.difficulty, []).append(problem)
    return groups


def _refuse_versions(a: EvalResult, b: EvalResult, force: bool) -> None:
    if a.set_version != b.set_version and not force:
        raise EvalFault(
            f"the problems differ in content: {a.set_name} {a.set_version}, {b.set_name} {b.set_version}",
            fix="run both on the same file, or --force to compare problems of the same name",
        )
    if a.judge != b.judge and not force:
        raise EvalFault(
            f"two judges gave the verdicts: {a.judge or 'an earlier one'} and {b.judge or 'an earlier one'}",
            fix="give both `evals run` commands again, with the same --memory: stored answers are judged again and "
            "none is made; or --force to compare them anyway",
        )


def _side(run: EvalResult, shared: Sequence[ProblemResult]) -> Side:
    return Side(
        run_id=run.run_id,
        model=str(run.model),
        score=pass_at(shared, 1),
        left_out=len(run.problems) - len(shared),
        infrastructure=run.infrastructure,
    )


def paired_effect(a: Mapping[str, float], b: Mapping[str, float]) -> Effect:
    """Return B minus A over the problems for which both have a number between 0 and 1."""
    found = paired_test(a, b)
    return Effect(
        problems=found.n,
        a=found.first,
        b=found.second,
        difference=found.effect,
        low=found.ci[0],
        high=found.ci[1],
        p_value=found.p_value,
        spread=found.spread,
    )


def _test_name(problems: Sequence[ProblemResult]) -> str:
    single = all(problem.judged == 1 for problem in problems)
    return "McNemar's exact test" if single else "sign-flip permutation test over problems"


def power_of(effect: Effect) -> Power:
    """Return what these problems can show, from the spread of the observed differences."""
    if effect.spread == 0:
        return Power(aim=AIM, needed=None, smallest=None)
    needed = problems_needed(AIM, effect.spread, sides=2)
    return Power(aim=AIM, needed=needed, smallest=smallest_effect(effect.problems, effect.spread))


def _groups(
    problems: Sequence[ProblemResult], a: Mapping[str, float], b: Mapping[str, float]
) -> tuple[GroupEffect, ...]:
    named = by_difficulty(problems)
    if len(named) < 2:
        return ()
    effects = [paired_effect({p.question_id: a[p.question_id] for p in group}, b) for group in named.values()]
    adjusted = holm([effect.p_value for effect in effects])
    return tuple(
        GroupEffect(name=name, effect=effect, p_holm=p)
        for name, effect, p in zip(named, effects, adjusted, strict=True)
    )


def _flip(a: ProblemResult, b: ProblemResult) -> Flip:
    return Flip(
        question_id=a.question_id,
        difficulty=a.difficulty,
        a_passed=a.passed,
        a_judged=a.judged,
        b_passed=b.passed,
        b_judged=b.judged,
    )


def _warnings(a: EvalResult, b: EvalResult, changed: Sequence[str]) -> tuple[str, ...]:
    found = []
    if a.run_id == b.run_id and a.problems == b.problems:
        found.append("both are the same run")
    if len(changed) > 1:
        found.append(f"{len(changed)} things differ at once, so no one of them explains a difference")
    if a.set_version != b.set_version:
        found.append("the set's versions differ: problems of one name may differ in content")
    for name, run in (("A", a), ("B", b)):
        if run.infrastructure:
            found.append(f"{run.infrastructure} samples of {name} have no verdict: the judge failed on them")
    return tuple(found)

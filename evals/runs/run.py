"""evals: one whole evaluation: generate, judge, count.

In: an open engine, a problem set, a decoding. Out: an `EvalResult`. Everything is kept as it comes, so the
same call after a kill goes on where it stopped, and a repeated call makes nothing again. Generation and
judging take turns over batches of problems. Not covered: repo tasks, sweeps.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from evals.cluster import RayJudge
from evals.contract import EvalFault, Judgement, Problem, ProblemSet, Sample, Verdict
from evals.judging.judge import Judge, JudgeLimits, judge_stamp
from evals.runs.generate import generate
from evals.runs.prompts import Preset, preset_for
from evals.runs.repair import public_part, repaired
from evals.runs.store import RunConfig, Store
from evals.statistics.stats import Interval, mean_interval, pass_at_k
from models.contract import Decoding, Engine, ModelIdentity
from sandbox import BackendName
from sandbox.files.atomic import write_atomic

BATCH_ROWS = 64
"""Samples asked of the engine at once; then they are judged."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProblemResult(_Frozen):
    question_id: str
    difficulty: str
    platform: str
    contest_date: date | None
    verdicts: dict[Verdict, int]
    """Samples by verdict; infrastructure errors included."""

    @property
    def judged(self) -> int:
        """Samples with a verdict of their own: infrastructure errors do not count."""
        return sum(self.verdicts.values()) - self.verdicts.get(Verdict.INFRASTRUCTURE, 0)

    @property
    def passed(self) -> int:
        return self.verdicts.get(Verdict.PASSED, 0)


class PassAtK(_Frozen):
    """Mean over problems, with a 95 % bootstrap interval over problems."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    k: int
    value: float
    """Not a number where no problem has k judged samples: nothing is known then, and 0 would be a claim."""
    low: float
    high: float
    problems: int
    """Problems with at least k judged samples."""


class EvalResult(_Frozen):
    run_id: str
    folder: Path
    set_name: str
    set_version: str
    model: ModelIdentity
    preset: str
    decoding: Decoding
    n: int
    problems: tuple[ProblemResult, ...]
    pass_at: tuple[PassAtK, ...]
    prompt_tokens: int
    completion_tokens: int
    cut: int
    """Samples that hit the length limit."""
    cost_usd: float | None
    made: int
    """Samples made by this call; the others were there."""
    generate_s: float
    judge_s: float
    """Wall-clock seconds of this call."""
    repair: int = 0
    """Repair turns at most; tokens and cost are of all turns, verdicts of last answers."""
    repaired: int = 0
    """Samples that were asked again at least once."""
    notes: tuple[str, ...] = ()
    judge: str = ""
    """Which judge gave the verdicts (`evals.judging.judge.judge_stamp`); empty in results from before this was kept."""

    @property
    def verdicts(self) -> Counter[Verdict]:
        return sum((Counter(problem.verdicts) for problem in self.problems), Counter())

    @property
    def infrastructure(self) -> int:
        return self.verdicts[Verdict.INFRASTRUCTURE]

    @property
    def incomplete(self) -> str:
        """Why the scores are not those of all samples; empty if they are."""
        missing, total = self.infrastructure, self.verdicts.total()
        return f"incomplete: {missing} of {total} samples have no verdict" if missing else ""

    def rates(self) -> dict[str, float]:
        """Per-problem pass rates, for `evals.statistics.stats.paired_test`."""
        return {p.question_id: p.passed / p.judged for p in self.problems if p.judged}


class Progress(Protocol):
    """Who wants to watch."""

    def begin(self, total: int, stored: int) -> None: ...
    def tokens(self, count: int) -> None: ...
    def sampled(self) -> None: ...
    def judged(self, verdict: Verdict) -> None: ...


class Unwatched:
    def begin(self, total: int, stored: int) -> None:
        pass

    def tokens(self, count: int) -> None:
        pass

    def sampled(self) -> None:
        pass

    def judged(self, verdict: Verdict) -> None:
        pass


@dataclass
class _Clock:
    generate_s: float = 0.0
    judge_s: float = 0.0
    made: int = 0
    earlier: list[Sample] = field(default_factory=list)
    """Answers that a repair took the place of: they cost, and are not judged."""


def run_eval(
    engine: Engine,
    problem_set: ProblemSet,
    decoding: Decoding,
    *,
    preset: str = "auto",
    n: int | None = None,
    ks: Sequence[int] = (1,),
    root: Path | None = None,
    sandbox: BackendName = "auto",
    limits: JudgeLimits | None = None,
    repair: int = 0,
    judge: Judge | RayJudge | None = None,
    progress: Progress | None = None,
    replace_result: bool = True,
) -> EvalResult:
    """Evaluate `engine` on `problem_set`.

    Args:
        preset: a prompt preset, or `auto` (by the kind of tests).
        n: samples per problem; None takes `decoding.n`.
        ks: which pass@k to report; each at most `n`.
        root: where runs are kept; None is the user's cache.
        replace_result: whether this result takes the place of one that the run's folder has already.
        repair: times that an answer which fails the public tests is shown how, and asked again.
        judge: open already, and left open; None opens one here by `sandbox` and `limits`.

    Raises:
        EvalFault: bad options (a repair without any public test among them), or the store failed.
        ModelFault, SandboxFault: the engine or the sandbox failed; all that was made is kept.
    """
    n = n or decoding.n
    if too_large := [k for k in ks if not 1 <= k <= n]:
        raise EvalFault(f"pass@{too_large[0]} needs at least that many samples", fix=f"-n {max(too_large)}")
    if repair and not any(public_part(problem) for problem in problem_set.problems):
        raise EvalFault(
            f"{problem_set.name} has no public tests, so nothing may be shown of a failure",
            fix="run without --repair, or take a set with public tests (LiveCodeBench's records have them)",
        )
    chosen = preset_for(problem_set, preset)
    config = RunConfig(
        set_name=problem_set.name.partition("[")[0],
        set_version=problem_set.version,
        model=engine.identity,
        preset=chosen,
        decoding=decoding.model_copy(update={"n": 1}),
        repair=repair,
    )
    watch, clock = progress or Unwatched(), _Clock()
    with (
        Store(config, root) as store,
        nullcontext(judge) if judge else Judge(sandbox, limits=limits) as opened,
    ):
        watch.begin(len(problem_set.problems) * n, len(store.samples))
        rows: list[list[Sample]] = []
        size = max(1, BATCH_ROWS // n)
        for start in range(0, len(problem_set.problems), size):
            batch = problem_set.problems[start : start + size]
            rows += _batch(engine, opened, batch, chosen, n, store, watch, clock)
        result = _result(store, problem_set, n, ks, rows, clock, judge_stamp(opened.limits))
        if replace_result or not (store.folder / "result.json").exists():
            write_atomic(store.folder / "result.json", result.model_dump_json(indent=1))
    return result


def _batch(
    engine: Engine,
    judge: Judge | RayJudge,
    problems: Sequence[Problem],
    preset: Preset,
    n: int,
    store: Store,
    watch: Progress,
    clock: _Clock,
) -> list[list[Sample]]:
    """Generate and judge some problems: samples with their judgements."""
    judge_of = partial(_judge_of, stamp=judge_stamp(judge.limits))

    def sampled(_: Sample) -> None:
        clock.made += 1
        watch.sampled()

    started = time.monotonic()
    rows = generate(
        engine, problems, preset=preset, n=n, store=store, on_tokens=watch.tokens, on_sample=sampled
    )
    if store.config.repair:
        rows, earlier = repaired(
            engine, judge, problems, rows, preset=preset, turns=store.config.repair, store=store,
            judge_of=judge_of, on_tokens=watch.tokens, on_sample=sampled,
        )  # fmt: skip
        clock.earlier += earlier
    between = time.monotonic()
    pairs = [(p, s) for p, row in zip(problems, rows, strict=True) for s in row]
    left = [(p, s) for p, s in pairs if _needs_judging(store.judgement(s.key, judge_of(s)))]
    judge.judge_many(
        [(problem, sample.code) for problem, sample in left],
        on_result=lambda index, found: store.add_judgement(
            left[index][1].key, found, judge_of(left[index][1])
        ),
    )
    clock.generate_s += between - started
    clock.judge_s += time.monotonic() - between
    judged = [
        [s.model_copy(update={"judgement": store.judgement(s.key, judge_of(s))}) for s in row] for row in rows
    ]
    for sample in (sample for row in judged for sample in row):
        watch.judged(_verdict(sample))
    return judged


def _needs_judging(known: Judgement | None) -> bool:
    """An infrastructure error is no verdict: it is tried again."""
    return known is None or known.verdict is Verdict.INFRASTRUCTURE


def _judge_of(sample: Sample, stamp: str) -> str:
    """What a verdict holds for: one judge with its limits, and one program."""
    return f"{stamp}/{hashlib.sha256((sample.code or '').encode()).hexdigest()[:12]}"


def _verdict(sample: Sample) -> Verdict:
    return sample.judgement.verdict if sample.judgement else Verdict.INFRASTRUCTURE


def _result(
    store: Store,
    problem_set: ProblemSet,
    n: int,
    ks: Sequence[int],
    rows: Sequence[Sequence[Sample]],
    clock: _Clock,
    judge: str,
) -> EvalResult:
    problems = tuple(
        ProblemResult(
            question_id=problem.question_id,
            difficulty=problem.difficulty,
            platform=problem.platform,
            contest_date=problem.contest_date,
            verdicts=dict(Counter(map(_verdict, row))),
        )
        for problem, row in zip(problem_set.problems, rows, strict=True)
    )
    last = [sample for row in rows for sample in row]
    completions = [sample.completion for sample in (*last, *clock.earlier)]
    costs = [completion.cost_usd for completion in completions]
    return EvalResult(
        run_id=store.config.run_id,
        folder=store.folder,
        set_name=problem_set.name,
        set_version=problem_set.version,
        model=store.config.model,
        preset=store.config.preset,
        decoding=store.config.decoding,
        n=n,
        problems=problems,
        pass_at=tuple(pass_at(problems, k) for k in sorted(set(ks))),
        prompt_tokens=sum(c.prompt_tokens for c in completions),
        completion_tokens=sum(c.completion_tokens for c in completions),
        cut=sum(c.finish_reason == "length" for c in completions),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        made=clock.made,
        generate_s=round(clock.generate_s, 3),
        judge_s=round(clock.judge_s, 3),
        repair=store.config.repair,
        repaired=sum(sample.turn > 0 for sample in last),
        notes=tuple(store.notes),
        judge=judge,
    )


def pass_at(problems: Sequence[ProblemResult], k: int) -> PassAtK:
    """pass@k over the problems that have at least `k` judged samples."""
    values = [pass_at_k(p.judged, p.passed, k) for p in problems if p.judged >= k]
    found: Interval = mean_interval(values)
    return PassAtK(k=k, value=found.value, low=found.low, high=found.high, problems=len(values))


def flips(a: Mapping[str, float], b: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Problems whose pass rate differs between two runs, largest change first."""
    shared = [(key, a[key], b[key]) for key in a.keys() & b.keys() if a[key] != b[key]]
    return sorted(shared, key=lambda row: (-abs(row[2] - row[1]), row[0]))

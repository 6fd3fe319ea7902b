"""evals: one whole evaluation: generate, judge, count.

Input: an open engine and an `EvalJob`. Output: an `EvalResult`. Samples and verdicts are stored as they come, so the
same call after a kill continues where it stopped, and a repeated call makes nothing again. Generation and judging
alternate over batches of problems. Not covered: repo tasks, sweeps.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from forklock.evals.contract import (
    EvalFault,
    Judgement,
    Problem,
    ProblemSet,
    ProgramJudge,
    Sample,
    Verdict,
    public_part,
)
from forklock.evals.judging import Judge, JudgeLimits
from forklock.evals.results import EvalResult, ProblemResult
from forklock.evals.runs.generate import Sampler
from forklock.evals.runs.prompts import Preset, preset_for
from forklock.evals.runs.repair import repaired
from forklock.evals.runs.store import RunConfig, Store, judged_as
from forklock.evals.statistics.stats import pass_at
from forklock.models.contract import Decoding, Engine
from forklock.sandbox import BackendName
from forklock.sandbox.files.atomic import write_atomic

BATCH_SAMPLES = 64
"""Samples that the engine is asked for at once, before they are judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalJob:
    """What is evaluated and how: everything but the engine that shapes an `EvalResult`."""

    problems: ProblemSet
    decoding: Decoding
    preset: str = "auto"
    """A prompt preset; `auto` chooses by the kind of tests."""
    n: int = 1
    """Samples per problem."""
    ks: tuple[int, ...] = (1,)
    """The pass@k to report; each at most `n`."""
    repair: int = 0
    """Number of times that an answer which fails the public tests is shown how it fails, and asked again."""
    sandbox: BackendName = "auto"
    """Backend of the judge."""
    limits: JudgeLimits = field(default_factory=JudgeLimits)
    """Limits of the judge."""

    def check(self) -> None:
        """Check the job before anything is opened.

        Raises:
            EvalFault: a k is larger than `n`, a repair of a set without public tests, or an unknown preset.
        """
        if wrong := [k for k in self.ks if not 1 <= k <= self.n]:
            raise EvalFault(f"pass@{wrong[0]} needs at least {wrong[0]} samples", fix=f"-n {max(wrong)}")
        if self.repair and not any(public_part(problem) for problem in self.problems.problems):
            raise EvalFault(
                f"{self.problems.name} has no public tests, so nothing may be shown of a failure",
                fix="run without --repair, or take a set with public tests (LiveCodeBench's records have them)",
            )
        preset_for(self.problems, self.preset)

    @property
    def chosen_preset(self) -> Preset:
        """The preset, with `auto` resolved."""
        return preset_for(self.problems, self.preset)


class Progress(Protocol):
    """Receives the progress of an evaluation."""

    def begin(self, total: int, stored: int) -> None: ...
    def tokens(self, count: int) -> None: ...
    def sampled(self) -> None: ...
    def judged(self, verdict: Verdict) -> None: ...


class NoProgress:
    """Ignores progress."""

    def begin(self, total: int, stored: int) -> None:
        pass

    def tokens(self, count: int) -> None:
        pass

    def sampled(self) -> None:
        pass

    def judged(self, verdict: Verdict) -> None:
        pass


@dataclass
class _Counts:
    """What an evaluation counts while it runs."""

    generate_s: float = 0.0
    judge_s: float = 0.0
    made: int = 0
    earlier: list[Sample] = field(default_factory=list)
    """Answers that a repair replaced: their tokens and cost count, and they are not judged."""


def run_eval(
    engine: Engine,
    job: EvalJob,
    *,
    judge: ProgramJudge | None = None,
    root: Path | None = None,
    progress: Progress | None = None,
    replace_result: bool = True,
) -> EvalResult:
    """Evaluate `engine` on a job.

    Args:
        judge: an open judge, which stays open; None opens one on this machine for this call.
        root: folder of the runs; None takes the user's.
        replace_result: whether the result replaces one that the run's folder has already.

    Raises:
        EvalFault: bad options, or the store failed.
        ModelFault, SandboxFault: the engine or the sandbox failed; everything that was made is stored.
    """
    job.check()
    config = RunConfig(
        set_name=job.problems.name.partition("[")[0],
        set_version=job.problems.version,
        model=engine.identity,
        preset=job.chosen_preset,
        decoding=job.decoding.model_copy(update={"n": 1}),
        repair=job.repair,
    )
    watch, counts = progress or NoProgress(), _Counts()

    def sampled(_: Sample) -> None:
        counts.made += 1
        watch.sampled()

    opening = nullcontext(judge) if judge is not None else Judge(job.sandbox, limits=job.limits)
    with Store(config, root) as store, opening as opened:
        problems = job.problems.problems
        watch.begin(len(problems) * job.n, len(store.samples))
        sampler = Sampler(engine, job.chosen_preset, store, watch.tokens, sampled)
        rows: list[list[Sample]] = []
        size = max(1, BATCH_SAMPLES // job.n)
        for start in range(0, len(problems), size):
            batch = _batch(sampler, opened, problems[start : start + size], job, counts)
            for sample in (sample for row in batch for sample in row):
                watch.judged(_verdict(sample))
            rows += batch
        result = _result(job, store, rows, counts, opened.stamp)
        if replace_result or not (store.folder / "result.json").exists():
            write_atomic(store.folder / "result.json", result.model_dump_json(indent=1))
    return result


def _batch(
    sampler: Sampler, judge: ProgramJudge, problems: Sequence[Problem], job: EvalJob, counts: _Counts
) -> list[list[Sample]]:
    """Generate and judge some problems; return samples with their judgements."""
    started = time.monotonic()
    rows = sampler.generate(problems, job.n)
    if job.repair:
        rows, earlier = repaired(sampler, judge, problems, rows, turns=job.repair)
        counts.earlier += earlier
    between = time.monotonic()
    judged = _judged(sampler.store, judge, problems, rows)
    counts.generate_s += between - started
    counts.judge_s += time.monotonic() - between
    return judged


def _judged(
    store: Store, judge: ProgramJudge, problems: Sequence[Problem], rows: Sequence[Sequence[Sample]]
) -> list[list[Sample]]:
    """Return the samples with their judgements; those in the store are not made again."""
    stamp = judge.stamp

    def known(sample: Sample) -> Judgement | None:
        return store.judgement(sample.key, judged_as(sample, stamp))

    pairs = [(problem, sample) for problem, row in zip(problems, rows, strict=True) for sample in row]
    left = [(problem, sample) for problem, sample in pairs if _needs_judging(known(sample))]

    def keep(index: int, found: Judgement) -> None:
        sample = left[index][1]
        store.add_judgement(sample.key, found, judged_as(sample, stamp))

    judge.judge_many([(problem, sample.code) for problem, sample in left], on_result=keep)
    return [[sample.model_copy(update={"judgement": known(sample)}) for sample in row] for row in rows]


def _needs_judging(known: Judgement | None) -> bool:
    """Return whether there is no verdict; an infrastructure error is none and is tried again."""
    return known is None or known.verdict is Verdict.INFRASTRUCTURE


def _verdict(sample: Sample) -> Verdict:
    return sample.judgement.verdict if sample.judgement else Verdict.INFRASTRUCTURE


def _result(
    job: EvalJob, store: Store, rows: Sequence[Sequence[Sample]], counts: _Counts, stamp: str
) -> EvalResult:
    problems = tuple(
        ProblemResult(
            question_id=problem.question_id,
            difficulty=problem.difficulty,
            platform=problem.platform,
            contest_date=problem.contest_date,
            verdicts=dict(Counter(map(_verdict, row))),
        )
        for problem, row in zip(job.problems.problems, rows, strict=True)
    )
    last = [sample for row in rows for sample in row]
    completions = [sample.completion for sample in (*last, *counts.earlier)]
    costs = [completion.cost_usd for completion in completions]
    return EvalResult(
        run_id=store.config.run_id,
        folder=store.folder,
        set_name=job.problems.name,
        set_version=job.problems.version,
        model=store.config.model,
        preset=store.config.preset,
        decoding=store.config.decoding,
        n=job.n,
        problems=problems,
        pass_at=tuple(pass_at(problems, k) for k in sorted(set(job.ks))),
        prompt_tokens=sum(c.prompt_tokens for c in completions),
        completion_tokens=sum(c.completion_tokens for c in completions),
        cut=sum(c.finish_reason == "length" for c in completions),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        made=counts.made,
        generate_s=round(counts.generate_s, 3),
        judge_s=round(counts.judge_s, 3),
        repair=store.config.repair,
        repaired=sum(sample.turn > 0 for sample in last),
        notes=tuple(store.notes),
        judge=stamp,
    )

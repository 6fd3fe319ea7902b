"""Measures both sides of the gate on problems: answers, verdicts, health, gauges.

In: the recipe, the gate problems, the candidate's version. Out: a `Comparison` for `rule.decide`. The store of evals
keeps answers and verdicts in the round's folder as they come, so a killed gate can be resumed. Both sides draw with the
same seeds. One engine is open at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.evals.contract import Judgement, ProblemSet, Sample, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.problems.sets import load_set
from forklock.evals.results import EvalResult
from forklock.evals.runs.extract import extract_code
from forklock.evals.runs.prompts import request_for
from forklock.evals.runs.run import EvalJob, run_eval
from forklock.evals.runs.store import RunConfig, Store
from forklock.evals.statistics.stats import paired_test
from forklock.evals.tokens.gauges import in_process
from forklock.models import open_engine
from forklock.models.adapters import AdapterRegistry
from forklock.models.catalogue.catalogue import ResolvedModel
from forklock.models.contract import FinishReason, FirstStage
from forklock.sandbox.terminal.progress import Meter, Progress
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, Prompt, Recipe, RoundFault
from forklock.selfdistill.data.prompts import preset_for
from forklock.selfdistill.data.samples import SampleRow
from forklock.selfdistill.gate.gauges import Gauged, gauges_of, score, supports_of
from forklock.selfdistill.gate.probes import PROBES, parses, run_probes
from forklock.selfdistill.gate.rule import Health, Paired

if TYPE_CHECKING:
    from forklock.models.transformers_engine import TokenScores

BASE = "base"
"""Names the bare base where a version of an adapter is expected."""
GAUGED = 8
"""Number of answers that the gauges score."""


@dataclass(frozen=True)
class Trial:
    """What both sides of the gate are measured with."""

    recipe: Recipe
    base: ResolvedModel
    gate: ProblemSet
    folder: Path
    """Where each side's answers and verdicts are kept."""
    cut: FirstStage
    """The truncation whose KeptMass is gauged."""
    show: Progress


@dataclass(frozen=True)
class Comparison:
    paired: Paired
    serving: Health
    candidate: Health
    against: str


@dataclass(frozen=True)
class Side:
    """The measurement of one side."""

    result: EvalResult
    samples: list[Sample]
    health: Health
    scores: list[TokenScores]
    """Scores of the gauged answers' tokens under this side's model."""


def compare_sides(trial: Trial, version: str) -> Comparison:
    """Measure what serves, then the candidate, on the same problems with the same seeds.

    Args:
        version: the candidate's.

    Raises:
        RoundFault: the candidate serves already, or the judge failed.
    """
    serving_version = AdapterRegistry().current_version(trial.base.name)
    if serving_version == version:
        raise RoundFault(
            f"{trial.base.name}/{version} serves already; it cannot be compared with itself",
            fix="run `selfdistill rollback` first",
        )
    serving = _measure(trial, serving_version, other=None)
    candidate = _measure(trial, version, other=serving)
    return Comparison(
        paired=paired(serving.result.rates(), candidate.result.rates(), samples=trial.recipe.gate_n),
        serving=serving.health.model_copy(update=gauges_of(serving.scores)),
        candidate=candidate.health.model_copy(update=gauges_of(candidate.scores)),
        against=serving_version or BASE,
    )


def paired(serving: Mapping[str, float], candidate: Mapping[str, float], *, samples: int) -> Paired:
    """Run the paired test of evals over problems, and return it as the gate's rule takes it."""
    test = paired_test(serving, candidate)
    return Paired(
        problems=test.n,
        samples=samples,
        serving=test.first,
        candidate=test.second,
        effect=test.effect,
        low=test.ci[0],
        high=test.ci[1],
        p_better=test.p_better,
        spread=test.spread,
    )


def _measure(trial: Trial, version: str | None, *, other: Side | None) -> Side:
    """Measure one side.

    Args:
        version: the adapter's; None is the bare base.
        other: the serving side, on whose answers and supports the candidate is gauged.
    """
    recipe, gate = trial.recipe, trial.gate
    decoding = recipe.gate_decoding.model_copy(update={"seed": recipe.seed})
    total = len(gate.problems) * recipe.gate_n
    with open_engine(recipe.model, engine="transformers", adapter=version, device=recipe.device) as engine:
        with trial.show.meter(f"gate, {version or BASE}", total, unit="answers") as meter:
            result = run_eval(
                engine,
                EvalJob(problems=gate, decoding=decoding, n=recipe.gate_n),
                root=trial.folder,
                progress=_Watch(meter),
            )
        _refuse_infrastructure(result.infrastructure, "see `agent sandbox status`")
        samples = _samples(result, trial.folder)
        followed = run_probes(engine)
        gauged = _gauged(gate, samples if other is None else other.samples)
        supports = None if other is None else supports_of(other.scores)
        scores = score(in_process(engine), gauged, trial.cut, supports)
    return Side(result=result, samples=samples, health=health(samples, followed), scores=scores)


@dataclass
class _Watch:
    """Shows the progress of evals on a meter."""

    meter: Meter

    def begin(self, total: int, stored: int) -> None:
        self.meter.start_at(min(stored, total))

    def tokens(self, count: int) -> None:
        self.meter.advance(tokens=count)

    def sampled(self) -> None:
        self.meter.advance(1)

    def judged(self, verdict: Verdict) -> None:
        pass


def _samples(result: EvalResult, folder: Path) -> list[Sample]:
    """Return the answers that a result was computed from."""
    config = RunConfig(
        set_name=result.set_name.partition("[")[0],
        set_version=result.set_version,
        model=result.model,
        preset=result.preset,
        decoding=result.decoding,
    )
    with Store(config, folder) as store:
        return list(store.samples.values())


def _refuse_infrastructure(count: int, detail: str) -> None:
    if count:
        raise RoundFault(
            f"the judge failed on {count} answers: {detail}",
            fix="repair the sandbox, then run `selfdistill refresh` again; nothing is lost",
            exit_code=EXIT_INFRASTRUCTURE,
        )


def judge_samples(
    pairs: Sequence[tuple[Prompt, SampleRow]], *, on_result: Callable[[], None] | None = None
) -> list[bool]:
    """Return whether each training sample passes its problem's tests (arm `rft`).

    Raises:
        RoundFault: the judge itself failed.
    """
    sources = {prompt.source for prompt, _ in pairs}
    problems = {(name, p.question_id): p for name in sources for p in load_set(name).problems}
    asked = [problems[prompt.source, prompt.problem_id or ""] for prompt, _ in pairs]
    codes = [extract_code(row.text, preset_for(p), p) for p, (_, row) in zip(asked, pairs, strict=True)]

    def tell(_index: int, judgement: Judgement) -> None:
        _refuse_infrastructure(int(judgement.verdict is Verdict.INFRASTRUCTURE), judgement.reason)
        if on_result:
            on_result()

    with Judge() as judge:
        judged = judge.judge_many(list(zip(asked, codes, strict=True)), on_result=tell)
    return [judgement.verdict is Verdict.PASSED for judgement in judged]


def health(samples: Sequence[Sample], followed: int) -> Health:
    """Compute what the answers look like, apart from right and wrong."""
    count = len(samples)
    return Health(
        no_end=sum(s.completion.finish_reason is FinishReason.LENGTH for s in samples) / count,
        code=sum(parses(s.code) for s in samples) / count,
        followed=followed,
        probes=len(PROBES),
        tokens=sum(s.completion.completion_tokens for s in samples) / count,
    )


def _gauged(gate: ProblemSet, samples: Sequence[Sample]) -> Gauged:
    """Return the first answer to each of the first problems. Both sides are scored on these."""
    first = {sample.question_id: sample for sample in samples if sample.index == 0}
    preset = preset_for(gate.problems[0])
    chosen = [
        (request_for(problem, preset), first[problem.question_id].completion.token_ids)
        for problem in gate.problems[:GAUGED]
    ]
    return [(request, ids) for request, ids in chosen if ids]

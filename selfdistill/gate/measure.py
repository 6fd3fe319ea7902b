"""Measures both sides of the gate on problems: answers, verdicts, health, gauges.

In: the recipe, the gate problems, the candidate's version. Out: a `Comparison` for `rule.decide`. The store of evals
keeps answers and verdicts in the round's folder as they come, so a killed gate can be resumed. Both sides draw with the
same seeds. One engine is open at a time. Problems are added look by look, until the answer is clear or the recipe's
number of them is reached (`forklock.evals.statistics.sequential`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
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
from forklock.evals.statistics.sequential import Finding, plan_looks, sequential_test
from forklock.evals.statistics.stats import paired_test
from forklock.evals.tokens.gauges import in_process
from forklock.models import open_engine
from forklock.models.adapters import AdapterRegistry
from forklock.models.catalogue.catalogue import ResolvedModel
from forklock.models.contract import Engine, FinishReason, FirstStage
from forklock.sandbox.files.reading import parse_python
from forklock.sandbox.terminal.progress import Meter, Progress
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, Prompt, Recipe, RoundFault
from forklock.selfdistill.data.prompts import preset_for
from forklock.selfdistill.data.samples import SampleRow
from forklock.selfdistill.gate.gauges import Gauged, gauges_of, score, supports_of
from forklock.selfdistill.gate.probes import PROBES, parses, run_probes
from forklock.selfdistill.gate.rule import Health, Paired, health_faults

if TYPE_CHECKING:
    from forklock.models.engines.transformers_engine import TokenScores

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
    """What the rule decides on."""

    paired: Paired
    serving: Health
    candidate: Health
    against: str
    decode_only: Paired | None = None
    """The candidate against the serving side under virtual SSD; measured only where the candidate is better."""


@dataclass(frozen=True)
class Answers:
    """One side's answers to some of the gate's problems."""

    result: EvalResult
    samples: list[Sample]
    passing: frozenset[str]
    """Keys of the samples that pass."""


@dataclass(frozen=True)
class Vitals:
    """What is measured of a side once, on the problems of the first look."""

    followed: int
    """Instruction probes that it follows."""
    scores: list[TokenScores]
    """Scores of the gauged answers' tokens under this side's model."""


def compare_sides(trial: Trial, version: str) -> Comparison:
    """Measure what serves and the candidate on the same problems with the same seeds.

    The first look measures the health of both, too: a candidate that does damage ends the gate there.

    Args:
        version: the candidate's.

    Raises:
        RoundFault: the candidate serves already, or the judge failed.
    """
    against = AdapterRegistry().current_version(trial.base.name)
    if against == version:
        raise RoundFault(
            f"{trial.base.name}/{version} serves already; it cannot be compared with itself",
            fix="run `selfdistill rollback` first",
        )
    plan = plan_looks(len(trial.gate.problems))
    vitals: tuple[Vitals, Vitals] | None = None
    for count in plan:
        serving = _answer(trial, against, count)
        candidate = _answer(trial, version, count)
        vitals = vitals or _vitals(trial, (against, version), (serving, candidate))
        sides = [health(side, vital) for side, vital in zip((serving, candidate), vitals, strict=True)]
        found = paired(serving.result.rates(), candidate.result.rates(), trial)
        if found.finding is not Finding.GO_ON or health_faults(*sides):
            break
        trial.show.say(
            f"gate: effect {found.effect:+.1%} [{found.low:+.1%}, {found.high:+.1%}] after {count} of {plan[-1]} "
            "problems; not clear yet, adding problems"
        )
    control = None
    if found.finding is Finding.BETTER and not health_faults(*sides):
        other = _answer(trial, against, found.problems, virtual=True)
        control = paired(other.result.rates(), candidate.result.rates(), trial)
    return Comparison(found, sides[0], sides[1], against or BASE, control)


def paired(serving: Mapping[str, float], candidate: Mapping[str, float], trial: Trial) -> Paired:
    """Run the sequential test over the problems that both sides have answered, in the gate's order."""
    order = [
        p.question_id for p in trial.gate.problems if p.question_id in serving and p.question_id in candidate
    ]
    test = paired_test({key: serving[key] for key in order}, {key: candidate[key] for key in order})
    differences = [candidate[key] - serving[key] for key in order]
    looks = sequential_test(differences, plan_looks(len(trial.gate.problems)), seed=trial.recipe.seed)
    last = looks[-1]
    return Paired(
        problems=test.n,
        samples=trial.recipe.gate_n,
        serving=test.first,
        candidate=test.second,
        effect=test.effect,
        low=last.low,
        high=last.high,
        p_better=test.p_better,
        spread=test.spread,
        finding=last.finding,
        budget=len(trial.gate.problems),
        looks=tuple((look.problems, look.effect) for look in looks),
    )


def _answer(trial: Trial, version: str | None, count: int, *, virtual: bool = False) -> Answers:
    """Have one side answer the first `count` problems; what is stored already is not asked again.

    Args:
        version: the adapter's; None is the bare base.
        virtual: decode by virtual SSD: the train-time truncation first, then the gate's decoding.
    """
    recipe = trial.recipe
    decoding = recipe.gate_decoding.model_copy(
        update={"seed": recipe.seed, "virtual_ssd": trial.cut if virtual else None}
    )
    asked = trial.gate.model_copy(update={"problems": trial.gate.problems[:count]})
    who = f"{version or BASE}{', virtual SSD' if virtual else ''}"
    with (
        _open(trial, version) as engine,
        trial.show.meter(f"gate, {who}", count * recipe.gate_n, unit="answers") as meter,
    ):
        result = run_eval(
            engine,
            EvalJob(problems=asked, decoding=decoding, n=recipe.gate_n),
            root=trial.folder,
            progress=_Watch(meter),
        )
    _refuse_infrastructure(result.infrastructure, "see `agent sandbox status`")
    with Store(_config(result), trial.folder) as store:
        samples = list(store.samples.values())
        return Answers(result, samples, frozenset(s.key for s in samples if store.passed(s)))


def _open(trial: Trial, version: str | None) -> AbstractContextManager[Engine]:
    return open_engine(trial.recipe.model, engine="transformers", adapter=version, device=trial.recipe.device)


def _vitals(
    trial: Trial, versions: tuple[str | None, str], answers: tuple[Answers, Answers]
) -> tuple[Vitals, Vitals]:
    """Run the probes and the gauges on both sides. The candidate is gauged on the serving side's answers."""
    gauged = _gauged(trial.gate, answers[0].samples)
    with _open(trial, versions[0]) as engine:
        serving = Vitals(run_probes(engine), score(in_process(engine), gauged, trial.cut, None))
    with _open(trial, versions[1]) as engine:
        scores = score(in_process(engine), gauged, trial.cut, supports_of(serving.scores))
        return serving, Vitals(run_probes(engine), scores)


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


def _config(result: EvalResult) -> RunConfig:
    """Return what a result's answers are stored under."""
    return RunConfig(
        set_name=result.set_name.partition("[")[0],
        set_version=result.set_version,
        model=result.model,
        preset=result.preset,
        decoding=result.decoding,
    )


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


def health(side: Answers, vitals: Vitals) -> Health:
    """Compute what one side's answers look like, apart from how many are right."""
    samples, count = side.samples, len(side.samples)
    return Health(
        no_end=sum(s.completion.finish_reason is FinishReason.LENGTH for s in samples) / count,
        code=sum(parses(s.code) for s in samples) / count,
        followed=vitals.followed,
        probes=len(PROBES),
        tokens=sum(s.completion.completion_tokens for s in samples) / count,
        solved=sum(p.passed > 0 for p in side.result.problems) / len(side.result.problems),
        distinct=_distinct(side),
        **gauges_of(vitals.scores),
    )


def _distinct(side: Answers) -> float | None:
    """Return how many different programs pass, per problem that is solved."""
    passing: dict[str, set[str]] = {}
    for sample in side.samples:
        if sample.code and sample.key in side.passing:
            passing.setdefault(sample.question_id, set()).add(_program(sample.code))
    return sum(map(len, passing.values())) / len(passing) if passing else None


def _program(code: str) -> str:
    """Return a program without comments and layout."""
    try:
        return ast.dump(parse_python(code))
    except (SyntaxError, ValueError, RecursionError):
        return code


def _gauged(gate: ProblemSet, samples: Sequence[Sample]) -> Gauged:
    """Return the first answer to each of the first problems. Both sides are scored on these."""
    first = {sample.question_id: sample for sample in samples if sample.index == 0}
    preset = preset_for(gate.problems[0])
    chosen = [
        (request_for(problem, preset), first[problem.question_id].completion.token_ids)
        for problem in gate.problems[:GAUGED]
    ]
    return [(request, ids) for request, ids in chosen if ids]

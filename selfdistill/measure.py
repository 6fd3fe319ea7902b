"""Both sides of the gate on real problems: answers, verdicts, health, gauges.

In: the recipe, the frozen gate problems, the candidate's version. Out: a `Comparison` for `gate.decide`.
Answers and verdicts are appended to the round's folder as they come, so a killed gate goes on where it was.
One engine is open at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from evals.contract import Judgement, Problem, ProblemSet, Sample, Verdict, sample_key
from evals.judge import Judge
from evals.sets import load_set
from models import open_engine
from models.adapters import AdapterRegistry
from models.catalogue import ResolvedModel
from models.contract import Completion, Engine, FinishReason, Request
from selfdistill.arms import ARMS
from selfdistill.contract import EXIT_INFRASTRUCTURE, Prompt, Recipe, RoundFault
from selfdistill.gate import Health, Paired
from selfdistill.gauges import TOP, Place, kept_mass, mean_entropy, support
from selfdistill.paired import compare
from selfdistill.probes import PROBES, parses, run_probes
from selfdistill.problems import program_of, request_for
from selfdistill.samples import SampleRow
from selfdistill.show import Show
from selfdistill.store import Appender

BASE = "base"
"""Stands for the bare base where an adapter's version could stand."""
GAUGED = 8
"""Answers that the gauges look at."""


@dataclass(frozen=True)
class Comparison:
    paired: Paired
    serving: Health
    candidate: Health
    against: str


@dataclass(frozen=True)
class Side:
    """One side, measured."""

    samples: list[Sample]
    health: Health
    places: list[Place]
    """Of the gauged answers' tokens, under this side's model."""


def compare_sides(
    recipe: Recipe, base: ResolvedModel, gate: ProblemSet, version: str, folder: Path, show: Show
) -> Comparison:
    """Measure what serves, then the candidate, on the same problems with the same seeds.

    Args:
        folder: where each side's answers and verdicts are kept as they come.
    """
    serving_version = AdapterRegistry().current_version(base.name)
    if serving_version == version:
        raise RoundFault(
            f"{base.name}/{version} serves already; it cannot be compared with itself",
            fix="run `selfdistill rollback` first",
        )
    serving = _measure(recipe, gate, serving_version, folder, show, gauged=None)
    gauged = _gauged(gate, serving.samples)
    candidate = _measure(recipe, gate, version, folder, show, gauged=gauged)
    supports = [support(place, ARMS["ssd"].decoding(recipe)) for place in serving.places]
    return Comparison(
        paired=compare(_passes(serving.samples), _passes(candidate.samples)),
        serving=_with_gauges(serving, supports),
        candidate=_with_gauges(candidate, supports),
        against=serving_version or BASE,
    )


Gauged = list[tuple[Request, tuple[int, ...]]]
"""Requests, and the answers' token ids."""


def _measure(
    recipe: Recipe, gate: ProblemSet, version: str | None, work: Path, show: Show, *, gauged: Gauged | None
) -> Side:
    with open_engine(recipe.model, engine="transformers", adapter=version, device=recipe.device) as engine:
        samples = _answers(engine, recipe, gate, work, show, version or BASE)
        followed = run_probes(engine)
        places = _places(engine, _gauged(gate, samples) if gauged is None else gauged)
    return Side(samples=samples, health=health(samples, followed), places=places)


def _answers(
    engine: Engine, recipe: Recipe, gate: ProblemSet, folder: Path, show: Show, side: str
) -> list[Sample]:
    """`gate_n` judged samples of each problem; what is in `folder` already is not made again."""
    folder.mkdir(exist_ok=True)
    wanted = {
        (problem.question_id, index): problem for problem in gate.problems for index in range(recipe.gate_n)
    }
    with Appender(folder / f"{side}.jsonl") as lines:
        there = {(row.question_id, row.index): row for row in map(Sample.model_validate, lines.rows)}
        _generate(engine, recipe, gate, wanted, there, lines, show, side)
    with Appender(folder / f"{side}.judged.jsonl") as lines:
        judged = {row.key: row for row in map(Judged.model_validate, lines.rows)}
        left = [sample for sample in there.values() if sample.key not in judged]
        _judge(left, wanted, judged, lines, show, side)
    return [there[key].model_copy(update={"judgement": judged[there[key].key].judgement}) for key in wanted]


def _generate(
    engine: Engine,
    recipe: Recipe,
    gate: ProblemSet,
    wanted: dict[tuple[str, int], Problem],
    there: dict[tuple[str, int], Sample],
    lines: Appender,
    show: Show,
    side: str,
) -> None:
    missing = [key for key in wanted if key not in there]
    decoding = recipe.gate_decoding.model_copy(update={"n": 1, "seed": None})
    requests = [
        request_for(wanted[key]).model_copy(update={"seed": gate_seed(recipe.seed, *key)}) for key in missing
    ]
    with show.meter(f"gate, {side}", len(wanted), len(there)) as meter:

        def keep(request: int, _: int, completion: Completion) -> None:
            question, index = missing[request]
            problem = wanted[missing[request]]
            prompt = hashlib.sha256(requests[request].model_dump_json().encode()).hexdigest()
            sample = Sample(
                key=sample_key(completion.model, gate.version, question, prompt, decoding, index),
                question_id=question,
                index=index,
                completion=completion,
                code=program_of(completion.text, problem),
            )
            lines.append(sample)
            there[missing[request]] = sample
            meter.advance(1)

        if requests:
            engine.complete(
                requests, decoding, on_tokens=lambda made: meter.advance(tokens=made), on_completion=keep
            )


def _judge(
    left: Sequence[Sample],
    wanted: dict[tuple[str, int], Problem],
    judged: dict[str, Judged],
    lines: Appender,
    show: Show,
    side: str,
) -> None:
    if not left:
        return
    attempts = [(wanted[sample.question_id, sample.index], sample.code) for sample in left]
    with show.meter(f"judging, {side}", len(left)) as meter, Judge() as judge:

        def keep(number: int, judgement: Judgement) -> None:
            refuse_infrastructure(judgement)
            row = Judged(key=left[number].key, judgement=judgement)
            lines.append(row)
            judged[row.key] = row
            meter.advance(1)

        judge.judge_many(attempts, on_result=keep)


class Judged(BaseModel):
    """One verdict of the gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    """`Sample.key`."""
    judgement: Judgement


def refuse_infrastructure(judgement: Judgement) -> None:
    """
    Raises:
        RoundFault: the judge itself failed; no verdict may be drawn from that.
    """
    if judgement.verdict is Verdict.INFRASTRUCTURE:
        raise RoundFault(
            f"the judge failed: {judgement.reason}",
            fix="`agent sandbox status` tells what is wrong; then run refresh again, nothing is lost",
            exit_code=EXIT_INFRASTRUCTURE,
        )


def gate_seed(round_seed: int, question: str, index: int) -> int:
    """The same random numbers for both sides: noise that they share cancels in the difference."""
    digest = hashlib.sha256(f"{round_seed}/gate/{question}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def judge_samples(
    pairs: Sequence[tuple[Prompt, SampleRow]], *, on_result: Callable[[], None] | None = None
) -> list[bool]:
    """Whether each training sample passes its problem's tests (arm `rft`).

    Raises:
        RoundFault: the judge itself failed.
    """
    sources = {prompt.source for prompt, _ in pairs}
    problems = {(name, p.question_id): p for name in sources for p in load_set(name).problems}
    asked = [problems[prompt.source, prompt.problem_id or ""] for prompt, _ in pairs]
    attempts = [(p, program_of(row.text, p)) for p, (_, row) in zip(asked, pairs, strict=True)]

    def tell(_: int, judgement: Judgement) -> None:
        refuse_infrastructure(judgement)
        if on_result:
            on_result()

    with Judge() as judge:
        return [j.verdict is Verdict.PASSED for j in judge.judge_many(attempts, on_result=tell)]


def health(samples: Sequence[Sample], followed: int) -> Health:
    """What the answers look like, beside right or wrong."""
    count = len(samples)
    return Health(
        no_end=sum(s.completion.finish_reason is FinishReason.LENGTH for s in samples) / count,
        code=sum(parses(s.code) for s in samples) / count,
        followed=followed,
        probes=len(PROBES),
        tokens=sum(s.completion.completion_tokens for s in samples) / count,
    )


def _passes(samples: Sequence[Sample]) -> dict[str, list[bool]]:
    passes: dict[str, list[bool]] = {}
    for sample in samples:
        ok = sample.judgement is not None and sample.judgement.verdict is Verdict.PASSED
        passes.setdefault(sample.question_id, []).append(ok)
    return passes


def _gauged(gate: ProblemSet, samples: Sequence[Sample]) -> Gauged:
    """The first sample of the first problems: answers that both sides are scored on."""
    first = {sample.question_id: sample for sample in samples if sample.index == 0}
    chosen = [
        (problem, first[problem.question_id].completion.token_ids) for problem in gate.problems[:GAUGED]
    ]
    return [(request_for(problem), ids) for problem, ids in chosen if ids]


def _with_gauges(side: Side, supports: Sequence[frozenset[int]]) -> Health:
    if not side.places:
        return side.health
    gauges = {"entropy": mean_entropy(side.places), "kept_mass": kept_mass(side.places, supports)}
    return side.health.model_copy(update=gauges)


def _places(engine: Any, gauged: Gauged) -> list[Place]:
    """Distributions at each token of the gauged answers, at temperature 1."""
    if not gauged:
        return []
    requests = [request for request, _ in gauged]
    scored = engine.score(requests, [[ids] for _, ids in gauged], top_k=TOP)
    return [
        Place(entropy, tuple(ids), tuple(logprobs))
        for (scores,) in scored
        for entropy, ids, logprobs in zip(
            scores.entropy.tolist(), scores.top_ids.tolist(), scores.top_logprobs.tolist(), strict=True
        )
    ]

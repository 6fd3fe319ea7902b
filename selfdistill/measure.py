"""Both sides of the gate on real problems: answers, verdicts, health, gauges.

In: the recipe, the frozen gate problems, the candidate's version. Out: a `Comparison` for `gate.decide`.
Answers go through the evals' sample store, so a killed gate goes on where it was, and a side that was
measured before on the same problems costs nothing. One engine is open at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evals.contract import ProblemSet, Sample, Verdict
from models import open_engine
from models.adapters import AdapterRegistry
from models.catalogue import ResolvedModel
from models.contract import Decoding, FinishReason, Request
from selfdistill.arms import ARMS
from selfdistill.contract import EXIT_INFRASTRUCTURE, Prompt, Recipe, RoundFault
from selfdistill.gate import Health, Paired
from selfdistill.gauges import TOP, Place, kept_mass, mean_entropy, support
from selfdistill.probes import PROBES, parses, run_probes
from selfdistill.samples import SampleRow
from selfdistill.show import Show

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
    recipe: Recipe, base: ResolvedModel, gate: ProblemSet, version: str, show: Show
) -> Comparison:
    """Measure what serves, then the candidate, on the same problems with the same seeds."""
    serving_version = AdapterRegistry().current_version(base.name)
    if serving_version == version:
        raise RoundFault(
            f"{base.name}/{version} serves already; it cannot be compared with itself",
            fix="run `selfdistill rollback` first",
        )
    serving = _measure(recipe, gate, serving_version, show, gauged=None)
    gauged = _gauged(gate, serving.samples)
    candidate = _measure(recipe, gate, version, show, gauged=gauged)
    supports = [support(place, ARMS["ssd"].decoding(recipe)) for place in serving.places]
    return Comparison(
        paired=_paired(recipe, gate, serving.samples, candidate.samples),
        serving=_with_gauges(serving, supports),
        candidate=_with_gauges(candidate, supports),
        against=serving_version or BASE,
    )


Gauged = list[tuple[Request, tuple[int, ...]]]
"""Requests, and the answers' token ids."""


def _measure(
    recipe: Recipe, gate: ProblemSet, version: str | None, show: Show, *, gauged: Gauged | None
) -> Side:
    with open_engine(recipe.model, engine="transformers", adapter=version, device=recipe.device) as engine:
        samples = _answers(engine, recipe, gate, version or BASE, show)
        followed = run_probes(engine)
        places = _places(engine, _gauged(gate, samples) if gauged is None else gauged)
    return Side(samples=samples, health=health(samples, followed), places=places)


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

"""The stages of a round: prompts, samples, dataset, adapter, gate, promote.

Each is a function that takes a `Work` and returns a summary. It reads and writes files in the round's folder only; the
last two also write the adapter registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forklock.evals.contract import ProblemSet
from forklock.evals.problems.sets import load_set
from forklock.models import open_engine
from forklock.models.adapters import AdapterManifest, AdapterRegistry, AdapterState
from forklock.models.catalogue.catalogue import ResolvedModel
from forklock.models.contract import Engine, Request
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.reading import parse_json
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.arms.arm import Arm
from forklock.selfdistill.arms.known import find_arm
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, Prompt, Recipe, RoundFault
from forklock.selfdistill.data.choice import Choice, choose_prompts
from forklock.selfdistill.data.dataset import Example, build, step_tokens
from forklock.selfdistill.data.samples import SampleRow, sample_all
from forklock.selfdistill.gate.measure import BASE, Trial, compare_sides, judge_samples
from forklock.selfdistill.gate.rule import Verdict, decide
from forklock.selfdistill.store import Json, RoundDir, file_digest, read_lines, write_lines


@dataclass(frozen=True)
class Work:
    """What every stage is given."""

    dir: RoundDir
    recipe: Recipe
    base: ResolvedModel
    show: Progress
    cwd: Path
    """The repository of `runs` where none is named."""
    choice: Choice | None = None
    """The prompts, if they were chosen before the round started."""

    def path(self, name: str) -> Path:
        return self.dir.path / name

    @property
    def arm(self) -> Arm:
        """The recipe's arm.

        Raises:
            RoundFault: this version has no such arm.
        """
        return find_arm(self.recipe.arm)


@dataclass(frozen=True)
class Stage:
    name: str
    run: Callable[[Work], Json]
    outputs: tuple[str, ...]
    """Files that the stage makes. They are digested when it ends."""
    scratch: tuple[str, ...] = ()
    """Unfinished work, removed when the stage ends."""
    kept: tuple[str, ...] = ()
    """Files that stay for the user to look at. They are not digested, and are removed when the inputs change."""


def take_prompts(work: Work) -> Json:
    """Write the prompts and the gate's problems, which are checked to be disjoint."""
    choice = work.choice
    if choice is None or choice.recipe != work.recipe:
        choice = choose_prompts(work.recipe, work.cwd, tests_needed=work.arm.needs_tests)
    chosen, gate = choice.prompts, choice.gate
    write_lines(work.path("prompts.jsonl"), chosen)
    ids = [problem.question_id for problem in gate.problems]
    write_atomic(work.path("gate_problems.json"), json.dumps({"version": gate.version, "ids": ids}) + "\n")
    sources = {name: sum(p.source == name for p in chosen) for name in {p.source for p in chosen}}
    return {"prompts": len(chosen), "gate problems": len(ids), "from": json.dumps(sources)}


def take_samples(work: Work) -> Json:
    """Draw one raw sample per prompt from the frozen base."""
    prompts = read_prompts(work)
    with open_engine(
        work.recipe.model, engine="transformers", adapter=None, device=work.recipe.device
    ) as engine:
        tokenizer = _tokenizer(engine)
        with work.show.meter("sampling", len(prompts), unit="samples") as meter:
            rows = sample_all(
                engine,
                prompts,
                work.arm.decoding(work.recipe),
                work.path("samples.part.jsonl"),
                seed=work.recipe.seed,
                shown=work.arm.shown,
                prompt_ids=lambda request: _prompt_ids(tokenizer, request),
                on_start=lambda there, _: meter.start_at(there),
                on_tokens=lambda made: meter.advance(tokens=made),
                on_sample=lambda _: meter.advance(1),
            )
        facts = {"model": str(engine.identity), "eos_ids": _eos_ids(tokenizer)}
    write_atomic(work.path("base.json"), json.dumps(facts) + "\n")
    write_lines(work.path("samples.jsonl"), rows)
    return {
        "samples": len(rows),
        "tokens": sum(len(row.token_ids) for row in rows),
        "prompts too long": len(prompts) - len(rows),
    }


def make_dataset(work: Work) -> Json:
    """Keep the samples that the arm chooses, and mask their prompts."""
    recipe = work.recipe
    rows = read_lines(work.path("samples.jsonl"), SampleRow)
    facts = parse_json(work.path("base.json").read_bytes())

    def passed(pairs: Sequence[tuple[Prompt, SampleRow]]) -> list[bool]:
        with work.show.meter("judging", len(pairs), unit="samples") as meter:
            return judge_samples(pairs, on_result=lambda: meter.advance(1))

    kept = work.arm.keep(read_prompts(work), rows, passed)
    examples, stats = build(kept.samples, eos_ids=facts["eos_ids"], max_length=recipe.training.max_length)
    write_lines(work.path("dataset.jsonl"), examples)
    dropped = ", ".join(f"{count} {reason}" for reason, count in kept.dropped.items()) or "none"
    return {**stats.model_dump(), "dropped": dropped}


def make_adapter(work: Work) -> Json:
    """Train the LoRA."""
    from forklock.selfdistill.training.train import Job, train

    recipe = work.recipe
    examples = read_lines(work.path("dataset.jsonl"), Example)
    job = Job(
        weights=work.base.folder,
        model_name=work.base.name,
        examples=examples,
        config=recipe.training,
        seed=recipe.seed,
        device=recipe.device,
        checkpoints=work.path("checkpoints"),
        out=work.path("adapter"),
        loss=partial(work.arm.loss, cut=work.arm.cut(recipe)),
    )
    sizes = step_tokens(examples, recipe.training, seed=recipe.seed)
    with work.show.meter("training", sum(sizes), unit="tokens") as meter:

        def resumed(step: int) -> None:
            work.show.say(f"training: resuming at the checkpoint of step {step} of {len(sizes)}")
            meter.start_at(sum(sizes[:step]))

        position = train(
            replace(job, resumed=resumed),
            on_step=lambda at, total: meter.advance(note=f"step {at.step}/{total}, loss {at.losses[-1]:.4f}"),
            on_tokens=lambda made: meter.advance(made, tokens=made),
        )
    curve = {"losses": position.losses, "grad_norms": position.grad_norms}
    write_atomic(work.path("training.json"), json.dumps(curve) + "\n")
    return {
        "steps": position.step,
        "label tokens": position.label_tokens,
        "first loss": round(position.losses[0], 4),
        "last loss": round(position.losses[-1], 4),
    }


def pass_gate(work: Work) -> Json:
    """Register the candidate, measure both sides, and decide."""
    trial = Trial(
        recipe=work.recipe,
        base=work.base,
        gate=gate_set(work),
        folder=work.path("gate_answers"),
        cut=work.arm.cut(work.recipe),
        show=work.show,
    )
    comparison = compare_sides(trial, candidate_version(work))
    verdict = decide(
        comparison.paired,
        comparison.serving,
        comparison.candidate,
        against=comparison.against,
        decode_only=comparison.decode_only,
    )
    write_atomic(work.path("verdict.json"), verdict.model_dump_json(indent=2) + "\n")
    return {"decision": verdict.decision, "reason": "; ".join(verdict.reasons)}


def candidate_version(work: Work) -> str:
    """Return the candidate's version in the registry. It is reserved and added once."""
    registry, base = AdapterRegistry(), work.base.name
    marker = work.path("version.txt")
    if not marker.exists():
        write_atomic(marker, registry.new_version(base))
    version = marker.read_text(encoding="utf-8")
    record = work.dir.record("adapter")
    manifest = AdapterManifest(
        base=base,
        base_revision=work.base.revision,
        version=version,
        parent=registry.current_version(base),
        data={
            "round": work.dir.id,
            "prompts": file_digest(work.path("prompts.jsonl")),
            "samples": file_digest(work.path("samples.jsonl")),
            "dataset": file_digest(work.path("dataset.jsonl")),
        },
        recipe={**work.recipe.model_dump(mode="json"), "training summary": record.summary if record else {}},
        decoding=work.arm.decoding(work.recipe),
    )
    registry.add(work.path("adapter"), manifest)
    return version


def settle(work: Work) -> Json:
    """Promote or reject the candidate, as the verdict says. Doing it twice changes nothing.

    Raises:
        RoundFault: the adapter that serves now is not the one that the gate compared with.
    """
    verdict = read_verdict(work.dir)
    assert verdict is not None, "the gate ran before"
    registry, base, version = AdapterRegistry(), work.base.name, candidate_version(work)
    gate = verdict.model_dump(mode="json")
    if not verdict.promoted:
        registry.set_state(base, version, AdapterState.REJECTED, gate=gate)
        work.dir.update_round(verdict=gate, adapter=f"{base}/{version}")
        return {"rejected": version}
    serving = registry.current_version(base) or BASE
    if serving not in (verdict.against, version):
        work.dir.discard("gate.json", "verdict.json")
        raise RoundFault(
            f"{serving} serves now, but the gate compared with {verdict.against}",
            fix=f"`selfdistill refresh --resume {work.dir.id}` runs the gate again",
        )
    registry.set_state(base, version, AdapterState.CANDIDATE, gate=gate)
    registry.promote(base, version)
    work.dir.update_round(verdict=gate, adapter=f"{base}/{version}")
    return {"promoted": version}


def gate_set(work: Work) -> ProblemSet:
    """Return the gate problems that were chosen in the first stage.

    Raises:
        RoundFault: the problem set has changed since.
    """
    frozen = parse_json(work.path("gate_problems.json").read_bytes())
    whole = load_set(work.recipe.gate_set)
    if whole.version != frozen["version"]:
        raise RoundFault(
            f"{work.recipe.gate_set} has changed since this round started",
            fix="restore it, or start a new round",
        )
    by_id = {problem.question_id: problem for problem in whole.problems}
    return whole.model_copy(update={"problems": tuple(by_id[key] for key in frozen["ids"])})


def read_prompts(work: Work) -> list[Prompt]:
    return read_lines(work.path("prompts.jsonl"), Prompt)


def read_verdict(round_dir: RoundDir) -> Verdict | None:
    path = round_dir.path / "verdict.json"
    try:
        return Verdict.model_validate_json(path.read_bytes()) if path.exists() else None
    except (OSError, ValidationError) as error:
        raise RoundFault(
            f"round {round_dir.id}: verdict.json is damaged",
            fix=f"`selfdistill refresh --resume {round_dir.id}` runs the gate again",
        ) from error


def _tokenizer(engine: Engine) -> Any:
    tokenizer = getattr(engine, "tokenizer", None)
    if tokenizer is None:
        raise RoundFault(
            f"the {engine.identity.engine} engine gives no tokenizer",
            fix="use a catalogue model or a folder of weights",
            exit_code=EXIT_INFRASTRUCTURE,
        )
    return tokenizer


def _prompt_ids(tokenizer: Any, request: Request) -> list[int]:
    from forklock.models.engines.tokens import prompt_ids

    return prompt_ids(tokenizer, request)


def _eos_ids(tokenizer: Any) -> list[int]:
    """Return the token that ends a turn, then the others that end a text."""
    from forklock.models.engines.tokens import turn_end_ids

    turn = sorted(turn_end_ids(tokenizer))
    return list(dict.fromkeys([*turn, tokenizer.eos_token_id]))


CHAIN: tuple[Stage, ...] = (
    Stage("prompts", take_prompts, ("prompts.jsonl", "gate_problems.json")),
    Stage("samples", take_samples, ("samples.jsonl", "base.json"), ("samples.part.jsonl",)),
    Stage("dataset", make_dataset, ("dataset.jsonl",)),
    Stage("adapter", make_adapter, ("adapter", "training.json"), ("checkpoints",)),
    Stage("gate", pass_gate, ("verdict.json",), kept=("gate_answers", "version.txt")),
    Stage("promote", settle, ()),
)

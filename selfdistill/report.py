"""Prints rounds, plans and verdicts. In: a round or a recipe. Out: tables on stdout; a plan on stderr."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from rich.table import Table

from forklock.models.adapters import AdapterRegistry
from forklock.models.catalogue.catalogue import ResolvedModel
from forklock.sandbox.commands.console import say_json, screen
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.arms.known import find_arm
from forklock.selfdistill.contract import STAGES, Recipe, RoundFault
from forklock.selfdistill.gate.rule import Health, Verdict
from forklock.selfdistill.stages import read_verdict
from forklock.selfdistill.store import RoundDir, list_rounds

CPU_SAMPLE_RATE, CPU_TRAIN_RATE = 50.0, 65.0
"""Tokens a second for half a billion parameters: batched sampling; forward and backward."""
REFERENCE_PARAMETERS = 0.5e9
TYPICAL_PROMPT, TYPICAL_ANSWER = 180, 250
"""Tokens of a typical prompt, and of a typical answer that hits no limit."""


def print_plan(recipe: Recipe, base: ResolvedModel, show: Progress) -> None:
    """Print what a round will do, and an estimate of its time."""
    arm, config = find_arm(recipe.arm), recipe.training
    how = arm.decoding(recipe)
    amount = f"{config.steps} steps" if config.steps else f"{config.epochs} epoch(s)"
    show.say(f"model    {base.name} on {recipe.device}")
    show.say(f"arm      {arm.name}: {arm.about}")
    show.say(
        f"samples  {recipe.limit} prompts from {recipe.prompts}, T {how.temperature} / top-k {how.top_k} / "
        f"top-p {how.top_p}, {how.max_tokens} tokens at most"
    )
    show.say(f"LoRA     rank {config.rank}, lr {config.lr:g}, {amount}, batches of {config.batch_size}")
    show.say(
        f"gate     up to {recipe.gate_limit} problems of {recipe.gate_set} x {recipe.gate_n} samples x 2 sides, "
        f"T {recipe.gate_decoding.temperature}, {recipe.gate_decoding.max_tokens} tokens at most"
    )
    parameters = base.card.parameters if base.card else weights_bytes(base.folder) / 2
    seconds = estimate_seconds(recipe, parameters)
    if seconds is None:
        show.say("time     unknown: no rates were measured on this kind of device")
    else:
        parts = ", ".join(f"{stage} {_clock(value)}" for stage, value in seconds.items())
        show.say(f"time     about {_clock(sum(seconds.values()))} on two cores ({parts})")


def estimate_seconds(recipe: Recipe, parameters: float) -> dict[str, float] | None:
    """Return the estimated seconds of the three long stages, or None where no rate was measured."""
    if recipe.device != "cpu":
        return None
    scale = parameters / REFERENCE_PARAMETERS
    answer = min(recipe.sampling.max_tokens * 0.8, TYPICAL_ANSWER)
    gate_answer = min(recipe.gate_decoding.max_tokens * 0.8, TYPICAL_ANSWER)
    config = recipe.training
    rows = config.steps * config.batch_size if config.steps else config.epochs * recipe.limit
    gate_answers = 2 * recipe.gate_limit * recipe.gate_n
    return {
        "samples": scale * recipe.limit * answer / CPU_SAMPLE_RATE,
        "adapter": scale * rows * (TYPICAL_PROMPT + answer) / CPU_TRAIN_RATE,
        "gate": scale * gate_answers * gate_answer / CPU_SAMPLE_RATE + 0.5 * gate_answers,
    }


def weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def print_verdict(round_dir: RoundDir, verdict: Verdict) -> None:
    console = screen()
    adapter = round_dir.read_round().get("adapter", "")
    word = "PROMOTED" if verdict.promoted else "REJECTED"
    console.print(_sides(verdict))
    console.print(f"{word}  {adapter}")
    for reason in verdict.reasons:
        console.print(f"  {reason}")
    console.print(f"  round {round_dir.id}")


def _sides(verdict: Verdict) -> Table:
    paired = verdict.paired
    of = f" of {paired.budget}" if paired.budget > paired.problems else ""
    title = f"gate: {paired.problems}{of} problems x {paired.samples} samples"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column(f"serving ({verdict.against})", justify="right")
    table.add_column("candidate", justify="right")
    rows = [("pass@1", f"{paired.serving:.1%}", f"{paired.candidate:.1%}")]
    for left, right in zip(_health(verdict.serving), _health(verdict.candidate), strict=True):
        rows.append((left[0], left[1], right[1]))
    for row in rows:
        table.add_row(*row)
    return table


def _health(side: Health) -> list[tuple[str, str]]:
    return [
        ("solved by at least one sample", "-" if side.solved is None else f"{side.solved:.1%}"),
        ("solutions per solved problem", "-" if side.distinct is None else f"{side.distinct:.2f}"),
        ("answers without an end", f"{side.no_end:.0%}"),
        ("code that parses", f"{side.code:.0%}"),
        ("instructions followed", f"{side.followed} of {side.probes}"),
        ("tokens an answer", f"{side.tokens:.0f}"),
        ("entropy, nats a token", "-" if side.entropy is None else f"{side.entropy:.3f}"),
        ("KeptMass", "-" if side.kept_mass is None else f"{side.kept_mass:.4f}"),
    ]


def print_status(root: Path) -> None:
    """Print what serves for each base, and all rounds."""
    console, registry = screen(), AdapterRegistry()
    rounds = list_rounds(root)
    manifests = registry.list()
    if not rounds and not manifests:
        console.print("no rounds yet: `selfdistill refresh` runs one")
        return
    for base in sorted({manifest.base for manifest in manifests}):
        now = registry.current_version(base)
        console.print(f"{base}: {now or 'the bare base'} serves")
    table = Table(box=None, pad_edge=False)
    for heading in ("round", "model", "arm", "stage", "verdict", "effect"):
        table.add_column(heading, no_wrap=heading != "model", overflow="fold")
    for round_dir in rounds:
        table.add_row(*_status_row(round_dir))
    console.print(table)


def _status_row(round_dir: RoundDir) -> tuple[str, ...]:
    try:
        recipe, verdict = round_dir.recipe, read_verdict(round_dir)
    except RoundFault:
        return (round_dir.id, "?", "?", "damaged", "", "")
    stage = round_dir.next_stage()
    effect = f"{verdict.paired.effect:+.1%}" if verdict else ""
    decision = {"promote": "promoted", "reject": "rejected"}[verdict.decision] if verdict else ""
    return (
        round_dir.id,
        Path(recipe.model).name,
        recipe.arm,
        f"at {stage}" if stage else "finished",
        decision,
        effect,
    )


def print_round(round_dir: RoundDir) -> None:
    """Print the recipe, the stages and the verdict of one round."""
    console, recipe = screen(), round_dir.recipe
    console.print(f"round {round_dir.id}, recipe {recipe.digest()[:12]}, seed {recipe.seed}")
    say_json(recipe.model_dump_json(exclude={"seed"}, indent=2))
    table = Table()
    for heading in ("stage", "seconds", "what"):
        table.add_column(heading)
    for stage in STAGES:
        record = round_dir.record(stage)
        if record:
            facts = ", ".join(f"{key} {value}" for key, value in record.summary.items())
            table.add_row(stage, f"{record.seconds:.1f}", facts)
        else:
            table.add_row(stage, "", "not yet")
    console.print(table)
    verdict = read_verdict(round_dir)
    if verdict:
        print_verdict(round_dir, verdict)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=max(round(seconds), 1)))

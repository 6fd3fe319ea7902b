"""The command line: `selfdistill refresh | tasks | arms | status | show | rollback`.

In: flags, and `[selfdistill]` of the settings. Out: tables on stdout, progress on stderr, and an exit code:
0 promoted (or done), 1 rejected by the gate, 2 bad input, 3 infrastructure, 130 interrupted.
Heavy imports happen inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forklock.sandbox.commands.console import run_app, say
from forklock.sandbox.commands.options import command_app
from forklock.selfdistill.tasks.commands import app as tasks_app

app = command_app(
    "selfdistill", "Train a model on its own raw samples, and let it serve only if it is proven better."
)
app.add_typer(tasks_app, name="tasks")

Model = Annotated[str | None, typer.Option(help="Catalogue name, or a folder of transformers weights.")]


def main() -> None:
    """Console script."""
    run_app(app)


@app.command()
def refresh(
    model: Model = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="tasks[:REPO], runs[:REPO], a set's name or file, several joined by +; auto: runs + humaneval."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Prompts at most.")] = None,
    gate_set: Annotated[
        str | None, typer.Option(help="Problem set whose development part is the gate.")
    ] = None,
    gate_limit: Annotated[int | None, typer.Option(min=1, help="Gate problems at most.")] = None,
    gate_n: Annotated[int | None, typer.Option(min=1, help="Samples per gate problem and side.")] = None,
    gate_max_tokens: Annotated[int | None, typer.Option(min=1, help="New tokens per gate answer.")] = None,
    arm: Annotated[
        str | None, typer.Option(help="Way to make and learn from practice: see `selfdistill arms`.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of the training samples.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Top-k of the training samples.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Top-p of the training samples.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; --epochs is ignored then.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training samples.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of the LoRA.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="LoRA rank; alpha is twice that.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="New tokens per sample.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; CUDA where there is one.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the round; without it, each new round of a recipe takes a new one."),
    ] = None,
    resume: Annotated[str | None, typer.Option(metavar="ROUND", help="Resume this round.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the recipe and the estimate only.")
    ] = False,
) -> None:
    """Run one round of self-distillation, or resume the unfinished one.

    The stages: prompts, samples, dataset, adapter, gate, promote.
    """
    from forklock.models.catalogue.catalogue import resolve_model
    from forklock.sandbox.terminal.progress import Progress
    from forklock.selfdistill.report import print_plan, print_verdict
    from forklock.selfdistill.round import only_round, open_work, rounds_dir, run_round
    from forklock.selfdistill.settings import SelfdistillSettings, pick_device
    from forklock.selfdistill.store import find_round

    chosen = SelfdistillSettings.load(
        model=model, prompts=prompts, limit=limit, gate_set=gate_set, gate_limit=gate_limit, gate_n=gate_n,
        gate_max_tokens=gate_max_tokens,
        arm=arm, temperature=temperature, top_k=top_k, top_p=top_p, steps=steps, epochs=epochs, lr=lr,
        rank=rank, max_tokens=max_tokens, device=device,
    )  # fmt: skip
    held = find_round(rounds_dir(), resume) if resume else None
    recipe = held.recipe if held else chosen.recipe(pick_device(chosen.device), seed=seed or 0)
    base = resolve_model(recipe.model)
    show = Progress()
    print_plan(recipe, base, show)
    if dry_run:
        return
    with only_round(rounds_dir(), "refresh"):
        work = open_work(recipe, base, held=held, seed=seed, show=show, cwd=Path.cwd())
        try:
            verdict = run_round(work)
        except KeyboardInterrupt:
            show.say(f"interrupted; `selfdistill refresh --resume {work.dir.id}` resumes it")
            raise
    print_verdict(work.dir, verdict)
    raise typer.Exit(0 if verdict.promoted else 1)


@app.command()
def arms() -> None:
    """List the arms: the ways to make practice and to learn from it."""
    from forklock.selfdistill.arms.known import ARMS

    for arm in ARMS.values():
        say(f"{arm.name:10}{arm.about}")


@app.command()
def status() -> None:
    """Show what serves for each base, and every round's verdict."""
    from forklock.selfdistill.report import print_status
    from forklock.selfdistill.round import rounds_dir

    print_status(rounds_dir())


@app.command()
def show(round_id: Annotated[str, typer.Argument(metavar="ROUND", help="A round's id, or its end.")]) -> None:
    """Show a round's recipe, stages and verdict."""
    from forklock.selfdistill.report import print_round
    from forklock.selfdistill.round import rounds_dir
    from forklock.selfdistill.store import find_round

    print_round(find_round(rounds_dir(), round_id))


@app.command()
def rollback(model: Model = None) -> None:
    """Serve what served before. Nothing is deleted."""
    from forklock.models.adapters import AdapterRegistry
    from forklock.models.catalogue.catalogue import resolve_model
    from forklock.selfdistill.settings import SelfdistillSettings

    base = resolve_model(SelfdistillSettings.load(model=model).base).name
    now = AdapterRegistry().rollback(base)
    say(f"{base}: {now or 'the bare base'} serves now")

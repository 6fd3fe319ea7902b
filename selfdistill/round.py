"""Runs a round: a chain of stages, each of which can be resumed.

In: a round's folder with its recipe. Out: the gate's verdict, and perhaps a promoted adapter. A stage's inputs are the
recipe and the digests of what the stages before it made. A stage is skipped while its record names those inputs and its
outputs are intact. A killed round is resumed where it was: unfinished stages keep their own progress (samples,
checkpoints, judged answers).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from forklock.models.catalogue.catalogue import ResolvedModel
from forklock.models.paths import data_dir
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.reading import parse_json
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, Recipe, RoundFault
from forklock.selfdistill.data.choice import Choice
from forklock.selfdistill.gate.rule import Verdict
from forklock.selfdistill.stages import CHAIN, Stage, Work, read_verdict
from forklock.selfdistill.store import RoundDir, StageRecord, list_rounds, unfinished


def rounds_dir() -> Path:
    """Return the folder of this user's rounds."""
    return data_dir() / "rounds"


def begin(
    recipe: Recipe,
    *,
    root: Path,
    seed: int | None,
    show: Progress,
    ready: Callable[[Recipe], None] = lambda _recipe: None,
) -> RoundDir:
    """Return the unfinished round of this recipe if there is one, else a new one.

    Args:
        seed: the seed that the user named; None gives each new round of a recipe a seed of its own, so that it
            draws new samples.
        ready: called with the recipe of a new round before its folder is made. It raises where something is missing.
    """
    found = unfinished(root, recipe, any_seed=seed is None)
    if found is not None:
        show.say(f"resuming unfinished round {found.id} of the same recipe, at stage {found.next_stage()}")
        return found
    if seed is None:
        recipe = recipe.model_copy(update={"seed": _past_rounds(root, recipe)})
    ready(recipe)
    made = RoundDir.create(root, recipe)
    show.say(f"new round {made.id}")
    return made


def open_work(
    recipe: Recipe, base: ResolvedModel, *, held: RoundDir | None, seed: int | None, show: Progress, cwd: Path
) -> Work:
    """Return the round to run: the one that the user named, else an unfinished one, else a new one whose needs are
    checked.

    Raises:
        RoundFault, EvalFault, SandboxFault: something is missing; no round was made.
    """
    from forklock.selfdistill.preflight import check

    choices: list[Choice] = []

    def ready(whole: Recipe) -> None:
        choices.append(check(whole, root=rounds_dir(), cwd=cwd))

    made = held or begin(recipe, root=rounds_dir(), seed=seed, show=show, ready=ready)
    return Work(
        dir=made, recipe=made.recipe, base=base, show=show, cwd=cwd, choice=choices[0] if choices else None
    )


def _past_rounds(root: Path, recipe: Recipe) -> int:
    return sum(_same_but_seed(held, recipe) for held in list_rounds(root))


def _same_but_seed(round_dir: RoundDir, recipe: Recipe) -> bool:
    try:
        return round_dir.recipe.digest(but_seed=True) == recipe.digest(but_seed=True)
    except RoundFault:
        return False


def run_round(work: Work) -> Verdict:
    """Run what is left of the round and return the gate's verdict.

    Raises:
        RoundFault, ModelFault, EvalFault: a stage failed; everything finished so far is kept.
    """
    recipe_digest = work.recipe.digest()
    before = ""
    for stage in CHAIN:
        inputs = _digest(recipe_digest, stage.name, before)
        record = work.dir.done(stage.name, inputs)
        if record is not None:
            work.show.say(f"{stage.name}: done before ({_seconds(record)}), nothing to do")
        else:
            record = _run_stage(stage, work, inputs)
        before = _digest(before, *(f"{name}={digest}" for name, digest in sorted(record.outputs.items())))
    verdict = read_verdict(work.dir)
    assert verdict is not None, "the gate ran"
    return verdict


def _run_stage(stage: Stage, work: Work, inputs: str) -> StageRecord:
    _drop_stale(stage, work.dir, inputs)
    began = time.monotonic()
    try:
        summary = stage.run(work)
        record = work.dir.finish(
            stage.name, inputs, list(stage.outputs), seconds=time.monotonic() - began, summary=summary
        )
        work.dir.discard(*stage.scratch)
    except OSError as error:
        raise RoundFault(
            f"stage {stage.name}: {error.strerror or error} ({error.filename or work.dir.path})",
            fix=f"free the disk or the memory, then `selfdistill refresh --resume {work.dir.id}`",
            exit_code=EXIT_INFRASTRUCTURE,
        ) from error
    facts = ", ".join(f"{key} {value}" for key, value in summary.items() if _short(value))
    work.show.say(f"{stage.name}: {facts} ({_seconds(record)})")
    return record


def _drop_stale(stage: Stage, round_dir: RoundDir, inputs: str) -> None:
    """Remove a stage's unfinished work if it was made from other inputs, or if its finished outputs are damaged."""
    marker = round_dir.path / f".{stage.name}.inputs"
    same = marker.is_file() and marker.read_bytes() == inputs.encode()
    if not same or round_dir.record(stage.name) is not None:
        round_dir.discard(f"{stage.name}.json", *stage.outputs, *stage.scratch, *stage.kept)
    write_atomic(marker, inputs)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def _seconds(record: StageRecord) -> str:
    return f"{record.seconds:.1f} s"


def _short(value: object) -> bool:
    return isinstance(value, int | float | str) and len(str(value)) < 60


# -- one round at a time ----------------------------------------------------------------------------------


@contextmanager
def only_round(root: Path, what: str) -> Iterator[None]:
    """Hold the lock of `root` while the body runs, since two rounds would compete for the machine and for `current`.

    The kernel frees the lock when the process dies. Not covered: a round does not yield to a running agent.

    Args:
        what: what is running, for the message of the other process.

    Raises:
        RoundFault: another process holds the lock; the message names it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoundFault(
            f"{root} cannot be made: {error.strerror}",
            fix="set FORKLOCK_HOME to a writable folder",
            exit_code=EXIT_INFRASTRUCTURE,
        ) from error
    holder = root / "holder.json"
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RoundFault(
            f"another round is running{_who(holder)}",
            fix="wait for it, or stop it; it resumes where it was",
            exit_code=EXIT_INFRASTRUCTURE,
        ) from error
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "round": what}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        held = parse_json(holder.read_text(encoding="utf-8"))
        return f" (process {held['pid']}, {held['round']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""

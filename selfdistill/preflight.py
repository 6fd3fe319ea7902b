"""Checks what a round needs before its folder is made, so that no round starts that cannot end.

In: a recipe. Out: the chosen prompts, or a fault that says what is missing. Nothing is written. The model's
weights are checked where they are resolved (`forklock.models.catalogue.catalogue.resolve_model`).
Not covered: what disappears while the round runs. Its stages report that, and the round can be resumed.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from forklock.evals.judging.judge import Judge
from forklock.models.paths import adapters_dir
from forklock.sandbox.commands.extras import install_hint
from forklock.selfdistill.arms.known import find_arm
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, Recipe, RoundFault
from forklock.selfdistill.data.choice import Choice, choose_prompts

MODULES = ("torch", "transformers", "peft", "safetensors", "scipy")
FREE_BYTES = 512 * 1024 * 1024
"""Disk space that a round takes for checkpoints, the adapter and answers."""


def check(recipe: Recipe, *, root: Path, cwd: Path) -> Choice:
    """Check everything that a round of this recipe needs, and choose its prompts.

    Args:
        root: the folder of rounds.
        cwd: the repository of `runs` where none is named.

    Raises:
        RoundFault: modules, a device, disk, or a writable folder are missing; no prompt is found, or one is a gate
            problem.
        EvalFault: a problem set cannot be loaded.
        SandboxFault: no sandbox works on this machine; answers are judged in one.
    """
    _require_modules()
    _require_device(recipe.device)
    for folder in (root, adapters_dir()):
        _require_room(folder)
    choice = choose_prompts(recipe, cwd, tests_needed=find_arm(recipe.arm).needs_tests)
    with Judge():
        pass
    return choice


def _require_modules() -> None:
    """
    Raises:
        RoundFault: the `local` extra is not installed.
    """
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        raise RoundFault(f"a round needs {', '.join(missing)}", fix=install_hint("local"))


def _require_device(device: str) -> None:
    import torch

    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, True):
        raise RoundFault(
            f"torch finds no {kind} device here", fix="give --device cpu, or install another build of torch"
        )


def _require_room(folder: Path) -> None:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        raise RoundFault(
            f"{folder} cannot be written: {error.strerror} ({there})",
            fix="allow it, or set FORKLOCK_HOME to a writable folder",
            exit_code=EXIT_INFRASTRUCTURE,
        ) from error
    if free < FREE_BYTES:
        raise RoundFault(
            f"{folder} has {free / 1e6:,.0f} MB free; a round takes {FREE_BYTES / 1e6:,.0f} MB",
            fix="free some disk space, or set FORKLOCK_HOME to a folder on another disk",
            exit_code=EXIT_INFRASTRUCTURE,
        )

"""evals: the options that several commands have, each declared once, and the checks of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from forklock.sandbox.terminal import say

if TYPE_CHECKING:
    from pydantic import BaseModel

    from forklock.models.contract import Decoding

SetArgument = Annotated[str, typer.Argument(metavar="SET", help="A name from `evals sets`, or a file.")]
SetOption = Annotated[str, typer.Option("--set", metavar="SET", help="A name from `evals sets`, or a file.")]
ModelOption = Annotated[str, typer.Option(help="Catalogue name, folder, provider id or server URL.")]
EngineOption = Annotated[str, typer.Option(help="auto, transformers, hosted or vllm.")]
AdapterOption = Annotated[str, typer.Option(help="current, none, a version or a folder.")]
LimitOption = Annotated[Optional[int], typer.Option(min=1, help="Use at most this many problems.")]  # noqa: UP045
DifficultyOption = Annotated[Optional[str], typer.Option(help="Only problems of this difficulty.")]  # noqa: UP045
PlatformOption = Annotated[Optional[str], typer.Option(help="Only problems of this platform.")]  # noqa: UP045
MaxTokensOption = Annotated[int, typer.Option(min=1, help="New tokens per sample.")]
SeedOption = Annotated[int, typer.Option(help="Same seed, same samples.")]
PresetOption = Annotated[
    str, typer.Option(help="auto, coder-chat, humaneval-chat, official-lcb or official-qwen-coder.")
]
ErrataOption = Annotated[
    bool,
    typer.Option(
        help="Accept every right answer of problems whose records are known to hold one of several."
    ),
]
SandboxOption = Annotated[str, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")]
TimeScaleOption = Annotated[float, typer.Option(min=0.01, help="Multiplies the time limits of tests.")]
ExecutorOption = Annotated[str, typer.Option(help="local, or ray: use the cluster that RAY_ADDRESS names.")]
DataOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Folder with problem sets [env FORKLOCK_DATA]."),
]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Folder for the page and the pictures; by default beside the stored result."),
]
JsonOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--json", help="Also write the result here."),
]
CutoffOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="Training cutoff of the model, YYYY-MM-DD: the model may have seen contests before it."
    ),
]


def on_ray(executor: str) -> bool:
    """Return whether `--executor` asks for a Ray cluster."""
    if executor not in ("local", "ray"):
        raise typer.BadParameter("local or ray", param_hint="--executor")
    return executor == "ray"


def adapter_or_none(name: str) -> str | None:
    """Return the value of `--adapter` as `open_engine` takes it."""
    return None if name == "none" else name


def day(text: str | None, option: str) -> date | None:
    """Parse a date."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not YYYY-MM-DD", param_hint=option) from error


def check_file(file: Path | None, option: str) -> None:
    """Check before the work that a file can be written."""
    if file is not None and file.is_dir():
        raise typer.BadParameter(f"{file} is a folder, not a file", param_hint=option)
    if file is not None and not file.absolute().parent.is_dir():
        raise typer.BadParameter(f"{file.parent} is not a folder", param_hint=option)


def check_folder(folder: Path | None, option: str) -> None:
    """Check before the work that a path can be a folder."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder", param_hint=option)


def decoding_of(**settings: object) -> Decoding:
    """Make a decoding from the values of options."""
    from pydantic import ValidationError

    from forklock.models.contract import Decoding

    try:
        return Decoding.model_validate(settings)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["msg"])) from error


def write_json(file: Path | None, found: BaseModel) -> None:
    """Write a result where `--json` says, if it was given."""
    if file is not None:
        file.write_text(found.model_dump_json(indent=1), encoding="utf-8")


def write_pages(write: Callable[[], Sequence[Path]]) -> None:
    """Write a page and its pictures; report the files, or why there are none where matplotlib is missing."""
    from forklock.evals.contract import EvalFault

    try:
        for file in write():
            say(f"wrote {file}", err=True)
    except EvalFault as fault:  # the numbers are printed already
        say(f"no page and no pictures: {fault.message}; {fault.fix}", err=True)
    except OSError as error:
        raise EvalFault(
            f"cannot write {error.filename}: {error.strerror}", fix="--out another folder"
        ) from error

"""evals: finds finished runs and reads their samples without changing them.

Input: a run's id, the beginning of one, or a path to a `result.json` (or its folder). Output: a `PastRun`, and its
samples with their verdicts. This takes no lock: of a run that is being extended it may show a part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from forklock.evals.contract import EvalFault, Sample
from forklock.evals.results import EvalResult
from forklock.evals.runs.store import Judged, runs_dir
from forklock.models.paths import user_path
from forklock.sandbox.files.jsonl import parser, whole_lines

Row = TypeVar("Row", Sample, Judged)


@dataclass(frozen=True, slots=True)
class PastRun:
    """A finished run."""

    result: EvalResult
    folder: Path
    """Folder of its samples, if they still exist: beside the result, else where the run was made."""


def run_folders() -> list[Path]:
    """Return the folders of the user's runs, finished or not, newest first."""
    root = runs_dir()
    folders = [path.parent for path in root.glob("*/run.json")] if root.is_dir() else []
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def load_result(folder: Path) -> EvalResult | None:
    """Return the run's result, or None where it has none that can be read."""
    try:
        return EvalResult.model_validate_json((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def find_run(text: str) -> PastRun:
    """Find a run by its id, the beginning of its id, or a path.

    Raises:
        EvalFault: no run or several runs fit, or the result is missing or cannot be read.
    """
    path = user_path(text)
    if path.is_file():
        return _from_file(path)
    if (path / "result.json").is_file():
        return _from_file(path / "result.json")
    found = [folder for folder in run_folders() if folder.name.startswith(text)]
    exact = [folder for folder in found if folder.name == text]
    if len(exact or found) != 1:
        many = ", ".join(folder.name for folder in found)
        message = f"{text!r} fits several runs: {many}" if found else f"no run {text!r}"
        raise EvalFault(message, fix="`evals runs` lists them; a path to a result.json works too")
    folder = (exact or found)[0]
    result = load_result(folder)
    if result is None:
        raise EvalFault(f"{folder.name} is unfinished", fix="give the same `evals run` again")
    return PastRun(result, folder)


def read_samples(folder: Path, questions: Container[str]) -> dict[str, list[Sample]]:
    """Return the samples of these problems by question_id, in order of their index, with their latest verdicts.

    Damaged rows are left out; without a `samples.jsonl` the result is empty.
    """
    rows: dict[str, Sample] = {}
    for sample in _rows(folder / "samples.jsonl", Sample):
        if sample.question_id in questions:
            rows[sample.key] = sample
    for judged in _rows(folder / "verdicts.jsonl", Judged):
        if judged.key in rows:
            rows[judged.key] = rows[judged.key].model_copy(update={"judgement": judged.judgement})
    grouped: dict[str, list[Sample]] = {}
    for sample in sorted(rows.values(), key=lambda sample: sample.index):
        grouped.setdefault(sample.question_id, []).append(sample)
    return grouped


def _from_file(path: Path) -> PastRun:
    try:
        result = EvalResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise EvalFault(
            f"{path} is no result of `evals run`: {reason}", fix="give the file that `--json` wrote"
        ) from error
    beside = path.absolute().parent
    return PastRun(result, beside if (beside / "samples.jsonl").is_file() else result.folder)


def _rows(path: Path, kind: type[Row]) -> Iterator[Row]:
    with contextlib.suppress(OSError):
        yield from filter(None, map(parser(kind), whole_lines(path)))

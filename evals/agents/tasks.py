"""evals: repo tasks: their records, and where their repositories are.

Input: a JSONL file of SWE-bench-like records. Output: `RepoTask`s. The hidden tests are the test files as of the fix
(`fix_commit`, `test_files`), or a `test_patch` as SWE-bench has it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from forklock.agent.contract import AgentFault
from forklock.agent.repo import clone
from forklock.evals.contract import EvalFault
from forklock.evals.problems.files import read_lines
from forklock.models.paths import cache_dir
from forklock.sandbox.files.atomic import put_in_place

_NAME = r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*$"
_PATCHED = re.compile(r"^diff --git a/(.+) b/(.+)$|^(?:---|\+\+\+) [ab]/(.+)$", re.MULTILINE)
"""Matches both names of each file: a test that is moved or removed is a hidden test, too."""


class RepoTask(BaseModel):
    """One task. Other fields of the record are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    task_id: str = Field(validation_alias=AliasChoices("task_id", "instance_id"), pattern=r"^[\w.+-]+$")
    repo: str = Field(pattern=_NAME)
    """owner/name"""
    base_commit: str = Field(pattern=r"^[0-9a-f]{7,64}$")
    problem_statement: str
    fail_to_pass: tuple[str, ...] = Field(validation_alias="FAIL_TO_PASS", min_length=1)
    """Ids of hidden tests that fail at first and that a solution makes pass."""
    pass_to_pass: tuple[str, ...] = Field(validation_alias="PASS_TO_PASS", default=())
    fix_commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,64}$")
    test_files: tuple[str, ...] = ()
    test_patch: str = ""
    patch: str = ""
    """The reference solution, if the record has it."""
    test_command: str = ""
    difficulty: str = "unknown"

    @field_validator("fail_to_pass", "pass_to_pass", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Accept lists as JSON text, as SWE-bench has them."""
        try:
            listed = json.loads(value) if isinstance(value, str) else value
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if isinstance(listed, list | tuple) and not all(
            isinstance(one, str) and one.strip() for one in listed
        ):
            raise ValueError("a test id must be a text that is not empty")
        return listed

    @field_validator("test_files")
    @classmethod
    def _inside(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{path} leaves the repository")
        return value

    @property
    def hidden_files(self) -> tuple[str, ...]:
        """Paths of the hidden tests."""
        found = dict.fromkeys(name for names in _PATCHED.findall(self.test_patch) for name in names if name)
        return self.test_files or tuple(found)

    @property
    def command(self) -> str:
        """The command that runs the hidden tests."""
        return self.test_command or shlex.join(["python", "-m", "pytest", "-q", *self.hidden_files])


def read_tasks(
    path: Path, *, only: Sequence[str] = (), limit: int | None = None, difficulty: str | None = None
) -> list[RepoTask]:
    """Read a file of tasks.

    Args:
        only: ids, or beginnings of ids, of the tasks that are kept.

    Raises:
        EvalFault: the file cannot be read, a line is damaged, or no task is left.
    """
    tasks: list[RepoTask] = []
    lines: dict[str, int] = {}
    for number, line in read_lines(path):
        try:
            task = RepoTask.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise EvalFault(
                f"{path.name}, line {number}: {where}: {first['msg']}",
                fix="a line is a record with task_id, repo, base_commit, problem_statement, FAIL_TO_PASS, …",
            ) from error
        first_line = lines.setdefault(task.task_id, number)
        if first_line != number:
            raise EvalFault(
                f"{path.name}, line {number}: task_id {task.task_id!r} repeats line {first_line}",
                fix="remove one of the two lines",
            )
        if not task.hidden_files or not (task.fix_commit or task.test_patch):
            raise EvalFault(
                f"{path.name}, line {number}: {task.task_id} has no hidden tests",
                fix="give fix_commit and test_files, or test_patch",
            )
        tasks.append(task)
    kept = [
        task
        for task in tasks
        if (not only or any(task.task_id.startswith(name) for name in only))
        and (difficulty is None or task.difficulty == difficulty)
    ][:limit]
    if not kept:
        raise EvalFault(f"no task of {path} is left after the filters", fix="widen them")
    return kept


def find_repository(task: RepoTask, repos: Path | None) -> Path:
    """Return the clone or bare repository of a task: `owner+name` in `repos`, else a clone in the user's cache.

    Raises:
        EvalFault: there is none, and it cannot be cloned.
    """
    name = task.repo.replace("/", "+")
    for folder in [repos / name, repos / name / "repo", repos / f"{name}.git"] if repos else []:
        if _is_repository(folder):
            return folder
    cloned = cache_dir() / "repos" / f"{name}.git"
    if not _is_repository(cloned):
        _clone(f"https://github.com/{task.repo}.git", cloned, repos)
    return cloned


def _is_repository(folder: Path) -> bool:
    return (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir())


def _clone(url: str, target: Path, repos: Path | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        clone(url, part)
        put_in_place(part, target)
    except (AgentFault, OSError) as error:
        where = f" is not in {repos} and" if repos else ""
        raise EvalFault(
            f"{url}{where} cannot be cloned: {getattr(error, 'message', error)}",
            fix=f"put a clone of it into the --repos folder, named {target.name.removesuffix('.git')}",
        ) from error

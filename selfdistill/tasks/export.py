"""Exports tasks: as SWE-bench records with a repository that holds their broken states, or as one folder to work on.

In: tasks of one ground. Out: `tasks.jsonl` and `repos/local+NAME`, as `evals run repo --repos` reads them; or a git
repository with one task's broken code, its statement beside it. Each broken state is a commit without parents, so that
no task can be solved from the history.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from forklock.agent.repo import apply_diff
from forklock.agent.repo.checkout import make_repository
from forklock.sandbox import Sandbox
from forklock.sandbox.files.atomic import put_folder_in_place, write_atomic
from forklock.sandbox.git.commits import commit_all
from forklock.sandbox.linux.private import remove_tree
from forklock.sandbox.workspace.copying import copy_tree
from forklock.selfdistill.tasks.contract import RepairTask, TaskFault


def export_records(tasks: Sequence[RepairTask], base: Sandbox, name: str, target: Path) -> Path:
    """Write the records of tasks and their repository into a folder; returns the file of records.

    Raises:
        TaskFault: there is no task.
        AgentFault, SandboxFault: a state cannot be made.
    """
    if not tasks:
        raise TaskFault("there is no task to export", fix="make some: `selfdistill tasks`")
    repo = f"local/{re.sub(r'[^A-Za-z0-9_.-]', '_', name).lstrip('.-_') or 'repo'}"
    place = target / "repos" / repo.replace("/", "+")
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.part")
    remove_tree(part)
    fixed = _copy(base, part)
    records = []
    broken = part.with_name(f"{part.name}.broken")
    for task in tasks:
        remove_tree(broken)
        commit = broken_state(base, task, broken)
        shutil.copytree(broken / ".git" / "objects", part / ".git" / "objects", dirs_exist_ok=True)
        write_atomic(part / ".git" / "refs" / "heads" / task.task_id, f"{commit}\n", durable=False)
        records.append(_record(task, repo, commit, fixed))
    remove_tree(broken)
    put_folder_in_place(part, place)
    out = target / "tasks.jsonl"
    write_atomic(out, "".join(json.dumps(record) + "\n" for record in records))
    return out


def broken_state(base: Sandbox, task: RepairTask, target: Path) -> str:
    """Make a git repository of a task's broken code, with one commit; returns its id."""
    _plain_copy(base, target)
    apply_diff(target, task.bug)
    return commit_all(target)


def export_one(task: RepairTask, base: Sandbox, target: Path) -> list[str]:
    """Write one task's broken code as a repository, and its statement beside it; returns the command that solves it.

    Raises:
        TaskFault: the folder is there already.
    """
    if target.exists():
        raise TaskFault(f"{target} is there already", fix="name a new folder")
    statement = target.with_name(f"{target.name}.md")
    part = target.with_name(f".{target.name}.part")
    remove_tree(part)
    _plain_copy(base, part)
    apply_diff(part, task.bug)
    make_repository(part)
    write_atomic(statement, task.statement + "\n")
    put_folder_in_place(part, target)
    return ["agent", "solve", f"@{statement}", "--repo", str(target / task.cwd), "--test", task.command]


def _copy(base: Sandbox, target: Path) -> str:
    _plain_copy(base, target)
    return commit_all(target)


def _plain_copy(base: Sandbox, target: Path) -> None:
    """Copy the code without git's folder and environments."""
    copy_tree(base.root, target, leave=(".git", ".forklock", ".venv", "venv", "env"))


def _record(task: RepairTask, repo: str, commit: str, fixed: str) -> dict[str, object]:
    return {
        "instance_id": task.task_id, "repo": repo, "base_commit": commit, "problem_statement": task.statement,
        "FAIL_TO_PASS": list(task.fail_to_pass), "PASS_TO_PASS": list(task.pass_to_pass), "fix_commit": fixed,
        "test_files": list(task.test_files), "patch": task.fix, "test_command": task.command, "difficulty": task.kind,
        "split": task.split, "places": list(task.places), "source": task.source,
    }  # fmt: skip

"""Tasks for `bench/localise_hits.py` out of the histories of Go libraries that need nothing but Go.

    python bench/go_fixes.py --repos DIR --limit 12 > go_tasks.jsonl

DIR holds bare git folders as `localise_hits.py` wants them. A task is a commit that changes code and tests, whose new
tests fail on the code before it and pass on its own. The statement is the commit's subject: less than an issue says.
Newest first, at most `--limit` of each repository. Tests run in a sandbox, offline.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localise_hits import changed, checkout, git

from forklock.sandbox import open_sandbox, workspace_policy
from forklock.tools.contract import TestReport
from forklock.tools.testing import run_tests

COMMAND = "go test ./..."
_TRIED = 60
"""Commits of one repository that are tried, at most."""


def candidates(repo: Path) -> Iterator[dict[str, Any]]:
    """Commits that change Go code and Go tests, newest first."""
    lines = (
        git(repo, "log", "--no-merges", "--format=%H%x09%P%x09%s", "HEAD", "--", "*_test.go")
        .decode()
        .splitlines()
    )
    for fix, parents, subject in (line.split("\t", 2) for line in lines):
        base = parents.split(" ")[0]
        if not base or not git(repo, "ls-tree", base, "go.mod"):
            continue
        names = git(repo, "diff", "--name-only", "--diff-filter=AM", base, fix).decode().split()
        tests = [name for name in names if name.endswith("_test.go") or "testdata" in name]
        if tests and any(name.endswith(".go") and name not in tests for name in names):
            yield {"base_commit": base, "fix_commit": fix, "test_files": tests, "problem_statement": subject}


def report_of(repo: Path, task: dict[str, Any], commit: str) -> TestReport:
    """What the fix's tests say of the code of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        checkout(repo, {**task, "base_commit": commit}, root)
        with open_sandbox(root, workspace_policy(root), backend="bubblewrap") as sandbox:
            return run_tests(sandbox, COMMAND, timeout_s=120)


def tasks(name: str, repo: Path, limit: int) -> Iterator[dict[str, Any]]:
    found = 0
    for tried, task in enumerate(candidates(repo)):
        if found == limit or tried == _TRIED:
            return
        if not changed(repo, task):
            continue
        before = report_of(repo, task, task["base_commit"])
        mended = {failure.test_id for failure in before.failures}
        if not mended:
            continue
        mended &= report_of(repo, task, task["fix_commit"]).passed
        if mended:
            found += 1
            task_id = f"{name}@{task['fix_commit'][:10]}"
            yield {
                **task,
                "task_id": task_id,
                "repo": name,
                "test_command": COMMAND,
                "FAIL_TO_PASS": sorted(mended),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--only", nargs="*", default=None, help="owner/name")
    options = parser.parse_args()
    for folder in sorted(options.repos.iterdir()):
        name = folder.name.replace("+", "/", 1)
        if options.only is None or name in options.only:
            for task in tasks(name, folder / "repo" if (folder / "repo").is_dir() else folder, options.limit):
                print(json.dumps(task), flush=True)
                print(task["task_id"], task["problem_statement"], file=sys.stderr)


if __name__ == "__main__":
    main()

"""How often localisation names a function that the real fix changed, before any model is asked.

    python bench/localise_hits.py --tasks repo_public.jsonl --repos DIR

DIR holds one bare git folder per repository, named `owner+name` (or `owner+name/repo`). Each task is a line
with repo, base_commit, fix_commit, test_files, test_command, problem_statement and FAIL_TO_PASS. The base is
checked out with the fix's test files, the test command runs in a sandbox on this interpreter, and the report
and the statement go to `localise`. A hit is any definition that the fix changed and the base has.

Not covered: fixes that only add new definitions (listed apart); tasks whose tests do not run here (likewise).
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forklock.sandbox import Policy, open_sandbox, workspace_policy
from forklock.tools.contract import TestReport
from forklock.tools.index.files import is_test_path
from forklock.tools.languages.known import language_of, symbols
from forklock.tools.languages.text import to_lf
from forklock.tools.localise.localise import localise
from forklock.tools.testing import Spectrum, run_tests, trace_tests

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    task: str
    rank: int | None
    """1-based rank of the first changed definition; None if not among the first `LIMIT`."""
    seconds: float
    note: str = ""


LIMIT = 20


def git(repo: Path, *words: str) -> bytes:
    return subprocess.run(["git", f"--git-dir={repo}", *words], check=True, capture_output=True).stdout


def checkout(repo: Path, task: dict[str, Any], target: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(git(repo, "archive", task["base_commit"]))) as archive:
        archive.extractall(target, filter="data")
    for name in task["test_files"]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(git(repo, "show", f"{task['fix_commit']}:{name}"))


def changed(repo: Path, task: dict[str, Any]) -> set[tuple[str, str]]:
    """(path, name path) of what the fix changes and the base has, local functions under their outer one."""
    base, fix = task["base_commit"], task["fix_commit"]
    names = git(repo, "diff", "--name-only", "--diff-filter=M", base, fix).decode().split()
    found: set[tuple[str, str]] = set()
    for path in names:
        if is_test_path(path) or not language_of(path).reads:
            continue
        old, new = (to_lf(git(repo, "show", f"{rev}:{path}").decode()) for rev in (base, fix))
        diff = git(repo, "diff", "-U0", base, fix, "--", path).decode()
        known = {d.name_path for d in symbols(path, old)}
        for match in _HUNK.finditer(diff):
            a, an, b, bn = (int(part) if part else 1 for part in match.groups())
            touched = {at(path, old, line) for line in range(a, a + an)} | {
                at(path, new, line) for line in range(b, b + bn)
            }
            found |= {(path, name) for name in touched if name in known}
    return found


def at(path: str, text: str, line: int) -> str:
    """The function, else the innermost definition, around a line; "" at module level or between."""
    if not text.split("\n")[line - 1].strip():
        return ""
    holding = [d for d in symbols(path, text) if d.start_line <= line <= d.end_line]
    functions = [d for d in holding if d.kind in {"function", "method"}]
    if functions:
        return max(functions, key=lambda d: d.end_line - d.start_line).name_path
    return min(holding, key=lambda d: d.end_line - d.start_line).name_path if holding else ""


def test_report(root: Path, task: dict[str, Any], traced: bool) -> tuple[TestReport, Spectrum | None, float]:
    """(report, traced run, seconds of the latter); of the failures only those that the fix is known to mend, if any
    of them failed."""
    command = re.sub(r"\bpython\b", sys.executable, task["test_command"], count=1)
    readable = tuple(p for p in (Path(sys.prefix), Path(sys.base_prefix)) if not p.is_relative_to("/usr"))
    policy = workspace_policy(root, Policy(readable=readable))
    with open_sandbox(root, policy, backend="bubblewrap") as sandbox:
        report = run_tests(sandbox, command, timeout_s=120)
        began = time.perf_counter()
        spectrum = trace_tests(sandbox, command, timeout_s=120) if traced else None
        traced_s = time.perf_counter() - began
    mended = tuple(f for f in report.failures if f.test_id in set(task["FAIL_TO_PASS"]))
    wanted = {f.test_id for f in mended}
    if spectrum and mended:
        traces = tuple(t for t in spectrum.traces if not t.failed or t.test_id in wanted)
        spectrum = Spectrum(traces) if any(t.failed for t in traces) else spectrum
    return (replace(report, failures=mended) if mended else report), spectrum, traced_s


def measure(repo: Path, task: dict[str, Any], verbose: bool, traced: bool) -> Row:
    wanted = changed(repo, task)
    if not wanted:
        return Row(task["task_id"], None, 0.0, "the fix only adds definitions")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        checkout(repo, task, root)
        report, spectrum, traced_s = test_report(root, task, traced)
        if not report.failures:
            return Row(task["task_id"], None, 0.0, f"tests do not run here: {report.status}")
        start = time.perf_counter()
        suspects = localise(
            root, task=task["problem_statement"], report=report, limit=LIMIT, spectrum=spectrum
        )
        seconds = time.perf_counter() - start + traced_s
    places = [(s.symbol.path, s.symbol.name_path) for s in suspects]
    rank = next((n for n, place in enumerate(places, 1) if place in wanted), None)
    if verbose:
        print(f"  changed: {sorted(wanted)}")
        for suspect in suspects[:6]:
            place = f"{suspect.symbol.path}:{suspect.symbol.name_path}"
            print(f"    {suspect.score:7.3f} {place} {suspect.reasons[:3]}")
    return Row(task["task_id"], rank, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--repos", type=Path, required=True)
    parser.add_argument("--only", default="", help="task ids that contain this")
    parser.add_argument("--traced", action="store_true", help="run the tests once more, traced")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    rows = []
    for line in options.tasks.read_text("utf-8").splitlines():
        task = json.loads(line)
        place = options.repos / task["repo"].replace("/", "+")
        if options.only not in task["task_id"] or not place.is_dir():
            continue
        row = measure(
            place / "repo" if (place / "repo").is_dir() else place, task, options.verbose, options.traced
        )
        print(
            f"{row.task:40} {'rank ' + str(row.rank) if not row.note else row.note:30} {row.seconds:6.2f} s",
            flush=True,
        )
        rows.append(row)
    judged = [row for row in rows if not row.note]
    for k in (1, 3, 6):
        hits = sum(row.rank is not None and row.rank <= k for row in judged)
        print(f"top-{k}: {hits}/{len(judged)}")
    if judged:
        print(f"seconds: median {sorted(row.seconds for row in judged)[len(judged) // 2]:.2f}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measure runs that get a statement alone, on the example bugs: `python bench/own_tests.py --model NAME [BUG …]`.

For each bug: a repository of the example library with the bug, without the tests that show it. `agent solve` gets the
statement and writes its own tests. The tests that were left out then judge its change. Prints one line a bug, and keeps
each result in a file of the folder, so that a killed measurement goes on.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import make_bug  # noqa: E402  (from examples/)

GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org"]


def without(text: str, names: set[str]) -> str:
    """A test file without some of its test functions."""
    lines = text.splitlines(keepends=True)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return "".join(lines)


def prepare(bug: make_bug.Bug, folder: Path) -> dict[str, str]:
    """Makes the repository; returns the whole test files by path."""
    make_bug.make(bug.name, folder)
    hidden: dict[str, str] = {}
    for test in bug.fails:
        path, _, name = test.partition("::")
        file = folder / path
        hidden.setdefault(path, file.read_text("utf-8"))
        file.write_text(without(file.read_text("utf-8"), {name.partition("[")[0]}), "utf-8")
    subprocess.run([*GIT, "commit", "-qam", "without the tests"], cwd=folder, check=True)
    return hidden


def measure(bug: make_bug.Bug, folder: Path, words: list[str]) -> dict[str, object]:
    """Runs the agent on a bug, and the hidden tests on its change."""
    shutil.rmtree(folder, ignore_errors=True)
    hidden = prepare(bug, folder)
    command = [str(Path(sys.executable).with_name("agent")), "solve", bug.task, "--repo", str(folder), "--json",
               "--write-test", "always", "--no-keep-test", *words]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - began
    try:
        facts = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"bug": bug.name, "outcome": f"exit code {done.returncode}", "seconds": seconds}
    right = None
    if facts["outcome"] in ("solved by its own test", "passes, in doubt"):
        subprocess.run(["git", "apply", "-"], input=facts["diff"], text=True, cwd=folder, check=True)
        for path, text in hidden.items():
            (folder / path).write_text(text, "utf-8")
        test = subprocess.run(
            [sys.executable, "-m", "pytest", "-q"], cwd=folder, check=False, capture_output=True
        )
        right = test.returncode == 0
    return {
        "bug": bug.name, "outcome": facts["outcome"], "right": right, "seconds": round(seconds, 1),
        "tokens": facts["tokens"], "own_tests": facts["own_tests"], "diff": facts["diff"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bugs", nargs="*", help="names of example bugs; all of them where none is given")
    parser.add_argument("--model", required=True)
    parser.add_argument("--seconds", default="240", help="of each run")
    parser.add_argument("--folder", type=Path, required=True, help="for repositories and results")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.bugs or make_bug.bug_names():
        file = args.folder / f"{name}.json"
        if not file.exists():
            words = ["--model", args.model, "--seconds", args.seconds]
            file.write_text(
                json.dumps(measure(make_bug.load_bug(name), args.folder / name, words), indent=1), "utf-8"
            )
        row = json.loads(file.read_text("utf-8"))
        written = row.get("own_tests") or {}
        said = "; ".join(test["says"] for test in written.get("tests", [])) or written.get("rejected", "")
        right = {True: "right", False: "wrong", None: ""}[row.get("right")]
        print(f"{name:<18} {row['outcome']:<24} {right:<6} {row['seconds']:>6} s  {said}")


if __name__ == "__main__":
    main()

"""`agent solve` on example bugs and on QuixBugs: what passes, what is called solved, and what is right.

    python bench/solve.py --model qwen2.5-coder-0.5b --out results.jsonl            # the example bugs
    python bench/solve.py --quixbugs PATH --sample 10 --out quix.jsonl              # programs of QuixBugs
    python bench/solve.py --only forgotten-names --seed 0 --seed 1 --seed 2         # one bug, several seeds

Each run is the console command in a process of its own on a fresh repository. A change that passes is judged by
answers that the agent never saw (`bench/solve_tasks.py`). Results are appended as they come, and what the file holds
is not run again. Prints markdown: a line a run, the shares with Wilson's interval, and the diffs that are called
solved and are wrong. Not covered: other agents beside ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from solve_tasks import Task, example_tasks, quixbugs_tasks, sampled

from forklock.evals.statistics.stats import wilson

AGENT = str(Path(sys.executable).with_name("agent"))
PASSES = ("solved", "passes, in doubt")
"""Outcomes of runs whose change passes the visible check."""
Row = dict[str, Any]


def run(task: Task, model: str, width: int, seed: int, extra: Sequence[str]) -> Row:
    """One run of the command, and the hidden judge's word on its change."""
    with tempfile.TemporaryDirectory(prefix="forklock-bench-") as folder:
        repo = Path(folder) / "repo"
        task.make(repo)
        command = [
            AGENT, "solve", task.statement, "--repo", str(repo), "--test", task.test, "--model", model,
            "--width", str(width), "--seed", str(seed), "--json", *extra,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{task.name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
        found: Row = json.loads(done.stdout)
        wrong = diff = ""
        if found["outcome"] in PASSES:
            subprocess.run([AGENT, "apply", "last", "--repo", str(repo)], capture_output=True, check=True)
            wrong = task.wrong(repo)
            diff = subprocess.run(
                ["git", "diff"], cwd=repo, capture_output=True, text=True, check=True
            ).stdout
    return {
        "task": task.name, "model": model, "width": width, "seed": seed, "outcome": found["outcome"],
        "detail": found["detail"], "seconds": found["seconds"], "steps": found["steps"],
        "tokens": found["tokens"], "right": found["outcome"] in PASSES and not wrong, "wrong": wrong,
        "diff": diff,
    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line per run, and the shares."""
    lines = [
        "| task | seed | outcome | right | seconds | steps | prompt tokens | completion tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["task"], str(row["seed"]), row["outcome"], "yes" if row["right"] else "no",
            f"{row['seconds']:.0f}", str(row["steps"]), str(row["tokens"]["prompt"]),
            str(row["tokens"]["completion"]),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    passed = [row for row in rows if row["outcome"] in PASSES]
    solved = [row for row in rows if row["outcome"] == "solved"]
    lines += [
        "",
        f"- passes: {share(passed, rows)}",
        f"- called solved: {share(solved, rows)}",
        f"- right: {share([row for row in passed if row['right']], rows)}",
        f"- right among those called solved: {share([row for row in solved if row['right']], solved)}",
        f"- called solved among those right: {_found(solved, passed)}",
    ]
    for row in solved:
        if not row["right"]:
            lines += [
                "",
                f"**{row['task']}**, seed {row['seed']}: {row['wrong']}",
                "",
                "```diff",
                row["diff"],
                "```",
            ]
    return "\n".join(lines)


def share(some: Sequence[Row], of: Sequence[Row]) -> str:
    """`3 of 8, 38 % [14, 69]`."""
    if not of:
        return "0 of 0"
    found = wilson(len(some), len(of))
    return f"{len(some)} of {len(of)}, {found.value:.0%} [{found.low:.0%}, {found.high:.0%}]"


def _found(solved: Sequence[Row], passed: Sequence[Row]) -> str:
    return share([row for row in solved if row["right"]], [row for row in passed if row["right"]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--quixbugs", type=Path, help="a checkout of QuixBugs, in place of the example bugs")
    parser.add_argument("--only", default="", help="tasks whose name contains this")
    parser.add_argument("--sample", type=int, help="as many tasks at most")
    parser.add_argument("--out", type=Path, default=Path("solve.jsonl"))
    parser.add_argument("extra", nargs="*", help="more words for `agent solve`, after --")
    args = parser.parse_args()
    held = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    with tempfile.TemporaryDirectory(prefix="forklock-bench-") as scratch:
        if args.quixbugs:
            chosen = quixbugs_tasks(args.quixbugs, Path(scratch), count=args.sample, only=args.only)
        else:
            chosen = sampled([task for task in example_tasks() if args.only in task.name], args.sample)
    for seed in args.seed or [0]:
        for task in chosen:
            key = (task.name, args.model, args.width, seed)
            if key in {(row["task"], row["model"], row["width"], row["seed"]) for row in held}:
                continue
            row = run(task, args.model, args.width, seed, args.extra)
            held.append(row)
            with args.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            said = (
                ""
                if row["outcome"] not in PASSES
                else ", right"
                if row["right"]
                else f", wrong: {row['wrong']}"
            )
            print(
                f"{task.name}: {row['outcome']} in {row['seconds']:.0f} s{said}", file=sys.stderr, flush=True
            )
    print(table([row for row in held if row["width"] == args.width and row["model"] == args.model]))


if __name__ == "__main__":
    main()

"""Every example bug by `agent solve`: solved or not, seconds, tokens, and where candidates fell.

    python bench/examples_solve.py --model qwen2.5-coder-0.5b --width 16 --width 1 --out results.jsonl

Each run is the console command in a process of its own on a fresh repository. Results are appended as
they come; what the file already holds is not run again. Prints a markdown table per width.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from make_bug import bug_names, load_bug, make

HOPS = ("parse", "edit", "duplicate", "diagnose", "tests", "regression", "solved")


def solve(name: str, model: str, width: int, seed: int, extra: list[str]) -> dict[str, Any]:
    """One run of the command; its JSON, with the bug's name and the settings."""
    bug = load_bug(name)
    with tempfile.TemporaryDirectory(prefix="forklock-bench-") as folder:
        repo = Path(folder) / "repo"
        make(name, repo)
        command = [
            str(Path(sys.executable).with_name("agent")), "solve", bug.task, "--repo", str(repo), "--test", bug.test,
            "--model", model, "--width", str(width), "--seed", str(seed), "--json", *extra,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return {"bug": name, "model": model, "width": width, "seed": seed, **json.loads(done.stdout)}


def table(rows: list[dict[str, Any]], width: int) -> str:
    """Markdown: one line per bug and seed."""
    lines = [
        f"### width {width}",
        "",
        "| bug | solved | seconds | steps | prompt tokens | completion tokens | " + " | ".join(HOPS) + " |",
        "|---|---|---|---|---|---|" + "---|" * len(HOPS),
    ]
    solved = {row["bug"] for row in rows if row["outcome"] == "solved"}
    for row in rows:
        fell = collections.Counter(candidate["hop"] for candidate in row["candidates"])
        cells = [
            row["bug"], "yes" if row["outcome"] == "solved" else row["outcome"], f"{row['seconds']:.0f}",
            str(row["steps"]), str(row["tokens"]["prompt"]), str(row["tokens"]["completion"]),
            *(str(fell[hop] or "") for hop in HOPS),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    seconds = sum(row["seconds"] for row in rows)
    lines += ["", f"{len(solved)} of {len({r['bug'] for r in rows})} bugs solved; {seconds:.0f} s in all."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--width", type=int, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--bug", action="append", help="only these")
    parser.add_argument("--out", type=Path, default=Path("examples_solve.jsonl"))
    parser.add_argument("extra", nargs="*", help="more words for `agent solve`, after --")
    args = parser.parse_args()
    held = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    keys = {(row["bug"], row["model"], row["width"], row["seed"]) for row in held}
    for width in args.width or [16, 1]:
        for seed in args.seed or [0]:
            for name in args.bug or bug_names():
                if (name, args.model, width, seed) in keys:
                    continue
                row = solve(name, args.model, width, seed, args.extra)
                held.append(row)
                with args.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{name}: {row['outcome']} in {row['seconds']:.0f} s", file=sys.stderr, flush=True)
        print(
            table([row for row in held if row["width"] == width and row["model"] == args.model], width), "\n"
        )


if __name__ == "__main__":
    main()

"""The small repositories of `examples/languages` by `agent solve`: solved or not, seconds, tokens.

    python bench/languages_solve.py --model qwen2.5-coder-0.5b [--only cart-js]

Each run is the console command in a process of its own on a fresh repository, in bubblewrap with the node and the Go
that are installed here (the default Docker image has neither).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent / "examples" / "languages"


def solve(name: str, task: dict[str, str], model: str, width: int) -> dict[str, Any]:
    """One run of the command; its JSON."""
    with tempfile.TemporaryDirectory(prefix="forklock-bench-") as folder:
        repo = Path(folder) / "repo"
        shutil.copytree(HERE / name, repo)
        identity = ("-c", "user.name=Example", "-c", "user.email=example@example.invalid")
        for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "Import"]):
            subprocess.run(["git", *words], cwd=repo, check=True)
        command = [
            str(Path(sys.executable).with_name("agent")), "solve", task["task"], "--repo", str(repo),
            "--test", task["test"], "--model", model, "--width", str(width), "--sandbox", "bubblewrap", "--json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--only", default="", help="names that contain this")
    args = parser.parse_args()
    for name, task in tomllib.loads((HERE / "tasks.toml").read_text()).items():
        if args.only in name:
            row = solve(name, task, args.model, args.width)
            tokens = row["tokens"]
            print(
                f"{name}: {row['outcome']} in {row['seconds']:.0f} s, {row['steps']} steps, "
                f"{tokens['prompt']} prompt and {tokens['completion']} completion tokens",
                flush=True,
            )


if __name__ == "__main__":
    main()

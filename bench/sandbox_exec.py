"""What a sandbox costs: a warm `true` per backend beside a plain subprocess, `docker exec` and
`docker run`, and the fork of a workspace by size.

    python bench/sandbox_exec.py [--rounds 30]

Prints medians with quartiles, in milliseconds, and the ratio to a plain subprocess. The ways take turns
within each round, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sandbox import bubblewrap, open_sandbox
from sandbox.docker_engine import DEFAULT_IMAGE
from sandbox.open import docker_problem


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def line(name: str, times: list[float], base: float | None = None) -> str:
    low, middle, high = statistics.quantiles(times, n=4)
    ratio = f"{middle / base:7.1f}x" if base else ""
    return f"{name:<34}{middle:9.2f}  [{low:.2f}, {high:.2f}]  n={len(times)} {ratio}"


def bench_exec(rounds: int) -> None:
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "w"
        root.mkdir()
        ways: dict[str, Callable[[], object]] = {
            "plain subprocess": lambda: subprocess.run(["true"], check=True, capture_output=True)
        }
        backends = (
            ["host"]
            + ["bubblewrap"] * (bubblewrap.why_not() is None)
            + ["docker"] * (docker_problem() is None)
        )
        for backend in backends:
            sandbox = stack.enter_context(open_sandbox(root, backend=backend))  # type: ignore[arg-type]
            ways[f"{backend}: warm exec"] = lambda s=sandbox: s.exec(["true"])  # type: ignore[misc]
        if "docker" in backends:
            ways |= docker_cli_ways(stack)
        for work in ways.values():
            work()
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, work in ways.items():
                times[name].append(milliseconds(work))
    base = statistics.median(times["plain subprocess"])
    print("exec of `true`, ms: median [quartiles]")
    for name, values in times.items():
        print(line(name, values, base))


def docker_cli_ways(stack: ExitStack) -> dict[str, Callable[[], object]]:
    def docker(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True)

    flags = ["--rm", "--network", "none", "--cap-drop", "ALL"]
    name = docker("run", "-d", *flags, DEFAULT_IMAGE, "sleep", "600").stdout.strip()
    stack.callback(docker, "kill", name)
    return {
        "`docker exec` (kills nothing)": lambda: docker("exec", name, "true"),
        "`docker run`": lambda: docker("run", *flags, DEFAULT_IMAGE, "true"),
    }


def bench_fork(rounds: int) -> None:
    print("\nopen (records the baseline), fork and a fork's first diff, ms: median [quartiles]")
    for megabytes in (1, 5, 10, 100):
        opens, forks, diffs = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            root = make_tree(Path(folder) / "w", megabytes)
            for _ in range(rounds):
                started = time.perf_counter()
                with open_sandbox(root, backend="host") as sandbox:
                    opens.append((time.perf_counter() - started) * 1000)
                    started = time.perf_counter()
                    with sandbox.fork() as fork:
                        forks.append((time.perf_counter() - started) * 1000)
                        diffs.append(milliseconds(fork.diff))
        for name, values in (("open", opens), ("fork", forks), ("diff", diffs)):
            print(line(f"{megabytes:>4} MB, {megabytes * 60} files: {name}", values))


def make_tree(root: Path, megabytes: int) -> Path:
    """60 files a megabyte, as in a source tree, in a git repo."""
    for index in range(megabytes * 60):
        path = root / f"package{index % 20}" / f"module{index}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((os.urandom(24).hex().encode() + b"\n") * 357)
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=b", "-c", "user.email=b", "commit", "-qm", "b"],
    ):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    bench_exec(rounds)
    bench_fork(max(3, rounds // 6))

"""What a sandbox costs, beside what else could run the same command.

    python bench/sandbox_costs.py [--rounds 30] [--only exec|fork|many|cycle] [--cycles 1000] [--peers PYTHON]

Prints markdown tables: a warm `true` per backend beside a plain subprocess, `docker exec`, `docker run`, SWE-ReX and
Inspect AI; a private copy of a repo of 100 MB (3,000 files); sixteen copies that run a command at once; and, only
when named (`--only cycle`), what many sandboxes opened and closed leave behind.

The ways take turns within each round, so that a busy machine slows all of them, and the load is printed; the
processor time of ours and our children's (not of an engine's) is hardly stretched by it.
`--peers` is the Python of an environment with `swe-rex`, `aiohttp` and `inspect-ai` in it (`make bench-sandbox` makes
one). SWE-ReX's docker deployment needs Python 3.11 there, as in our image, into which it is mounted; Inspect's needs a
Docker engine of 24.0.6 or later and `docker compose`. What cannot run here is named with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from forklock.sandbox import BackendName, Sandbox, open_sandbox
from forklock.sandbox.backends.bubblewrap import inside as bubblewrap_inside
from forklock.sandbox.backends.open import BACKENDS, why_not
from forklock.sandbox.images.engine import DEFAULT_IMAGE, client, owner
from forklock.sandbox.workspace.snapshot import layers_work

FILES, MEGABYTES, AT_ONCE = 3000, 100, 16
SETTLE_S = 0.05
"""Before each measured way: the kernel clears away the name spaces of the one before in its own time, and others that
are made meanwhile wait for it."""
Work = Callable[[], object]


Spent = tuple[float, float]
"""Milliseconds on the clock, and of processor time, ours and that of children that we waited for."""


def cost(work: Work) -> Spent:
    began, used = time.perf_counter(), processor_s()
    work()
    return (time.perf_counter() - began) * 1000, (processor_s() - used) * 1000


def processor_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def take_turns(ways: dict[str, Work | str], rounds: int) -> dict[str, list[Spent] | str]:
    """Milliseconds of each way, after one round to warm up; a way that is a text, or fails, tells why not."""
    found: dict[str, list[Spent] | str] = {k: w if isinstance(w, str) else [] for k, w in ways.items()}
    for turn in range(-1, rounds):
        for name, work in ways.items():
            times = found[name]
            if isinstance(work, str) or isinstance(times, str):
                continue
            time.sleep(SETTLE_S)
            try:
                spent = cost(work)
            except Exception as error:
                found[name] = f"does not run: {type(error).__name__}: {str(error)[:200]}"
                continue
            if turn >= 0:
                times.append(spent)
    return found


def table(title: str, found: dict[str, list[Spent] | str], base: str | None = None) -> None:
    load = os.getloadavg()[0]
    print(f"\n{title} (load {load:.1f} on {os.cpu_count()} processors)\n")
    beside = found.get(base or "")
    plain = statistics.median(t for t, _ in beside) if isinstance(beside, list) and beside else None
    print("| | median ms | quartiles | least | processor ms | n |" + (" over plain |" if plain else ""))
    print("|---|---|---|---|---|---|" + ("---|" if plain else ""))
    for name, spent in found.items():
        if isinstance(spent, str):
            print(f"| {name} | {spent} | | | | |" + (" |" if plain else ""))
            continue
        times, used = [t for t, _ in spent], statistics.median(u for _, u in spent)
        low, middle, high = statistics.quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3
        more = f" {middle - plain:+.1f} |" if plain else ""
        print(
            f"| {name} | {middle:.1f} | {low:.1f} to {high:.1f} | {min(times):.1f} | {used:.1f} "
            f"| {len(times)} |{more}"
        )


def run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:3])}: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


def backends() -> dict[BackendName, str | None]:
    """Backend to what stands in its way."""
    problems = {name: why_not(name) for name in BACKENDS}
    return {name: problem and problem[0] for name, problem in problems.items()}


# --- one command -------------------------------------------------------------------------------------


def bench_exec(rounds: int, peers: str | None) -> None:
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "w"
        root.mkdir()
        ways: dict[str, Work | str] = {"plain subprocess": lambda: run("true")}
        for backend, problem in backends().items():
            if problem:
                ways[f"{backend}: warm exec"] = problem
                continue
            sandbox = stack.enter_context(open_sandbox(root, backend=backend))
            ways[f"{backend}: warm exec"] = lambda s=sandbox: s.exec(["true"])  # type: ignore[misc]
            if backend == "bubblewrap":
                other = stack.enter_context(open_sandbox(root, backend=backend))
                ways["bubblewrap, no control groups: warm exec"] = lambda s=other: without_groups(s)  # type: ignore[misc]
                ways["`bwrap --unshare-all`, nothing else"] = lambda: run(*BARE)
        if why_not("docker") is None:
            flags = ["--rm", "--network", "none", "--cap-drop", "ALL"]
            name = run("docker", "run", "-d", *flags, DEFAULT_IMAGE, "sleep", "3600")
            stack.callback(run, "docker", "kill", name)
            ways["`docker exec`"] = lambda: run("docker", "exec", name, "true")
            ways["`docker run`"] = lambda: run("docker", "run", *flags, DEFAULT_IMAGE, "true")
        for kind in ("local", "docker"):
            ways[f"SWE-ReX, {kind} deployment: execute"] = peer(stack, peers, "swe_rex_peer.py", kind)
            ways[f"Inspect AI, {kind} sandbox: exec"] = peer(stack, peers, "inspect_peer.py", kind)
        table("A warm `true`", take_turns(ways, rounds), "plain subprocess")


BARE = (
    "bwrap",
    "--unshare-all",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--",
    "/bin/true",
)


def without_groups(sandbox: Sandbox) -> None:
    """As in a user session that has no control group of its own."""
    with mock.patch.object(bubblewrap_inside, "make_group", lambda **_: None):
        sandbox.exec(["true"])


def peer(stack: ExitStack, python: str | None, script: str, kind: str) -> Work | str:
    """One command by another, which lives in a process of its own environment."""
    if python is None:
        return "not asked for (`--peers PYTHON`)"
    if kind == "docker" and why_not("docker"):
        return "no engine or no image"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    process = stack.enter_context(
        subprocess.Popen(
            [python, str(Path(__file__).with_name(script)), kind, DEFAULT_IMAGE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )

    def ask() -> None:
        assert process.stdin and process.stdout
        process.stdin.write("go\n")
        process.stdin.flush()
        expect(process.stdout.readline())

    def expect(answer: str) -> None:
        said = json.loads(answer or '{"error": "it ended"}')
        if "error" in said:
            raise RuntimeError(said["error"])

    def leave() -> None:
        assert process.stdin
        process.stdin.close()
        process.wait(30)

    stack.callback(leave)
    assert process.stdout
    try:
        expect(process.stdout.readline())  # it has started
    except RuntimeError as error:
        return f"does not start: {' '.join(str(error).split())}"
    return ask


# --- a copy of 100 MB --------------------------------------------------------------------------------


def make_repo(root: Path) -> Path:
    """3,000 files of 34 kB in 200 folders, in a git repo."""
    line = 50
    for index in range(FILES):
        path = root / f"package{index % 20}" / f"part{index % 200}" / f"module{index}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((os.urandom(24).hex().encode() + b"\n\n") * (MEGABYTES * 1_000_000 // FILES // line))
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=b", "-c", "user.email=b", "commit", "-qm", "b"],
    ):
        run("git", *words, cwd=root)
    return root


def bench_fork(rounds: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root = make_repo(folder / "w")
        sandbox = stack.enter_context(open_sandbox(root, backend="host", forks_in=folder / "forks"))
        closing = ExitStack()
        first = cost(lambda: closing.enter_context(sandbox.fork()))
        base = stack.enter_context(sandbox.fork())
        (base.root / "package1" / "part1" / "module1.py").write_text("changed = True\n")
        forks: list[Sandbox] = []

        def fork(of: Sandbox) -> None:
            forks.append(of.fork())

        def plain_copy() -> None:
            run("cp", "-a", str(root), str(folder / f"copy{time.monotonic_ns()}"))

        def worktree() -> None:
            run("git", "worktree", "add", "--detach", str(folder / f"tree{time.monotonic_ns()}"), cwd=root)

        ways: dict[str, Work | str] = {
            "fork of an opened repo": lambda: fork(sandbox),
            "its first diff": lambda: forks[-1].diff(),
            "its removal": lambda: forks.pop().close(),
            "fork of a fork (what a candidate gets)": lambda: fork(base),
            "its first diff ": lambda: forks[-1].diff(),
            "its removal ": lambda: forks.pop().close(),
        }
        found = take_turns(ways, rounds)
        few: dict[str, Work | str] = {"`cp -a`": plain_copy, "`git worktree add`": worktree}
        found |= {"the first fork of a state": [first]} | take_turns(few, max(3, rounds // 10))
        closing.close()
        kind = "layers" if layers_work(folder / "forks") else "copies"
        table(f"A private copy of {MEGABYTES} MB, {FILES} files; forks are {kind}", found)


# --- sixteen at once ---------------------------------------------------------------------------------


def bench_many(rounds: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root = make_repo(folder / "w")
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        command = ["python3", "-c", "import unittest; open('mark', 'x').write('mine')"]
        ways: dict[str, Work | str] = {}
        for backend, problem in backends().items():
            if problem:
                ways[f"{backend}: fork, run, diff, remove"] = problem
                continue
            sandbox = stack.enter_context(open_sandbox(root, backend=backend, forks_in=folder / "forks"))
            base = stack.enter_context(sandbox.fork())

            def one(_: int, base: Sandbox = base) -> None:
                with base.fork() as fork:
                    assert fork.exec(command).ok
                    assert fork.diff().count("diff --git") == 1

            ways[f"{backend}: fork, run, diff, remove"] = lambda one=one: list(pool.map(one, range(AT_ONCE)))  # type: ignore[misc]

        def by_hand(_: int) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                run("cp", "-a", str(root), f"{place}/w")
                flags = ["--rm", "--network", "none", "-v", f"{place}/w:/w", "-w", "/w"]
                run("docker", "run", *flags, DEFAULT_IMAGE, *command)
                run("git", "add", "-A", cwd=Path(place, "w"))
                run("git", "diff", "--cached", cwd=Path(place, "w"))

        ways["`cp -a`, `docker run`, `git diff`, `rm -r`"] = (
            (lambda: list(pool.map(by_hand, range(AT_ONCE)))) if why_not("docker") is None else "no engine"
        )
        table(
            f"{AT_ONCE} copies of {MEGABYTES} MB at once, all of them", take_turns(ways, max(2, rounds // 10))
        )


# --- a thousand opened and closed --------------------------------------------------------------------


def bench_cycle(cycles: int, only: str | None) -> int:
    """Open, fork, run a command that leaves a daemon, close, many times; then count what there is more of."""
    status = 0
    print(
        "\n| backend | opened and closed | seconds | processes | mounts | containers | files | descriptors |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for backend, problem in backends().items():
        if backend == "host" or problem or only not in (None, backend):
            continue
        times = cycles if backend == "bubblewrap" else max(1, cycles // 10)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "w"
            root.mkdir()
            (root / "a").write_text("a")
            cycle(root, backend, Path(folder) / "forks")
            before, started = census(Path(folder)), time.perf_counter()
            for number in range(times):
                cycle(root, backend, Path(folder) / "forks")
                if sys.stderr.isatty():
                    print(f"\r{backend}: {number + 1} of {times}", end="", file=sys.stderr)
            spent = time.perf_counter() - started
            more = {name: count - before[name] for name, count in census(Path(folder)).items()}
        status |= any(count > 0 for count in more.values())
        print(f"| {backend} | {times} | {spent:.0f} | " + " | ".join(f"{n:+d}" for n in more.values()) + " |")
    return status


def cycle(root: Path, backend: BackendName, forks: Path) -> None:
    with open_sandbox(root, backend=backend, forks_in=forks) as sandbox, sandbox.fork() as fork:
        done = fork.exec(["sh", "-c", "(setsid sleep 60 >/dev/null 2>&1 &); echo x > made"])
        assert done.ok, done


def census(folder: Path) -> dict[str, int]:
    import psutil

    containers = 0
    if why_not("docker") is None:
        client().close()  # the SDK keeps connections for later
        label = f"label=forklock.owner={owner()}"
        containers = len(run("docker", "ps", "-aq", "--filter", label).split())
    return {
        "processes": len(psutil.Process().children(recursive=True)),
        "mounts": Path("/proc/self/mountinfo").read_text().count(str(folder)),
        "containers": containers,
        "files": sum(len(names) + len(folders) for _, folders, names in os.walk(folder)),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
    }


def main(args: Any) -> int:
    if args.only in (None, "exec"):
        bench_exec(args.rounds, args.peers)
    if args.only in (None, "fork"):
        bench_fork(args.rounds)
    if args.only in (None, "many"):
        bench_many(args.rounds)
    return bench_cycle(args.cycles, args.backend) if args.only == "cycle" else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", choices=("exec", "fork", "many", "cycle"))
    parser.add_argument("--backend", choices=("bubblewrap", "docker"), help="of the cycles: this one alone")
    parser.add_argument("--cycles", type=int, default=1000, help="docker runs a tenth of them")
    parser.add_argument("--peers", metavar="PYTHON")
    sys.exit(main(parser.parse_args()))

"""How long a language server takes through our client and through others, on repos of three sizes.

    python bench/lsp.py [--server ty] [--rounds 50] [--peers PYTHON] [--only 1k,20k,200k] [--repo PATH] [--json]

Start, first definition, warm definition, references, hover and completion, diagnostics after each of many edits
(half with a mistake, half without), and the memory of the server's processes. Asked of the largest Python file of
the repo of at most 2,500 lines, of names in it, in source order. The repos: `examples/tidyledger` (1k lines), and
copies of installed packages: urllib3 with httpx (20k), networkx (200k). `--repo` measures one of your own; it is
not changed.

`--peers` names the Python of an environment with `multilspy` and `serena-agent`; they are asked the same questions
by `lsp_peers.py`, multilspy of its own server (jedi), Serena of its default (pyright) and of our ty. Neither has a
call for the diagnostics of an edited text, so that row is ours alone. Fails if an answer of ours is ever stale.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import psutil

from forklock.tools.contract import DiagnosticsAnswer, Freshness, LookupAnswer
from forklock.tools.languages.definitions import Use
from forklock.tools.languages.known import language_of
from forklock.tools.languages.text import split_lines, to_lf
from forklock.tools.lsp import Intel, open_intel
from forklock.tools.lsp.servers.programs import find_program

T = TypeVar("T")
Timed = dict[str, list[float]]
ROWS = (
    "start", "first definition", "definition", "references", "hover", "completion",
    "first diagnostics", "diagnostics, clean", "diagnostics, dirty", "memory (MB)",
)  # fmt: skip
SILENT = (Freshness.TIMED_OUT, Freshness.UNAVAILABLE)
PACKAGES = {"20k": ("urllib3", "httpx"), "200k": ("networkx",)}
PEERS = ("multilspy", "serena", "serena-ty")
PEER_S = 900


def timed(into: list[float], work: Callable[[], T]) -> T:
    started = time.perf_counter()
    result = work()
    into.append((time.perf_counter() - started) * 1000)
    return result


def measure(root: Path, server: str, rounds: int, ruff: bool, questions: dict[str, Any]) -> Timed:
    times: Timed = {name: [] for name in ROWS}
    servers = (server, "ruff") if ruff else (server,)
    file = questions["file"]
    started = time.perf_counter()
    with open_intel(root, servers=servers, timeout_s=120.0, start_s=120.0) as intel:
        answered(intel.document_symbols(file))
        times["start"].append((time.perf_counter() - started) * 1000)
        line, column = questions["places"][0]
        timed(times["first definition"], lambda: answered(intel.definition(file, line + 1, column)))
        look_ups(intel, questions, times)
        diagnose(intel, file, (root / file).read_text("utf-8"), rounds, times)
        times["memory (MB)"].append(memory(intel.pids[server]))
    return times


def look_ups(intel: Intel, questions: dict[str, Any], times: Timed) -> None:
    """In the order of `lsp_peers.py`: what a server has worked out for one question helps it with the next."""
    file = questions["file"]
    for name, ask, places in (
        ("definition", intel.definition, questions["places"]),
        ("references", intel.references, questions["places"]),
        ("hover", intel.hover, questions["places"]),
        ("completion", intel.completion, questions["dots"]),
    ):
        for line, column in places:
            answered(timed(times[name], lambda a=ask, n=line, c=column: a(file, n + 1, c)))  # type: ignore[misc]


def answered(answer: LookupAnswer) -> LookupAnswer:
    if answer.freshness in SILENT:
        raise SystemExit(f"no answer: {answer}")
    return answer


def diagnose(intel: Intel, file: str, text: str, rounds: int, times: Timed) -> None:
    """Edits at the end of the file; the first answer, which is cold, is counted apart."""
    timed(times["first diagnostics"], lambda: intel.diagnostics(file))
    for n in range(rounds):
        clean = f"{text}\n_forklock_{n} = {n}\n"
        dirty = f"{text}\n_forklock_{n} = _missing_{n}\n"
        for name, edited, expected in (("clean", clean, set()), ("dirty", dirty, {f"_missing_{n}"})):
            answer = timed(times[f"diagnostics, {name}"], lambda t=edited: intel.diagnostics(file, t))  # type: ignore[misc]
            check(answer, expected, n)


def check(answer: DiagnosticsAnswer, expected: set[str], n: int) -> None:
    """The name that is missing in this very version is told, and none of another."""
    told = {name for d in answer.items for name in re.findall(r"_missing_\d+", d.message)}
    if told != expected or answer.freshness in SILENT:
        raise SystemExit(f"stale or missing diagnostics in round {n}: {told} for {expected}; {answer.detail}")


def memory(pid: int) -> float:
    """Resident megabytes of a process and all that it started."""
    first = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (first, *first.children(recursive=True))) / 1e6


# --- what is asked -------------------------------------------------------------------------------------


def questions_of(root: Path, rounds: int) -> dict[str, Any]:
    file, text = largest(root)
    names = [u for u in language_of(file).uses(to_lf(text), 1, 10**9) if not u.stored][: 4 * rounds]
    return {
        "root": str(root),
        "file": file,
        "places": [_zero(u) for u in names[:rounds]],
        "dots": [(u.line - 1, u.column + 1) for u in names if u.attribute][:rounds],
    }


def _zero(use: Use) -> tuple[int, int]:
    return use.line - 1, use.column


def largest(root: Path) -> tuple[str, str]:
    """The Python file with most lines, of at most 2,500: nobody edits the generated ones."""
    sized = []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text("utf-8", "replace")
        if (lines := len(split_lines(text))) <= 2500:
            sized.append((lines, path.relative_to(root).as_posix(), text))
    if not sized:
        raise SystemExit(f"no Python file under {root}")
    return max(sized)[1:]


def size(root: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in root.rglob("*.py"))


@contextmanager
def repos(only: str, own: Path | None) -> Iterator[list[tuple[str, Path]]]:
    """(name, root) of what is measured; copies are removed at the end."""
    with tempfile.TemporaryDirectory(prefix="forklock-bench-") as folder:
        if own is not None:
            yield [(own.name, own.resolve())]
            return
        made = []
        for name in only.split(","):
            root = Path(folder) / name
            if name in PACKAGES:
                for package in PACKAGES[name]:
                    shutil.copytree(package_folder(package), root / package)
            else:
                shutil.copytree(Path(__file__).parents[1] / "examples" / "tidyledger", root)
            made.append((name, root))
        yield made


def package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed (fix: pip install {name})")
    return Path(spec.origin).parent


# --- peers ---------------------------------------------------------------------------------------------


def peer(python: Path, name: str, questions: dict[str, Any]) -> tuple[Timed, dict[str, int]] | str:
    """Its times and how many questions of each kind it failed at, or why it did not run."""
    asked = {**questions, "client": name, "ty": str(find_program("ty"))}
    script = Path(__file__).with_name("lsp_peers.py")
    try:
        done = subprocess.run(
            [str(python), str(script)], input=json.dumps(asked), capture_output=True, text=True,
            timeout=PEER_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done after {PEER_S} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1][:160]
    told = json.loads(done.stdout.splitlines()[-1])
    return told["times"], told["failed"]


# --- telling -------------------------------------------------------------------------------------------


def cell(values: list[float] | None) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:,.0f}"
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"{statistics.median(ordered):,.1f} / {p95:,.1f}"


def table(title: str, columns: dict[str, Timed]) -> str:
    lines = [
        f"**{title}**",
        "",
        f"| p50 / p95, ms | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for row in ROWS:
        lines.append(f"| {row} | {' | '.join(cell(times.get(row)) for times in columns.values())} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", default="ty", help="a Python server of the table")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--with-ruff", action="store_true")
    parser.add_argument("--peers", type=Path, help="Python of an environment with multilspy and serena-agent")
    parser.add_argument("--only", default="1k,20k,200k")
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.repo and not args.repo.is_dir():
        sys.exit(f"{args.repo} is not a folder")
    if unknown := set(args.only.split(",")) - {"1k", *PACKAGES}:
        sys.exit(f"no such size: {', '.join(sorted(unknown))}")
    with repos(args.only, args.repo) as made:
        for name, root in made:
            run(name, root, args)


def run(name: str, root: Path, args: argparse.Namespace) -> None:
    questions = questions_of(root, args.rounds)
    mine = "forklock, " + args.server + (" and ruff" if args.with_ruff else "")
    columns = {mine: measure(root, args.server, args.rounds, args.with_ruff, questions)}
    silent = []
    for other in PEERS if args.peers else ():
        print(f"asking {other} about {name}", file=sys.stderr)
        times = peer(args.peers, other, questions)
        if isinstance(times, str):
            silent.append(f"{other} did not run: {times}")
            continue
        columns[other], failed = times
        silent += [f"{other} raised at {n} questions of kind {kind}" for kind, n in failed.items() if n]
    file = questions["file"]
    lines = len((root / file).read_text("utf-8").splitlines())
    title = f"{name}: {size(root):,} lines of Python; asked in {file}, {lines:,} lines"
    if args.json:
        print(json.dumps({"about": title, "ms": columns, "silent": silent}))
        return
    print("\n".join([table(title, columns), "", *silent]), flush=True)


if __name__ == "__main__":
    main()

"""How long a language server takes through our client: start, first answer, warm answers, fresh diagnostics.

    python bench/lsp_latency.py --repo PATH [--server ty] [--rounds 50] [--json]

Asked of the largest Python file of the repo and of names in it, in source order. Diagnostics are asked after
an edit each time, half of them with an error and half without, with ruff beside or alone (`--with-ruff`).
Prints p50 and p95 in milliseconds. The repo is not changed.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools.contract import DiagnosticsAnswer, Freshness
from tools.lsp import Intel, open_intel
from tools.lsp.uses import Use, uses
from tools.workspace import split_lines

Timed = dict[str, list[float]]


def timed(into: list[float], work: Callable[[], object]) -> object:
    started = time.perf_counter()
    result = work()
    into.append((time.perf_counter() - started) * 1000)
    return result


def measure(root: Path, server: str, rounds: int, ruff: bool) -> tuple[Timed, str]:
    times: Timed = {name: [] for name in _ROWS}
    file, text, lines = largest(root)
    names = [u for u in uses(file, text, 1, 10**9) if not u.stored][: 4 * rounds]
    servers = (server, "ruff") if ruff else (server,)
    started = time.perf_counter()
    with open_intel(root, servers=servers, timeout_s=120.0, start_s=120.0) as intel:
        first = names[0]
        intel.workspace_symbols("no such name")
        times["start"].append((time.perf_counter() - started) * 1000)
        timed(times["first definition"], lambda: intel.definition(file, first.line, first.column))
        answered = look_ups(intel, file, names, rounds, times)
        diagnose(intel, file, text, rounds, times)
    return times, f"{file}: {lines} lines; {answered} of {len(times['definition'])} definitions found"


def look_ups(intel: Intel, file: str, names: list[Use], rounds: int, times: Timed) -> int:
    found = 0
    for use in names[:rounds]:
        answer = timed(times["definition"], lambda u=use: intel.definition(file, u.line, u.column))  # type: ignore[misc]
        found += getattr(answer, "freshness", None) is Freshness.FOUND
        timed(times["references"], lambda u=use: intel.references(file, u.line, u.column))  # type: ignore[misc]
        timed(times["hover"], lambda u=use: intel.hover(file, u.line, u.column))  # type: ignore[misc]
    attributes = [use for use in names if use.attribute][:rounds]
    for use in attributes:
        ask = timed(times["completion"], lambda u=use: intel.completion(file, u.line, u.column + 1))  # type: ignore[misc]
        if getattr(ask, "freshness", None) in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
            raise SystemExit(f"completion: {ask}")
    return found


def diagnose(intel: Intel, file: str, text: str, rounds: int, times: Timed) -> None:
    """Edits at the end of the file; the first answer, which is cold, counts to `first diagnostics`."""
    timed(times["first diagnostics"], lambda: intel.diagnostics(file))
    for n in range(rounds):
        clean = f"{text}\n_forklock_{n} = {n}\n"
        dirty = f"{text}\n_forklock_{n} = _missing_{n}\n"
        answer = timed(times["diagnostics, no new"], lambda t=clean: intel.diagnostics(file, t))  # type: ignore[misc]
        check(answer, set(), n)
        answer = timed(times["diagnostics, one new"], lambda t=dirty: intel.diagnostics(file, t))  # type: ignore[misc]
        check(answer, {f"_missing_{n}"}, n)


def check(answer: object, expected: set[str], n: int) -> None:
    """The name that is missing in this very version is told, and none of another."""
    assert isinstance(answer, DiagnosticsAnswer)
    told = {name for d in answer.items for name in re.findall(r"_missing_\d+", d.message)}
    if told != expected or answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise SystemExit(f"stale or missing diagnostics in round {n}: {told} for {expected}; {answer.detail}")


_ROWS = (
    "start", "first definition", "definition", "references", "hover", "completion",
    "first diagnostics", "diagnostics, no new", "diagnostics, one new",
)  # fmt: skip


def largest(root: Path) -> tuple[str, str, int]:
    """The Python file with most lines, of at most 2,500: nobody edits the generated ones."""
    sized = []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text("utf-8", "replace")
        if (lines := len(split_lines(text))) <= 2500:
            sized.append((lines, path.relative_to(root).as_posix(), text))
    if not sized:
        raise SystemExit(f"no Python file under {root}")
    lines, path_name, text = max(sized)
    return path_name, text, lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--server", default="ty")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--with-ruff", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not args.repo.is_dir():
        sys.exit(f"{args.repo} is not a folder")
    times, about = measure(args.repo.resolve(), args.server, args.rounds, args.with_ruff)
    rows = {name: summary(values) for name, values in times.items() if values}
    if args.json:
        print(json.dumps({"server": args.server, "about": about, "ms": rows}, indent=1))
        return
    table = Table("", "p50 ms", "p95 ms", "n", title=f"{args.server}: {about}")
    for name, (p50, p95, n) in rows.items():
        table.add_row(name, f"{p50:.1f}", f"{p95:.1f}", str(n))
    Console().print(table)


def summary(values: list[float]) -> tuple[float, float, int]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], len(ordered)


if __name__ == "__main__":
    main()

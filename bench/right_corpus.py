"""How often *solved* is right, without a model: the run's own verdict on candidates that pass the visible check.

    python bench/right_corpus.py --folder corpus                          # the example bugs (development)
    python bench/right_corpus.py --folder quix --quixbugs PATH            # QuixBugs, one case shown (held out)
    python bench/right_corpus.py --folder corpus --label before --report  # print what was measured, run nothing

For each bug, candidates are the known fix, rewrites that behave as it does, slips (one edit) of the fix and of the
buggy code, special cases of the failing input, and wrong repairs written by hand. Those that pass the visible check and
the suite are kept in FOLDER/candidates.jsonl, each judged right or wrong by answers that no verdict sees. Verdicts are
given on each candidate alone, and on draws of one to five: each sample of a draw is right with probability one half.
They are kept in FOLDER/verdicts-LABEL.jsonl; what a file holds is not done again, so that a killed measurement goes on.
Prints markdown with Wilson's intervals, and the diff of each wrong candidate that is called solved.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from right_candidates import proposals
from right_court import Court, opened
from right_report import report
from right_subjects import Subject, examples, quixbugs

from forklock.agent.contract import Hop, Ruling

MOST_WRONG = 12
"""Wrong candidates kept for each bug; special cases and those written by hand come first."""
MOST_RIGHT = 5
"""Right candidates kept for each bug; the known fix comes first."""
DRAWS = 6
"""Draws of several samples for each bug."""
Row = dict[str, Any]


class Rows:
    """A file with one JSON object a line; threads append to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._lock = threading.Lock()
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            self.rows = [json.loads(line) for line in lines if line.endswith("\n")]
            path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def add(self, row: Row) -> None:
        with self._lock:
            self.rows.append(row)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def of(self, task: str) -> list[Row]:
        with self._lock:
            return [row for row in self.rows if row["task"] == task]


def find_candidates(court: Court, held: Rows, scratch: Path) -> list[Row]:
    """The passing candidates of a bug, right and wrong."""
    name = court.subject.task.name
    rows = held.of(name)
    if any(row["kind"] == "tried" for row in rows):
        return [row for row in rows if row["kind"] == "candidate"]
    made = proposals(
        court.subject.task.file, court.buggy, court.subject.fixed, court.subject.by_hand(court.buggy)
    )
    rows, counts = [], {True: 0, False: 0}
    for index, (proposal, diff) in enumerate(
        zip(made, court.passing([one.text for one in made]), strict=True)
    ):
        if proposal.origin == "fix" and not diff:
            raise SystemExit(f"{name}: the known fix does not pass")
        if not diff or (counts[True] >= MOST_RIGHT and counts[False] >= MOST_WRONG):
            continue
        wrong = court.wrong(diff, scratch / f"judged-{index}")
        if proposal.origin == "fix" and wrong:
            raise SystemExit(f"{name}: the known fix is judged wrong: {wrong}")
        counts[not wrong] += 1
        if counts[not wrong] <= (MOST_WRONG if wrong else MOST_RIGHT):
            rows.append({"kind": "candidate", "task": name, "index": index, "origin": proposal.origin,
                         "wrong": wrong, "diff": diff, "program": str(index)})  # fmt: skip
    for row in rows:
        held.add(row)
    held.add(
        {"kind": "tried", "task": name, "tried": len(made), "right": counts[True], "wrong": counts[False]}
    )
    return rows


def setups(name: str, rows: Sequence[Row]) -> Iterator[tuple[str, list[tuple[Row, int]]]]:
    """What verdicts are given on: each candidate alone, and draws, each as (candidate, number of samples)."""
    for row in rows:
        yield f"alone {row['index']}", [(row, 1)]
    sides = [[row for row in rows if not row["wrong"]], [row for row in rows if row["wrong"]]]
    for number in range(DRAWS):
        drawn = random.Random(f"{name}/{number}")
        count: dict[int, int] = {}
        for _ in range(number % 5 + 1):
            side = sides[drawn.randrange(2)] or sides[0]
            index = drawn.choice(side)["index"]
            count[index] = count.get(index, 0) + 1
        chosen = {row["index"]: row for row in rows}
        yield f"draw {number}", [(chosen[index], samples) for index, samples in count.items()]


def give(
    court: Court, setup: str, drawn: Sequence[tuple[Row, int]], known: dict[str, str], scratch: Path
) -> Row:
    """One verdict, and whether the change that it takes is right."""
    began = time.monotonic()
    rulings = [
        (Ruling(1, row["index"], "", Hop.SOLVED, "", row["diff"], program=row["program"]), samples)
        for row, samples in drawn
    ]
    verdict, question, taken = court.verdict(rulings)
    seconds = time.monotonic() - began
    diff = verdict.ruling.diff
    digest = hashlib.sha256(diff.encode()).hexdigest()
    if digest not in known:  # idle lines were dropped
        known[digest] = court.wrong(diff, scratch / f"judged-{digest[:12]}")
    return {
        "kind": "verdict", "task": court.subject.task.name, "setup": setup, "sure": verdict.sure, "why": verdict.why,
        "question": question, "taken": taken, "wrong": known[digest], "diff": diff, "seconds": seconds,
        "offered_right": any(not row["wrong"] for row, _ in drawn),
        "origins": [row["origin"] for row, _ in drawn], "samples": sum(samples for _, samples in drawn),
    }  # fmt: skip


def measure(subject: Subject, candidates: Rows, verdicts: Rows) -> None:
    """Everything that is missing of one bug."""
    name = subject.task.name
    with tempfile.TemporaryDirectory(prefix="forklock-right-") as folder:
        scratch = Path(folder)
        with opened(subject, scratch) as court:
            rows = find_candidates(court, candidates, scratch)
            print(
                f"{name}: {len(rows)} candidates pass, {sum(not r['wrong'] for r in rows)} right",
                file=sys.stderr,
            )
            done = {row["setup"] for row in verdicts.of(name)}
            known = {hashlib.sha256(row["diff"].encode()).hexdigest(): row["wrong"] for row in rows}
            for setup, drawn in setups(name, rows):
                if setup not in done:
                    verdicts.add(row := give(court, setup, drawn, known, scratch))
                    said = "solved" if row["sure"] else "in doubt"
                    right = "wrong" if row["wrong"] else "right"
                    print(
                        f"{name}, {setup}: {said}, {right}, {row['seconds']:.1f} s",
                        file=sys.stderr,
                        flush=True,
                    )


def ranked(subjects: list[Subject]) -> list[Subject]:
    """The bugs in an order by a hash of their names, so that a sample is nobody's choice."""
    return sorted(subjects, key=lambda one: hashlib.sha256(one.task.name.encode()).hexdigest())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("right-corpus"), help="where results are kept")
    parser.add_argument("--label", default="now", help="name of this version of the rules")
    parser.add_argument("--quixbugs", type=Path, help="a checkout of QuixBugs, in place of the example bugs")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--sample", type=int, help="as many bugs at most, chosen by a hash of their names")
    parser.add_argument("--workers", type=int, default=2, help="bugs at a time")
    parser.add_argument("--report", action="store_true", help="print what was measured, and run nothing")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    candidates = Rows(args.folder / "candidates.jsonl")
    verdicts = Rows(args.folder / f"verdicts-{args.label}.jsonl")
    if not args.report:
        with tempfile.TemporaryDirectory(prefix="forklock-right-") as scratch:
            subjects = quixbugs(args.quixbugs, Path(scratch)) if args.quixbugs else examples()
            chosen = ranked([one for one in subjects if args.only in one.task.name])[: args.sample]
            with ThreadPoolExecutor(args.workers) as pool:
                list(pool.map(lambda subject: measure(subject, candidates, verdicts), chosen))
    print(report(candidates.rows, verdicts.rows))


if __name__ == "__main__":
    main()

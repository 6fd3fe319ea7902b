"""evals: one self-contained HTML page about runs.

Input: finished runs, a training cutoff. Output: HTML text without scripts that loads nothing. The template escapes
everything that a model wrote, and a content policy forbids scripts as well. With exactly two runs, each problem that
changed is shown with a program of either side, read from the runs' stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher

from forklock.evals.contract import EvalFault, Sample, Verdict
from forklock.evals.reports.drawing import rendered
from forklock.evals.reports.plots import (
    COLOURS,
    LETTERS,
    difficulty_bars,
    month_series,
    pass_at_k_curve,
    verdict_shares,
)
from forklock.evals.results import EvalResult, PassAtK, ProblemResult
from forklock.evals.runs.past import PastRun, read_samples
from forklock.evals.statistics.comparison import Comparison, Flip, compare_runs
from forklock.evals.statistics.contamination import contamination, sentence
from forklock.evals.statistics.stats import pass_at

MOST_CHARACTERS, MOST_LINES = 20_000, 300
"""Limits of a shown program; the rest is cut off, and the page says so."""


@dataclass(frozen=True, slots=True)
class Program:
    """One side of a problem that changed."""

    verdict: str
    reason: str
    index: int
    lines: tuple[tuple[str, bool], ...]
    """Each line's text, and whether the other side lacks it."""
    cut: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """A changed problem with a program of each side."""

    flip: Flip
    a: Program | None
    b: Program | None


@dataclass(frozen=True, slots=True)
class Row:
    """One problem in all runs; a cell is None where a run has no verdict on it."""

    problem: ProblemResult
    cells: tuple[ProblemResult | None, ...]


def render_page(
    runs: Sequence[PastRun], *, cutoff: date | None = None, flips: int = 40, force: bool = False
) -> str:
    """Return the page's text.

    Args:
        cutoff: training cutoff of the model, which the page marks among the contests.
        flips: largest number of changed problems that are shown.
        force: as for `compare_runs`.

    Raises:
        EvalFault: there are too many runs, matplotlib is missing, or the two runs cannot be compared.
    """
    if len(runs) > len(LETTERS):
        raise EvalFault(f"{len(runs)} runs on one page", fix=f"{len(LETTERS)} at most")
    results = [run.result for run in runs]
    comparison = compare_runs(results[0], results[1], force=force) if len(runs) == 2 else None
    return rendered(
        "report.html.j2",
        runs=list(zip(LETTERS, _colours(len(runs)), results, strict=False)),
        ks=sorted({score.k for result in results for score in result.pass_at}),
        plots=_plots(results, cutoff),
        cutoff=cutoff,
        halves=[_halves(result, cutoff) for result in results] if cutoff else [],
        falls=[sentence(contamination(result, cutoff)) for result in results] if cutoff else [],
        rows=_rows(results),
        decodings=[_decoding(result) for result in results],
        verdicts=list(Verdict),
        comparison=comparison,
        pairs=_pairs(runs, comparison, flips) if comparison else [],
    )


def _plots(results: Sequence[EvalResult], cutoff: date | None) -> list[tuple[str, str]]:
    drawn = (
        ("pass@k", pass_at_k_curve(results)),
        ("pass@1 by difficulty", difficulty_bars(results)),
        ("pass@1 by month of contest", month_series(results, cutoff)),
        ("Verdicts", verdict_shares(results)),
    )
    return [(title, svg) for title, svg in drawn if svg is not None]


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _decoding(result: EvalResult) -> str:
    settings = result.decoding.model_dump(exclude={"n"})
    return ", ".join(f"{key} {value}" for key, value in settings.items() if key != "stop" or value)


def _halves(result: EvalResult, cutoff: date | None) -> tuple[PassAtK, PassAtK]:
    """Return pass@1 over contests up to the cutoff, and after it."""
    dated = [(p, p.contest_date) for p in result.problems if p.contest_date and cutoff]
    before = [p for p, day in dated if cutoff and day <= cutoff]
    after = [p for p, day in dated if cutoff and day > cutoff]
    return pass_at(before, 1), pass_at(after, 1)


def _rows(results: Sequence[EvalResult]) -> list[Row]:
    known = [{p.question_id: p for p in result.problems if p.judged} for result in results]
    named: dict[str, ProblemResult] = {}
    for problem in (problem for result in results for problem in result.problems):
        named.setdefault(problem.question_id, problem)
    return [Row(problem, tuple(side.get(key) for side in known)) for key, problem in named.items()]


def _pairs(runs: Sequence[PastRun], comparison: Comparison, most: int) -> list[Pair]:
    flips = comparison.flips[:most]
    wanted = {flip.question_id for flip in flips}
    ours, theirs = (read_samples(run.folder, wanted) for run in runs)
    return [_pair(flip, ours.get(flip.question_id, []), theirs.get(flip.question_id, [])) for flip in flips]


def _pair(flip: Flip, ours: Sequence[Sample], theirs: Sequence[Sample]) -> Pair:
    """Pair a passing sample of the better side with a failing one of the other."""
    a = _choose(ours, passed=flip.change < 0)
    b = _choose(theirs, passed=flip.change > 0)
    a_lines, b_lines = _lines(a), _lines(b)
    matcher = SequenceMatcher(a=a_lines, b=b_lines)
    a_same = {i for block in matcher.get_matching_blocks() for i in range(block.a, block.a + block.size)}
    b_same = {i for block in matcher.get_matching_blocks() for i in range(block.b, block.b + block.size)}
    return Pair(flip, _program(a, a_lines, a_same), _program(b, b_lines, b_same))


def _choose(samples: Sequence[Sample], *, passed: bool) -> Sample | None:
    fitting = [s for s in samples if s.judgement and (s.judgement.verdict is Verdict.PASSED) == passed]
    return next(iter([*fitting, *samples]), None)


def _lines(sample: Sample | None) -> list[str]:
    """Return the program's lines, or those of the answer where no program was found in it."""
    if sample is None:
        return []
    text = sample.code if sample.code is not None else sample.completion.text
    return text[:MOST_CHARACTERS].splitlines()[:MOST_LINES]


def _program(sample: Sample | None, lines: Sequence[str], same: set[int]) -> Program | None:
    if sample is None:
        return None
    found = sample.judgement
    whole = sample.code if sample.code is not None else sample.completion.text
    return Program(
        verdict=found.verdict.value if found else "no verdict",
        reason=found.reason if found else "",
        index=sample.index,
        lines=tuple((line, number not in same) for number, line in enumerate(lines)),
        cut=len(whole) > MOST_CHARACTERS or len(whole.splitlines()) > MOST_LINES,
    )

"""evals: results on the terminal: tables, and progress.

Input: an `EvalResult`, grades, or live progress. Output: tables, and one line of progress (a bar on a terminal, plain
lines elsewhere). Not covered: HTML (`forklock.evals.reports.page`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.table import Table
from rich.text import Text

from forklock.evals.contract import ProblemSet, Verdict
from forklock.evals.problems.catalogue import SetFacts
from forklock.evals.results import EvalResult, PassAtK
from forklock.evals.runs.grade import Grade, scores
from forklock.evals.statistics.comparison import by_difficulty
from forklock.evals.statistics.contamination import Contamination, sentence
from forklock.evals.statistics.stats import pass_at
from forklock.sandbox.terminal import screen
from forklock.sandbox.terminal.console import Screen
from forklock.sandbox.terminal.progress import Meter

PLAIN_EVERY_S = 10.0
"""Seconds between two lines of progress where there is no terminal."""
ALIVE_EVERY_S = 60.0
"""The same while there is no progress: an agent may take many minutes for one problem."""


class LiveProgress:
    """Shows samples, tokens per second, the time left and what has passed so far. A context manager."""

    def __init__(self, console: Screen) -> None:
        self._console = console
        self._open = ExitStack()
        self._meter: Meter | None = None
        self._made = self._judged = self._passed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def begin(self, total: int, stored: int) -> None:
        if stored:
            self._console.print(f"{stored} samples of this configuration are stored already")
        meter = Meter(self._console, "", total, unit="judged", every_s=PLAIN_EVERY_S, alive_s=ALIVE_EVERY_S)
        meter.note = self._note()
        self._meter = self._open.enter_context(meter)

    def tokens(self, count: int) -> None:
        self._show(tokens=count)

    def sampled(self) -> None:
        self._made += 1
        self._show()

    def judged(self, verdict: Verdict) -> None:
        self._judged += 1
        self._passed += verdict is Verdict.PASSED
        self._show(1)

    def _show(self, count: int = 0, *, tokens: int = 0) -> None:
        if self._meter is not None:
            self._meter.advance(count, tokens=tokens, note=self._note())

    def _note(self) -> str:
        return f"{self._made} made, {self._passed}/{self._judged} passed"


def summary(result: EvalResult) -> Group:
    """Return the whole report of a result."""
    return Group(_scores(result), _by_difficulty(result), _verdicts(result), _facts(result))


def reading(name: str) -> AbstractContextManager[object]:
    """Show on a terminal that a set is being read: one with gigabytes of hidden tests takes a minute."""
    return screen(stderr=True).status(f"reading {name}")


def remarks(chosen: ProblemSet) -> list[str]:
    """Return a line for each thing that is judged differently from what the set's reader would expect."""
    lines = []
    if chosen.left_out:
        lines.append(
            f"left out, because interactive problems are not supported: {', '.join(chosen.left_out)}"
        )
    several = [problem.question_id for problem in chosen.problems if problem.checker is not None]
    if several:
        named = ", ".join(several[:12]) + (" …" if len(several) > 12 else "")
        lines.append(f"judged by a checker: {named}")
    return lines


class GradeProgress(Meter):
    """Shows the programs judged and passed so far."""

    def __init__(self, console: Screen, total: int) -> None:
        super().__init__(console, "", total, unit="judged", every_s=PLAIN_EVERY_S)
        self._passed = 0

    def add(self, one: Grade) -> None:
        """Count one grade."""
        self._passed += one.verdict is Verdict.PASSED
        self.advance(1, note=f"{self._passed} passed")


def graded(problems: ProblemSet, grades: Sequence[Grade]) -> Group:
    """Return scores and verdicts of programs that existed already."""
    results, at = scores(problems, grades)
    missing = sum(one.verdict is Verdict.INFRASTRUCTURE for one in grades)
    state = f" (incomplete: {missing} have no verdict)" if missing else ""
    table = Table(title=f"{len(grades)} programs for {len(results)} problems of {problems.name}{state}")
    for name in ("score", "value  [95 % interval]", "problems"):
        table.add_column(name)
    for score in at:
        table.add_row(f"pass@{score.k}", percent(score), str(score.problems))
    return Group(table, _counted(Counter(one.verdict for one in grades)))


def warned(text: str) -> Text:
    """Return a warning as a line."""
    return Text.assemble(("warning:", "yellow"), f" {text}")


def percent(score: PassAtK) -> str:
    """Format a score with its interval."""
    if not score.problems:
        return "no verdict"
    return f"{score.value:6.1%}  [{score.low:.1%}, {score.high:.1%}]"


def _scores(result: EvalResult) -> Table:
    state = f" ({result.incomplete})" if result.incomplete else ""
    table = Table(title=f"{result.set_name}, {result.model}{state}", title_justify="left")
    for name in ("score", "value  [95 % interval]", "problems"):
        table.add_column(name)
    for score in result.pass_at:
        table.add_row(f"pass@{score.k}", percent(score), str(score.problems))
    return table


def _by_difficulty(result: EvalResult) -> Table | str:
    groups = by_difficulty(result.problems)
    if len(groups) < 2:
        return ""
    table = Table("difficulty", "problems", *(f"pass@{score.k}" for score in result.pass_at))
    for name, problems in groups.items():
        table.add_row(name, str(len(problems)), *(percent(pass_at(problems, s.k)) for s in result.pass_at))
    return table


def _verdicts(result: EvalResult) -> Table:
    return _counted(result.verdicts)


def _counted(counts: Counter[Verdict]) -> Table:
    table = Table("verdict", "samples", "share")
    total = counts.total()
    for verdict in Verdict:
        if counts[verdict]:
            table.add_row(verdict.value, str(counts[verdict]), f"{counts[verdict] / max(1, total):.1%}")
    return table


def _facts(result: EvalResult) -> str:
    lines = [
        f"{len(result.problems)} problems × {result.n} samples, {result.made} of them made now; "
        f"preset {result.preset}",
        f"{result.completion_tokens} tokens, {result.cut} samples cut at the length limit; "
        f"generation {result.generate_s:.1f} s, judging {result.judge_s:.1f} s",
        *_more_facts(result),
        f"files: {result.folder}",
        *result.notes,
    ]
    if result.incomplete:
        lines.append(f"{result.incomplete}: the judge failed on them. Give the same command again.")
    return "\n".join(lines)


def _more_facts(result: EvalResult) -> list[str]:
    lines = []
    if result.repair:
        lines.append(
            f"up to {result.repair} repair turns: {result.repaired} samples were asked again; tokens count all turns"
        )
    if result.cost_usd:
        lines.append(f"cost ${result.cost_usd:.4f}")
    return lines


def sets_table(rows: Sequence[SetFacts]) -> str:
    """Return a paragraph for each set: what is here, and where to get what is not. Names and paths are long."""
    return "\n".join("\n  ".join(line for line in _set_lines(row) if line) for row in rows)


def _set_lines(row: SetFacts) -> list[str]:
    if not row.problems:
        return [row.name, row.fault or f"not here: {row.get}", f"licence {row.licence}", str(row.path or "")]
    count = f"{row.problems} problems, {row.tests} tests ({'/'.join(row.kinds)})"
    left_out = f"; {row.unsupported} interactive ones are left out" if row.unsupported else ""
    dates = f"contests {row.first} to {row.last}" if row.first else "no dates"
    groups = "; ".join(filter(None, (_listed(row.difficulties), _listed(row.platforms))))
    return [row.name, count + left_out, f"{dates}; {groups}", f"licence {row.licence}", str(row.path)]


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts if name != "unknown")


def months_of(row: SetFacts) -> str:
    """Return the number of problems by month, for --start and --end."""
    return f"{row.name} by month: " + ", ".join(f"{month} {count}" for month, count in row.months)


def by_month(found: Contamination) -> Group:
    """Return scores by month, before and after the training cutoff."""
    table = Table("contests of", "problems", "pass@1  [95 % interval]", f"before {found.cutoff}")
    for month in found.months:
        side = {True: "yes", False: "no", None: "partly"}[month.seen]
        table.add_row(f"{month.first:%Y-%m}", str(month.score.problems), percent(month.score), side)
    for name, score in (("up to the cutoff", found.before), ("after it", found.after)):
        table.add_row(name, str(score.problems), percent(score) if score.problems else "", "")
    undated = f"{found.undated} problems have no date and are on neither side" if found.undated else ""
    return Group(table, sentence(found), undated)

"""The served tools' answers that are data, and the text of each. All are bounded in length.

A client gets both: the fields as structured content, and `text()` for clients that show models text. The classes have
no slots, since the SDK would take their descriptors for defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forklock.agent.driving.tools.excerpts import MAX_CHARS, clip, clip_middle, page
from forklock.tools.contract import Diagnostic, DiagnosticsAnswer, LookupAnswer, TestFailure, TestReport
from forklock.tools.testing.run import Comparison

MAX_ITEMS = 30
FAILURE_CHARS = 700
MAX_FAILURES = 10
NAMED_TESTS = 20


def lookup_text(answer: LookupAnswer, offset: int = 0, limit: int = MAX_CHARS) -> str:
    """Formats a look-up: locations with their code, or text, from line `offset`."""
    parts = [
        f"{p.path}:{p.line} {p.name_path}".rstrip() + f"\n{p.snippet}".rstrip() for p in answer.locations
    ]
    body = page("\n".join([*parts, answer.text]).strip(), offset, limit)
    return "\n".join(
        part for part in (body or "nothing", f"({answer.detail})" if answer.detail else "") if part
    )


# --- diagnostics -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    line: int
    severity: str
    code: str
    message: str
    symbol: str
    source: str


@dataclass(frozen=True)
class Diagnostics:
    answer: str
    """`clean`, `found`, `timed out` or `unavailable`."""
    items: list[Finding]
    more: int
    """Findings left out."""
    detail: str

    @classmethod
    def of(cls, answer: DiagnosticsAnswer, offset: int = 0) -> Diagnostics:
        items = sorted(answer.items, key=lambda item: item.severity != "error")  # stable
        shown = [_finding(item) for item in items[offset : offset + MAX_ITEMS]]
        more = max(0, len(items) - offset - len(shown))
        return cls(answer.freshness.value, shown, more, answer.detail)

    def text(self) -> str:
        lines = [f"{f.line}: {f.severity} [{f.code or f.source}] {f.message}" for f in self.items]
        more = [f"… {self.more} more: ask `diagnostics` with `offset`"] if self.more else []
        detail = f" ({self.detail})" if self.detail else ""
        return "\n".join([self.answer + detail, *lines, *more])


def _finding(item: Diagnostic) -> Finding:
    return Finding(item.line, item.severity, item.code, clip(item.message, 400), item.symbol, item.source)


# --- edits -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EditAnswer:
    applied: bool
    path: str
    message: str
    """Why it was refused; "" where it was applied."""
    diff: str
    would_be: str
    """Refused for syntax: the text around the fault as the edit would have made it."""
    new_diagnostics: Diagnostics | None
    """What the servers report for the file now and did not report when they started. None: no server reads it."""
    uncovered: str = ""
    """For a rename: the places that it does not cover, or `complete`."""

    def text(self) -> str:
        if not self.applied:
            return f"refused: {self.message}"
        found = f"\nnew diagnostics: {self.new_diagnostics.text()}" if self.new_diagnostics else ""
        covered = f"\n{self.uncovered}" if self.uncovered else ""
        return f"applied\n{self.diff}{found}{covered}" if self.diff else f"changes nothing{found}"


@dataclass(frozen=True)
class TidyAnswer:
    applied: bool
    diff: str
    """The changes of the formatter and of safe lint fixes; "" for none."""

    def text(self) -> str:
        return self.diff or "nothing to tidy"


# --- tests -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FailedTest:
    test: str
    message: str
    places: list[str]
    """`path:line function`, the innermost last."""


@dataclass(frozen=True)
class TestAnswer:
    status: str
    """`passed`, `failed`, `not collected`, `timed out`, `out of memory` or `not started`."""
    command: str
    passed: int
    failed: int
    failures: list[FailedTest]
    fixed: list[str]
    """Failed in the last run of this command and pass now."""
    broken: list[str]
    """Passed in the last run of this command and do not now."""
    output: str
    """The command's output, where no report of single failures explains the status."""
    exit_code: int | None
    seconds: float
    sandbox: str

    __test__ = False

    def text(self) -> str:
        head = (
            f"{self.status}: {self.passed} passed, {self.failed} failed in {self.seconds} s [{self.command}]"
        )
        failures = [
            "\n".join([f"FAILED {one.test}", *(f"  at {place}" for place in one.places), one.message])
            for one in self.failures
        ]
        rest = self.failed - len(self.failures)
        parts = [
            head,
            *failures,
            f"… {rest} more failures" if rest > 0 else "",
            f"fixed: {', '.join(self.fixed)}" if self.fixed else "",
            f"broken: {', '.join(self.broken)}" if self.broken else "",
            self.output,
        ]
        return "\n".join(part for part in parts if part)


def test_answer(report: TestReport, change: Comparison | None, command: str, sandbox: str) -> TestAnswer:
    explained = bool(report.failures) or report.status == "passed"
    return TestAnswer(
        status=report.status.value,
        command=command,
        passed=len(report.passed),
        failed=len(report.failures),
        failures=[_failed(failure) for failure in report.failures[:MAX_FAILURES]],
        fixed=_some(change.fixed) if change else [],
        broken=_some(change.broken) if change else [],
        output="" if explained else clip_middle(report.output, MAX_CHARS // 2),
        exit_code=report.exit_code,
        seconds=round(report.wall_s, 1),
        sandbox=sandbox,
    )


def _failed(failure: TestFailure) -> FailedTest:
    places = [f"{frame.path}:{frame.line} {frame.function}".rstrip() for frame in failure.frames[-5:]]
    return FailedTest(failure.test_id, clip_middle(failure.message, FAILURE_CHARS), places)


def _some(names: Sequence[str]) -> list[str]:
    more = [f"… {len(names) - NAMED_TESTS} more"] if len(names) > NAMED_TESTS else []
    return [*names[:NAMED_TESTS], *more]

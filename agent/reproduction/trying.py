"""Tries written tests: each in a fork of its own, twice, and once more traced.

In: the text of an answer. Out: a `TestTried` for each of its tests. A test runs in the sandbox like any command, so one
that means harm reaches neither the network nor the user's files; one that changes the repository's files is rejected.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from forklock.agent.asking import RankedPlace
from forklock.agent.log import RunLog, TestTried
from forklock.agent.reproduction.places import Site
from forklock.agent.reproduction.verdict import Finding, Verdict, judge
from forklock.sandbox import Sandbox
from forklock.tools.contract import EditRefused, ReplaceFile, TestReport
from forklock.tools.edits.apply import apply_edit
from forklock.tools.languages.forms.form import WrittenTest
from forklock.tools.testing.run import run_tests
from forklock.tools.testing.spectrum import trace_tests

_DIFFED = re.compile(r'^diff --git (?:"?a/)(?P<path>.+?)"? (?:"?b/).*$', re.MULTILINE)
_LEFTOVERS = ("__pycache__/", ".pytest_cache/", ".hypothesis/", ".forklock-report-")
"""Parts of paths that runners and interpreters leave behind by themselves."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Tries tests on the code as it is. May be used from several threads at once."""

    base: Sandbox
    log: RunLog
    site: Site
    ranking: Sequence[RankedPlace]
    statement: str
    timeout_s: float
    """For one run of a test."""

    def of(self, sample: int, test: WrittenTest) -> TestTried:
        """What becomes of one test."""
        finding, entered = self._find(test)
        return TestTried(
            sample=sample,
            name=test.name,
            verdict=finding.verdict.value,
            detail=self.log.store(finding.detail),
            source=self.log.store(test.source),
            digest=digest_of(test),
            message=finding.message,
            entered=sorted(f"{path}:{line}" for path, line in entered),
            reach=round(self._reach(entered), 4),
        )

    def equal(self, sample: int, test: WrittenTest, tried: TestTried) -> TestTried:
        """What becomes of a test that equals one that was tried, but for its name."""
        source = self.log.store(test.source)
        return tried.model_copy(
            update={"at": time.time(), "sample": sample, "name": test.name, "source": source}
        )

    def rejected(self, sample: int, verdict: Verdict, detail: str, source: str = "") -> TestTried:
        """An answer that holds no test that could be tried."""
        return TestTried(
            sample=sample,
            name="",
            verdict=verdict.value,
            detail=self.log.store(detail),
            source=self.log.store(source),
        )

    def _find(self, test: WrittenTest) -> tuple[Finding, set[tuple[str, int]]]:
        if test.replaces:
            return Finding(Verdict.REPLACES, test.replaces), set()
        first = self._run(test)
        if first.verdict is not Verdict.KEPT:
            return first, set()
        second = self._run(test)
        if (second.verdict, second.message) != (first.verdict, first.message):
            return Finding(
                Verdict.FLAKY, f"first: {first.message}\nthen: {second.message or second.verdict}"
            ), set()
        entered = self._entered(test)
        if entered is not None and not entered:
            return Finding(Verdict.UNREACHED, first.detail), set()
        return first, entered or set()

    def _run(self, test: WrittenTest) -> Finding:
        with self.base.fork() as fork:
            try:
                apply_edit(fork.root, ReplaceFile(path=self.site.path, source=test.source))
            except EditRefused as refused:
                return Finding(Verdict.SYNTAX, refused.message)
            report = self.report(fork)
            finding = judge(report, test, self.site.path, self.statement)
            if finding.verdict is Verdict.KEPT and (changed := self._changed(fork)):
                return Finding(Verdict.WRITES, ", ".join(changed[:3]))
            return finding

    def report(self, fork: Sandbox) -> TestReport:
        """The report of the test file that stands in a fork."""
        return run_tests(fork, self.site.command, timeout_s=self.timeout_s, cwd=self.site.cwd)

    def _changed(self, fork: Sandbox) -> list[str]:
        """Files that differ from the repository's, but for the test and for what runners leave behind."""
        paths = (match["path"] for match in _DIFFED.finditer(fork.diff()))
        return [p for p in paths if p != self.site.path and not any(part in p for part in _LEFTOVERS)]

    def _entered(self, test: WrittenTest) -> set[tuple[str, int]] | None:
        """Functions of the repository that the test enters; None where the runner does not tell."""
        with self.base.fork() as fork:
            apply_edit(fork.root, ReplaceFile(path=self.site.path, source=test.source))
            spectrum = trace_tests(fork, self.site.command, timeout_s=3 * self.timeout_s, cwd=self.site.cwd)
        if spectrum is None:
            return None
        return {
            (path, line)
            for trace in spectrum.traces
            if trace.failed
            for path, lines in trace.entered.items()
            for line in lines
            if path != self.site.path
        }

    def _reach(self, entered: set[tuple[str, int]]) -> float:
        """The share of the suspicion that lies on definitions which the test enters."""
        whole = sum(one.score for one in self.ranking)
        hit = sum(
            one.score
            for one in self.ranking
            if one.place.symbol is not None
            and any(
                path == one.place.path and one.place.symbol.start_line <= line <= one.place.symbol.end_line
                for path, line in entered
            )
        )
        return hit / whole if whole else 0.0


def digest_of(test: WrittenTest) -> str:
    """Equal for tests that differ in their names alone."""
    name = test.name.rpartition("::")[2]
    text = re.sub(rf"\b{re.escape(name)}\b", "test", test.source)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

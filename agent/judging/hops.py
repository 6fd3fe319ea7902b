"""The deterministic hops of one candidate: edit → duplicate? → diagnose → test → regression.

They cost the model nothing. A candidate lives in its own fork of the workspace; `Gauntlet.judge` is
called from several threads at once. Faults of the sandbox raise; everything a candidate can do wrong is
a `Ruling`.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.agent.asking.prompts import failure_text
from forklock.agent.contract import Action, Hop, Place, Ruling
from forklock.agent.judging.guard import Cheated, Check, Guard
from forklock.agent.judging.patches import apply_patch
from forklock.agent.judging.pins import Memory
from forklock.agent.repo import apply_diff
from forklock.sandbox import Sandbox
from forklock.tools.contract import EditRefused, Freshness, TestReport, TestStatus, ToolFault
from forklock.tools.edits.apply import AppliedEdit
from forklock.tools.edits.tidy import format_text, lint_fix
from forklock.tools.languages.known import language_of
from forklock.tools.testing.run import compare, is_solved

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel


def program_key(edits: list[AppliedEdit]) -> str:
    """Two candidates with one key are the same program: comments and layout aside, in languages that are known."""
    parts: list[str] = []
    for edit in sorted(edits, key=lambda edit: edit.path):
        parts.append(f"{edit.path}\0{_normal(edit.path, edit.after)}")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _normal(path: str, text: str) -> str:
    return language_of(path).program_words(text)


@dataclass(slots=True)
class Gauntlet:
    """Judges candidates against one base workspace.

    `base` is never written here. `seen` maps program keys to (step, index) over the whole run.
    """

    base: Sandbox
    task: Check
    regression: Check | None
    intel: Intel | None
    verified: bool = True
    """False: the task has no check that fails now, so that no candidate can be called solved."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    agreement: dict[tuple[int, int], int] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    """What the run's verdicts have found out."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _guard: Guard | None = None

    @property
    def guard(self) -> Guard:
        """What candidates may not touch, as the base has it."""
        with self._lock:
            if self._guard is None:
                checks = [check for check in (self.task, self.regression) if check is not None]
                self._guard = Guard.of(self.base, checks)
            return self._guard

    def judge(self, step: int, index: int, place: Place, action: Action) -> Ruling:
        """Run one candidate through the hops."""
        began = time.monotonic()

        def ruling(hop: Hop, reason: str, **more: object) -> Ruling:
            return Ruling(
                step=step, index=index, place=place.label, hop=hop, reason=reason,
                seconds=time.monotonic() - began, **more,  # type: ignore[arg-type]
            )  # fmt: skip

        with self.base.fork() as fork:
            try:
                edits = self._apply(fork, action)
            except EditRefused as refused:
                return ruling(Hop.EDIT, refused.message)
            program = program_key(edits)
            twin = self._claim(edits, program, (step, index), is_rollout=bool(action.patch))
            if twin is not None:
                return ruling(Hop.DUPLICATE, twin, program=program)
            diff = fork.diff() + action.tests
            left_out = None if action.patch else self._left_out(edits, diff)
            if left_out is not None:
                return ruling(
                    Hop.EDIT, f"git ignores {left_out}: it would be no part of the change", program=program
                )
            found = (
                [] if action.patch else self._new_diagnostics(edits)
            )  # of one file, beside the others as they were
            facts: dict[str, object] = {"program": program, "diff": diff, "new_diagnostics": len(found)}
            try:
                after = self.guard.run(fork, self.task)
            except Cheated as cheated:
                return ruling(Hop.EDIT, str(cheated), **facts)
            broken = compare(self.task.before, after).broken
            facts |= {
                "tests_passed": len(after.passed),
                "tests_failed": len(after.failures),
                "broken": len(broken),
            }
            if not self._passes(after):
                hop = Hop.DIAGNOSE if after.status is TestStatus.NOT_COLLECTED and found else Hop.TESTS
                return ruling(hop, _why(after, found, fork), **facts)
            try:
                lost = self._regressions(action)
            except Cheated as cheated:
                return ruling(Hop.EDIT, str(cheated), **facts)
            if lost:
                return ruling(
                    Hop.REGRESSION,
                    "passed before, fails now: " + ", ".join(lost[:5]),
                    **facts | {"broken": len(lost)},
                )
            if not self.verified:
                return ruling(Hop.UNVERIFIED, "breaks nothing; no check tells more", **facts)
            return ruling(Hop.SOLVED, "the task's checks pass", **facts)

    def _passes(self, after: TestReport) -> bool:
        if self.verified:
            return is_solved(self.task.before, after)
        before = self.task.before
        return after.status in (before.status, TestStatus.PASSED) and not compare(before, after).broken

    def _apply(self, fork: Sandbox, action: Action) -> list[AppliedEdit]:
        if action.patch:
            return [_saved(fork.root, one) for one in apply_patch(self.guard, fork.root, action.patch)]
        return [_saved(fork.root, self.guard.apply(fork.root, edit)) for edit in action.edits]

    def _left_out(self, edits: list[AppliedEdit], diff: str) -> str | None:
        """A file that was changed, and that the diff does not show: what is tested would not be what is taken."""
        changed = [edit.path for edit in edits if edit.before != edit.after]
        missing = [path for path in changed if path.isascii() and not _shows(diff, path)]
        if not missing:
            return None
        base = self.base.diff()  # an edit may also take an earlier one back
        return next((path for path in missing if not _shows(base, path)), None)

    def remember(self, program: str, me: tuple[int, int], *, is_rollout: bool = False) -> None:
        """Take note of a candidate that an earlier sitting of the run judged.

        Args:
            is_rollout: it is a tree of a rollout, whose earlier trees are no other samples.
        """
        with self._lock:
            first = self.seen.setdefault(program, me)
            if first != me and not (is_rollout and first[0] == me[0]):
                self.agreement[first] = self.agreement.get(first, 1) + 1

    def _claim(
        self, edits: list[AppliedEdit], program: str, me: tuple[int, int], *, is_rollout: bool
    ) -> str | None:
        """Take the program for `me`; the reason where it is not new."""
        if all(_normal(edit.path, edit.before or "") == _normal(edit.path, edit.after) for edit in edits):
            return "changes nothing"
        self.remember(program, me, is_rollout=is_rollout)
        first = self.seen[program]
        if first == me or (is_rollout and first[0] == me[0]):  # the same rollout, with other tests of its own
            return None
        return f"same program as candidate {first[0]}.{first[1]}"

    def _new_diagnostics(self, edits: list[AppliedEdit]) -> list[str]:
        if self.intel is None:
            return []
        found: list[str] = []
        for edit in edits:
            answer = self.intel.new_diagnostics(edit.path, edit.after)
            if answer.freshness is Freshness.FOUND:
                found += [f"{d.path}:{d.line}: {d.message}" for d in answer.items if d.severity == "error"]
        return found

    def _regressions(self, action: Action) -> list[str]:
        """What the suite lost, in a fork in which nothing has run yet."""
        lost: set[str] = set()
        if self.regression is not None:
            with self.base.fork() as fork:
                self._apply(fork, action)
                after = self.guard.run(fork, self.regression)
            lost.update(compare(self.regression.before, after).broken)
        return sorted(lost | self._failing_own_tests(action))

    def _failing_own_tests(self, action: Action) -> set[str]:
        """Tests that fail only once the model's own new tests are there: the change is taken with them."""
        if not action.tests:
            return set()
        suite = self.regression or self.task
        with self.base.fork() as fork:
            self._apply(fork, action)
            apply_diff(fork.root, action.tests)
            after = suite.run(fork)
        known = {failure.test_id for failure in suite.before.failures}
        found = {failure.test_id for failure in after.failures} - known
        found.update(compare(suite.before, after).broken)
        if after.status not in (TestStatus.PASSED, TestStatus.FAILED, suite.before.status):
            found.add(f"{after.status.value} with the new tests")
        return found


def _saved(root: Path, one: AppliedEdit) -> AppliedEdit:
    """The edit as an editor would have saved it."""
    if one.after == one.before or (not one.after.isascii() and not _is_unicode(one.after)):
        return one
    if not (root / one.path).is_file():
        return one  # it was removed
    polished = polish(root, one.path, one.before, one.after)
    if polished == one.after:
        return one
    (root / one.path).write_text(polished, encoding="utf-8", newline="")
    return AppliedEdit(path=one.path, before=one.before, after=polished)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _shows(diff: str, path: str) -> bool:
    return f" b/{path}\n" in diff or f'"b/{path}"' in diff or f"\n+++ b/{path}\t" in diff


def _why(after: TestReport, found: list[str], fork: Sandbox) -> str:
    """Why the checks did not pass, without the paths of a fork that is gone by tomorrow."""
    head = {
        TestStatus.TIMED_OUT: "the check ran out of time (an endless loop?)",
        TestStatus.OUT_OF_MEMORY: "the check ran out of memory",
    }.get(after.status, "")
    lines = [head, *found[:3], failure_text(after)]
    text = "\n".join(line for line in lines if line)[:2000]
    return text.replace(f"{fork.root}/", "").replace(f"{fork.workdir}/", "")


def polish(root: Path, path: str, before: str | None, after: str) -> str:
    """Lints and formats `after` as an editor does on saving; returns it unchanged where that cannot be done.

    Diffs stay small: a file is formatted when it was formatted before the edit, and only lint findings that the edit
    brought are fixed. A missing ruff is no reason to stop a run.
    """
    try:
        fixed = lint_fix(path, before, after, root=root)
        return format_text(path, before, fixed, root=root)
    except ToolFault:
        return after

"""What keeps a candidate from its judge: edits are refused, and trees are sealed before and after the tests run.

In: the base workspace and the checks. Out: applied edits, reports of runs that nothing tampered with. The first half is
a kindness to the model, which is told at once; the seals are what "solved" rests on.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from forklock.sandbox import Sandbox
from forklock.tools.contract import Edit, EditRefused, TestReport
from forklock.tools.edits.apply import AppliedEdit, apply_edit
from forklock.tools.frozen import Entry, Frozen, Judge, Sealer, broken_in_use, broken_seals, frozen_of
from forklock.tools.frozen.runner_files import is_settings
from forklock.tools.paths import resolve
from forklock.tools.testing.run import run_tests


@dataclass(frozen=True, slots=True)
class Check:
    """A command and what it said of the untouched workspace."""

    command: str
    before: TestReport
    timeout_s: float
    cwd: str = "."
    """The folder below the workspace that it runs in."""
    is_own: bool = False
    """It runs tests that the candidate brings: in a project from nothing, where nothing judges yet."""

    def run(self, sandbox: Sandbox) -> TestReport:
        return run_tests(sandbox, self.command, timeout_s=self.timeout_s, cwd=self.cwd)


class Cheated(Exception):
    """The tests ran, and something that judges them is not as it was."""


@dataclass(slots=True)
class Guard:
    """Keeps candidates from what judges them: before an edit, and by seals before and after the tests run."""

    base: Sandbox
    frozen: Frozen
    sealer: Sealer
    seal: dict[str, Entry]
    """The entries of the workspace before any candidate."""
    _own: dict[str, set[str]] = field(default_factory=dict)
    """By command: frozen files that its run changes by itself."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, base: Sandbox, checks: list[Check]) -> Guard:
        if any(check.is_own for check in checks):
            frozen = Frozen(nothing=True)
        else:
            frozen = frozen_of(base.root, [Judge(check.command, check.before, check.cwd) for check in checks])
        sealer = Sealer(frozen)
        return cls(base, frozen, sealer, sealer.take(base.root))

    def apply(self, root: Path, edit: Edit) -> AppliedEdit:
        """
        Raises:
            EditRefused: it does not fit, or would touch what judges it.
        """
        path = self.require_editable(root, edit.path)
        one = apply_edit(root, edit)
        found = AppliedEdit(path, one.before, one.after)  # where a link leads
        self.require_kept(found, edit.path)
        return found

    def require_editable(self, root: Path, path: str) -> str:
        """Return where a path leads, links followed.

        Raises:
            EditRefused: it leaves the workspace, or what is there judges the task.
        """
        target = resolve(root, path)
        real = target.relative_to(root.resolve()).as_posix()
        refusal = self.frozen.refusal(path, real, new=not target.exists())
        if refusal is not None:
            raise EditRefused(refusal)
        return real

    def require_kept(self, one: AppliedEdit, name: str) -> None:
        """Refuse a change of those parts of a file that judge, where the file itself may be edited.

        Raises:
            EditRefused: it changes them.
        """
        before = None if one.before is None else one.before.encode("utf-8", "surrogatepass")
        after = one.after.encode("utf-8", "surrogatepass")
        if (before is not None or is_settings(one.path)) and self.frozen.parts_of(
            one.path, before
        ) != self.frozen.parts_of(one.path, after):
            what = "settings of the tests" if is_settings(one.path) else "a test"
            raise EditRefused(f"{what} in {name} would change: tests are read-only here")
        if self.frozen.ends_early(one.before or "", one.after):
            raise EditRefused(
                f"{name} would end the program by itself, and its exit code judges: what judges is read-only here"
            )

    def run(self, fork: Sandbox, check: Check) -> TestReport:
        """The check's report.

        Raises:
            Cheated: something that judges was changed, by the edit or while the tests ran.
        """
        before = self.sealer.take(fork.root)
        changed = broken_seals(self.seal, before)
        if changed:
            raise Cheated(_told(changed))
        report = check.run(fork)
        changed = broken_in_use(self.frozen, before, self.sealer.take(fork.root))
        if changed and changed.keys() - self._changed_by_itself(check):
            raise Cheated(f"while the tests ran, {_told(changed)}")
        return report

    def _changed_by_itself(self, check: Check) -> set[str]:
        """Frozen files that a run on the workspace as it was changes, too. Looked at when it matters."""
        with self._lock:
            if check.command not in self._own:
                with self.base.fork() as fork:
                    before = self.sealer.take(fork.root)
                    check.run(fork)
                    found = broken_in_use(self.frozen, before, self.sealer.take(fork.root))
                self._own[check.command] = set(found)
            return self._own[check.command]


def _told(changed: dict[str, str]) -> str:
    some = "; ".join(f"{path} {what}" for path, what in list(changed.items())[:3])
    return f"{some}: tests and what runs them are read-only here"

"""One bug's sandbox for `bench/right_corpus.py`: which candidates pass, and what the verdict says of them.

The verdict is given as the loop gives it: by `give_verdict`, with a real gauntlet, forks of a real sandbox and a real
log. Only the model is missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from right_subjects import Subject
from right_versions import passing_versions

from forklock.agent.contract import Limits, Ruling, Task
from forklock.agent.judging.baseline import Baseline, check_timeout
from forklock.agent.judging.guard import Check
from forklock.agent.judging.hops import Gauntlet
from forklock.agent.judging.spend import Gathering, Spend
from forklock.agent.judging.verdict import Bench, Verdict, give_verdict
from forklock.agent.log import RunLog, VerdictGiven
from forklock.agent.log.recorded import Recorded
from forklock.agent.repo import apply_diff
from forklock.sandbox import Sandbox, open_sandbox, workspace_policy

TEST_S = 20.0
"""Seconds for one run of a check, at most; buggy programs that never end take all of them."""
TRIALS_S = 1200.0
"""Seconds for finding out which proposals of a bug pass."""


@dataclass
class Court:
    """An opened bug."""

    subject: Subject
    root: Path
    """The repository with the bug."""
    base: Sandbox
    task: Task
    gauntlet: Gauntlet
    log: RunLog

    @property
    def buggy(self) -> str:
        return (self.root / self.subject.task.file).read_text(encoding="utf-8")

    def passing(self, texts: Sequence[str]) -> list[str]:
        """The diffs of texts of the bug's file that pass the check and the suite; "" for those that do not."""
        path = self.subject.task.file
        commands = [self.task.test_command, *filter(None, [self.task.regression_command])]
        found = []
        with self.base.fork() as fork:
            versions = [{path: text} for text in texts]
            passed = passing_versions(fork, versions, commands, run_s=TEST_S, timeout_s=TRIALS_S)
            for text, one in zip(texts, passed, strict=True):
                (fork.root / path).write_text(text, encoding="utf-8")
                found.append(fork.diff() if one else "")
        return found

    def verdict(self, drawn: Sequence[tuple[Ruling, int]]) -> tuple[Verdict, str, str]:
        """The verdict on candidates with their number of samples, the question, and the name of the chosen one."""
        gathering = Gathering(Limits(), Spend(lambda _: None), lambda: 0.0)
        gathering.passing = [ruling for ruling, _ in drawn]
        gauntlet = replace(self.gauntlet, agreement={(r.step, r.index): samples for r, samples in drawn})
        bench = Bench(self.base, self.task, gauntlet, self.log, Recorded(), TEST_S)
        given: list[VerdictGiven] = []
        self.log.listen(lambda event: given.append(event) if isinstance(event, VerdictGiven) else None)
        found = give_verdict(bench, 1, gathering, final=True)
        self.log._listeners.clear()
        return found, self.log.text(given[-1].question), given[-1].name

    def wrong(self, diff: str, folder: Path) -> str:
        """What is wrong with the repository after a diff; "" where nothing is."""
        self.subject.task.make(folder)
        apply_diff(folder, diff)
        return self.subject.wrong(folder)


@contextlib.contextmanager
def opened(subject: Subject, folder: Path) -> Iterator[Court]:
    """Make the repository of a bug below `folder`, and open it."""
    root = folder / "repo"
    subject.task.make(root)
    log = RunLog(folder / "run")
    log.open_for_append()
    task = Task(subject.task.statement, root, subject.task.test, subject.suite)
    try:
        with open_sandbox(root, workspace_policy(root), backend="bubblewrap") as base:
            baseline = Baseline(task, base, log, Recorded(), TEST_S)
            before = baseline.of(task.test_command, "task")
            check = Check(task.test_command, before, check_timeout(before, TEST_S))
            yield Court(subject, root, base, task, Gauntlet(base, check, baseline.regression(), None), log)
    finally:
        log.close()

"""Judges a repair: do the tests pass, and does it behave as the original?

In: a task and a diff against its broken code. Out: a `Verdict`. The original code is the oracle. Passing the tests is
not enough: original and repair answer further inputs, those of tests that reach the changed functions and variants of
them. Inputs that the original answers in two ways by itself do not count. Whatever a diff does to tests and to what
runs them is undone first. This is evidence and no proof, as `forklock.tools.behaviour` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.repo import apply_diff
from forklock.agent.repo.guard import RunnerRules, RunnerState
from forklock.sandbox import BackendName, Sandbox
from forklock.sandbox.linux.nofollow import read_inside
from forklock.selfdistill.tasks.checks import TEST_S, behaviour, questions
from forklock.selfdistill.tasks.contract import Ground, RepairTask, TaskFault, Verdict
from forklock.selfdistill.tasks.ground import Suite, tree_digest
from forklock.selfdistill.tasks.making import Wish, ground_digest, open_state
from forklock.selfdistill.tasks.store import TaskStore
from forklock.tools.behaviour.ask import Answer, Behaviour, Plan
from forklock.tools.behaviour.compare import Difference, same_answer
from forklock.tools.edits.hunks import hunks_of
from forklock.tools.languages.known import language_of, symbols
from forklock.tools.testing.run import run_tests

_MOST_BYTES = 16 << 20


@contextmanager
def open_judge(
    repo: Path, ground_name: str | None = None, backend: BackendName = "auto"
) -> Iterator[TaskJudge]:
    """Open the judge of the tasks of one state of a repository.

    Args:
        ground_name: the state, as `RepairTask.ground` has it; None takes that of the last tasks.

    Raises:
        TaskFault: no tasks were made, or that state cannot be had any more.
    """
    store = TaskStore.of(repo)
    ground = store.current() if ground_name is None else store.ground(ground_name)
    if ground is None:
        raise TaskFault(f"{store.root} has no such tasks", fix=f"make some: `selfdistill tasks {store.root}`")
    wish = Wish(ground.command, ground.cwd, seed=ground.seed, backend=backend, allow_dirty=True)
    with open_state(store.root, wish, ground.commit) as (base, _):
        suite = Suite(ground.command, ground.cwd, ground.commit)
        if ground_digest(tree_digest(base.root, suite), suite, wish.seed) != ground.digest:
            raise TaskFault(
                f"{store.root} is not as its tasks were made on: files that git does not hold have changed",
                fix="make tasks again: `selfdistill tasks`",
            )
        yield TaskJudge(base, ground)


@dataclass(slots=True)
class TaskJudge:
    """Judges repairs of tasks of one ground. May be called from several threads."""

    base: Sandbox
    ground: Ground
    _originals: dict[tuple[str, ...], Behaviour | None] = field(default_factory=dict)

    def __call__(self, task: RepairTask, diff: str) -> Verdict:
        """Judge a diff against the task's broken code.

        Raises:
            TaskFault: the task is of another state of the repository.
            SandboxFault: the sandbox failed; that is no verdict.
        """
        if task.ground != self.ground.digest:
            raise TaskFault(
                f"{task.task_id} was made on another state of the repository", fix="open its own judge"
            )
        with self.base.fork() as fork:
            apply_diff(fork.root, task.bug)
            places = [*task.places, *_changed_functions(fork.root, diff)]
            state = RunnerState.of(fork.root, RunnerRules.of(task.command, task.test_files))
            try:
                apply_diff(fork.root, diff)
            except AgentFault as fault:
                return Verdict("fails", f"the diff does not apply: {fault.message}")
            state.restore()
            self._put_back(fork, task)
            if self._same_program(fork, [hunk.path for hunk in hunks_of(diff + "\n" + task.bug)]):
                return Verdict("right", "it is the original program")
            reason = self._failure(fork, task, own_plugins=state.own_plugins)
            if reason:
                return Verdict("fails", reason)
            return self._compared(fork, tuple(dict.fromkeys(places)))

    def _put_back(self, fork: Sandbox, task: RepairTask) -> None:
        """Restore the files that judge, however the diff changed them."""
        for path in dict.fromkeys((*self.ground.frozen, *task.test_files)):
            content = read_inside(self.base.root, path, _MOST_BYTES)
            if content is not None and read_inside(fork.root, path, _MOST_BYTES) != content:
                target = fork.root / path
                target.unlink(missing_ok=True)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)

    def _same_program(self, fork: Sandbox, paths: list[str]) -> bool:
        for path in dict.fromkeys(paths):
            before, after = (read_inside(root, path, _MOST_BYTES) for root in (self.base.root, fork.root))
            if before is None or after is None:
                return False
            words = language_of(path).program_words
            if words(before.decode("utf-8", "replace")) != words(after.decode("utf-8", "replace")):
                return False
        return bool(paths)

    def _failure(self, fork: Sandbox, task: RepairTask, *, own_plugins: bool) -> str:
        """Return why the tests do not pass; "" where they do."""
        limit = max(30.0, 10 * task.seconds + 2 * TEST_S)
        report = run_tests(
            fork, task.command, timeout_s=limit, test_timeout_s=TEST_S, cwd=task.cwd, own_plugins=own_plugins
        )
        wanted = (*task.fail_to_pass, *task.pass_to_pass)
        missing = [test for test in wanted if test not in report.passed]
        if not missing:
            return ""
        failed = {failure.test_id: failure.message for failure in report.failures}
        said = failed.get(missing[0], report.status.value).strip().split("\n")[0]
        return f"{len(missing)} tests do not pass, such as {missing[0]}: {said[:200]}"

    def _compared(self, fork: Sandbox, places: tuple[str, ...]) -> Verdict:
        plan = questions(self.base.root, self.ground, places)
        original = self._original(places, plan) if plan is not None else None
        candidate = behaviour(fork, plan) if plan is not None and original is not None else None
        if original is None or candidate is None:
            return Verdict("unknown", "the tests pass; how it behaves on further inputs cannot be asked here")
        common = [key for key in original.answers if key in candidate.answers]
        apart = [key for key in common if not same_answer(original.answers[key], candidate.answers[key])]
        if not common:
            return Verdict("unknown", "the tests pass; no further input could be compared")
        if apart:
            first = min(apart, key=lambda key: _simple(original.answers[key]))
            said = str(Difference(original.answers[first], candidate.answers[first]))
            return Verdict("differs", f"on {len(apart)} of {len(common)} further inputs: {said}", len(common))
        return Verdict("right", f"it answers {len(common)} further inputs as the original does", len(common))

    def _original(self, places: tuple[str, ...], plan: Plan) -> Behaviour | None:
        """Return the original's answers that come out the same twice."""
        if places not in self._originals:
            runs = []
            for _ in range(2):
                with self.base.fork() as fork:
                    runs.append(behaviour(fork, plan))
            one, other = runs
            self._originals[places] = None if one is None or other is None else Behaviour({
                key: answer for key, answer in one.answers.items()
                if answer.ending != "timed out" and key in other.answers and _equal(answer, other.answers[key])
            })  # fmt: skip
        return self._originals[places]


def _equal(one: Answer, other: Answer) -> bool:
    return (one.ending, one.value) == (other.ending, other.value)


def _simple(answer: Answer) -> tuple[bool, int, str]:
    return not answer.exact, len(answer.input), answer.input


def _changed_functions(root: Path, diff: str) -> Iterator[str]:
    """Yield the functions of a tree that a diff against it changes."""
    for hunk in hunks_of(diff):
        raw = read_inside(root, hunk.path, _MOST_BYTES)
        known = symbols(hunk.path, raw.decode("utf-8", "replace")) if raw is not None else []
        last = hunk.start + max(0, len(hunk.old) - 1)
        for one in known:
            if one.kind in ("function", "method") and one.start_line <= last and hunk.start <= one.end_line:
                yield f"{hunk.path}:{one.name_path}"

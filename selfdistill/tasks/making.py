"""Makes tasks: proposes bugs, proves each in the sandbox, drops those that are the same, and stores the rest.

In: a repository, kinds, a limit. Out: tasks in the store, and a `Tally`. The proposals are a deterministic list; what
was tried is not tried again, so a killed command goes on where it was. Several are proven at once; their results are
taken in the order of the list, so that of two tasks that are the same always the same one is kept.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from forklock.agent.repo import copy_workspace, inspect_repo, require_clean
from forklock.agent.repo.checkout import check_out
from forklock.models.paths import cache_dir
from forklock.sandbox import BackendName, Policy, Sandbox, open_sandbox, scratch, workspace_policy
from forklock.sandbox.files.jsonl import JsonLines
from forklock.sandbox.terminal.progress import Meter, Progress
from forklock.selfdistill.tasks.checks import Proven, program_of, prove
from forklock.selfdistill.tasks.contract import Bug, Ground, RepairTask, Tally, TaskFault, digest_of
from forklock.selfdistill.tasks.ground import Suite, survey, tree_digest
from forklock.selfdistill.tasks.kinds import history
from forklock.selfdistill.tasks.kinds.kind import Kind, Work
from forklock.selfdistill.tasks.splits import draw, not_in_one_split
from forklock.selfdistill.tasks.statement import statement
from forklock.selfdistill.tasks.store import VALID, TaskStore, Tried, append
from forklock.tools.edits.hunks import turned_around
from forklock.tools.languages.known import doc, find_symbol


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for."""

    command: str
    """Runs the whole suite."""
    cwd: str = "."
    limit: int | None = None
    """Valid tasks, those that are there included."""
    seed: int = 0
    backend: BackendName = "auto"
    workers: int = field(default_factory=lambda: max(1, os.cpu_count() or 1))
    allow_dirty: bool = False


def make(store: TaskStore, kinds: Sequence[Kind], wish: Wish, show: Progress) -> Tally:
    """Make tasks until the limit is met or every proposal was tried.

    Raises:
        TaskFault: the suite does not run or is red, or another process makes tasks here.
        AgentFault: no repository, or it has uncommitted changes.
        SandboxFault, ToolFault: from below; the command can be given again.
    """
    with store.making() as lines, open_state(store.root, wish) as (base, commit):
        ground = _ground(store, base, Suite(wish.command, wish.cwd, commit), wish, show)
        maker = _Maker(store, lines, base, Work(store.root, base.root, ground, wish.seed), wish, show)
        maker.run([kind for kind in kinds if not kind.later])
        maker.run([kind for kind in kinds if kind.later])
        return maker.tally()


@contextmanager
def open_state(root: Path, wish: Wish, commit: str | None = None) -> Iterator[tuple[Sandbox, str]]:
    """Open a sandbox on a copy of the repository: as it stands, or as of a commit. Gives the copy's commit, too.

    Raises:
        AgentFault: no repository, no commit in it, or uncommitted changes.
    """
    state = inspect_repo(root)
    if state.head is None:
        raise TaskFault(
            f"{root} has no commit yet",
            fix="commit the code: tasks are kept with the commit they are made on",
        )
    if commit is None and not wish.allow_dirty:
        require_clean(state)
    cache_dir().mkdir(parents=True, exist_ok=True)
    with scratch() as folder:
        base = folder / "base"
        if commit is None or (commit == state.head and not state.changed):
            copy_workspace(root, base)
        else:
            check_out(root, commit, base)
        policy = workspace_policy(root, Policy(), cwd=wish.cwd)
        with open_sandbox(base, policy, backend=wish.backend, shown_at=root) as sandbox:
            yield sandbox, commit or state.head


def ground_digest(tree: str, suite: Suite, seed: int) -> str:
    """Return the digest of a ground, from that of its tree."""
    return digest_of(tree, suite.commit, str(seed))


def _ground(store: TaskStore, base: Sandbox, suite: Suite, wish: Wish, show: Progress) -> Ground:
    digest = ground_digest(tree_digest(base.root, suite), suite, wish.seed)
    known = store.ground(digest)
    if known is not None:
        store.make_current(known)
        return known
    ground = survey(base, suite, digest, show.say)
    show.say("history: looking for past repairs")
    repairs = list(history.propose(Work(store.root, base.root, ground, wish.seed)))
    ground = draw(ground, repairs, seed=wish.seed).model_copy(update={"seed": wish.seed})
    store.save_ground(ground)
    return ground


@dataclass(frozen=True, slots=True)
class _Trial:
    """A proposal that is being proven."""

    key: str
    bug: Bug
    program: str
    future: Future[tuple[Proven | str, float]]


@dataclass(slots=True)
class _Maker:
    store: TaskStore
    lines: JsonLines[Tried]
    base: Sandbox
    work: Work
    wish: Wish
    show: Progress
    known: dict[str, Tried] = field(default_factory=dict)
    """What was tried on this ground, by key."""
    programs: set[str] = field(default_factory=set)
    """Digests of the programs that were tried."""
    alike: dict[tuple[str, ...], list[RepairTask]] = field(default_factory=lambda: defaultdict(list))
    """Tasks by the tests that fail."""

    def __post_init__(self) -> None:
        ground = self.work.ground
        self.known = {row.key: row for row in self.lines.rows if row.ground == ground.digest}
        self.programs = {row.program for row in self.known.values() if row.program}
        for task in self.store.tasks(ground):
            self._remember(task)

    def run(self, kinds: Sequence[Kind]) -> None:
        """Try the proposals of some kinds, which take turns."""
        if not kinds or self._enough():
            return
        names = ", ".join(kind.name for kind in kinds)
        todo = [(key, bug) for key, bug in self._proposals(kinds) if key not in self.known]
        self.show.say(f"{names}: {len(todo)} proposals to try, {len(self.work.valid)} tasks there")
        limit = self.wish.limit
        total = len(todo) if limit is None else min(len(todo), limit - len(self.work.valid))
        with self.show.meter("proven" if limit is None else "tasks", total) as meter:
            self._all(todo, meter)

    def _proposals(self, kinds: Sequence[Kind]) -> list[tuple[str, Bug]]:
        found: dict[str, Bug] = {}
        for turn in zip_longest(*(kind.propose(self.work) for kind in kinds)):
            for bug in turn:
                if bug is not None:
                    words = (word for file in sorted(bug.files.items()) for word in file)
                    found.setdefault(digest_of(self.work.ground.digest, *words), bug)
        return list(found.items())

    def _all(self, todo: Sequence[tuple[str, Bug]], meter: Meter) -> None:
        waiting: deque[_Trial] = deque()
        rest = iter(todo)
        with ThreadPoolExecutor(self.wish.workers, thread_name_prefix="prove") as pool:
            try:
                while not self._enough():
                    while len(waiting) < 2 * self.wish.workers and (one := next(rest, None)) is not None:
                        waiting.append(self._submit(pool, *one))
                    if not waiting:
                        break
                    valid = self._settle(waiting.popleft())
                    note = f"{len(self.work.valid)} tasks of {len(self.known)} tried"
                    meter.advance(int(valid) if self.wish.limit is not None else 1, note=note)
            finally:
                for trial in waiting:
                    trial.future.cancel()

    def _submit(self, pool: ThreadPoolExecutor, key: str, bug: Bug) -> _Trial:
        """Start a proof. A program that was tried already is not run."""
        program = digest_of(program_of(bug))
        known = program in self.programs
        self.programs.add(program)
        return _Trial(key, bug, program, pool.submit(self._try, bug, "the same program" if known else ""))

    def _try(self, bug: Bug, reason: str) -> tuple[Proven | str, float]:
        began = time.monotonic()
        ground = self.work.ground
        found = reason or not_in_one_split(bug, ground) or prove(self.base, ground, bug)
        return found, time.monotonic() - began

    def _settle(self, trial: _Trial) -> bool:
        """Store what came of a proposal. Returns whether it is a new task."""
        bug, (found, seconds) = trial.bug, trial.future.result()
        task: RepairTask | None = None
        if isinstance(found, Proven):
            task = self._task(bug, found)
            twin = self._twin(task, found.answers)
            if twin is not None:
                found, task = f"the same as a {twin.kind} task", None
            else:
                self.store.add(task, found.answers)
                self._remember(task)
        row = Tried(
            key=trial.key, ground=self.work.ground.digest, program=trial.program, kind=bug.kind, source=bug.source,
            seconds=round(seconds, 3), outcome=VALID if task is not None else str(found),
            task_id=task.task_id if task is not None else "",
        )  # fmt: skip
        append(self.lines, row)
        self.known[trial.key] = row
        return task is not None

    def _task(self, bug: Bug, proven: Proven) -> RepairTask:
        ground, fix = self.work.ground, turned_around(proven.diff)
        split = ground.split[bug.places[0]]  # all of its places have the same (`not_in_one_split`)
        docs = [self._doc(place) for place in bug.places]
        return RepairTask(
            task_id=f"{bug.kind}-{digest_of(ground.digest, proven.diff)[:12]}", kind=bug.kind, ground=ground.digest,
            base_commit=ground.commit, split=split, places=bug.places,
            statement=statement(bug, proven.failures, docs, fix), bug=proven.diff, fix=fix, command=proven.command,
            cwd=ground.cwd, fail_to_pass=proven.fail_to_pass, pass_to_pass=proven.pass_to_pass,
            test_files=proven.test_files, source=bug.source, when=bug.when, seconds=round(proven.seconds, 3),
        )  # fmt: skip

    def _doc(self, place: str) -> str:
        path, _, name = place.partition(":")
        text = self.work.text(path) or ""
        symbol = find_symbol(path, text, name)
        return doc(text, symbol) if symbol is not None else ""

    def _twin(self, task: RepairTask, answers: dict[str, str]) -> RepairTask | None:
        """Return a task whose broken code fails the same tests and answers the same further inputs in the same way."""
        for other in self.alike[task.fail_to_pass]:
            if other.task_id == task.task_id:
                continue
            theirs = self.store.answers(other)
            common = theirs.keys() & answers.keys()
            if all(theirs[key] == answers[key] for key in common) and (common or not (theirs or answers)):
                return other
        return None

    def _remember(self, task: RepairTask) -> None:
        if task not in self.alike[task.fail_to_pass]:
            self.alike[task.fail_to_pass].append(task)
            self.work.valid.append(task)

    def _enough(self) -> bool:
        return self.wish.limit is not None and len(self.work.valid) >= self.wish.limit

    def tally(self) -> Tally:
        """Count everything that was tried on this ground."""
        return tally_of(list(self.known.values()))


def tally_of(rows: Sequence[Tried]) -> Tally:
    """Count tries by kind and by reason."""
    tally = Tally()
    for row in rows:
        tally.seconds.setdefault(row.kind, []).append(row.seconds)
        if row.outcome == VALID:
            tally.valid[row.kind] = tally.valid.get(row.kind, 0) + 1
        else:
            tally.rejected[row.outcome] = tally.rejected.get(row.outcome, 0) + 1
    return tally

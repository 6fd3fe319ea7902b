"""Writes the tests of a run that was given no check: asks, tries, chooses.

In: a sandbox on the code as it is, the statement, an engine. Out: a `TestsChosen`, which is in the log, as are all
answers and what became of each test; a resumed run takes them from there. One batch of samples is asked for, and each
answer's tests are tried while the engine makes the others.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from forklock.agent.asking import Material, RankedPlace, read_text
from forklock.agent.contract import Lane
from forklock.agent.judging.hops import polish
from forklock.agent.judging.spend import BudgetReached, Spend
from forklock.agent.judging.wide import plan_calls
from forklock.agent.log import ChosenTest, RunLog, StepStarted, TestsChosen, TestTried
from forklock.agent.log.answers import Journal
from forklock.agent.log.recorded import Recorded
from forklock.agent.reproduction.asking import Requests
from forklock.agent.reproduction.choosing import Group, Kept, Selection, select
from forklock.agent.reproduction.places import Site, example_text
from forklock.agent.reproduction.trying import Trial, digest_of
from forklock.agent.reproduction.verdict import Verdict, plain_name
from forklock.models.contract import Completion, Decoding, Engine
from forklock.models.web.deadline import OutOfTime, within
from forklock.sandbox import Sandbox
from forklock.tools.contract import EditRefused, ReplaceFile, ToolFault
from forklock.tools.edits.apply import apply_edit
from forklock.tools.languages.forms.form import WrittenTest
from forklock.tools.languages.known import language_of

_ANSWER_TOKENS = 384
"""Tokens of one answer, at most. Of what is cut off, the tests that are complete are taken."""
_STEP = 0
"""The loop's steps begin with 1."""


@dataclass(slots=True)
class TestWriter:
    """Writes the tests of one run."""

    __test__ = False

    base: Sandbox
    """The code as it is; only forks of it are changed."""
    material: Material
    site: Site
    ranking: Sequence[RankedPlace]
    engine: Engine
    log: RunLog
    recorded: Recorded
    spend: Spend
    timeout_s: float
    seconds_left: float | None = None
    on_tokens: Callable[[int], None] = lambda _n: None
    _trial: Trial = field(init=False)
    _tried: dict[tuple[int, str], TestTried] = field(default_factory=dict)
    _running: dict[str, Future[TestTried]] = field(default_factory=dict)
    """Each different test that is tried, by digest."""
    _equal: list[tuple[int, WrittenTest]] = field(default_factory=list)
    """Tests that another sample wrote as well: they are not run again."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, width: int, decoding: Decoding) -> TestsChosen:
        """Asks for `width` answers, and chooses among their tests. What a limit cuts short is left out.

        Raises:
            ModelFault, SandboxFault, ToolFault, LogFault: from below; the run can be resumed.
        """
        self._trial = Trial(self.base, self.log, self.site, self.ranking, self.material.task, self.timeout_s)
        lanes, samples = Requests(self.material, self.site).lanes(width, self.ranking)
        most = min(decoding.max_tokens, _ANSWER_TOKENS)
        whole = decoding.model_copy(update={"n": samples, "stop": ("\n```\n",), "max_tokens": most})
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="try") as pool:
            try:
                with within(self.seconds_left):
                    self._ask(lanes, whole, pool)
            except (BudgetReached, OutOfTime):
                pass
            except BaseException:
                for future in self._running.values():
                    future.cancel()
                raise
            known = {digest: future.result() for digest, future in self._running.items()}
        for sample, test in self._equal:
            self._settle(self._trial.equal(sample, test, known[digest_of(test)]))
        chosen = self._chosen(
            select(self._kept(), self.material.task), len({sample for sample, _ in self._tried})
        )
        self.log.append(chosen)
        return chosen

    # -- answers ----------------------------------------------------------------------------------------

    def _ask(self, lanes: list[Lane], decoding: Decoding, pool: ThreadPoolExecutor) -> None:
        journal = Journal(self.log, _STEP, self.engine)
        missing: dict[int, list[int]] = {}
        answers = self.recorded.answers
        known = {
            (lane.number, sample): answers.get((journal.digest(lane, decoding), sample))
            for lane in lanes
            for sample in range(decoding.n)
        }
        if not any(known.values()):
            self.log.append(StepStarted(step=_STEP, requests=len(lanes), samples=len(known)))
        for lane in lanes:
            for sample in range(decoding.n):
                completion = known[lane.number, sample]
                if completion is None:
                    missing.setdefault(lane.number, []).append(sample)
                else:
                    self._admit(lane, lane.number * decoding.n + sample, completion, pool)
        for call in plan_calls(
            lanes, missing, decoding, shares_prompts=self.engine.identity.engine != "hosted"
        ):
            for lane in {lane.number: lane for slots in call.slots for lane, _ in slots}.values():
                journal.asked(lane, decoding)
                self.spend.prompt_tokens += lane.prompt_tokens
            slots = call.slots

            def on_completion(
                request: int, sample: int, completion: Completion, slots: list[list[tuple[Lane, int]]] = slots
            ) -> None:
                lane, number = slots[request][sample]
                self.spend.take(completion)
                journal.answered(lane, number, completion, decoding)
                self._admit(lane, lane.number * decoding.n + number, completion, pool)

            self.engine.complete(
                call.requests, call.decoding, on_tokens=self._count, on_completion=on_completion
            )

    def _count(self, tokens: int) -> None:
        self.on_tokens(tokens)
        outcome = self.spend.check(self.spend)
        if outcome is not None:
            raise BudgetReached(outcome)

    def _admit(self, lane: Lane, sample: int, completion: Completion, pool: ThreadPoolExecutor) -> None:
        reading = lane.read(completion)
        if reading.action is None:
            self._settle(self._trial.rejected(sample, Verdict.NO_TEST, reading.fault))
            return
        edit = reading.action.edits[0]
        source = edit.source if isinstance(edit, ReplaceFile) else ""
        source = self.site.form.completed(source, self._sources())
        tests = self.site.form.tests(source, self.site.own)
        if tests:
            for test in tests:
                self._try(sample, test, pool)
            return
        problem = language_of(self.site.path).check(source)
        verdict = Verdict.SYNTAX if problem else Verdict.NO_TEST
        self._settle(self._trial.rejected(sample, verdict, problem.message if problem else "", source))

    # -- tests ------------------------------------------------------------------------------------------

    def _sources(self) -> list[tuple[str, str]]:
        """Files that a test may have forgotten to import from: the example, and those of the places."""
        root, paths = self.base.root, dict.fromkeys(one.place.path for one in self.ranking)
        modules = [(self.site.module(path), read_text(root / path)) for path in paths]
        return [("", example_text(root, self.site)), *modules]

    def _try(self, sample: int, test: WrittenTest, pool: ThreadPoolExecutor) -> None:
        digest = digest_of(test)
        with self._lock:
            if digest in self._running:
                self._equal.append((sample, test))
            else:
                self._running[digest] = pool.submit(self._run, sample, test)

    def _run(self, sample: int, test: WrittenTest) -> TestTried:
        earlier = self.recorded.tried.get((sample, test.name))
        tried = earlier or self._trial.of(sample, test)
        self._settle(tried)
        return tried

    def _settle(self, tried: TestTried) -> None:
        if (tried.sample, tried.name) not in self.recorded.tried:
            self.log.append(tried)
        with self._lock:
            self._tried[tried.sample, tried.name] = tried

    def _kept(self) -> list[Kept]:
        """In the order of the samples, whatever the order in which they were tried."""
        found = []
        for (sample, name), tried in sorted(self._tried.items()):
            if tried.verdict != Verdict.KEPT:
                continue
            tests = self.site.form.tests(self.log.text(tried.source), self.site.own)
            test = next((one for one in tests if one.name == name), None)
            if test is not None:
                found.append(Kept(sample, test, tried.message, tuple(tried.entered), tried.reach))
        return found

    # -- the choice -------------------------------------------------------------------------------------

    def _chosen(self, selection: Selection, samples: int) -> TestsChosen:
        rejected = Counter(tried.verdict for tried in self._tried.values() if tried.verdict != Verdict.KEPT)
        if selection.dropped:
            rejected[Verdict.CONTRADICTS] += len(selection.dropped)
        counts = {str(reason): number for reason, number in rejected.most_common()}
        groups = selection.groups
        while groups:
            source, names = self._file(groups)
            diff = self._failing_diff(source, [name for name in names if name])
            if diff is not None:
                tests = [_said(group, name) for group, name in zip(groups, names, strict=True) if name]
                doubt = selection.doubt or ("one test alone is its check" if len(tests) == 1 else "")
                return TestsChosen(
                    path=self.site.path, source=self.log.store(source), diff=self.log.store(diff),
                    command=self.site.command, tests=tests, samples=samples, doubt=doubt, rejected=counts,
                )  # fmt: skip
            groups = groups[:-1]
        return TestsChosen(samples=samples, rejected=counts)

    def _file(self, groups: Sequence[Group]) -> tuple[str, tuple[str, ...]]:
        source, names = self.site.form.merged([group.best.test for group in groups])
        return polish(self.base.root, self.site.path, None, source), names

    def _failing_diff(self, source: str, names: Sequence[str]) -> str | None:
        """The diff that adds the file; None where not each of its tests fails in it, as each did alone."""
        with self.base.fork() as fork:
            put_test(fork.root, self.site.path, source)
            diff = fork.diff()
            report = self._trial.report(fork)
        return diff if {plain_name(failure.test_id) for failure in report.failures} == set(names) else None


def _said(group: Group, name: str) -> ChosenTest:
    best = group.best
    expected = "; ".join(f"{one.call} should be {one.value}" for one in best.test.expects[:2])
    happens = best.message.partition("\n")[0]
    return {
        "name": name,
        "samples": len(group.votes),
        "says": f"{expected}: {happens}" if expected else happens,
    }


def put_test(root: Path, path: str, source: str) -> None:
    """Writes a test file into a workspace. The file may be there already, from an earlier sitting.

    Raises:
        ToolFault: it cannot be written there.
    """
    try:
        apply_edit(root, ReplaceFile(path=path, source=source))
    except EditRefused as refused:
        raise ToolFault(f"the test {path} cannot be written: {refused.message}") from refused

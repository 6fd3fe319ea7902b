"""The loop: localise, then a lane: wide steps of repairs, or a model that drives; gate, weigh, stop.

`Run.solve` reads top to bottom: take the baseline, rank the places, then let the lanes work, in the order that the
strategy says, until candidates pass or a limit is met. The repair lane is here, driving in `forklock.agent.driving`.
When candidates pass, the run gathers a few more within a share of its budget, and weighs the evidence: the run ends
*solved* where it says that the chosen one is right, else *in doubt*. A run is a deterministic function of the workspace
and the model's answers; `recorded` holds the answers of an earlier sitting, and its verdicts, so resume and replay are
this same code.

Without a failing check (`Options.verified` False) no candidate is solved: the run takes all its steps and ends
with the change that most samples agree on among those that break nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forklock.agent.asking import (
    LaneMaker,
    Material,
    Protocol,
    RankedPlace,
    ranked_places,
)
from forklock.agent.asking.suspects import TRACE_S, find_suspects, no_place, ranked, recorded_suspects
from forklock.agent.contract import (
    WITH_CHANGE,
    AgentFault,
    Candidate,
    Hop,
    Lane,
    Outcome,
    Ruling,
    Task,
    by_own_test,
)
from forklock.agent.judging.baseline import Baseline, check_timeout, require_failing
from forklock.agent.judging.guard import Check
from forklock.agent.judging.hops import Gauntlet
from forklock.agent.judging.lanes import (  # fmt: skip
    LaneEnd,
    LaneParts,
    OpenLane,
    Situation,
    lanes_for,
    no_lane,
)
from forklock.agent.judging.lanes import Options as Options
from forklock.agent.judging.spend import BudgetReached, Gathering, Spend, limit_met
from forklock.agent.judging.verdict import Bench, Verdict, give_verdict
from forklock.agent.judging.wide import WideStep
from forklock.agent.log import ForksFound, NoteMade, RunEnded, RunLog, StepEnded
from forklock.agent.log.recorded import Recorded
from forklock.models.contract import Decoding, Engine, ModelFault
from forklock.models.web.deadline import OutOfTime, within
from forklock.sandbox import Sandbox
from forklock.tools.contract import EditRefused, TestReport
from forklock.tools.edits.apply import apply_edit

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

_WARMER = 0.15
"""Temperature that each further step adds: the likely candidates have been seen."""

_STUCK_STEPS = 2
"""Steps in a row without a new program or a better tree, after which a run is stuck."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended."""

    outcome: Outcome
    detail: str
    diff: str
    best: Ruling | None
    steps: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    seconds: float
    rollouts: int = 0
    turns: int = 0


@dataclass(slots=True)
class Run:
    """One run on an opened sandbox (`base`), which it may change when a step made progress."""

    task: Task
    options: Options
    engine: Engine
    base: Sandbox
    intel: Intel | None
    log: RunLog
    recorded: Recorded = field(default_factory=Recorded)
    seconds_before: float = 0.0
    """Wall-clock of earlier sittings."""
    spent_before: tuple[int, int] = (0, 0)
    """Prompt and completion tokens of earlier sittings that the log holds."""
    on_tokens: Callable[[int], None] = lambda _n: None
    open_lane: OpenLane = no_lane
    """Makes the drive lane."""
    _began: float = field(default_factory=time.monotonic)
    _best: Ruling | None = None
    _plausible: list[Ruling] = field(default_factory=list)
    """On the best candidates of the steps, where no check can tell more."""
    _gauntlet: Gauntlet | None = None
    _steps: int = 0
    """Wide steps that were begun."""
    _next: int = 1
    """Number of the next wide step or rollout."""
    _at: int = 0
    """Number of the step, or of the lane's first rollout, after which a verdict is given."""
    _rollouts: int = 0
    _turns: int = 0
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _original: Sandbox | None = None
    """The tree as the run began with it; None while `base` still is that tree."""

    def solve(self) -> Report:
        """Work until solved or out of budget; logs every step and the end.

        Raises:
            AgentFault: the checks pass already, or cannot run at all.
            ModelFault, SandboxFault, ToolFault, LogFault: from below; the run can be resumed.
        """
        with self._open:
            return self._solve()

    def _solve(self) -> Report:
        spend = Spend(self._limit, *self.spent_before)
        baseline = Baseline(self.task, self.base, self.log, self.recorded, self.options.test_timeout_s)
        before = baseline.of(self.task.test_command, "task", self.task.cwd)
        try:
            require_failing(self.task, before, self.base, verified=self.options.verified)
        except AgentFault as fault:
            self._end(Outcome.FAULT, fault.message, spend)  # nothing to go on with: no resume
            raise
        baseline.note_missing(before)
        regression = baseline.regression()
        bound = check_timeout(before, self.options.test_timeout_s)
        check = Check(self.task.test_command, before, bound, self.task.cwd, bool(self.task.first_files))
        gauntlet = Gauntlet(self.base, check, regression, self.intel, self.options.verified)
        self._gauntlet = gauntlet
        found = self._rank(before)
        ranking = [one for one in found if gauntlet.guard.frozen.holds(one.place.path) is None]
        gathering = Gathering(self.options.limits, spend, self._seconds)
        try:
            with within(self._seconds_left()):
                return self._lanes(gauntlet, found, ranking, spend, gathering)
        except BudgetReached as reached:
            outcome = reached.outcome
        except OutOfTime:
            outcome = Outcome.SECONDS
        except ModelFault as fault:
            if not gathering.passing:
                raise
            self.log.append(NoteMade(text=f"no more candidates were gathered: {fault.message}"))
            outcome = Outcome.FAULT
        if gathering.passing:
            return self._weigh(gathering, spend)
        return self._end(
            outcome, f"the limit was met in {'rollout' if self._rollouts else 'step'} {self._next - 1}", spend
        )

    def _rank(self, report: TestReport) -> list[RankedPlace]:
        if self.recorded.places is not None:
            return ranked_places(recorded_suspects(self.base.root, self.recorded.places))
        suspects = find_suspects(self.base, self.task, report, min(TRACE_S, check_timeout(report, TRACE_S)))
        self.log.append(ranked(suspects))
        return ranked_places(suspects)

    # -- lanes ----------------------------------------------------------------------------------------

    def _lanes(
        self, gauntlet: Gauntlet, found: list[RankedPlace], ranking: list[RankedPlace], spend: Spend,
        gathering: Gathering,
    ) -> Report:  # fmt: skip
        """Let the lanes work, one after the other, until one brings a verdict or a limit is met."""
        now = Situation(
            self.task.statement, gauntlet.task.before, bool(ranking), self.options.drive.drives_well
        )
        end: Report | LaneEnd = LaneEnd(Outcome.NO_PLACE, no_place(found))
        for name in lanes_for(self.options.strategy, now):
            if name == "drive":
                end = self._drive(gauntlet, ranking, spend, gathering)
            elif ranking:
                end = self._steps_until_end(gauntlet, ranking, spend, gathering)
            if isinstance(end, Report):
                return end
        return self._end(end.outcome, end.detail, spend)

    def _drive(
        self, gauntlet: Gauntlet, ranking: list[RankedPlace], spend: Spend, gathering: Gathering
    ) -> Report | LaneEnd:
        self._at = first = self._next
        gathering.closed = first in self.recorded.verdicts
        lane = self.open_lane(
            LaneParts(
                self.task, self.options.limits, self.options.drive, self.options.decoding, self.options.notes,
                self.engine, self._original or self.base, gauntlet, self.intel, self.log, self.recorded, spend,
                gathering, ranking, first, self.on_tokens,
            )
        )  # fmt: skip
        try:
            end = lane.run()
        finally:
            self._next += lane.started
            self._rollouts, self._turns = self._rollouts + lane.started, self._turns + lane.turns
        if gathering.passing:
            return self._weigh(gathering, spend)
        if lane.best is not None and lane.best.hop is Hop.UNVERIFIED:
            self._plausible.append(lane.best)
        return end

    # -- steps ----------------------------------------------------------------------------------------

    def _steps_until_end(
        self, gauntlet: Gauntlet, ranking: list[RankedPlace], spend: Spend, gathering: Gathering
    ) -> Report | LaneEnd:
        report = gauntlet.task.before
        lane_maker = self._lane_maker()
        attempts: list[Candidate] = []
        idle, asked_again = 0, False
        begun, last_step = self._next, self._next + self.options.limits.steps - 1
        for step in range(begun, last_step + 1):
            self._steps, self._at, self._next = self._steps + 1, step, step + 1
            outcome = self._limit(spend)
            if outcome is not None:
                return self._end(outcome, f"the limit was met before step {step}", spend)
            gathering.closed = step in self.recorded.verdicts
            wide = WideStep(
                step, self.engine, gauntlet, self.log, self.recorded, spend, gathering,
                on_tokens=self.on_tokens,
            )  # fmt: skip
            known = len(gauntlet.seen)
            lanes, samples = lane_maker.step(self.options.width, ranking, attempts, report)
            candidates = wide.run(
                lanes, self._decoding(step, step - begun, samples, lanes, lane_maker.material)
            )
            judged = sorted(
                (c for c in candidates if c.ruling is not None),
                key=lambda c: _rank(c.ruling, gauntlet),
                reverse=True,
            )
            best = judged[0] if judged else None
            if gathering.passing:
                last = asked_again or step == last_step
                verdict = self._verdict(gathering, final=last)
                self._end_step(step, best, False, wide)
                if verdict.final:
                    return self._conclude(verdict, spend)
                asked_again = True
                continue
            if best is not None and best.ruling is not None and best.ruling.hop is Hop.UNVERIFIED:
                self._plausible.append(best.ruling)
            advanced = self._advance(best, gauntlet)
            self._end_step(step, best, advanced, wide)
            attempts = [c for c in judged if c.ruling is not None and c.ruling.hop is Hop.TESTS][:4]
            idle = 0 if advanced or len(gauntlet.seen) > known else idle + 1
            if idle >= _STUCK_STEPS:
                return LaneEnd(Outcome.STUCK, f"{idle} steps brought nothing new")
        return LaneEnd(Outcome.STEPS, f"all {self.options.limits.steps} steps were taken")

    def _lane_maker(self) -> LaneMaker:
        options = self.options
        material = Material(
            self.engine, Protocol(options.protocol), self.base.root, self.intel, self.task.statement, options.notes,
            options.prompt_tokens, options.decoding.max_tokens,
            forks=dict(self.recorded.forks), on_forks=self._note_forks,
        )  # fmt: skip
        return LaneMaker(material, options.styles)

    def _note_forks(self, place: str, digest: str, written: list[str]) -> None:
        self.log.append(ForksFound(place=place, digest=digest, written=written))

    def _decoding(
        self, step: int, taken: int, samples: int, lanes: Sequence[Lane], material: Material
    ) -> Decoding:
        base = self.options.decoding
        longest = max(material.count(material.code(lane.place)) for lane in lanes)
        return base.model_copy(
            update={
                "n": samples,
                "temperature": min(base.temperature + _WARMER * taken, 2.0) if base.temperature else 0.0,
                "seed": None if base.seed is None else base.seed + 1000 * step,
                "stop": material.protocol.stop(),
                # Twice the code it replaces is enough for a repair; what is longer has gone astray.
                "max_tokens": min(base.max_tokens, 2 * longest + 256),
            }
        )

    def _advance(self, best: Candidate | None, gauntlet: Gauntlet) -> bool:
        """Build the next step on the best candidate's tree if more checks pass and none broke."""
        if best is None or best.ruling is None or best.action is None or best.ruling.broken:
            return False
        so_far = len(gauntlet.task.before.passed) if self._best is None else self._best.tests_passed
        if best.ruling.hop is not Hop.TESTS or best.ruling.tests_passed <= so_far:
            return False
        if self._original is None:
            self._original = self._open.enter_context(self.base.fork())
        for edit in best.action.edits:
            try:
                apply_edit(self.base.root, edit)
            except EditRefused:
                return False
        self._best = best.ruling
        if self.intel is not None:
            self.intel.sync([edit.path for edit in best.action.edits])
            self.intel.set_baseline()
        return True

    def _end_step(self, step: int, best: Candidate | None, advanced: bool, wide: WideStep) -> None:
        index = best.index if best else None
        self.log.append(
            StepEnded(step=step, best=index, advanced=advanced, discarded_tokens=wide.discarded_tokens)
        )

    # -- the verdict on candidates that pass -------------------------------------------------------------

    def _verdict(self, gathering: Gathering, *, final: bool) -> Verdict:
        """Weigh the evidence for the candidates that pass, or take what an earlier sitting found."""
        assert self._gauntlet is not None
        bench = Bench(
            self._original or self.base, self.task, self._gauntlet, self.log, self.recorded,
            self.options.test_timeout_s,
        )  # fmt: skip
        return give_verdict(bench, self._at, gathering, final=final)

    def _weigh(self, gathering: Gathering, spend: Spend) -> Report:
        """End with the best of the candidates that pass."""
        if not self.task.first_files:
            return self._conclude(self._verdict(gathering, final=True), spend)
        self._best = best = max(gathering.passing, key=lambda one: (one.tests_passed, -len(one.diff)))
        tests = "1 test" if best.tests_passed == 1 else f"{best.tests_passed} tests"
        return self._end(
            Outcome.IN_DOUBT, f"a new project, whose only check is the {tests} that it brings", spend
        )

    def _conclude(self, verdict: Verdict, spend: Spend) -> Report:
        self._best = verdict.ruling
        return self._end(Outcome.SOLVED if verdict.sure else Outcome.IN_DOUBT, verdict.why, spend)

    # -- limits and the end -----------------------------------------------------------------------------

    def _limit(self, spend: Spend) -> Outcome | None:
        return limit_met(self.options.limits, spend, self._seconds())

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self._began

    def _seconds_left(self) -> float | None:
        limit = self.options.limits.seconds
        return None if limit is None else limit - self._seconds()

    def _end(self, outcome: Outcome, detail: str, spend: Spend) -> Report:
        if (
            self._plausible
            and self._gauntlet is not None
            and outcome not in (Outcome.SOLVED, Outcome.IN_DOUBT)
        ):
            gauntlet = self._gauntlet
            self._best = max(self._plausible, key=lambda one: _rank(one, gauntlet))
            outcome, detail = (
                Outcome.UNVERIFIED,
                f"breaks nothing, but no check tells whether it is right; {detail}",
            )
        if outcome is Outcome.SOLVED and self.task.own_tests is not None:
            outcome, detail = by_own_test(self.task.own_tests, detail)
        made = outcome in WITH_CHANGE and self._best is not None
        diff = self._best.diff if made and self._best else self.base.diff()
        report = Report(
            outcome, detail, diff, self._best, self._steps, spend.prompt_tokens, spend.completion_tokens,
            spend.cost_usd, self._seconds(), self._rollouts, self._turns,
        )  # fmt: skip
        self.log.append(
            RunEnded(
                outcome=outcome.value, detail=detail, diff=self.log.store(diff), steps=self._steps,
                prompt_tokens=spend.prompt_tokens, completion_tokens=spend.completion_tokens,
                cost_usd=spend.cost_usd, seconds=report.seconds, rollouts=self._rollouts, turns=self._turns,
            )
        )  # fmt: skip
        return report


def _rank(ruling: Ruling | None, gauntlet: Gauntlet) -> tuple[int, ...]:
    assert ruling is not None
    return ruling.rank(gauntlet.agreement.get((ruling.step, ruling.index), 1))

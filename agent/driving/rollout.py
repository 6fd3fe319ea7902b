"""One rollout: turns of asking the model, carrying out its calls and telling it what came of them, until it ends.

In: the run's ground and a toolbox on a fork of its own. Out: what the judge says of its tree, and why it ended. `take`
may be called from a thread: a rollout shares with others only what may be shared.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from forklock.agent.contract import Action, Hop, Limits, Place, Ruling, Task
from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.history import History
from forklock.agent.driving.prompt import Examples
from forklock.agent.driving.stops import Watch
from forklock.agent.driving.toolbox import Toolbox
from forklock.agent.driving.turn_log import TurnLog
from forklock.agent.judging.guard import Check
from forklock.agent.judging.hops import Gauntlet
from forklock.agent.judging.lanes import DriveOptions
from forklock.agent.judging.rulings import from_log, logged
from forklock.agent.judging.spend import Gathering
from forklock.agent.log import RolloutEnded, RunLog
from forklock.agent.log.recorded import Recorded
from forklock.agent.log.redact import redact
from forklock.models.calls.contract import Call, CallFormat
from forklock.models.contract import Completion, Decoding, FinishReason, Request
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.edits.hunks import split_off
from forklock.tools.testing.run import compare, is_solved

_MOST_CALLS = 8
"""Calls of one answer that are carried out."""
_AFTER_PASSING = 3
"""Turns that a rollout may go on after its check has passed, for tests and documentation."""
_SENT_BACK = 2
"""Times that a judge's objection is told to the model, at most."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all rollouts of a run share."""

    task: Task
    limits: Limits
    options: DriveOptions
    form: CallFormat
    decoding: Decoding
    gauntlet: Gauntlet
    """On the tree as the run began with it."""
    gathering: Gathering
    log: RunLog
    recorded: Recorded
    count: Callable[[str], int]

    @property
    def check(self) -> Check:
        return self.gauntlet.task


@dataclass(slots=True)
class Rollout:
    """One rollout. `why` says why it ended; "" while it may go on."""

    number: int
    """Rollouts are numbered like steps, and after the repair lane's steps."""
    ground: Ground
    box: Toolbox
    history: History
    turns: TurnLog
    opened: ExitStack
    """What is closed at its end: its toolbox and its fork."""
    watch: Watch
    shown: Examples
    """What calls may look like, for a model whose calls cannot be read, or that reads on and on."""
    turn: int = 0
    why: str = ""
    ruling: Ruling | None = None
    """What the judge said last."""
    harness_seconds: float = 0.0
    """Wall-clock that was neither the model's nor a tool's nor the judge's."""
    _passing: str = ""
    """The diff of its tree when the check passed last."""
    _passed_at: int = 0
    """The turn since which the check has passed; 0 while it fails."""
    _failures: str = ""
    _sent_back: int = 0
    _diff: str | None = None

    # -- asking -----------------------------------------------------------------------------------------

    def request(self) -> Request | None:
        """The next request; None where the rollout has to end, since its window or its turns are used up."""
        if self.turn >= self.ground.options.turns:
            self.why = f"all {self.turn} turns were taken"
        elif self.history.is_full and not self.history.shrink(self._state()):
            self.why = "the window is full"
        return None if self.why else self.ground.form.request(self.history.messages())

    def _state(self) -> str:
        """What a shrink keeps word for word: the change so far, and what failed last."""
        diff = redact(self.diff)
        parts = [f"# Your change so far\n\n```diff\n{diff.rstrip()}\n```"] if diff else []
        if self._failures:
            parts.append(f"# What failed last\n\n```\n{self._failures}\n```")
        return "\n\n".join(parts)

    @property
    def diff(self) -> str:
        """The rollout's change as it stands."""
        if self._diff is None:
            self._diff = self.box.diff()
        return self._diff

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count what is done inside as the harness's time, but for tools and the judge."""
        began, elsewhere = time.monotonic(), self._elsewhere
        yield
        self.harness_seconds += time.monotonic() - began - (self._elsewhere - elsewhere)

    # -- answers ----------------------------------------------------------------------------------------

    def take(self, completion: Completion, *, is_own: bool = True) -> None:
        """Carry out what the model's answer asks for.

        Args:
            is_own: the text is what the model wrote. False where the log keeps a secret of it back.

        Raises:
            SandboxFault, ToolFault, LogFault: from below.
        """
        self.turn += 1
        if not is_own:
            self.why = "an answer held a secret, which the log does not keep"
            return
        with self.timed():
            self._take(completion)

    def _take(self, completion: Completion) -> None:
        self.history.add_answer(completion.text)
        reading = self.ground.form.parse(completion.text, self.box.tools)
        finished = self._carry_out(reading.calls)
        if reading.fault or not reading.calls:
            self._explain(reading.fault, bool(reading.calls), completion.finish_reason)
        self.why = self.why or self.watch.why
        self._judge_if_due(finished)

    _elsewhere: float = 0.0
    """Seconds in tools and in the judge."""

    def _carry_out(self, calls: tuple[Call, ...]) -> bool:
        """Returns whether the model has finished."""
        for number, call in enumerate(calls[:_MOST_CALLS]):
            answer = self._answer(number, call)
            word = self.watch.called(call, answer)
            text = f"{answer.text}\n\n{word}\n{self._example()}" if word else answer.text
            self.history.add_reply(self.ground.form.answer(call, text), self._brief(call, answer))
            if answer.wrote:
                self._diff, self._passed_at = None, 0
            if answer.report is not None:
                self._note_report(answer.report, answer.text)
            if answer.finished is not None:
                return True
            if self.watch.why:
                break
        return False

    def _answer(self, number: int, call: Call) -> ToolAnswer:
        began = time.monotonic()
        earlier = self.turns.tool_answer(self.turn, number)
        if earlier is None:
            self.turns.called(self.turn, number, call)
        answer = self.box.run(call)
        seconds = time.monotonic() - began
        self._elsewhere += seconds
        if earlier is not None:  # the call was made for what it does to the tree
            self.turns.compare(self.turn, call, earlier, answer)
            return earlier
        answer = _redacted(answer)
        self.turns.tool_answered(self.turn, number, call, answer, seconds)
        return answer

    def _brief(self, call: Call, answer: ToolAnswer) -> str:
        first = next((line.strip() for line in answer.text.splitlines() if line.strip()), "")
        message = self.ground.form.answer(call, f"({first[:160]} … left out)")
        return message.content

    def _note_report(self, report: TestReport, text: str) -> None:
        if self._passes(report):
            self._passing = self.diff
            self._passed_at = self._passed_at or self.turn
            self._failures = ""
        else:
            self._passed_at, self._failures = 0, text

    def _passes(self, report: TestReport) -> bool:
        check = self.ground.check
        if self.ground.gauntlet.verified:
            return is_solved(check.before, report)
        return (
            report.status in (check.before.status, TestStatus.PASSED)
            and not compare(check.before, report).broken
        )

    def _explain(self, fault: str, some: bool, reason: FinishReason) -> None:
        """Say what could not be read, so that the next request is another one."""
        said = fault or "Your answer holds no call of a tool."
        if reason is FinishReason.LENGTH:
            said += " It was cut off at the most that one answer may hold: write less at once."
        if not some:
            self.watch.unreadable()
            said += f"\nA whole call looks like this:\n{self._example()}"
        self.history.add_reply(self.ground.form.answer(None, said), said.partition("\n")[0])

    def _example(self) -> str:
        return self.shown.change if self.watch.has_looked else self.shown.look

    # -- the judge --------------------------------------------------------------------------------------

    def _judge_if_due(self, finished: bool) -> None:
        verified = self.ground.gauntlet.verified
        if finished and not self.diff:
            self.why = self.why or "it finished without a change"
        elif finished:
            self._judge(self.diff, ends=verified and not self._passed_at)
        elif self.why:
            self.close_out()
        elif verified and self._passed_at and self.turn - self._passed_at >= _AFTER_PASSING:
            self._judge(self._passing, ends=False)

    def close_out(self) -> None:
        """Judge the last tree whose check passed, if no judge has seen it."""
        if self._passing and self.ground.gauntlet.verified:
            self._judge(self._passing, ends=True)

    def _judge(self, diff: str, *, ends: bool) -> None:
        """Have a tree judged. What the judge objects to is told to the model, unless the rollout ends with it."""
        began = time.monotonic()
        self.ruling = ruling = self._ruling(diff)
        self._elsewhere += time.monotonic() - began
        self._passing, self._passed_at = "", 0
        if ruling.hop in (Hop.SOLVED, Hop.UNVERIFIED):
            self.ground.gathering.note(ruling)
            self.why = "it passes" if ruling.hop is Hop.SOLVED else "it breaks nothing"
        elif ruling.hop is Hop.DUPLICATE:
            self.why = ruling.reason
        elif ends or self._sent_back >= _SENT_BACK:
            self.why = self.why or f"it finished, and fell at the hop {ruling.hop}"
        else:
            self._sent_back += 1
            self._failures = redact(ruling.reason)
            text = f"The change is not right yet:\n{self._failures}\nRepair it, then finish."
            self.history.add_reply(self.ground.form.answer(None, text), "(The change was not right yet.)")

    def _ruling(self, diff: str) -> Ruling:
        ground = self.ground
        earlier = ground.recorded.rulings.get((self.number, self.turn))
        if earlier is not None:
            if earlier.program:
                ground.gauntlet.remember(earlier.program, (earlier.step, earlier.index), is_rollout=True)
            return from_log(earlier, ground.log)
        judged, tests = split_off(diff, self.box.own_tests)
        action = Action((), patch=judged or tests, tests=tests if judged else "")
        ruling = ground.gauntlet.judge(self.number, self.turn, Place(_label(diff), None), action)
        ground.log.append(logged(ruling, ground.log))
        return ruling

    def end(self) -> None:
        """Log the end, and close what the rollout opened."""
        self.ground.log.append(
            RolloutEnded(
                rollout=self.number, turns=self.turn, why=self.why, diff=self.ground.log.store(self.diff),
                harness_seconds=self.harness_seconds,
            )
        )  # fmt: skip
        self.opened.close()


def _redacted(answer: ToolAnswer) -> ToolAnswer:
    """The answer as the log holds it: what a resumed run tells the model has to be what it was told before."""
    finished = None if answer.finished is None else redact(answer.finished)
    return ToolAnswer(redact(answer.text), answer.kind, answer.wrote, answer.no_op, finished, answer.report)


def _label(diff: str) -> str:
    """The changed files in a few words."""
    files = [line.rpartition(" b/")[2] for line in diff.splitlines() if line.startswith("diff --git ")]
    return files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "") if files else "nothing"

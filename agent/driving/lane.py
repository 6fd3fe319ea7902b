"""The lane in which the model drives: several rollouts at once, each in its own fork, as long as there is budget.

A turn of all rollouts is one call of the engine, so that a local one makes their tokens in one batch and computes what
they share once. As an answer completes, its calls are carried out on a thread. A rollout that ends leaves the rest of
its budget to the next one, which starts afresh: independent tries beat one long try.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forklock.agent.contract import Hop, Outcome, Ruling
from forklock.agent.driving.history import History
from forklock.agent.driving.new_project import NewProject
from forklock.agent.driving.prompt import Brief, examples, system_message, task_message
from forklock.agent.driving.rollout import Ground, Rollout
from forklock.agent.driving.stops import StopRules, Watch
from forklock.agent.driving.toolbox import Toolbox
from forklock.agent.driving.turn_log import TurnLog
from forklock.agent.judging.lanes import LaneEnd
from forklock.agent.judging.spend import BudgetReached, Spend
from forklock.agent.judging.wide import sample_seed
from forklock.agent.log import RolloutStarted
from forklock.models.contract import Completion, Engine, Request
from forklock.sandbox import Sandbox

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

_STUCK_WAVES = 2
"""Waves of rollouts in a row without a new tree, after which the lane is stuck."""


class _Enough(Exception):
    """Enough candidates pass: no more turns are needed."""


@dataclass(slots=True)
class DriveLane:
    """The rollouts of one run."""

    ground: Ground
    engine: Engine
    original: Sandbox
    """The tree as the run began with it; it is only forked."""
    intel: Intel | None
    brief: Brief
    spend: Spend
    first: int
    """Number of the first rollout."""
    on_tokens: Callable[[int], None] = lambda _n: None
    rules: StopRules = field(default_factory=StopRules)
    turns: int = 0
    started: int = 0
    discarded_tokens: int = 0
    best: Ruling | None = None
    """Where no check can tell more: the ruling on the best tree."""
    _live: list[Rollout] = field(default_factory=list)
    _ended: list[str] = field(default_factory=list)
    _trees: set[str] = field(default_factory=set)
    _idle: int = 0
    """Rollouts in a row that brought no new tree."""
    _system: str = ""
    _task: str = ""

    def run(self) -> LaneEnd:
        """Drive until candidates pass, nothing new comes, or all rollouts were made.

        Raises:
            BudgetReached: a limit was met; what had passed by then is noted.
            ModelFault, SandboxFault, ToolFault, LogFault: from below.
        """
        with (
            ExitStack() as opened,
            ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="drive") as pool,
        ):
            try:
                return self._run(opened, pool)
            except _Enough:
                return LaneEnd(Outcome.STEPS, "enough candidates pass")
            finally:
                self._close_out()

    def _run(self, opened: ExitStack, pool: ThreadPoolExecutor) -> LaneEnd:
        wave = self.ground.options.rollouts
        while True:
            while len(self._live) < wave and self._may_start():
                self._live.append(self._start(opened))
            if not self._live:
                if self._idle >= _STUCK_WAVES * wave:
                    return LaneEnd(Outcome.STUCK, f"{self._idle} rollouts brought nothing new")
                return LaneEnd(Outcome.STEPS, f"all {self.started} rollouts ended")
            self._turn(pool)
            self._part(self._live)

    # -- rollouts ---------------------------------------------------------------------------------------

    def _may_start(self) -> bool:
        number = self.first + self.started
        if number in self.ground.recorded.rollouts:
            return True
        if self.started >= self.ground.limits.steps * self.ground.options.rollouts:
            return False
        if self._idle >= _STUCK_WAVES * self.ground.options.rollouts:
            return False
        found = bool(self.ground.gathering.passing) or (
            self.best is not None and self.best.hop is Hop.UNVERIFIED
        )
        return not found or self.started < self.ground.options.rollouts

    def _start(self, opened: ExitStack) -> Rollout:
        ground, number = self.ground, self.first + self.started
        earlier = ground.recorded.rollouts.get(number)
        self.started += 1
        if earlier is not None:
            told = ground.log.text(earlier.told)
        else:  # every other one is told nothing: words can lead astray
            told = "" if self.started % 2 else told_of(self._ended)
            ground.log.append(
                RolloutStarted(
                    rollout=number, told=ground.log.store(told), format=ground.form.name,
                    decoding=ground.decoding.model_dump(mode="json"),
                )
            )  # fmt: skip
        own = opened.enter_context(ExitStack())
        fork = own.enter_context(self.original.fork())
        NewProject(ground.task.first_files).put(fork.root)
        box = own.enter_context(
            Toolbox(
                fork, ground.task, ground.check, self.intel, ground.options, guard=ground.gauntlet.guard,
                may_go_on=lambda: not ground.gathering.over and self.spend.check(self.spend) is None,
            )
        )  # fmt: skip
        shown = examples(self.brief, ground.form, ground.options.edit)
        rollout = Rollout(
            number, ground, box, History(ground.count, self.brief.window),
            TurnLog(number, ground.log, ground.recorded, self.engine.identity), own,
            Watch(self.rules), shown,
        )  # fmt: skip
        self._system = self._system or system_message(ground.form, box.tools)
        self._task = self._task or task_message(self.brief, shown, ground.count)
        rollout.history.begin(self._system, "\n\n".join(part for part in (self._task, told) if part))
        return rollout

    def _part(self, live: Sequence[Rollout]) -> None:
        """Take leave of the rollouts that have ended."""
        for rollout in [one for one in live if one.why]:
            rollout.end()
            self._live.remove(rollout)
            self._ended.append("" if rollout.why == "it passes" else rollout.why)
            new = bool(rollout.diff) and rollout.diff not in self._trees
            self._trees.add(rollout.diff)
            self._idle = 0 if new else self._idle + 1
            found = rollout.ruling
            if found is not None and (self.best is None or found.rank() > self.best.rank()):
                self.best = found

    def _close_out(self) -> None:
        """Judge what passes and was not judged yet, where the lane ends in the middle of rollouts."""
        for rollout in self._live:
            rollout.close_out()

    # -- turns ------------------------------------------------------------------------------------------

    def _turn(self, pool: ThreadPoolExecutor) -> None:
        """One turn of all live rollouts."""
        asked: list[tuple[Rollout, Request, str]] = []
        futures: list[Future[None]] = []
        for rollout in self._live:
            with rollout.timed():
                request = rollout.request()
                digest = rollout.turns.digest(request, self.ground.decoding) if request else ""
                known = rollout.turns.known(digest)
            if request is None:
                rollout.close_out()
            elif known is not None:
                rollout.turns.sent(rollout.history.messages(), rollout.history.tokens)
                futures.append(pool.submit(rollout.take, known[0], is_own=known[1]))
                self.turns += 1
            else:
                asked.append((rollout, request, digest))
        try:
            if asked:
                self._ask(asked, pool, futures)
        finally:
            for future in futures:
                future.result()

    def _ask(
        self, asked: list[tuple[Rollout, Request, str]], pool: ThreadPoolExecutor, futures: list[Future[None]]
    ) -> None:
        if self.ground.gathering.over:
            raise _Enough
        outcome = self.spend.check(self.spend)
        if outcome is not None:
            raise BudgetReached(outcome)
        requests = []
        for rollout, request, digest in asked:
            with rollout.timed():
                tokens, messages = rollout.history.tokens, rollout.history.messages()
                self.spend.prompt_tokens += rollout.turns.asked(rollout.turn + 1, messages, digest, tokens)
                rollout.turns.sent(messages, tokens)
            requests.append(self._seeded(rollout, request))
        running = 0

        def on_tokens(count: int) -> None:
            nonlocal running
            running += count
            self.on_tokens(count)
            if self.ground.gathering.over:
                raise _Enough
            met = self.spend.check(self.spend)
            if met is not None:
                raise BudgetReached(met)

        def on_completion(index: int, _sample: int, completion: Completion) -> None:
            nonlocal running
            running -= completion.completion_tokens
            rollout, _, digest = asked[index]
            self.spend.take(completion)
            with rollout.timed():
                rollout.turns.answered(rollout.turn + 1, digest, completion)
            self.turns += 1
            futures.append(pool.submit(rollout.take, completion))

        try:
            answers = self.engine.complete(
                requests, self.ground.decoding, on_tokens=on_tokens, on_completion=on_completion
            )
        finally:
            self.discarded_tokens += max(0, running)
            self.spend.completion_tokens += max(0, running)
        for (rollout, _, _), samples in zip(asked, answers, strict=True):
            if not samples:
                rollout.why = "no answer came"

    def _seeded(self, rollout: Rollout, request: Request) -> Request:
        """The request with a seed of its own, a function of its place in the run alone."""
        seed = self.ground.decoding.seed
        if seed is None:
            return request
        return request.model_copy(update={"seed": sample_seed(seed, rollout.number, rollout.turn)})


def told_of(ended: Sequence[str]) -> str:
    """What a later rollout is told of earlier ones: how they ended, each way once."""
    ways = list(dict.fromkeys(one for one in ended if one))
    if not ways:
        return ""
    return "# Earlier tries\n\nOthers tried this before and failed:\n" + "\n".join(
        f"- {one}" for one in ways[-4:]
    )

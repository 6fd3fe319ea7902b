"""Runs the loop once more on the answers that a log holds, in a fresh copy, and compares what comes of it.

In: a finished run, the repository at the commit that it began with, and the run's engine, which counts tokens and is
asked nothing. Out: a `Replayed`. Answers are keyed on the digest of the whole request: the first request that the run
did not make ends the replay as a `Diverged`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forklock.agent.contract import AgentFault, Task
from forklock.agent.driving import open_lane
from forklock.agent.driving.new_project import with_first_files
from forklock.agent.log import (
    CandidateRuled,
    Event,
    ModelAsked,
    NoteMade,
    RunEnded,
    RunLog,
    RunStarted,
    TurnAsked,
)
from forklock.agent.log.recorded import Recorded, request_digest
from forklock.agent.log.runs import require_own
from forklock.agent.loop import Run
from forklock.agent.repo import RepoState
from forklock.agent.session.borrowed import BorrowedEngine
from forklock.agent.session.copies import make_copy
from forklock.agent.session.execution import workspace_of
from forklock.agent.session.options import options_from_json
from forklock.agent.session.own_tests import task_with
from forklock.models.contract import (
    Alternative,
    Completion,
    Decoding,
    Engine,
    OnCompletion,
    OnTokens,
    Request,
)
from forklock.models.paths import cache_dir


class Diverged(AgentFault):
    """The loop asked for something that the run did not ask."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay."""

    outcome: str
    same_outcome: bool
    same_diff: bool
    candidates: int
    changed: tuple[str, ...]
    """Candidates that ended at another hop, with both."""

    @property
    def is_same(self) -> bool:
        return self.same_outcome and self.same_diff and not self.changed


def replay(log: RunLog, state: RepoState, engine: Engine) -> Replayed:
    """Replays a run. Nothing is logged, and nothing is left behind.

    Raises:
        Diverged: a request is not the run's.
        AgentFault: the run was adopted or has not ended, or the repository is not as it began with.
    """
    first = require_own(log, state.root)
    events = log.read().events
    end = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
    if end is None:
        raise AgentFault(
            f"run {log.folder.name} has not ended",
            fix=f"agent solve --resume {log.folder.name} goes on with it",
        )
    _require_same_tree(log, first, state)
    options, rest = options_from_json(first.options, log)
    options = replace(
        options, limits=options.limits.model_copy(update={"seconds": None})
    )  # this machine may be slower
    whole = Recorded.of(events, log, engine.identity)
    if rest.tests.written and (whole.chosen is None or not whole.chosen.path):
        raise _tests_alone(log.folder.name)
    # All that tools say is found out anew, but for the words in which a rollout was told: programs print clocks.
    recorded = Recorded(
        answers=whole.answers,
        forks=whole.forks,
        rollouts=whole.rollouts,
        turns=whole.turns,
        calls=whole.calls,
    )
    asked = frozenset(event.digest for event in events if isinstance(event, ModelAsked | TurnAsked))
    cache_dir().mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=cache_dir(), prefix="replay-"))
    again = RunLog(scratch / "log")
    try:
        make_copy(state.root, scratch)
        again.open_for_append()
        again.append(first)
        task = Task(
            log.text(first.task), state.root, first.test_command, first.regression_command, first.cwd,
            first.regression_cwd,
        )  # fmt: skip
        task = with_first_files(task, scratch / "base", rest.sandbox)
        if whole.chosen is not None:
            task, options = task_with(task, whole.chosen, log), replace(options, verified=True)
        with workspace_of(task, rest, scratch) as (base, intel):
            report = Run(
                task, options, _Silent(engine, asked), base, intel, again, recorded, open_lane=open_lane
            ).solve()
        return Replayed(
            outcome=report.outcome.value,
            same_outcome=report.outcome.value == end.outcome,
            same_diff=report.diff == log.text(end.diff),
            candidates=len(_hops(again)),
            changed=(*_changed(_hops(log), _hops(again)), *_other_calls(again)),
        )
    finally:
        again.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _require_same_tree(log: RunLog, first: RunStarted, state: RepoState) -> None:
    if state.head != first.base_commit or state.changed:
        raise AgentFault(
            f"{state.root} is not at the commit that run {log.folder.name} began with",
            fix=f"check out {(first.base_commit or '')[:12]} with a clean tree, then replay",
        )


def _tests_alone(run: str) -> AgentFault:
    return AgentFault(
        f"run {run} wrote tests and nothing else",
        fix=f"agent show {run} has them; a run with a change can be replayed",
    )


def _answers_of(whole: Recorded) -> Recorded:
    """What the model said. All that tools say is found out anew, but for what a rollout was told: programs print
    clocks."""
    return Recorded(
        answers=whole.answers,
        forks=whole.forks,
        rollouts=whole.rollouts,
        turns=whole.turns,
        calls=whole.calls,
    )


def _digests(events: Sequence[Event]) -> frozenset[str]:
    return frozenset(event.digest for event in events if isinstance(event, ModelAsked | TurnAsked))


def _hops(log: RunLog) -> dict[str, str]:
    events = log.read().events
    return {f"{one.step}.{one.index}": one.hop for one in events if isinstance(one, CandidateRuled)}


def _changed(before: dict[str, str], after: dict[str, str]) -> tuple[str, ...]:
    """Candidates that both judged, with another result. Which of two equal programs came first is chance."""
    return tuple(
        f"{name} ended at {before[name]}, now at {after[name]}"
        for name in before
        if name in after and before[name] != after[name] and "duplicate" not in (before[name], after[name])
    )


def _other_calls(log: RunLog) -> Iterator[str]:
    """Calls of tools that do something else now."""
    return (e.text for e in log.read().events if isinstance(e, NoteMade) and e.text.startswith("rollout "))


class _Silent(BorrowedEngine):
    """Counts tokens as the run's engine does, and answers nothing."""

    def __init__(self, engine: Engine, asked: frozenset[str]) -> None:
        super().__init__(engine)
        self._asked = asked

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """Returns nothing for requests that the run made, whose samples it stopped; others raise Diverged."""
        del on_tokens, on_completion
        for request in requests:
            plain = request.model_copy(update={"seed": None})
            lanes = range(max(len(self._asked), len(requests)) + 1)
            if not any(request_digest(plain, decoding, self.identity, lane) in self._asked for lane in lanes):
                words = (request.text or request.messages[-1].content).strip()[-200:]
                raise Diverged(
                    f"the replay diverges: the run never asked what is asked now, which ends with {words!r}",
                    fix="the tests, the language servers or Forklock are not as they were; see `agent show`",
                )
        return [[] for _ in requests]

    def alternatives(self, request: Request, text: str, *, top_k: int = 8) -> list[Alternative]:
        """Raises Diverged: the log has all forks that were looked for."""
        del request, text, top_k
        raise Diverged("the replay diverges: forks are looked for in code that the run did not look at")

"""A run's events for other programs: one JSON object a line, in a form that stays as it is (docs/using.md).

In: events of a log. Out: objects with `v`, `type` and `at`. Texts are redacted, as in the log. Later versions may add
types and keys to version 1, and never change what is there: a reader skips what it does not know.
"""

from __future__ import annotations

from typing import Any

from forklock.agent.log.events import RunLog
from forklock.agent.log.redact import redact
from forklock.agent.log.schema import (
    BaselineTaken,
    CandidateRuled,
    Event,
    ModelAnswered,
    ModelAsked,
    NoteMade,
    PlacesRanked,
    RolloutEnded,
    RolloutStarted,
    RunEnded,
    RunResumed,
    RunStarted,
    StepEnded,
    StepStarted,
    TestsChosen,
    ToolAnswered,
    ToolCalled,
    TurnAnswered,
    TurnAsked,
    VerdictGiven,
    report_from_json,
)
from forklock.agent.log.shown.words import fell

VERSION = 1


def streamed(event: Event, log: RunLog) -> dict[str, Any] | None:
    """Returns the object of an event; None for one that other programs do not see."""
    facts = _facts(event, log)
    return None if facts is None else {"v": VERSION, "type": event.type, "at": round(event.at, 3), **facts}


def _facts(event: Event, log: RunLog) -> dict[str, Any] | None:
    if isinstance(event, RunStarted):
        return {
            "run_id": event.run_id, "task": log.text(event.task), "repo": event.repo,
            "base_commit": event.base_commit, "test_command": redact(event.test_command), "cwd": event.cwd,
        }  # fmt: skip
    if isinstance(event, RunResumed):
        return {}
    if isinstance(event, BaselineTaken):
        report = report_from_json(log.text(event.report))
        return {
            "role": event.role, "command": redact(event.command), "status": report.status.value,
            "passed": len(report.passed), "failed": len(report.failures),
        }  # fmt: skip
    if isinstance(event, PlacesRanked):
        return {
            "places": [{key: place[key] for key in ("path", "name_path", "score")} for place in event.places]
        }
    if isinstance(event, NoteMade):
        return {"text": redact(event.text)}
    if isinstance(event, TestsChosen):
        tests = [{"name": one["name"], "says": one["says"]} for one in event.tests]
        return {
            "path": event.path, "command": redact(event.command), "tests": tests, "doubt": redact(event.doubt),
            "source": log.text(event.source),
        }  # fmt: skip
    if isinstance(event, RunEnded):
        return {
            "outcome": event.outcome, "detail": redact(event.detail), "diff": log.text(event.diff),
            "steps": event.steps, "rollouts": event.rollouts, "turns": event.turns,
            "prompt_tokens": event.prompt_tokens,
            "completion_tokens": event.completion_tokens, "cost_usd": event.cost_usd,
            "seconds": round(event.seconds, 3),
        }  # fmt: skip
    return _in_a_step(event, log)


def _in_a_step(event: Event, log: RunLog) -> dict[str, Any] | None:
    if isinstance(event, StepStarted):
        return {"step": event.step, "samples": event.samples}
    if isinstance(event, ModelAsked):
        return {
            "step": event.step,
            "request": event.request,
            "place": event.place,
            "prompt_tokens": event.prompt_tokens,
        }
    if isinstance(event, ModelAnswered):
        return {
            "step": event.step, "request": event.request, "sample": event.sample,
            "completion_tokens": event.completion_tokens, "finish_reason": event.finish_reason,
            "cached_tokens": event.cached_tokens,
        }  # fmt: skip
    if isinstance(event, CandidateRuled):
        reason = log.text(event.reason)
        return {
            "candidate": f"{event.step}.{event.index}", "place": event.place, "hop": event.hop,
            "why": fell(event.hop, reason), "reason": reason, "tests_passed": event.tests_passed,
            "tests_failed": event.tests_failed, "diff": log.text(event.diff),
        }  # fmt: skip
    if isinstance(event, VerdictGiven):
        return {
            "step": event.step, "candidate": event.name, "sure": event.sure, "why": event.why,
            "question": log.text(event.question), "final": event.final,
            "passing": [one["name"] for one in event.passing],
        }  # fmt: skip
    if isinstance(event, StepEnded):
        best = None if event.best is None else f"{event.step}.{event.best}"
        return {"step": event.step, "best": best, "advanced": event.advanced}
    return _in_a_rollout(event, log)


def _in_a_rollout(event: Event, log: RunLog) -> dict[str, Any] | None:
    if isinstance(event, RolloutStarted):
        return {"rollout": event.rollout}
    if isinstance(event, TurnAsked):
        return {
            "rollout": event.rollout, "turn": event.turn, "prompt_tokens": event.prompt_tokens,
            "new_tokens": event.new_tokens,
        }  # fmt: skip
    if isinstance(event, TurnAnswered):
        return {
            "rollout": event.rollout, "turn": event.turn, "text": log.text(event.text),
            "completion_tokens": event.completion_tokens, "finish_reason": event.finish_reason,
            "cached_tokens": event.cached_tokens,
        }  # fmt: skip
    if isinstance(event, ToolCalled):
        return {
            "rollout": event.rollout, "turn": event.turn, "call": event.call, "name": event.name,
            "arguments": log.text(event.arguments),
        }  # fmt: skip
    if isinstance(event, ToolAnswered):
        return {
            "rollout": event.rollout, "turn": event.turn, "call": event.call, "kind": event.kind,
            "text": log.text(event.text), "wrote": event.wrote,
        }  # fmt: skip
    if isinstance(event, RolloutEnded):
        return {
            "rollout": event.rollout, "turns": event.turns, "why": redact(event.why), "diff": log.text(event.diff),
        }  # fmt: skip
    return None

"""Exports a run for other programs: as a trajectory (ATIF v1.8), or as chats, one JSON object a line.

In: a log. Out: plain values for JSON. ATIF is harbor's interchange format. A run has several answers to one prompt, so
a prompt is a user's step, and each of its answers an agent's step behind it, with the result of its hops as
observation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from forklock.agent.log.candidates import LoggedCandidate, candidates_of
from forklock.agent.log.events import LogFault, RunLog
from forklock.agent.log.schema import Event, ModelAsked, RunEnded, RunStarted
from forklock.agent.log.shown.turns import LoggedRollout, LoggedTurn, rollouts_of
from forklock.sandbox.files.reading import parse_json

ATIF = "ATIF-v1.8"
_LATEST = 253402300799.0
"""The last second of the year 9999, which is the last that a date can name."""


def as_atif(log: RunLog, version: str) -> dict[str, Any]:
    """Returns the run as one ATIF document.

    Args:
        version: Forklock's own.

    Raises:
        LogFault: the log is damaged, or the run never started.
    """
    events, first = _events(log)
    steps = [{"source": "user", "timestamp": _time(first.at), "message": log.text(first.task)}]
    seen: set[tuple[int, int]] = set()
    for one in candidates_of(events):
        if one.asked is None or one.answered is None or one.is_spliced:
            continue
        if (one.step, one.asked.request) not in seen:
            seen.add((one.step, one.asked.request))
            steps += [
                {
                    "source": "system" if role == "system" else "user",
                    "timestamp": _time(one.asked.at),
                    "message": text,
                }
                for role, text in _prompt(log, one.asked)
            ]
        steps.append(_answer(log, one))
    for rollout in rollouts_of(events):
        steps += _rollout_steps(log, rollout)
    numbered = [{"step_id": number, **step} for number, step in enumerate(steps, 1)]
    end = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
    document: dict[str, Any] = {
        "schema_version": ATIF,
        "session_id": first.run_id,
        "agent": {"name": "forklock", "version": version},
        "steps": numbered,
        "extra": {"repo": first.repo, "base_commit": first.base_commit, "test_command": first.test_command},
    }
    if end is not None:
        document["final_metrics"] = {
            "total_prompt_tokens": end.prompt_tokens, "total_completion_tokens": end.completion_tokens,
            "total_cost_usd": end.cost_usd, "total_steps": len(numbered),
        }  # fmt: skip
        document["extra"] |= {"outcome": end.outcome, "detail": end.detail, "diff": log.text(end.diff)}
    return document


def as_messages(log: RunLog) -> Iterator[dict[str, Any]]:
    """Yields a chat for each answer and for each rollout: what was asked, what the model wrote, and what became of it.

    Raises:
        LogFault: the log is damaged, or the run never started.
    """
    events, first = _events(log)
    for one in candidates_of(events):
        if one.asked is None or one.answered is None or one.is_spliced:
            continue
        messages = [{"role": role, "content": text} for role, text in _prompt(log, one.asked)]
        messages.append({"role": "assistant", "content": one.asked.prefill + log.text(one.answered.text)})
        yield {
            "messages": messages, "run_id": first.run_id, "candidate": one.name, "place": one.asked.place,
            "hop": one.ruled.hop if one.ruled else None, "finish_reason": one.answered.finish_reason,
        }  # fmt: skip
    for rollout in rollouts_of(events):
        yield _rollout_chat(log, rollout, first.run_id)


def _events(log: RunLog) -> tuple[Sequence[Event], RunStarted]:
    events = log.read().events
    first = events[0] if events else None
    if not isinstance(first, RunStarted):
        raise LogFault(f"run {log.folder.name} never started", fix="see the others with `agent runs`")
    return events, first


def _prompt(log: RunLog, asked: ModelAsked) -> list[tuple[str, str]]:
    """Role and text of each message. Raw text, which is continued, counts as the user's."""
    roles = ("system", "user", "assistant")
    return [(one.role if one.role in roles else "user", log.text(one.content)) for one in asked.messages]


def _answer(log: RunLog, one: LoggedCandidate) -> dict[str, Any]:
    assert one.asked is not None and one.answered is not None
    step: dict[str, Any] = {
        "source": "agent",
        "timestamp": _time(one.answered.at),
        "message": one.asked.prefill + log.text(one.answered.text),
        "metrics": {
            "prompt_tokens": one.answered.prompt_tokens,
            "completion_tokens": one.answered.completion_tokens,
            "cost_usd": one.answered.cost_usd,
        },
        "llm_call_count": 1,
        "extra": {
            "candidate": one.name,
            "place": one.asked.place,
            "finish_reason": one.answered.finish_reason,
        },
    }
    if one.answered.model:
        step["model_name"] = one.answered.model
    if one.ruled is not None:
        result = f"{one.ruled.hop}\n{log.text(one.ruled.reason)}".strip()
        step["observation"] = {"results": [{"content": result}]}
        step["extra"] |= {"hop": one.ruled.hop, "diff": log.text(one.ruled.diff)}
    return step


def _time(at: float) -> str:
    return datetime.fromtimestamp(min(max(at, 0.0), _LATEST), UTC).isoformat()


def _rollout_chat(log: RunLog, rollout: LoggedRollout, run_id: str) -> dict[str, Any]:
    """The chat of a rollout as it was sent last, with its last answer. `sampled`: the model wrote the message."""
    messages = [
        {"role": role, "content": log.text(text), "sampled": sampled}
        for role, text, sampled in rollout.messages()
    ]
    last = rollout.turns[max(rollout.turns)].answered if rollout.turns else None
    if last is not None:
        messages.append({"role": "assistant", "content": log.text(last.text), "sampled": True})
    return {
        "messages": messages, "run_id": run_id, "rollout": rollout.number,
        "why": rollout.ended.why if rollout.ended else None,
        "hop": rollout.rulings[-1].hop if rollout.rulings else None,
    }  # fmt: skip


def _rollout_steps(log: RunLog, rollout: LoggedRollout) -> Iterator[dict[str, Any]]:
    """What a rollout was told first, then a step for each turn with its calls and what the tools said."""
    first = next((turn.asked for turn in rollout.turns.values() if turn.asked), None)
    for message in first.messages if first else ():
        source = "system" if message.role == "system" else "user"
        yield {"source": source, "timestamp": _time(rollout.started.at), "message": log.text(message.content)}
    for number in sorted(rollout.turns):
        turn = rollout.turns[number]
        if turn.answered is None:
            continue
        step: dict[str, Any] = {
            "source": "agent", "timestamp": _time(turn.answered.at), "message": log.text(turn.answered.text),
            "metrics": {
                "prompt_tokens": turn.answered.prompt_tokens, "cost_usd": turn.answered.cost_usd,
                "completion_tokens": turn.answered.completion_tokens,
            },
            "llm_call_count": 1,
            "extra": {"rollout": rollout.number, "turn": number, "finish_reason": turn.answered.finish_reason},
        }  # fmt: skip
        if turn.calls:
            step |= _calls(log, rollout.number, turn)
        yield step


def _calls(log: RunLog, rollout: int, turn: LoggedTurn) -> dict[str, Any]:
    calls, results = [], []
    for called, answer in turn.calls:
        name = f"{rollout}.{turn.number}.{called.call}"
        try:
            arguments = parse_json(log.text(called.arguments))
        except ValueError:
            arguments = {}
        calls.append({"tool_call_id": name, "function_name": called.name, "arguments": arguments})
        if answer is not None:
            results.append({"source_call_id": name, "content": log.text(answer.text)})
    return {"tool_calls": calls, **({"observation": {"results": results}} if results else {})}

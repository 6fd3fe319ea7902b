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
    """Yields a chat for each answer: the prompt, the answer, and what became of it.

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

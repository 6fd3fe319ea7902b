"""Tells a run to an editor: events of `agent solve --stream` become the plan, tool calls and messages of the protocol.

In: the objects of docs/using.md, "Events for other programs". Out: updates of a session. Kinds of events that are not
known here are skipped. What a model or a repository wrote stands in blocks of code, so that no editor reads it as
markup, and every update is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acp.helpers import (
    plan_entry,
    start_tool_call,
    text_block,
    tool_content,
    update_agent_message_text,
    update_agent_thought_text,
    update_plan,
    update_tool_call,
)
from acp.schema import (
    AgentMessageChunk,
    AgentPlanUpdate,
    AgentThoughtChunk,
    PlanEntryStatus,
    ToolCallProgress,
    ToolCallStart,
    ToolKind,
    Usage,
)

from forklock.agent.contract import WITH_CHANGE, Outcome
from forklock.agent.serving.acp.diffs import contents, fenced, inline, locations

Update = AgentMessageChunk | AgentThoughtChunk | AgentPlanUpdate | ToolCallStart | ToolCallProgress
Facts = Mapping[str, Any]

MOST_SHOWN = 64
"""Candidates of a run that get a tool call of their own; those that pass always do."""
MOST_CALLS = 400
"""Calls of tools that a driving model makes, and that are shown."""
_KINDS: dict[str, ToolKind] = {"read": "read", "find": "search", "edit": "edit", "run": "execute"}
_PASSED = ("solved", "unverified")
_QUIET = ("duplicate",)
_MOST_MESSAGE = 8000


@dataclass(slots=True)
class _Step:
    """One entry of the plan."""

    words: str
    status: PlanEntryStatus = "pending"
    note: str = ""

    @property
    def line(self) -> str:
        return f"{self.words}: {self.note}" if self.note else self.words


@dataclass(slots=True)
class Story:
    """What an editor was told of a run so far."""

    root: Path
    run: str = ""
    """The run's id; "" before it has started."""
    outcome: str = ""
    """"" before it has ended."""
    diff: str = ""
    verdict: Facts = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _steps: dict[str, _Step] = field(default_factory=dict)
    _answers: int = 0
    _asked: int = 0
    _judged: int = 0
    _best: tuple[int, str] = (-1, "")
    _shown: int = 0
    _tries: int = 0
    _calls: set[str] = field(default_factory=set)

    def begin(self) -> list[Update]:
        """The plan before anything has happened."""
        self._steps = {
            "check": _Step("Run the check, open the model", "in_progress"),
            "places": _Step("Find the suspected places"),
            "ask": _Step("Ask the model and judge what it writes"),
            "weigh": _Step("Weigh the evidence for what passes"),
            "apply": _Step("Apply the change, if you allow it"),
        }
        return [self._plan()]

    def take(self, event: Facts) -> list[Update]:
        """The updates that follow from one event."""
        kind = str(event.get("type", ""))
        taker = getattr(self, f"_on_{kind}", None)
        return [] if taker is None else taker(event)

    @property
    def has_change(self) -> bool:
        """It ended with a whole change, which may be applied."""
        return self.outcome in WITH_CHANGE and bool(self.diff)

    @property
    def usage(self) -> Usage | None:
        """Tokens of this run; None where the model was not asked."""
        total = self.prompt_tokens + self.completion_tokens
        if not total:
            return None
        return Usage(
            total_tokens=total, input_tokens=self.prompt_tokens, output_tokens=self.completion_tokens
        )

    def applying(self, status: PlanEntryStatus, note: str) -> list[Update]:
        """The plan, once more, with what became of the change."""
        if "apply" not in self._steps:
            return []
        self._steps["apply"].status, self._steps["apply"].note = status, note
        return [self._plan()]

    # -- events, in the order of a run --------------------------------------------------------------------------

    def _on_run_started(self, event: Facts) -> list[Update]:
        self.run = str(event.get("run_id", ""))
        return []

    def _on_baseline_taken(self, event: Facts) -> list[Update]:
        counts = f"{event.get('passed', 0)} passed, {event.get('failed', 0)} failed"
        if event.get("role") != "task":
            return [_thought(f"The suite that must not get worse: {counts}.")]
        command = str(event.get("command", ""))
        call = start_tool_call(
            f"{self.run}-check", f"The check: {counts}", kind="execute", status="completed",
            content=[tool_content(text_block(fenced(command)))],
        )  # fmt: skip
        return [call, self._now("places", check=counts)]

    def _on_tests_chosen(self, event: Facts) -> list[Update]:
        if not event.get("path"):
            return [_thought("No test was written that fails now for the task's reason.")]
        says = "\n".join(f"{one.get('name')}: {one.get('says')}" for one in event.get("tests", ()))
        doubt = str(event.get("doubt", ""))
        parts = (
            fenced(says),
            fenced(str(event.get("source", "")), 12_000),
            f"In doubt: {inline(doubt)}" if doubt else "",
        )
        call = start_tool_call(
            f"{self.run}-tests", f"Tests were written as the check: {inline(str(event['path']))}", kind="edit",
            status="completed", content=[tool_content(text_block(part)) for part in parts if part],
        )  # fmt: skip
        return [call, self._now("places", tests="written")]

    def _on_places_ranked(self, event: Facts) -> list[Update]:
        names = [str(one.get("name_path") or one.get("path")) for one in event.get("places", ())]
        words = ", ".join(inline(name, 60) for name in names[:4]) or "none"
        return [self._now("ask", check="done", places=words)]

    def _on_step_started(self, event: Facts) -> list[Update]:
        self._asked += _count(event, "samples")
        if event.get("step") == 0:
            steps = list(self._steps.items())
            self._steps = dict([*steps[:1], ("tests", _Step("Write tests that fail now")), *steps[1:]])
            return [self._now("tests", check="none was given")]
        return [self._now("ask", ask=self._progress(f"step {event.get('step')}"))]

    def _on_model_asked(self, event: Facts) -> list[Update]:
        self.prompt_tokens += _count(event, "prompt_tokens")
        return []

    def _on_model_answered(self, event: Facts) -> list[Update]:
        self.completion_tokens += _count(event, "completion_tokens")
        self._answers += 1
        step = "tests" if event.get("step") == 0 else "ask"
        return [self._now(step, **{step: self._progress(f"step {event.get('step')}")})]

    def _on_candidate_ruled(self, event: Facts) -> list[Update]:
        self._judged += 1
        name, hop = str(event.get("candidate", "")), str(event.get("hop", ""))
        passed, failed = _count(event, "tests_passed"), _count(event, "tests_failed")
        if passed > self._best[0]:
            self._best = passed, f"best {name}: {passed} of {passed + failed} tests"
        if hop in _QUIET or (hop not in _PASSED and self._shown >= MOST_SHOWN):
            return []
        self._shown += 1
        place = inline(str(event.get("place", "")), 80)
        result = "passes" if hop in _PASSED else f"fell at {hop}"
        tests = f", {passed} of {passed + failed} tests" if passed + failed else ""
        diff, why = str(event.get("diff", "")), str(event.get("why", ""))
        call = start_tool_call(
            f"{self.run}-{name}", f"Candidate {name} in {place} {result}{tests}", kind="edit",
            status="completed" if hop in _PASSED else "failed",
            content=contents(
                diff, self.root, f"agent show {self.run} --candidate {name} --diff", [fenced(why)] if why else []
            ),
            locations=locations(diff, self.root),
        )  # fmt: skip
        return [call]

    # -- the lane in which the model drives: calls of tools, in rollouts that take turns --------------------------

    def _on_rollout_started(self, event: Facts) -> list[Update]:
        self._tries += 1
        return [self._driving(event)]

    def _on_turn_asked(self, event: Facts) -> list[Update]:
        self.prompt_tokens += _count(event, "new_tokens")
        return []

    def _on_turn_answered(self, event: Facts) -> list[Update]:
        self.completion_tokens += _count(event, "completion_tokens")
        return [self._driving(event)]

    def _on_tool_called(self, event: Facts) -> list[Update]:
        call = self._call_id(event)
        if len(self._calls) >= MOST_CALLS or call in self._calls:
            return []
        self._calls.add(call)
        name, about = str(event.get("name", "")), about_call(event.get("arguments"))
        title = f"Try {_count(event, 'rollout')}, turn {_count(event, 'turn')}: {inline(name, 40)} {about}".strip()
        kind = _KINDS.get(name, "other")
        return [start_tool_call(call, title, kind=kind, status="in_progress")]

    def _on_tool_answered(self, event: Facts) -> list[Update]:
        call, text = self._call_id(event), str(event.get("text", ""))
        if call not in self._calls:
            return []
        return [
            update_tool_call(
                call,
                status="completed" if event.get("kind") == "ok" else "failed",
                content=[tool_content(text_block(fenced(text)))] if text.strip() else None,
            )
        ]

    def _on_rollout_ended(self, event: Facts) -> list[Update]:
        return [_thought(f"Try {_count(event, 'rollout')} ended: {inline(str(event.get('why', '')), 300)}")]

    def _call_id(self, event: Facts) -> str:
        return f"{self.run}-call-" + ".".join(str(_count(event, key)) for key in ("rollout", "turn", "call"))

    def _driving(self, event: Facts) -> Update:
        tokens = self.prompt_tokens + self.completion_tokens
        where = (
            f"try {_count(event, 'rollout')} of {self._tries}, turn {_count(event, 'turn')}, {tokens} tokens"
        )
        return self._now("ask", ask=", ".join(part for part in (where, self._best[1]) if part))

    # -- the end ------------------------------------------------------------------------------------------------

    def _on_verdict_given(self, event: Facts) -> list[Update]:
        self.verdict = event
        words = "right" if event.get("sure") else "in doubt"
        if not event.get("final", True):
            return [self._now("ask", weigh=f"{words}; asking for more to compare")]
        return [self._now("weigh", ask="done", weigh=words)]

    def _on_note_made(self, event: Facts) -> list[Update]:
        return [_thought(inline(str(event.get("text", "")), 600))]

    def _on_run_ended(self, event: Facts) -> list[Update]:
        self.outcome, self.diff = str(event.get("outcome", "")), str(event.get("diff", ""))
        self.prompt_tokens, self.completion_tokens = (
            _count(event, "prompt_tokens"),
            _count(event, "completion_tokens"),
        )
        for name, step in self._steps.items():
            if name != "apply":
                step.status = "completed"
        self._steps.setdefault("apply", _Step("Apply the change, if you allow it"))
        if not self.has_change:
            self._steps["apply"].status, self._steps["apply"].note = "completed", "there is none"
        facts = (
            f"{counted(_count(event, 'steps'), 'step')}, {float(event.get('seconds') or 0):.1f} s, "
            f"{self.prompt_tokens} prompt + {self.completion_tokens} completion tokens. Run `{self.run}`."
        )
        detail = str(event.get("detail", ""))
        parts = [
            f"**{self.outcome}**",
            inline(detail, 600) if detail else "",
            facts,
            *self._doubt(),
            self._next(),
        ]
        return [self._plan(), *message("\n\n".join(part for part in parts if part))]

    def _doubt(self) -> list[str]:
        """What a person should look at, where the run does not know whether its change is right."""
        if self.outcome != Outcome.IN_DOUBT:
            return []
        question = str(self.verdict.get("question", ""))
        others = [str(one) for one in self.verdict.get("passing", ()) if one != self.verdict.get("candidate")]
        parts = [f"Please look at this:\n\n{fenced(question)}"] if question else []
        if others:
            parts.append(
                f"Others that pass: {', '.join(others[:8])}. Take one with "
                f"`agent apply {self.run} --candidate {others[0]}`."
            )
        return parts

    def _next(self) -> str:
        if self.outcome in WITH_CHANGE:
            return ""
        what = "There is progress, and no solution." if self.diff else "Nothing was changed."
        return f"{what} Why candidates fell: `agent show {self.run}`. `/continue WORDS` tries again with your word."

    # -- the plan -----------------------------------------------------------------------------------------------

    def _progress(self, where: str) -> str:
        tokens = self.prompt_tokens + self.completion_tokens
        parts = [where, f"{self._answers} of {self._asked} answers", f"{tokens} tokens", self._best[1]]
        return ", ".join(part for part in parts if part)

    def _now(self, name: str, **notes: str) -> AgentPlanUpdate:
        """The plan, with `name` in progress and all before it completed."""
        for key, note in notes.items():
            if key in self._steps:
                self._steps[key].note = note
        status: PlanEntryStatus = "completed"
        for key, step in self._steps.items():
            if key == name:
                step.status, status = "in_progress", "pending"
            else:
                step.status = status
        return self._plan()

    def _plan(self) -> AgentPlanUpdate:
        return update_plan([plan_entry(step.line, status=step.status) for step in self._steps.values()])


def message(text: str) -> list[Update]:
    """A message in pieces that every reader can take."""
    return [
        update_agent_message_text(text[start : start + _MOST_MESSAGE])
        for start in range(0, len(text), _MOST_MESSAGE)
    ]


def counted(count: int, noun: str) -> str:
    """A number and its noun, as `1 step` or `2 steps`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def about_call(arguments: object) -> str:
    """What a call of a tool is about, from its arguments in JSON: the first short one, as one line of code."""
    try:
        found = json.loads(arguments) if isinstance(arguments, str) else None
    except (ValueError, RecursionError):
        return ""
    texts = [value for value in found.values() if isinstance(value, str)] if isinstance(found, dict) else []
    short = next((value for value in texts if value.strip() and len(value) <= 200 and "\n" not in value), "")
    return inline(short, 100) if short else ""


def _thought(text: str) -> AgentThoughtChunk:
    return update_agent_thought_text(f"{text}\n\n")


def _count(event: Facts, key: str) -> int:
    value = event.get(key)
    return value if isinstance(value, int) and value >= 0 else 0

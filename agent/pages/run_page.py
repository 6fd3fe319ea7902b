"""Makes one self-contained HTML page of a run: nothing is fetched, no script runs, and foreign text is only text.

In: a log, in any state. Out: HTML. The page has the outcome with its reasons, the budget, the diff, the tree of
candidates by steps with their hops, prompts and answers. A page of thousands of candidates stays usable: a prompt that
several share is there once, long texts are cut, and past a total size only the command that shows the rest is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from forklock.agent.contract import WITH_CHANGE, Hop
from forklock.agent.log import (
    BaselineTaken,
    CandidateRuled,
    DiffApplied,
    DiffUndone,
    Event,
    LogFault,
    ModelAnswered,
    ModelAsked,
    NoteMade,
    PlacesRanked,
    RolloutStarted,
    RunEnded,
    RunLog,
    RunStarted,
    StepEnded,
    StepStarted,
    TurnAnswered,
    TurnAsked,
    report_from_json,
)
from forklock.agent.log.candidates import LoggedCandidate, candidates_of
from forklock.agent.log.shown.words import fell
from forklock.agent.pages.diffs import Line, diff_lines
from forklock.agent.pages.rollouts import page_rollouts
from forklock.sandbox.files.reading import parse_json
from forklock.sandbox.pages import environment
from forklock.sandbox.terminal import printable

MOST_CHARS = 20_000
"""Characters of one text that are shown."""
PAGE_CHARS = 8_000_000
"""Characters of prompts, answers and diffs that a page holds, all together."""
_MOST_TOKENS = 4000
_MARK_CHARS = 40
"""Characters that a marked token takes beside its text."""
_HOPS = (Hop.PARSE, Hop.EDIT, Hop.DUPLICATE, Hop.DIAGNOSE, Hop.TESTS, Hop.REGRESSION)
_PASSED = ("solved", "unverified")
_NO_CHANGE = ("parse", "edit", "duplicate")
"""Hops at which no new program came to be."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an answer."""

    text: str
    level: int
    """0 where the model was sure, to 4 where the token was one of many."""
    chance: str
    """Its probability, in per cent."""


@dataclass(frozen=True, slots=True)
class Card:
    """One candidate."""

    name: str
    place: str
    hop: str
    css: str
    why: str
    reason: str
    trail: tuple[tuple[str, str], ...]
    """Hops with `done`, `fell` or `` for one that was not reached."""
    tests: str
    seconds: float
    tokens: int | None
    prompt: int | None
    """Number of its prompt in `Step.prompts`."""
    answer: str
    pieces: tuple[Token, ...]
    diff: tuple[Line, ...]
    is_best: bool
    is_spliced: bool
    is_whole: bool
    """False where the page had no room for its texts."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to the model."""

    place: str
    tokens: int
    messages: tuple[tuple[str, str], ...]
    prefill: str
    is_whole: bool


@dataclass(slots=True)
class Step:
    """One wide step."""

    number: int
    samples: int = 0
    cards: list[Card] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    built_on: str = ""
    """The candidate whose change the step began with."""
    tokens: int = 0
    seconds: float = 0.0

    @property
    def counts(self) -> list[tuple[str, int]]:
        order = [*(hop.value for hop in _HOPS), *_PASSED]
        found: dict[str, int] = {}
        for card in self.cards:
            found[card.hop] = found.get(card.hop, 0) + 1
        return sorted(found.items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else 99)


@dataclass(slots=True)
class _Room:
    """How much text a page still takes."""

    left: int = PAGE_CHARS

    def take(self, text: str) -> str:
        """Returns the text, cut if it is long, and made visible: control characters are drawn as escapes."""
        shown = (
            text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}\n… cut after {MOST_CHARS} characters"
        )
        self.left -= len(shown)
        return printable(shown)


def render_run(log: RunLog) -> str:
    """Returns the page.

    Raises:
        LogFault: the log is damaged.
    """
    events = log.read().events
    first = next((event for event in events if isinstance(event, RunStarted)), None)
    if first is None:
        raise LogFault(f"run {log.folder.name} never started", fix="see the others with `agent runs`")
    end = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
    room = _Room()
    diff = diff_lines(room.take(_text(log, end.diff))) if end else ()
    page = environment("forklock.agent.pages").get_template("run.html.j2")
    whole = page.render(
        run=log.folder.name,
        first=first,
        task=room.take(_text(log, first.task)).strip(),
        model=_model(first),
        end=end,
        outcome=end.outcome if end else "unfinished",
        tone=_tone(end),
        diff=diff,
        applied=_is_applied(events),
        bars=_bars(first, events, end),
        checks=[_check(log, event, room) for event in events if isinstance(event, BaselineTaken)],
        places=next((event.places for event in events if isinstance(event, PlacesRanked)), []),
        notes=[event.text for event in events if isinstance(event, NoteMade)],
        steps=_steps(log, events, room),
        rollouts=page_rollouts(
            events, lambda reference: room.take(_text(log, reference)), lambda: room.left > 0
        ),
        hops=[hop.value for hop in _HOPS],
        best=_best_name(events, end),
    )
    return printable(whole)  # names and places too


def _text(log: RunLog, reference: str) -> str:
    """A text of the log; what is wrong with it where it is gone or damaged: the rest of the page is worth seeing."""
    try:
        return log.text(reference)
    except LogFault as fault:
        return f"[{fault.message}]"


def _tone(end: RunEnded | None) -> str:
    if end is None or "doubt" in end.outcome:
        return "warn"
    return {"solved": "good", "unverified": "warn"}.get(end.outcome, "bad")


def _model(first: RunStarted) -> str:
    try:
        found = parse_json(first.model)
        return (
            " ".join(str(found[key]) for key in ("name", "adapter") if found.get(key))
            + f" ({found['engine']})"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _is_applied(events: Sequence[Event]) -> bool:
    last = next((e for e in reversed(events) if isinstance(e, DiffApplied | DiffUndone)), None)
    return isinstance(last, DiffApplied)


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of the budget."""

    name: str
    used: str
    most: str
    percent: int


def _bars(first: RunStarted, events: Sequence[Event], end: RunEnded | None) -> list[Bar]:
    limits = first.options.get("limits")
    limits = limits if isinstance(limits, dict) else {}
    steps = end.steps if end else sum(isinstance(event, StepEnded) for event in events)
    tokens = end.prompt_tokens + end.completion_tokens if end else sum(map(_tokens, events))
    seconds = end.seconds if end else events[-1].at - first.at
    cost = end.cost_usd if end else None
    rows = [("steps", float(steps), "steps", 0), ("tokens", float(tokens), "tokens", 0)]
    rows.append(("seconds", seconds, "seconds", 1))
    if cost:
        rows.append(("dollars", cost, "cost_usd", 4))
    return [_bar(name, used, limits.get(key), digits) for name, used, key, digits in rows]


def _tokens(event: Event) -> int:
    if isinstance(event, ModelAsked):
        return event.prompt_tokens
    if isinstance(event, TurnAsked):
        return event.new_tokens
    return event.completion_tokens if isinstance(event, ModelAnswered | TurnAnswered) else 0


def _bar(name: str, used: float, most: object, digits: int) -> Bar:
    known = isinstance(most, int | float) and most > 0
    share = min(100, round(100 * used / float(most))) if known else 0  # type: ignore[arg-type]
    return Bar(name, f"{used:,.{digits}f}", f"{most:,.10g}" if known else "no limit", share)


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check on the code as it was."""

    command: str
    role: str
    passed: int
    status: str
    failures: tuple[tuple[str, str, str], ...]
    """Test, what it says in a line, and all that it says."""


def _check(log: RunLog, event: BaselineTaken, room: _Room) -> CheckRow:
    try:
        report = report_from_json(_text(log, event.report))
    except ValueError:
        return CheckRow(event.command, event.role, 0, "the log holds no report of it", ())
    shown = tuple(
        (one.test_id, fell("tests", f"{one.test_id}\n{one.message}"), room.take(one.message))
        for one in report.failures[:20]
    )
    return CheckRow(event.command, event.role, len(report.passed), report.status.value, shown)


def _steps(log: RunLog, events: Sequence[Event], room: _Room) -> list[Step]:
    steps: dict[int, Step] = {}
    began: dict[int, float] = {}
    best: dict[int, StepEnded] = {}
    for event in events:
        if isinstance(event, StepStarted):
            steps.setdefault(event.step, Step(event.step)).samples = event.samples
            began[event.step] = event.at
        elif isinstance(event, StepEnded):
            best[event.step] = event
            if event.step in steps:
                steps[event.step].seconds = max(0.0, event.at - began.get(event.step, event.at))
    prompts: dict[str, int] = {}
    built_on = ""
    driven = {event.rollout for event in events if isinstance(event, RolloutStarted)}
    for candidate in (one for one in candidates_of(events) if one.step not in driven):
        step = steps.setdefault(candidate.step, Step(candidate.step))
        before = best.get(candidate.step - 1)
        if before is not None and before.advanced and before.best is not None and not step.cards:
            built_on = f"{before.step}.{before.best}"
        step.built_on = built_on
        prompt = _prompt(log, candidate.asked, step, prompts, room)
        ended = best.get(candidate.step)
        step.cards.append(
            _card(log, candidate, prompt, ended is not None and ended.best == candidate.index, room)
        )
        if candidate.answered is not None and not candidate.is_spliced:
            step.tokens += candidate.answered.completion_tokens
    return [steps[number] for number in sorted(steps)]


def _prompt(
    log: RunLog, asked: ModelAsked | None, step: Step, known: dict[str, int], room: _Room
) -> int | None:
    if asked is None:
        return None
    key = f"{asked.step} {asked.request}"
    if key not in known:
        whole = room.left > 0
        messages = (
            tuple((one.role, room.take(_text(log, one.content))) for one in asked.messages) if whole else ()
        )
        step.prompts.append(
            Prompt(asked.place, asked.prompt_tokens, messages, room.take(asked.prefill), whole)
        )
        known[key] = len(step.prompts) - 1
    return known[key]


def _card(log: RunLog, one: LoggedCandidate, prompt: int | None, is_best: bool, room: _Room) -> Card:
    ruled, answered = one.ruled, one.answered
    hop = ruled.hop if ruled else "not judged"
    whole = room.left > 0
    reason = _text(log, ruled.reason) if ruled else ""
    has_answer = answered is not None and whole and not one.is_spliced
    return Card(
        name=one.name,
        place=ruled.place if ruled else one.asked.place if one.asked else "",
        hop=hop,
        css=hop if hop in {*(known.value for known in _HOPS), *_PASSED} else "other",
        why=fell(hop, reason),
        reason=room.take(reason) if whole else "",
        trail=_trail(hop),
        tests=_counts(ruled),
        seconds=ruled.seconds if ruled else 0.0,
        tokens=answered.completion_tokens if answered else None,
        prompt=prompt,
        answer=room.take(_text(log, answered.text)) if has_answer and answered else "",
        pieces=_pieces(log, answered, room) if has_answer and answered else (),
        diff=diff_lines(room.take(_text(log, ruled.diff))) if ruled and whole else (),
        is_best=is_best and hop not in _NO_CHANGE,
        is_spliced=one.is_spliced,
        is_whole=whole,
    )


def _counts(ruled: CandidateRuled | None) -> str:
    if ruled is None or not (ruled.tests_passed or ruled.tests_failed):
        return ""
    return f"{ruled.tests_passed}/{ruled.tests_passed + ruled.tests_failed}"


def _trail(hop: str) -> tuple[tuple[str, str], ...]:
    names = [known.value for known in _HOPS]
    if hop in _PASSED:
        return tuple((name, "done") for name in names)
    if hop not in names:
        return tuple((name, "") for name in names)
    at = names.index(hop)
    return tuple((name, "done" if i < at else "fell" if i == at else "") for i, name in enumerate(names))


def _pieces(log: RunLog, answered: ModelAnswered, room: _Room) -> tuple[Token, ...]:
    """The answer's tokens, by how sure the model was of each; empty where the engine gave no probabilities."""
    if not answered.tokens:
        return ()
    try:
        rows = parse_json(_text(log, answered.tokens), finite=False)
        found = [_token(str(text), float(logprob)) for text, logprob in rows[:_MOST_TOKENS]]
    except (ValueError, TypeError, OverflowError):
        return ()
    pieces: list[Token] = []
    for token in found:  # the sure ones need no mark of their own
        if pieces and not token.level and not pieces[-1].level:
            pieces[-1] = Token(pieces[-1].text + token.text, 0, "")
        else:
            pieces.append(token)
    room.left -= _MARK_CHARS * len(pieces)
    return tuple(pieces)


def _token(text: str, logprob: float) -> Token:
    bits = -logprob / math.log(2)
    level = sum(bits >= bound for bound in (0.25, 1.0, 2.5, 5.0))
    return Token(printable(text), level, f"{100 * math.exp(min(0.0, logprob)):.1f}")


def _best_name(events: Sequence[Event], end: RunEnded | None) -> str:
    """The candidate whose diff the run ended with."""
    if end is None or end.outcome not in WITH_CHANGE:
        return ""
    passed = (e for e in events if isinstance(e, CandidateRuled) and e.hop in _PASSED and e.diff == end.diff)
    return next((f"{event.step}.{event.index}" for event in passed), "")

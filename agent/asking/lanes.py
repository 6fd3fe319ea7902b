"""The requests of one step: which place each sample edits, and how each asks.

Fresh prompts go through the styles in turn (`agent.asking.protocol.Style`), place by place and on over the
steps: a small
model solves one bug asked one way and the next asked another, and nobody knows which beforehand. Where the engine
cannot do a style, `rewrite` or `repair` stands in for it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.asking.forks import forks
from agent.asking.infill import MAX_TOKENS, hole, infill_text
from agent.asking.openings import Language, function_header, indent_of, language_of, openings, to_be_written
from agent.asking.places import RankedPlace, chunks, share
from agent.asking.prompts import Attempt, View, build_request
from agent.asking.protocol import BARE, HIDING, Protocol, Style
from agent.asking.raw_text import continuation_text, revision_text, stops
from agent.contract import Place
from agent.judging.wide import Candidate, Lane
from agent.log.recorded import text_digest
from models.contract import Engine, Request
from tools.contract import ReplaceFile, ReplaceSymbol, Symbol, TestFailure, TestReport
from tools.languages.grammars import load_all
from tools.languages.symbols import find_symbol, symbol_source
from tools.testing.places import braced_test

if TYPE_CHECKING:
    from tools.lsp import Intel

_REPAIR_SHARE = 8
"""One lane in so many shows a failed attempt, where the styles have `repair`: a small model repeats three in four."""

FORK_ROOM = 24
"""Tokens that an answer to a fork may take more."""

_OUTLINE_LINES = 80
"""Longest class that is shown whole around a method to be written."""


@dataclass(slots=True)
class LaneMaker:
    """Makes the lanes of a run's steps; remembers what each place had."""

    engine: Engine
    protocol: Protocol
    root: Path
    """The workspace as it stands."""
    intel: Intel | None
    task: str
    notes: str
    styles: tuple[Style, ...]
    prompt_tokens: int
    """Target size of a prompt."""
    answer_tokens: int
    forks: dict[str, list[str]] = field(default_factory=dict)
    """What `agent.asking.forks` found, by digest of the request; what an earlier sitting found is not looked
    for again."""
    on_forks: Callable[[str, str, list[str]], None] = lambda _place, _digest, _written: None
    """Hears of forks that were looked for, with place and digest."""
    tried: dict[str, int] = field(default_factory=dict)
    """Samples that each place had."""
    _asked: dict[tuple[str, str], int] = field(default_factory=dict)
    """Fresh lanes that each place had, by style ("" for all)."""
    _frames: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By place: text of its file, and the frame."""
    _found_tests: dict[str, str] = field(default_factory=dict)
    """Sources by id, of tests in languages with braces; tests are read-only."""

    def step(
        self, width: int, ranking: Sequence[RankedPlace], attempts: Sequence[Candidate], report: TestReport
    ) -> tuple[list[Lane], int]:
        """(lanes, samples of each): repairs of failed tries first, then fresh tries by rank."""
        count, samples = chunks(width)
        if self.engine.supports_prefill and self.protocol.name == "symbol":
            count, samples = width, 1  # each sample asks in its own way; what prompts share is computed once
        repairs = attempts[: count // _REPAIR_SHARE] if "repair" in self.styles else ()
        places = share(ranking, count - len(repairs), self.tried) if count > len(repairs) else []
        lanes = [self._repair(number, attempt, report) for number, attempt in enumerate(repairs)]
        lanes += [self._fresh(number, place, report) for number, place in enumerate(places, len(repairs))]
        for lane in lanes:
            self.tried[lane.place.label] = self.tried.get(lane.place.label, 0) + samples
        return lanes, samples

    def code(self, place: Place) -> str:
        """The place's source as it stands, dedented; the whole file where it is no definition."""
        text = read_text(self.root / place.path)
        symbol = self._symbol(place, text)
        return textwrap.dedent(symbol_source(text, symbol)) if symbol else text

    def count(self, text: str) -> int:
        """Tokens."""
        return self.engine.count_tokens(Request(text=text)) if text else 0

    # -- kinds of lanes -------------------------------------------------------------------------------

    def _repair(self, number: int, attempt: Candidate, report: TestReport) -> Lane:
        return self._chat(number, attempt.lane.place, report, "repair", attempt=_attempt(attempt))

    def _fresh(self, number: int, place: Place, report: TestReport) -> Lane:
        turn = self._next(place, "")
        code = self.code(place)
        style = self._possible(self.styles[turn % len(self.styles)], code, language_of(place.path))
        variant = self._next(place, style)
        if style == "gap":
            return self._gap(number, place, code, report, variant)
        if style == "fork":
            return self._fork(number, place, code, report, variant)
        if style in ("continue", "revise"):
            return self._continuation(number, place, code, report, style)
        return self._chat(number, place, report, style, variant=variant)

    def _possible(self, style: Style, code: str, language: Language) -> Style:
        """`style`, or what stands in for it here."""
        if self.protocol.name != "symbol" or not function_header(code, language):
            return "repair"
        if style in ("gap", "continue", "revise") and not openings(
            code, language
        ):  # a docstring and nothing else
            return "rewrite"
        if style == "gap" and self.engine.infill is None:
            return "rewrite"
        if style in ("continue", "revise") and not self.engine.continues_text:
            return "rewrite"
        if style == "fork" and not (self.engine.supports_alternatives and openings(code, language)):
            style = "ending"
        if style == "ending" and not self.engine.supports_prefill:
            return "rewrite"
        return style

    def _chat(
        self,
        number: int,
        place: Place,
        report: TestReport,
        style: Style,
        *,
        variant: int = 0,
        attempt: Attempt | None = None,
    ) -> Lane:
        code = self.code(place)
        outline = self._outline(place) if style in HIDING else ""
        view = View(
            place=place,
            code=code,
            task=self.task,
            report=report,
            test_sources=self._tests(report),
            frame="" if outline or style in BARE else self._frame(place),  # prompts cost seconds
            notes=self.notes,
            attempt=attempt,
            style=style,
            variant=variant,
            outline=outline,
        )
        room = self.engine.context_tokens - self.answer_tokens - 64
        request = build_request(
            view,
            self.protocol,
            budget=min(self.prompt_tokens, room),
            count=self.count,
            prefill=self.engine.supports_prefill,
        )
        return Lane(number, place, request, self.engine.count_tokens(request), code if place.symbol else "")

    def _gap(self, number: int, place: Place, code: str, report: TestReport, variant: int) -> Lane:
        language = language_of(place.path)
        marks, opening = self.engine.infill, hole(code, variant, language)
        assert marks is not None
        assert opening is not None
        text = infill_text(marks, code, opening, task=self.task, tests=self._tests(report), language=language)
        request = Request(text=text, max_tokens=MAX_TOKENS)
        return Lane(
            number,
            place,
            request,
            self.engine.count_tokens(request),
            code,
            reads="statement",
            opening=opening,
        )

    def _fork(self, number: int, place: Place, code: str, report: TestReport, variant: int) -> Lane:
        """A `correct` lane with another word in the code's middle; an `ending` where there are no more."""
        known = openings(code, language_of(place.path))
        lane = self._chat(number, place, report, "fork")
        request = lane.request
        digest = text_digest(request.model_dump_json() + code)
        if digest not in self.forks:
            self.forks[digest] = [fork.written for fork in forks(self.engine, request, code, known[0])]
            self.on_forks(place.label, digest, self.forks[digest])
        if variant >= len(self.forks[digest]):
            return self._chat(number, place, report, "ending", variant=self._next(place, "ending"))
        written = self.forks[digest][variant]
        begun = len(known[0]) + len(written.rstrip()) - 1  # the place of its last letter
        request = request.model_copy(
            update={
                "prefill": request.prefill + written,
                # To the end as it stands, and half as much again.
                "max_tokens": self.count(code[begun:]) * 3 // 2 + FORK_ROOM,
                "greedy": True,
            }
        )
        opening = max((one for one in known if len(one) <= begun), key=len)
        return Lane(number, place, request, self.engine.count_tokens(request), code, opening=opening)

    def _continuation(self, number: int, place: Place, code: str, report: TestReport, style: Style) -> Lane:
        language = language_of(place.path)
        opening, pad, tests = openings(code, language)[0], "", self._tests(report)
        if style == "revise":
            text = revision_text(code, opening, task=self.task, tests=tests, language=language)
        else:
            file = read_text(self.root / place.path)
            symbol = self._symbol(place, file)
            assert symbol is not None
            lines = file.splitlines(keepends=True)
            pad = indent_of(lines[symbol.start_line - 1])
            text = continuation_text(
                "".join(lines[: symbol.start_line - 1]),
                textwrap.indent(opening, pad) + pad,  # its last line is blank, which `indent` leaves alone
                task=self.task,
                tests=tests,
                room=self.prompt_tokens // 3,
                count=self.count,
                language=language,
            )
        request = Request(text=text, stop=stops(pad, language))
        return Lane(
            number, place, request, self.engine.count_tokens(request), code,
            reads="continuation", opening=opening, indent=len(pad),
        )  # fmt: skip

    def _next(self, place: Place, style: str) -> int:
        """How many lanes of the style the place had before."""
        before = self._asked.get((place.label, style), 0)
        self._asked[(place.label, style)] = before + 1
        return before

    # -- what prompts are made of ---------------------------------------------------------------------

    def _symbol(self, place: Place, text: str) -> Symbol | None:
        return find_symbol(place.path, text, place.symbol.name_path) if place.symbol else None

    def _outline(self, place: Place) -> str:
        """The class around a method, with the method's body left out; "" for a function or a large class."""
        if place.symbol is None or "." not in place.symbol.name_path:
            return ""
        text = read_text(self.root / place.path)
        method = find_symbol(place.path, text, place.symbol.name_path)
        holder = find_symbol(place.path, text, place.symbol.name_path.rpartition(".")[0])
        if method is None or holder is None or holder.end_line - holder.start_line > _OUTLINE_LINES:
            return ""
        if not holder.start_line <= method.start_line <= holder.end_line:  # Go's and Rust's stand elsewhere
            return ""
        lines, language = text.splitlines(), language_of(place.path)
        own = textwrap.dedent(symbol_source(text, method))
        pad = indent_of(lines[method.start_line - 1])
        gap = textwrap.indent(to_be_written(function_header(own, language), language), pad)
        kept = lines[holder.start_line - 1 : method.start_line - 1]
        return textwrap.dedent("\n".join([*kept, gap, *lines[method.end_line : holder.end_line]]))

    def _frame(self, place: Place) -> str:
        """Asked of the language server once for each state of the place's file."""
        text = read_text(self.root / place.path)
        symbol = self._symbol(place, text)
        if symbol is None:
            return ""
        if (known := self._frames.get(place.label)) and known[0] == text:
            return known[1]
        from tools.frame.frame import intellisense_frame

        frame = intellisense_frame(
            self.intel, self.root, symbol, budget_tokens=self.prompt_tokens // 4, count_tokens=self.count,
            with_source=False,
        )  # fmt: skip
        self._frames[place.label] = (text, frame)
        return frame

    def _tests(self, report: TestReport) -> tuple[str, ...]:
        """Source of the first failing tests, as the task's owner wrote them."""
        sources: list[str] = []
        for failure in report.failures[:2]:
            path, _, rest = failure.test_id.partition("::")
            if not (self.root / path).is_file():  # its runner's own folder is not ours
                path = next((f.path for f in failure.frames if f.path.endswith(f"/{path}")), path)
            name = rest.replace("::", ".").split("[", 1)[0]
            text = read_text(self.root / path) if path and name else ""
            symbol = find_symbol(path, text, name) if text else None
            if symbol is not None:
                sources.append(textwrap.dedent(symbol_source(text, symbol)))
            elif source := self._braced_test(failure):
                sources.append(source)
        return tuple(dict.fromkeys(sources))

    def _braced_test(self, failure: TestFailure) -> str:
        """In languages with braces an id does not say in which file."""
        if failure.test_id not in self._found_tests:
            found = braced_test(load_all(self.root), failure.test_id, failure.frames)
            text = read_text(self.root / found[0]) if found else ""
            lines = text.split("\n")[found[1].start_line - 1 : found[1].end_line] if found else []
            self._found_tests[failure.test_id] = textwrap.dedent("\n".join(lines))
        return self._found_tests[failure.test_id]


def _attempt(candidate: Candidate) -> Attempt | None:
    if candidate.action is None or candidate.ruling is None:
        return None
    edit = candidate.action.edits[0]
    source = edit.source if isinstance(edit, ReplaceSymbol | ReplaceFile) else candidate.ruling.diff
    return Attempt(source=source.strip("\n"), failure=candidate.ruling.reason)


def read_text(path: Path) -> str:
    """The file's text; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

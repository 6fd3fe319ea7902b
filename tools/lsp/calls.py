"""Lists who calls a definition, and what it calls.

In: a name path. Out: `LookupAnswer`: for callers the lines of the calls, each with the definition around it; for
callees their definitions. Other than references, it has no imports and no mentions, and follows overrides as far as
the server sees them. Not covered: calls through values of unknown type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.contract import Freshness, LookupAnswer, Symbol, Uncovered
from forklock.tools.languages.known import language_of
from forklock.tools.languages.text import to_lf
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.answers import Told
from forklock.tools.lsp.asking.asker import Asker, Found
from forklock.tools.lsp.asking.names import Names
from forklock.tools.lsp.renames.coverage import Coverage, Place

Spot = Callable[[Any, Any], answers.Spot]


class _Place:
    """A range in a file, as `Intel` wants places."""

    def __init__(self, uri: str, where: lsp.Range) -> None:
        self.uri = uri
        self.range = where


class Calls:
    """Reached as `Intel.calls`. `spot` finds the definition around a position of a server."""

    def __init__(self, asker: Asker, names: Names, spot: Spot, max_chars: int) -> None:
        self._asker = asker
        self._coverage = Coverage(asker, names)
        self._names = names
        self._spot = spot
        self._max_chars = max_chars

    def incoming(
        self, name_path: str, path: str | None = None, *, cover: bool = False, max_chars: int | None = None
    ) -> LookupAnswer:
        """The calls of a definition. `cover` adds the places that may be calls, at the cost of a question for each
        place that has the name."""
        answer = self._hop(name_path, path, lsp.CALL_HIERARCHY_INCOMING_CALLS, self._callers, max_chars)
        if not cover or answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
            return answer
        with self._asker.lock:
            found = self._names.one(name_path, path)
            if isinstance(found, LookupAnswer):
                return answer
            known = [(place.path, place.line, place.column) for place in answer.locations]
            return replace(answer, uncovered=tuple(self._maybe(*found, known)))

    def _maybe(self, symbol: Symbol, text: str, known: list[Place]) -> Iterator[Uncovered]:
        """Places that may call the definition, and that the server does not count as calls."""
        survey = self._coverage.survey(symbol, text, known)
        lines = {path: answers.lines_of(content) for path, content in survey.texts.items()}
        for one in survey.same:
            line = lines[one.path][one.line - 1]
            if _IMPORT.match(line) or _in_import(lines[one.path], one.line):
                continue
            rest = line[one.column + len(answers.last_name(symbol.name_path)) :]
            why = (
                "the server does not count this call"
                if rest.lstrip().startswith("(")
                else "is passed on, not called"
            )
            yield Uncovered(one.path, one.line, why, one.snippet)
        yield from survey.doubtful

    def outgoing(
        self, name_path: str, path: str | None = None, *, cover: bool = False, max_chars: int | None = None
    ) -> LookupAnswer:
        """The definitions that a definition calls, libraries included. `cover` adds the calls in it whose target no
        server can tell."""
        answer = self._hop(name_path, path, lsp.CALL_HIERARCHY_OUTGOING_CALLS, self._callees, max_chars)
        if not cover or answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
            return answer
        with self._asker.lock:
            found = self._names.one(name_path, path)
            return (
                answer if isinstance(found, LookupAnswer) else replace(answer, uncovered=self._untold(*found))
            )

    def _untold(self, symbol: Symbol, text: str) -> tuple[Uncovered, ...]:
        """Calls in a definition whose target no server can tell."""
        lines, untold = answers.lines_of(text), []
        for use in language_of(symbol.path).uses(to_lf(text), symbol.start_line, symbol.end_line):
            line = lines[use.line - 1]
            if not line[use.column + len(use.name) :].lstrip().startswith("("):
                continue
            found = self._asker.at(lsp.TEXT_DOCUMENT_DEFINITION, symbol.path, use.line, use.column, text)
            if isinstance(found, LookupAnswer) or not answers.as_list(found.result):
                why = f"no server can tell what {use.dotted} is"
                untold.append(Uncovered(symbol.path, use.line, why, line.strip()))
        return tuple(untold)

    def _hop(
        self,
        name_path: str,
        path: str | None,
        method: str,
        tell: Callable[[Any, Any], list[Told]],
        max_chars: int | None,
    ) -> LookupAnswer:
        with self._asker.lock:
            found = self._names.one(name_path, path)
            if isinstance(found, LookupAnswer):
                return found
            items = self._prepared(*found)
            if isinstance(items, LookupAnswer):
                return items
            told: dict[tuple[str, int, int], Told] = {}
            for item in items.result or []:
                asked = {self._asker.root / found[0].path: found[1]}
                params = _params(method, item)
                calls = self._asker.lookup(method, asked, partial(_same, params))
                if isinstance(calls, LookupAnswer):
                    return calls
                for call in calls.result or []:
                    told |= {(t[0].path, t[0].line, t[0].column): t for t in tell(call, calls.codec)}
        ordered = [told[key] for key in sorted(told, key=lambda k: (k[0].startswith(("/", "(library)")), k))]
        return answers.noted(answers.pack(ordered, max_chars or self._max_chars), items.note)

    def _prepared(self, symbol: Symbol, text: str) -> Found | LookupAnswer:
        place = self._names.place(symbol, text)
        method = lsp.TEXT_DOCUMENT_PREPARE_CALL_HIERARCHY
        found = self._asker.at(method, symbol.path, *place, text)
        if not isinstance(found, LookupAnswer) and not found.result:
            detail = f"{symbol.name_path} is nothing that can be called, says the server"
            return LookupAnswer(Freshness.CLEAN, detail=detail)
        return found

    def _callers(self, call: lsp.CallHierarchyIncomingCall, codec: Any) -> list[Told]:
        spots = [self._spot(_Place(call.from_.uri, where), codec) for where in call.from_ranges]
        return [answers.told_line(spot) for spot in spots]

    def _callees(self, call: lsp.CallHierarchyOutgoingCall, codec: Any) -> list[Told]:
        spot = self._spot(_Place(call.to.uri, call.to.selection_range), codec)
        location, ladder = answers.told_definition(spot)
        # Of a callee its head is enough: the whole is one `definition` away.
        return [(location, ladder[1:] or ladder)]


_IMPORT = re.compile(r"\s*(?:from|import|use|#\s*include|export\b.*\bfrom)\b")


def _in_import(lines: list[str], line: int) -> bool:
    """Whether the line is inside the brackets of an import that began on an earlier line."""
    for number in range(line - 1, max(-1, line - 200), -1):
        text = lines[number]
        if _IMPORT.match(text):
            return "(" in text or "{" in text
        if number < line - 1 and not re.fullmatch(r"\s*(?:[\w, *]|#.*)*\s*", text):
            return False
        if number == line - 1 and not re.fullmatch(r"[\w, *)};\s]*(?:#.*)?\s*", text):
            return False
    return False


def _same(params: Any, _codec: Any) -> Any:
    return params


def _params(method: str, item: lsp.CallHierarchyItem) -> Any:
    if method == lsp.CALL_HIERARCHY_INCOMING_CALLS:
        return lsp.CallHierarchyIncomingCallsParams(item)
    return lsp.CallHierarchyOutgoingCallsParams(item)

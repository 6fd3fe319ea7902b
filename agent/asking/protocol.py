"""The form in which a model gives its edits, and how its text becomes an `Action`.

Three protocols, chosen for each model. All are fenced text: weak models lose 5 to 10 points when they must write code
inside JSON, and do best when they rewrite one whole definition.

- `symbol`: the whole new source of one definition that the prompt names.
- `file`: the whole new text of one file.
- `search-replace`: one or more SEARCH/REPLACE blocks, for models that are good at it. A whole definition in a fence is
  accepted, too.

An error says what was wrong with the answer and gives one valid example.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from forklock.agent.asking.openings import openings
from forklock.agent.asking.splice import splice
from forklock.agent.contract import Action, Place
from forklock.tools.contract import Edit, ReplaceFile, ReplaceSymbol, SearchReplace
from forklock.tools.languages.known import language_of, symbols
from forklock.tools.languages.language import Language

ProtocolName = Literal["symbol", "file", "search-replace"]

_CUT_OFF = "the answer was cut off by the token limit: answer with the code alone"
_DIAGNOSIS = " What was wrong:"
_LEADING_COMMENTS = re.compile(r"\A(?:[ \t]*(?:(?:#|//)[^\n]*)?\n)+")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_OPEN_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n", re.MULTILINE)
_BLOCK = re.compile(
    r"^(?P<path>[^\n]*)\n(?:`{3,}[^\n]*\n)?<{5,9} SEARCH[^\n]*\n"
    r"(?P<search>.*?)^={5,9}[ \t]*\n(?P<replace>.*?)^>{5,9} REPLACE",
    re.DOTALL | re.MULTILINE,
)


class ProtocolError(Exception):
    """The answer could not be read. The message tells a model what was wrong, with a valid example."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One form of edits: what a prompt asks for, and how an answer is parsed."""

    name: ProtocolName

    def ask(self, place: Place) -> str:
        """Returns the closing instruction of a prompt that shows the code."""
        if self.name == "symbol" and place.symbol is not None:
            fence = f"```{language_of(place.path).name}"
            return (
                f"Correct `{place.symbol.name_path}` in `{place.path}` so that the failing checks pass. Answer with "
                f"one {fence} block: first a comment that says what was wrong, then the complete "
                "corrected source of that definition."
            )
        if self.name == "search-replace":
            return "Fix the code with one or more blocks of exactly this form:\n\n" + _example_block(
                place.path
            )
        return (
            f"Rewrite the file `{place.path}` so that the failing checks pass. Answer with the complete new text "
            "of the file in one ``` block. No explanation."
        )

    def begin(self, place: Place) -> str:
        """Returns the first words of an answer to `ask`, for engines that can put them there."""
        if self.name == "search-replace":
            return ""
        language = language_of(place.path)
        diagnosis = "" if self.name == "file" or place.symbol is None else f"{language.comment}{_DIAGNOSIS}"
        return f"```{language.name}\n{diagnosis}"

    def splice(self, answer: str, place: Place, code: str, *, prefill: str) -> Action | None:
        """Makes a second candidate of an answer that began inside a function's body
        (`forklock.agent.asking.splice`). Returns None where there is none.

        Args:
            code: the definition as it stands, dedented.
        """
        opening = prefilled_code(prefill)
        if (
            self.name != "symbol"
            or opening not in openings(code, language_of(place.path))
            or answer.lstrip().startswith("```")
        ):
            return None
        return self.filled(answer, place, code, opening=opening)

    def filled(self, answer: str, place: Place, code: str, *, opening: str) -> Action | None:
        """Puts the first statement of `answer` behind `opening` into `code`. Returns None where none fits."""
        if place.symbol is None:
            return None
        source = splice(code, opening, _until_fence(answer), language_of(place.path))
        if source is None:
            return None
        return Action((ReplaceSymbol(path=place.path, name_path=place.symbol.name_path, source=source),))

    def continued(self, answer: str, place: Place, opening: str, *, finished: bool) -> Action:
        """Makes an action of a definition's beginning and the answer that continues it, both dedented.

        Raises:
            ProtocolError: code that stops in the middle.
        """
        if place.symbol is None or not finished:
            raise ProtocolError(_CUT_OFF)
        source = language_of(place.path).continued(opening, answer)
        return Action((ReplaceSymbol(path=place.path, name_path=place.symbol.name_path, source=source),))

    def stop(self) -> tuple[str, ...]:
        """Strings that end an answer: a closing fence. (An opening one names its language.)"""
        return () if self.name == "search-replace" else ("\n```\n",)

    def parse(self, answer: str, place: Place, *, prefill: str, finished: bool) -> Action:
        """Parses an answer.

        Args:
            prefill: the beginning of the answer that the request had given.
            finished: the model ended its turn (False: it ran into the token limit).

        Raises:
            ProtocolError: no code, or code that stops in the middle.
        """
        if self.name == "search-replace":
            whole = _whole_definition(answer, place) if finished else None
            return whole or Action(_search_replace_edits(answer, place))
        if not finished:
            raise ProtocolError(_CUT_OFF)
        source = _continued(prefill, answer) if prefill.startswith("```") else _fenced_code(answer)
        if not source.strip():
            raise ProtocolError("the answer held no code. " + _example_fence(language_of(place.path)))
        if self.name == "symbol" and place.symbol is not None:
            return Action((ReplaceSymbol(path=place.path, name_path=place.symbol.name_path, source=source),))
        return Action((ReplaceFile(path=place.path, source=source),))


def prefilled_code(prefill: str) -> str:
    """The code that a prefill holds, behind its opening fence."""
    return prefill.split("\n", 1)[1] if "\n" in prefill else ""


def _continued(prefill: str, answer: str) -> str:
    """Joins prefill and answer; an answer with a fence of its own began anew."""
    if answer.lstrip().startswith("```"):
        return _fenced_code(answer.lstrip())
    code = prefilled_code(prefill) + _until_fence(answer)
    return _LEADING_COMMENTS.sub("", code) if prefilled_code(prefill).endswith(_DIAGNOSIS) else code


def _until_fence(answer: str) -> str:
    closing = re.search(r"^[ \t]*```", answer, re.MULTILINE)
    return answer[: closing.start()] if closing else answer


def _fenced_code(answer: str) -> str:
    blocks = [match.group(2) for match in _FENCE.finditer(answer)]
    if blocks:
        return max(blocks, key=len)
    opened = _OPEN_FENCE.search(answer)
    return answer[opened.end() :] if opened else ""


def _whole_definition(answer: str, place: Place) -> Action | None:
    """Accepts the whole definition in a fence, without any block: small models answer so whatever they are asked."""
    if place.symbol is None or _BLOCK.search(answer):
        return None
    source = _fenced_code(answer)
    name = place.symbol.name_path.rpartition(".")[2].partition("#")[0]
    found = symbols(place.path, source) if source.strip() else []
    if not any(one.name_path.rpartition(".")[2] == name for one in found):
        return None
    return Action((ReplaceSymbol(path=place.path, name_path=place.symbol.name_path, source=source),))


def _search_replace_edits(answer: str, place: Place) -> tuple[Edit, ...]:
    edits: list[Edit] = []
    for match in _BLOCK.finditer(answer):
        path = match["path"].strip().strip("`*#: ") or place.path
        edits.append(SearchReplace(path=path, search=match["search"], replace=match["replace"]))
    if not edits:
        raise ProtocolError(
            "no SEARCH/REPLACE block was found. One valid block:\n\n" + _example_block(place.path)
        )
    return tuple(edits)


def _example_fence(language: Language) -> str:
    return f"One valid answer:\n\n```{language.name}\n{language.example}\n```"


def _example_block(path: str) -> str:
    return (
        f"{path}\n<<<<<<< SEARCH\n(lines of the file, exactly as they are)\n=======\n"
        "(the lines that take their place)\n>>>>>>> REPLACE"
    )

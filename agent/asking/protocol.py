"""How a model says what it wants: from its words to an `Action`.

Three protocols, chosen per model. All are fenced text: weak models lose 5 to 10 points when they must
write code inside JSON, and do best when they rewrite one whole definition.

- `symbol`: the whole new source of one definition that the prompt names.
- `file`: the whole new text of one file.
- `search-replace`: one or more SEARCH/REPLACE blocks, for models that are good at it. A whole definition in a fence is
  taken, too.

A parse failure says what was wrong and gives one valid example; the caller charges and bounds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from agent.asking.openings import Language, language_of, openings
from agent.asking.raw_text import continued
from agent.asking.splice import splice
from agent.contract import Action, Place
from tools.contract import Edit, ReplaceFile, ReplaceSymbol, SearchReplace
from tools.languages.symbols import symbols

ProtocolName = Literal["symbol", "file", "search-replace"]

Style = Literal["rewrite", "bare", "ending", "gap", "continue", "revise", "correct", "fork", "repair"]
"""How a fresh prompt asks. A small model copies what it is shown, so most hide the code or a part of it:

- `rewrite`: a chat that shows header and docstring; the answer is the whole definition.
- `bare`: the same, without the failure's text and what is known of the code around.
- `ending`: as `rewrite`, with more and more of the present code already in the answer.
- `gap`: raw text with one statement taken out, for models that were trained to fill it in (`agent.asking.infill`).
- `continue`: raw text, the file up to the definition's header; no chat at all (`agent.asking.raw_text`).
- `revise`: raw text, the definition before the fix, then its header after the fix.
- `correct`: a bare chat that shows the code; the answer begins with its header.
- `fork`: as `correct`, the answer begun with the present code up to a word that the model might have written
  instead of the code's own, and that word (`agent.asking.forks`).
- `repair`: a chat that shows the code and asks for a diagnosis first.
"""

HIDING = ("rewrite", "bare", "ending")
"""Styles whose prompt does not show the present body."""
BARE = ("bare", "correct", "fork")
"""Styles that say no more than the task, the check and the code: what else is known can also lead astray."""

_CUT_OFF = "the answer was cut off by the token limit: answer with the code alone"
DIAGNOSIS = " What was wrong:"
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
    """One way of saying edits: what the prompt asks for, and how the answer is read."""

    name: ProtocolName

    def ask(self, place: Place, style: Style = "repair") -> str:
        """The closing instruction of the prompt."""
        fence = f"```{language_of(place.path).fence}"
        if self.name == "symbol" and place.symbol is not None:
            name = f"`{place.symbol.name_path}`" + ("" if style in BARE else f" of `{place.path}`")
            if style in HIDING:
                return (
                    f"Write {name} anew, so that it does what its "
                    f"description, the task and the checks say. Answer with its complete source in one {fence} "
                    "block. No explanation."
                )
            if style in ("correct", "fork"):
                return (
                    f"Correct {name}, so that it does what its description, "
                    f"the task and the checks say. Answer with its complete source in one {fence} block. "
                    "No explanation."
                )
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

    def prefill(self, place: Place, code: str, style: Style = "repair", variant: int = 0) -> str:
        """Opening words of the answer, for engines that can put them there.

        The beginning of the definition itself (`openings`), so that the answer cannot be another one: its header, or
        for an `ending` the `variant`-th beginning behind that, round and round. For a `repair`, that of a diagnosis in
        a comment.
        """
        if self.name == "search-replace":
            return ""
        language = language_of(place.path)
        fence = f"```{language.fence}"
        if self.name == "file" or place.symbol is None:
            return f"{fence}\n"
        if style == "repair":
            return f"{fence}\n{language.mark}{DIAGNOSIS}"
        known = openings(code, language)
        later = known[1:]
        if style == "ending" and later:
            return f"{fence}\n{later[variant % len(later)]}"
        return f"{fence}\n{known[0] if known else ''}"

    def splice(self, answer: str, place: Place, code: str, *, prefill: str) -> Action | None:
        """A second candidate from an answer that began inside a function's body (`agent.asking.splice`), if
        there is one.

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
        """The action that puts the first statement of `answer` into a hole of `code`, if it holds one."""
        if place.symbol is None:
            return None
        source = splice(code, opening, _until_fence(answer), language_of(place.path))
        if source is None:
            return None
        return Action((ReplaceSymbol(path=place.path, name_path=place.symbol.name_path, source=source),))

    def continued(self, answer: str, place: Place, opening: str, *, finished: bool) -> Action:
        """From what a model wrote behind the beginning of a definition, both dedented, to an action.

        Raises:
            ProtocolError: code that stops in the middle.
        """
        if place.symbol is None or not finished:
            raise ProtocolError(_CUT_OFF)
        source = continued(opening, answer, language_of(place.path))
        return Action((ReplaceSymbol(path=place.path, name_path=place.symbol.name_path, source=source),))

    def stop(self) -> tuple[str, ...]:
        """Strings that end an answer: a fence that closes. (One that opens names its language.)"""
        return () if self.name == "search-replace" else ("\n```\n",)

    def parse(self, answer: str, place: Place, *, prefill: str, finished: bool) -> Action:
        """From an answer to an action.

        Args:
            prefill: what the prompt had put into the model's mouth.
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
    """The code that an answer makes with its prefill, unless it began anew with a fence of its own."""
    if answer.lstrip().startswith("```"):
        return _fenced_code(answer.lstrip())
    code = prefilled_code(prefill) + _until_fence(answer)
    return _LEADING_COMMENTS.sub("", code) if prefilled_code(prefill).endswith(DIAGNOSIS) else code


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
    """An answer without any block that gives the whole definition in a fence, as small models do whatever they are
    asked for."""
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
    code = "def name(argument):\n    return argument" if language.is_python else "(the code)"
    return f"One valid answer:\n\n```{language.fence}\n{code}\n```"


def _example_block(path: str) -> str:
    return (
        f"{path}\n<<<<<<< SEARCH\n(lines of the file, exactly as they are)\n=======\n"
        "(the lines that take their place)\n>>>>>>> REPLACE"
    )

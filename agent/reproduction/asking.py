"""The requests for tests: the statement, the code it leads to, what is around it, and a test file of the repository.

What all prompts share comes first (the statement, the example), what differs comes last, so that an engine computes it
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from forklock.agent.asking import Material, Protocol, RankedPlace
from forklock.agent.asking.openings import function_header
from forklock.agent.asking.places import chunks, share
from forklock.agent.asking.prompts import pack
from forklock.agent.asking.protocol import ProtocolError
from forklock.agent.contract import Lane, Place, Reading
from forklock.agent.reproduction.places import Site, example_text
from forklock.models.contract import Completion, FinishReason, Message, Request
from forklock.tools.contract import ReplaceFile
from forklock.tools.languages.known import language_of

SYSTEM = (
    "You are an expert programmer who writes tests. From the report of a mistake you write short tests that show it: "
    "they call the code as a user does, and assert what it should do. They fail until the mistake is repaired."
)
_MOST_PLACES = 2
"""Tests are written about this many places: each place is a prompt of its own, and costs its time."""
_EXAMPLE_TOKENS = 4
"""The example takes one in this many of a prompt's tokens, at most."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes the lanes of one batch."""

    material: Material
    site: Site

    def lanes(self, width: int, ranking: Sequence[RankedPlace]) -> tuple[list[Lane], int]:
        """The lanes, and the samples of each. Every second prompt of a place hides the code's body: what a model
        expects of code that it sees is easily what the code does now."""
        count, samples = chunks(width)
        if self.material.engine.supports_prefill:
            count, samples = width, 1
        places = share(ranking[:_MOST_PLACES], count, {})
        return [self._lane(number, place, number % 2 == 1) for number, place in enumerate(places)], samples

    def _lane(self, number: int, place: Place, hides: bool) -> Lane:
        request = self._request(place, hides)
        tokens = self.material.engine.count_tokens(request)
        return Lane(number, place, request, tokens, lambda completion: self._read(request, completion))

    def _request(self, place: Place, hides: bool) -> Request:
        material, count = self.material, self.material.count
        fence = f"```{self.site.language}"
        room = min(material.prompt_tokens, material.engine.context_tokens - material.answer_tokens - 64)
        code = f"# The code it is about: {_titled(place)}\n\n{fence}\n{self._code(place, hides)}\n```"
        closing = self._closing()
        kept = f"# The report\n\n{material.task.strip()}"
        room -= count("\n\n".join([SYSTEM, kept, code, closing])) + 32
        example = pack(
            example_text(material.root, self.site),
            min(room, material.prompt_tokens // _EXAMPLE_TOKENS),
            count,
        )
        parts = [kept]
        if example:
            parts.append(f"# Tests of this repository: `{self.site.example}`\n\n{fence}\n{example}\n```")
            room -= count(parts[-1])
        frame = pack(material.frame(place), room, count)
        if frame:
            parts.append(f"# Around the code\n\n{frame}")
        request = Request(
            messages=(
                Message(role="system", content=SYSTEM),
                Message(role="user", content="\n\n".join([*parts, code, closing])),
            )
        )
        if material.engine.supports_prefill:
            request = request.model_copy(update={"prefill": f"{fence}\n{self._opening(place)}"})
        return request

    def _opening(self, place: Place) -> str:
        name = place.symbol.name_path if place.symbol else ""
        module = self.site.module(place.path)
        return (
            self.site.form.opening(module, name, example_text(self.material.root, self.site))
            if name and module
            else ""
        )

    def _code(self, place: Place, hides: bool) -> str:
        code, language = self.material.code(place), language_of(place.path)
        header = function_header(code, language)
        if hides and header:
            return self.material.outline(place).rstrip() or language.to_be_written(header).rstrip()
        return code.rstrip()

    def _closing(self) -> str:
        name = PurePosixPath(self.site.path).name
        return (
            f"Write the {self.site.form.kind} `{name}` that shows the mistake of the report: one to three short tests, "
            "each with one call of the code, made as the report describes it, and one assertion of what is right. Take "
            f"examples and values from the report. Do not change or replace the code. Answer with the complete file in "
            f"one ```{self.site.language} block. No explanation."
        )

    def _read(self, request: Request, completion: Completion) -> Reading:
        """The answer's file; of one that was cut off, the tests that are complete."""
        finished = completion.finish_reason is FinishReason.STOP
        place = Place(self.site.path, None)
        try:
            action = Protocol("file").parse(completion.text, place, prefill=request.prefill, finished=True)
        except ProtocolError as error:
            return Reading(None, str(error))
        edit = action.edits[0]
        assert isinstance(edit, ReplaceFile)
        source = edit.source if finished else _complete(edit.source, self.site.path)
        return Reading(type(action)((ReplaceFile(path=edit.path, source=source),)))


def _titled(place: Place) -> str:
    return f"`{place.symbol.name_path}` in `{place.path}`" if place.symbol else f"`{place.path}`"


def _complete(source: str, path: str) -> str:
    """The text up to its last line that leaves a file which parses, without the definition that was cut off."""
    lines = source.rstrip().split("\n")
    starts = [n for n, line in enumerate(lines) if line and not line[0].isspace() and n]
    for end in reversed(starts):
        text = "\n".join(lines[:end]).rstrip() + "\n"
        if language_of(path).check(text) is None:
            return text
    return source

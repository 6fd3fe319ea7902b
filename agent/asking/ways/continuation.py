"""`continue`: raw text, the file up to the function's header, which the model goes on with. No chat at all.

A small model's best knowledge is how code goes on.
"""

from __future__ import annotations

import textwrap

from forklock.agent.asking.chat import is_finished
from forklock.agent.asking.material import read_text
from forklock.agent.asking.openings import indent_of
from forklock.agent.asking.protocol import ProtocolError
from forklock.agent.asking.raw_text import continuation_text, outdented
from forklock.agent.asking.way import Asked, Question, Way
from forklock.agent.contract import Reading
from forklock.models.contract import Completion, Request


def ask(question: Question) -> Asked | None:
    """The text is cut from its top to a third of a prompt's size."""
    material, place, language = question.material, question.place, question.language
    if not question.is_function or not question.openings or not material.engine.continues_text:
        return None
    file = read_text(material.root / place.path)
    symbol = material.symbol(place, file)
    assert symbol is not None
    lines = file.splitlines(keepends=True)
    opening, pad = question.openings[0], indent_of(lines[symbol.start_line - 1])
    text = continuation_text(
        "".join(lines[: symbol.start_line - 1]),
        textwrap.indent(opening, pad) + pad,  # the last line is blank, which `indent` leaves alone
        task=material.task,
        tests=question.tests,
        room=material.prompt_tokens // 3,
        count=material.count,
        language=language,
    )
    request = Request(text=text, stop=language.stops(pad))
    return Asked(request, place, question.code, material.protocol, opening, len(pad))


def read(asked: Asked, completion: Completion) -> Reading:
    """Reads the rest of the function, and as a second candidate its first statement alone."""
    answer = outdented(completion.text, asked.indent)
    second = asked.protocol.filled(answer, asked.place, asked.code, opening=asked.opening)
    try:
        action = asked.protocol.continued(
            answer, asked.place, asked.opening, finished=is_finished(completion)
        )
    except ProtocolError as error:
        return Reading(None, str(error), second)
    return Reading(action, "", second)


WAY = Way("continue", ask, read)

"""What the chat ways share: a request that shows or hides the code, and how its answer is read."""

from __future__ import annotations

from forklock.agent.asking.prompts import View, build_request
from forklock.agent.asking.protocol import ProtocolError
from forklock.agent.asking.way import Asked, Question
from forklock.agent.contract import Action, Reading
from forklock.models.contract import Completion, FinishReason

_SPARE_TOKENS = 64
"""Room for the marks that a chat template adds."""


def chat(
    question: Question, closing: str, opening: str, *, hides_code: bool = False, is_bare: bool = False
) -> Asked:
    """The request of a chat about one place.

    Args:
        closing: the instruction at the end of the prompt.
        opening: what the answer begins with, for engines that can put it there.
        hides_code: the present body is not shown, so that the model cannot copy it.
        is_bare: the prompt says no more than the task, the check and the code. More can lead a small model astray.
    """
    material, place = question.material, question.place
    engine = material.engine
    outline = material.outline(place) if hides_code else ""
    view = View(
        place=place,
        code=question.code,
        task=material.task,
        report=question.report,
        test_sources=question.tests,
        closing=closing,
        frame="" if outline or is_bare else material.frame(place),  # tokens of a prompt cost seconds
        notes=material.notes_near(place),
        attempt=question.attempt,
        is_bare=is_bare,
        hides_code=hides_code,
        outline=outline,
    )
    room = engine.context_tokens - material.answer_tokens - _SPARE_TOKENS
    request = build_request(view, budget=min(material.prompt_tokens, room), count=material.count)
    if engine.supports_prefill:
        request = request.model_copy(update={"prefill": opening})
    return Asked(request, place, question.code if place.symbol else "", material.protocol)


def fenced(question: Question, opening: str) -> str:
    """`opening` behind the fence that the answer is to begin with."""
    return f"```{question.language.name}\n{opening}"


def header_of(question: Question) -> str:
    """The function up to its first statement; "" for a function that is only described."""
    return question.openings[0] if question.openings else ""


def rewrite_closing(question: Question, verb: str, *, with_path: bool = True) -> str:
    """The instruction that asks for one whole function and nothing else."""
    place = question.place
    assert place.symbol is not None
    name = f"`{place.symbol.name_path}`" + (f" of `{place.path}`" if with_path else "")
    return (
        f"{verb.format(name=name)}, so that it does what its description, the task and the checks say. "
        f"Answer with its complete source in one ```{question.language.name} block. No explanation."
    )


def read_chat(asked: Asked, completion: Completion) -> Reading:
    """Reads the whole answer, and as a second candidate its first statement alone."""
    second = asked.protocol.splice(completion.text, asked.place, asked.code, prefill=asked.request.prefill)
    return read_whole(asked, completion, second)


def read_whole(asked: Asked, completion: Completion, second: Action | None) -> Reading:
    """Reads an answer in the protocol of the run."""
    try:
        action = asked.protocol.parse(
            completion.text,
            asked.place,
            prefill=asked.request.prefill,
            finished=is_finished(completion),
        )
    except ProtocolError as error:
        return Reading(None, str(error), second)
    return Reading(action, "", second)


def is_finished(completion: Completion) -> bool:
    """Whether the model ended its turn, rather than running into the token limit."""
    return completion.finish_reason is FinishReason.STOP

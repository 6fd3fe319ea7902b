"""Renders prompts to token ids by the tokenizer's own chat template, and likely other tokens to text.

In: `Request` and a transformers tokenizer. Out: ids, rendered once and tokenised once, so that no BOS is
doubled. Words of users and repos never become control tokens: where a message holds a string such as
`<|im_end|>`, that string is tokenised as plain text. Not here: tool schemas in templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from forklock.models.contract import Alternative, ModelFault, Request

_MARK = "\ue000"
"""A private-use character that stands for a control string while the template is rendered."""
_HALF = "\ufffd"
"""What a tokenizer decodes a part of a character to."""


def prompt_ids(tokenizer: Any, request: Request) -> list[int]:
    """Return the token ids of the whole prompt.

    Raises:
        ModelFault: a chat for a tokenizer without a template, or one that its template refuses.
    """
    if request.text is not None:
        if request.prefill:
            raise ModelFault("prefill goes with messages, not with raw text", fix="append it to the text")
        bos = tokenizer.bos_token
        plain = bool(bos) and request.text.startswith(bos)
        return _ids(tokenizer, request.text, special=not plain)
    _need_template(tokenizer)
    control = _control_pattern(tokenizer)
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match.group())
        return _MARK

    def guard(text: str) -> str:
        text = text.replace(_MARK, "\ufffd")
        return control.sub(hold, text) if control else text

    messages = [{"role": m.role, "content": guard(m.content)} for m in request.messages]
    rendered = _render(tokenizer, messages) + guard(request.prefill)
    if not held:
        return _ids(tokenizer, rendered)
    return _with_plain(tokenizer, rendered, held)


def turn_end_ids(tokenizer: Any) -> set[int]:
    """Return the control tokens that the chat template puts right after an assistant's words."""
    if not tokenizer.chat_template:
        return set()
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "forklock"}]
    try:
        rendered = tokenizer.apply_chat_template(talk, tokenize=False)
    except Exception:
        return set()
    after = _ids(tokenizer, rendered.rpartition("forklock")[2].lstrip())
    return {after[0]} & _control_ids(tokenizer) if after else set()


def alternatives_of(
    answer: Sequence[int],
    likeliest: Iterable[Iterable[tuple[int, float]]],
    decode: Callable[[list[int]], str],
) -> list[Alternative]:
    """See `Engine.alternatives`. What begins or ends in the middle of a character is left out.

    Args:
        answer: token ids.
        likeliest: of each token of `answer`, (id, log probability) at its place, likeliest first.
    """
    found: list[Alternative] = []
    for place, (own, rivals) in enumerate(zip(answer, likeliest, strict=True)):
        before = decode(list(answer[:place]))
        if before.endswith(_HALF):
            continue
        found += [
            Alternative(start=len(before), replaced=decode([own]), text=piece, logprob=min(logprob, 0.0))
            for token, logprob in rivals
            if token != own and _HALF not in (piece := decode([token]))
        ]
    return found


def _need_template(tokenizer: Any) -> None:
    if not tokenizer.chat_template:
        raise ModelFault(
            "this model's tokenizer has no chat template", fix="send raw text, or take an instruct model"
        )


def _render(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:
        # Templates are jinja programs of the model's author: they raise what they like.
        raise ModelFault(f"the chat template refuses these messages: {error}") from error
    return text


def _ids(tokenizer: Any, text: str, *, special: bool = False) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    return ids


def _with_plain(tokenizer: Any, rendered: str, held: list[str]) -> list[int]:
    """Tokenise with each mark read as the plain characters of the control string that it stands for."""
    pieces = rendered.split(_MARK)
    ids = _ids(tokenizer, pieces[0])
    for control, piece in zip(held, pieces[1:], strict=False):
        # Cut in two, no part of it is a control string any more.
        ids += _ids(tokenizer, control[:1]) + _ids(tokenizer, control[1:]) + _ids(tokenizer, piece)
    return ids


def _control_ids(tokenizer: Any) -> set[int]:
    added = tokenizer.added_tokens_decoder
    return {index for index, token in added.items() if token.special} | set(tokenizer.all_special_ids)


def _control_pattern(tokenizer: Any) -> re.Pattern[str] | None:
    # Some tokenizers add plain things too, such as runs of spaces; those stay as they are.
    added = tokenizer.added_tokens_decoder.values()
    names = [t.content for t in added if len(t.content) > 1 and (t.special or t.content.startswith("<|"))]
    names.sort(key=len, reverse=True)
    return re.compile("|".join(map(re.escape, names))) if names else None

"""What else a model might have written: from token ids with their likeliest rivals to text (room `models/`). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from models.contract import Alternative

_HALF = "\ufffd"


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

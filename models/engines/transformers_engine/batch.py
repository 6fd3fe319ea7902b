"""The decode loop: a batch of rows that stays full.

In: prompts (token ids), a decoding, and how many rows fit. Out: finished `Sample`s, step by step. Each
distinct prompt is prefilled once; its samples share its keys. A finished row's place goes to the next
waiting sample, or to the last row, so that the batch has no holes and every product is over live rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from forklock.models.contract import Decoding, FinishReason
from forklock.models.engines.transformers_engine.attention import DecodePlan, Prefix, StepCache, cache_word
from forklock.models.engines.transformers_engine.prefixes import Prefixes
from forklock.models.engines.transformers_engine.sampling import LIKELIEST, row_uniforms, sample
from forklock.models.engines.transformers_engine.text import TextTail

FIRST_COLUMNS = 128
"""Tokens of room per row at first; doubled when a row outgrows it."""


@dataclass
class Prompt:
    """One request, and what its samples share once it is prefilled."""

    index: int
    ids: list[int]
    limit: int
    """New tokens per sample, `max_tokens` or what the context leaves."""
    seed: int | None = None
    """`Request.seed`."""
    stop: tuple[str, ...] = ()
    greedy: bool = False
    """`Request.greedy`."""
    prefix: Prefix | None = None
    logits: Tensor | None = None
    waiting: int = 0
    """Samples that have no row yet."""


@dataclass
class Sample:
    """One row: its tokens so far, and how far its own columns are filled."""

    prompt: Prompt
    index: int
    text: TextTail
    uniforms: list[float]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason | None = None
    columns: int = 0
    shared: bool = True
    """Whether the prompt's keys are read from `prompt.prefix`, or were copied into the row's columns."""

    @property
    def position(self) -> int:
        return len(self.prompt.ids) + len(self.ids) - 1

    def take(self, token: int, logprob: float, end_ids: frozenset[int]) -> bool:
        """Add a token; true when the sample is finished."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        if token in end_ids or self.text.feed(token):
            self.finish = FinishReason.STOP
        elif len(self.ids) >= self.prompt.limit:
            self.finish = FinishReason.LENGTH
        return self.finish is not None


@dataclass(frozen=True)
class Step:
    """What one pass of the loop made."""

    tokens: int
    finished: tuple[Sample, ...]
    live: tuple[Sample, ...]


class Batch:
    """All the state of one `complete` call; dropping it frees everything."""

    def __init__(
        self,
        model: Any,
        prefixes: Prefixes,
        decode: Callable[[list[int]], str],
        end_ids: frozenset[int],
        decoding: Decoding,
        *,
        device: torch.device,
        max_rows: int,
    ) -> None:
        self._model, self._prefixes, self._decode = model, prefixes, decode
        self._end_ids, self._decoding, self._device = end_ids, decoding, device
        self._max_rows = max_rows
        self._rows: list[Sample] = []
        self._kv = torch.empty(0)
        self._plan: DecodePlan | None = None

    def run(self, prompts: Sequence[Prompt]) -> Iterator[Step]:
        """Decode every sample of every prompt, first come first served."""
        queue = deque(prompts)
        for prompt in prompts:
            prompt.waiting = self._decoding.n
        wanted = self._decoding.n * len(prompts)
        self._max_rows = min(self._max_rows, wanted)
        # Alone with its prompt, a row reads its keys once either way, and one product over all rows is
        # cheaper than one per prompt.
        share = self._decoding.n > 1 or len(prompts) == 1
        while queue or self._rows:
            if queue and len(self._rows) < self._max_rows:
                yield self._admit(queue, share=share)
            else:
                yield self._advance()

    @torch.inference_mode()
    def _admit(self, queue: deque[Prompt], *, share: bool) -> Step:
        """Give free rows to the next prompt's samples. Their first tokens come from its last logits."""
        prompt = queue[0]
        if prompt.prefix is None or prompt.logits is None:
            prompt.prefix, prompt.logits = self._prefixes.prefill(prompt.ids)
        count = min(prompt.waiting, self._max_rows - len(self._rows))
        fresh = [self._sample(prompt, self._decoding.n - prompt.waiting + i) for i in range(count)]
        ids, logprobs = sample(prompt.logits, self._decoding, self._uniforms(fresh))
        if len(ids) < count:
            ids, logprobs = ids.expand(count), logprobs.expand(count)
        finished = self._take(fresh, ids, logprobs)
        for row in fresh:
            if row.finish is None:
                self._place(row, share=share)
        prompt.waiting -= count
        if not prompt.waiting:
            prompt.logits = None
            queue.popleft()
        self._plan = None
        return Step(count, finished, tuple(self._rows))

    @torch.inference_mode()
    def _advance(self) -> Step:
        """One token for every row."""
        rows = self._rows
        columns = max(row.columns for row in rows) + 1
        self._reserve(columns)
        lengths = torch.tensor([row.columns for row in rows], device=self._device)
        cache = StepCache(self._kv, torch.arange(len(rows), device=self._device), lengths, columns)
        logits = self._model(
            input_ids=torch.tensor([row.ids[-1:] for row in rows], device=self._device),
            position_ids=torch.tensor([[row.position] for row in rows], device=self._device),
            **{cache_word(type(self._model)): cache},
            use_cache=True,
            plan=DecodePlan(self._groups(), self._mask(lengths, columns)),
            logits_to_keep=1,
        ).logits[:, -1]
        for row in rows:
            row.columns += 1
        ids, logprobs = sample(logits, self._decoding, self._uniforms(rows))
        made = len(rows)
        finished = self._take(rows, ids, logprobs)
        if finished:
            self._compact()
        return Step(made, finished, tuple(self._rows))

    def _sample(self, prompt: Prompt, index: int) -> Sample:
        decoding = self._decoding
        seed, place = (decoding.seed, prompt.index) if prompt.seed is None else (prompt.seed, 0)
        if prompt.greedy:
            uniforms = [LIKELIEST] * prompt.limit
        else:
            uniforms = row_uniforms(seed, place, index, prompt.limit) if decoding.temperature else []
        return Sample(prompt, index, TextTail(self._decode, prompt.stop), uniforms)

    def _uniforms(self, rows: Sequence[Sample]) -> Tensor | None:
        if not self._decoding.temperature:
            return None
        numbers = [row.uniforms[len(row.ids)] for row in rows]
        return torch.tensor(numbers, dtype=torch.float64, device=self._device)

    def _take(self, rows: Sequence[Sample], ids: Tensor, logprobs: Tensor) -> tuple[Sample, ...]:
        pairs = zip(rows, ids.tolist(), logprobs.tolist(), strict=True)
        return tuple(row for row, token, logprob in pairs if row.take(token, logprob, self._end_ids))

    def _place(self, row: Sample, *, share: bool) -> None:
        """Put a new row behind the last one."""
        place = len(self._rows)
        row.shared = share
        row.columns = 0 if share else len(row.prompt.ids)
        self._rows.append(row)
        self._reserve(row.columns + 1)
        if not share and row.prompt.prefix is not None:
            self._kv[:, :, place, :, : row.columns] = row.prompt.prefix.kv[:, :, 0, :, : row.columns]
            row.prompt.prefix = None

    def _compact(self) -> None:
        """Fill the places of finished rows from the end."""
        self._plan = None
        rows = self._rows
        for place in range(len(rows) - 1, -1, -1):
            if rows[place].finish is None:
                continue
            last = rows.pop()
            if place < len(rows):
                self._kv[:, :, place, :, : last.columns] = self._kv[:, :, len(rows), :, : last.columns]
                rows[place] = last

    def _reserve(self, columns: int) -> None:
        """Grow the buffer. Zeros, since a masked column still enters a product with weight 0."""
        old = self._kv
        if old.numel() and old.shape[4] >= columns:
            return
        most = max(row.columns + row.prompt.limit - len(row.ids) for row in self._rows) + 1
        room = max(columns, min(most, max(FIRST_COLUMNS, 2 * columns)))
        shape = self._prefixes
        self._kv = torch.zeros(
            (shape.layers, 2, self._max_rows, shape.kv_heads, room, shape.head_size),
            dtype=shape.dtype,
            device=self._device,
        )
        if old.numel():
            self._kv[:, :, :, :, : old.shape[4]] = old

    def _groups(self) -> tuple[tuple[Prefix, Tensor | None], ...]:
        """Rows by shared prefix; kept until a row comes or goes."""
        if self._plan is None:
            members: dict[int, list[int]] = {}
            for place, row in enumerate(self._rows):
                if row.shared:
                    members.setdefault(row.prompt.index, []).append(place)
            groups: list[tuple[Prefix, Tensor | None]] = []
            for places in members.values():
                prefix = self._rows[places[0]].prompt.prefix
                if prefix is not None:
                    whole = len(places) == len(self._rows)
                    groups.append((prefix, None if whole else torch.tensor(places, device=self._device)))
            self._plan = DecodePlan(tuple(groups), None)
        return self._plan.groups

    def _mask(self, lengths: Tensor, columns: int) -> Tensor | None:
        if all(row.columns == columns - 1 for row in self._rows):
            return None
        hidden = torch.arange(columns, device=self._device) > lengths[:, None]
        return torch.zeros(hidden.shape, device=self._device).masked_fill_(hidden, -torch.inf)[:, None, None]

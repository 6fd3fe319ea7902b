"""The in-process engine: the contract's `Engine` over a transformers model in this process.

In: requests and a decoding. Out: completions with exact ids and log probabilities. Each call owns its
batch, so an interrupt in the middle of one leaves the engine as it was. Not covered: more than one GPU
(serve with vLLM), vision models, sliding-window contexts longer than the window.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from forklock.models.adapters.lora import adapter_digest
from forklock.models.catalogue.weights import folder_revision
from forklock.models.contract import (
    Alternative,
    Completion,
    Decoding,
    Engine,
    FinishReason,
    FirstStage,
    InfillTokens,
    ModelFault,
    ModelIdentity,
    OnCompletion,
    OnTokens,
    Request,
)
from forklock.models.engines.tokens import alternatives_of, prompt_ids
from forklock.models.engines.transformers_engine.batch import Batch, Prompt, Sample
from forklock.models.engines.transformers_engine.loading import Loaded, load
from forklock.models.engines.transformers_engine.prefixes import Prefixes
from forklock.models.engines.transformers_engine.scoring import Look, TokenScores, score_answer
from forklock.models.families import infill_of
from forklock.models.web import deadline

MOST_ROWS = {"cpu": 64, "cuda": 256}
"""Rows beyond which a step only gets slower."""
MEMORY_SHARE = 0.5
"""Share of the memory free at the start of a call that its rows may take."""


class TransformersEngine(Engine):
    """See the module; made by `TransformersEngine.open` or `forklock.models.open_engine`."""

    supports_virtual_ssd = True
    supports_alternatives = True

    def __init__(self, loaded: Loaded, identity: ModelIdentity, *, max_rows: int | None = None) -> None:
        self.identity = identity
        self.context_tokens = loaded.context_tokens
        self._loaded: Loaded | None = loaded
        self._max_rows = max_rows
        self._prefixes = Prefixes(loaded.model, loaded.device)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        revision: str = "",
        adapter: Path | None = None,
        adapter_name: str | None = None,
        merge: bool = True,
        device: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
        max_rows: int | None = None,
    ) -> TransformersEngine:
        """Load `folder` (and a LoRA `adapter`) and serve it.

        Args:
            name, revision, adapter_name: for the identity; names default to the folders' own.
            merge, device, dtype: see `loading.load`.
            threads: torch's CPU threads, process-wide; None leaves them.
            max_rows: most samples decoded at once; None derives it from the memory that is free.

        Raises:
            ModelFault: see `loading.load`.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        loaded = load(folder, adapter=adapter, merge=merge, device=device, dtype=dtype)
        if adapter is not None and adapter_name is None:
            adapter_name = f"{adapter.parent.name}/{adapter.name}"
            # The folder's name says nothing of what is in it.
            revision = f"{revision or folder_revision(folder)}+{adapter_digest(adapter)[:16]}"
        identity = ModelIdentity(
            name=name or str(folder),
            revision=_revision(revision or folder_revision(folder), loaded, adapter is None or merge),
            adapter=adapter_name,
            engine="transformers",
        )
        return cls(loaded, identity, max_rows=max_rows)

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        return self._open().tokenizer

    @property
    def model(self) -> Any:
        """The transformers model, prepared for inference: look, don't train."""
        return self._open().model

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.complete`."""
        began = time.perf_counter()
        results: list[dict[int, Completion]] = [{} for _ in requests]
        for step in self._batch(requests, decoding):
            deadline.check()
            if on_tokens is not None:
                on_tokens(step.tokens)
            for row in step.finished:
                completion = self._completion(row, time.perf_counter() - began)
                results[row.prompt.index][row.index] = completion
                if on_completion is not None:
                    on_completion(row.prompt.index, row.index, completion)
        return [[samples[i] for i in range(decoding.n)] for samples in results]

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        """See `Engine.stream`."""
        for step in self._batch([request], decoding.model_copy(update={"n": 1})):
            for row in step.live:
                if piece := row.text.take():
                    yield piece
            for row in step.finished:
                row.text.finish()
                if piece := row.text.take(final=True):
                    yield piece

    def alternatives(self, request: Request, text: str, *, top_k: int = 8) -> list[Alternative]:
        """See `Engine.alternatives`."""
        tokenizer = self._open().tokenizer
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            return []
        scores = self.score([request], [[ids]], top_k=top_k)[0][0]
        rows = zip(scores.top_ids.tolist(), scores.top_logprobs.tolist(), strict=True)
        return alternatives_of(ids, (zip(*row, strict=True) for row in rows), tokenizer.decode)

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each token by itself: a part of a character is shown as a replacement mark."""
        tokenizer = self._open().tokenizer
        return [str(tokenizer.decode([one])) for one in token_ids]

    def count_tokens(self, request: Request) -> int:
        """Exact tokens of the rendered prompt."""
        return len(prompt_ids(self._open().tokenizer, request))

    def score(
        self,
        requests: Sequence[Request],
        answers: Sequence[Sequence[Sequence[int]]],
        *,
        top_k: int = 20,
        cut: FirstStage | None = None,
        watch: Sequence[Sequence[Sequence[Sequence[int]]]] | None = None,
        on_tokens: OnTokens | None = None,
    ) -> list[list[TokenScores]]:
        """What the model gives to answers that are already there (temperature 1, untruncated).

        Args:
            answers: token ids, `answers[request][sample]`, as in `Completion.token_ids`.
            top_k: most likely tokens to return at each place.
            cut: how many tokens it keeps at each place, and how much mass they have, is returned too.
            watch: ids at each place, `watch[request][sample][token]`, whose mass is returned too.

        Raises:
            ModelFault: prompt and answer do not fit the context.
        """
        tokenizer = self._open().tokenizer
        result: list[list[TokenScores]] = []
        for number, (request, samples) in enumerate(zip(requests, answers, strict=True)):
            prompt = self._fitting(prompt_ids(tokenizer, request))
            scores = []
            for index, answer in enumerate(samples):
                if len(prompt) + len(answer) > self.context_tokens:
                    raise ModelFault(
                        f"prompt and answer are {len(prompt)} + {len(answer)} tokens; "
                        f"the context holds {self.context_tokens}"
                    )
                look = Look(top_k, cut, watch[number][index] if watch is not None else None)
                scores.append(score_answer(self._prefixes, prompt, answer, look))
                if on_tokens is not None:
                    on_tokens(len(answer))
            result.append(scores)
        return result

    def close(self) -> None:
        """See `Engine.close`."""
        self._prefixes.forget()
        if self._loaded is not None:
            on_cuda = self._loaded.device.type == "cuda"
            self._loaded = None
            del self._prefixes._model
            if on_cuda:
                torch.cuda.empty_cache()

    def _open(self) -> Loaded:
        if self._loaded is None:
            raise ModelFault("the engine is closed", fix="open_engine again")
        return self._loaded

    def _batch(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Any]:
        loaded = self._open()
        prompts = [self._prompt(index, request, decoding) for index, request in enumerate(requests)]
        if not prompts:
            return iter(())
        backend = loaded.tokenizer.backend_tokenizer

        def decode(ids: list[int]) -> str:
            text: str = backend.decode(ids, skip_special_tokens=True)
            return text

        batch = Batch(
            loaded.model,
            self._prefixes,
            decode,
            loaded.end_ids,
            decoding,
            device=loaded.device,
            max_rows=self._rows_that_fit(prompts, decoding),
        )
        return batch.run(prompts)

    @property
    def infill(self) -> InfillTokens | None:
        return infill_of(self._open().tokenizer.get_added_vocab())

    def _prompt(self, index: int, request: Request, decoding: Decoding) -> Prompt:
        ids = self._fitting(prompt_ids(self._open().tokenizer, request))
        limit = min(request.bound(decoding), self.context_tokens - len(ids))
        return Prompt(index, ids, limit, request.seed, request.stops(decoding), request.greedy)

    def _fitting(self, ids: list[int]) -> list[int]:
        if not ids:
            raise ModelFault("the prompt is empty")
        if len(ids) >= self.context_tokens:
            raise ModelFault(
                f"the prompt is {len(ids)} tokens; the context of {self.identity.name} holds "
                f"{self.context_tokens}, answer included",
                fix="shorten the prompt, or take a model with a longer context",
            )
        return ids

    def _rows_that_fit(self, prompts: Sequence[Prompt], decoding: Decoding) -> int:
        """Rows whose keys and values fit the memory that is free now; at least one."""
        device = self._open().device
        if self._max_rows is not None:
            return self._max_rows
        free = (
            torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
        )
        own = max(prompt.limit for prompt in prompts)
        longest = max(len(prompt.ids) for prompt in prompts)
        # While the buffer doubles, the old one is still there: half as much again.
        per_row = 1.5 * (own + longest / decoding.n) * self._prefixes.bytes_per_token
        return max(1, min(int(free * MEMORY_SHARE / per_row), MOST_ROWS.get(device.type, 64)))

    def _completion(self, row: Sample, seconds: float) -> Completion:
        return Completion(
            text=row.text.finish(),
            finish_reason=row.finish or FinishReason.LENGTH,
            prompt_tokens=len(row.prompt.ids),
            completion_tokens=len(row.ids),
            token_ids=tuple(row.ids),
            logprobs=tuple(row.logprobs),
            seconds=seconds,
            cost_usd=0.0,
            model=self.identity,
        )


def _revision(revision: str, loaded: Loaded, merged: bool) -> str:
    """The revision of the weights, with what else shapes tokens where it is not the usual."""
    kind = str(next(loaded.model.parameters()).dtype).removeprefix("torch.")
    return revision + ("" if kind == "bfloat16" else f"-{kind}") + ("" if merged else "-beside")

"""The vLLM engine, on a server that we start and end, or on one that runs already.

In: requests. Out: completions over HTTP, streamed, with the server's own token ids and log probabilities.
The prompt travels as token ids: rendered here for a model folder (so that every local engine sees the same
prompt, and control tokens in repo text stay text), by the server's `/tokenize` for a URL. An engine speaks
to the base or to one adapter, never to both: on CPU a batch that mixes them is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import httpx

from forklock.models.contract import (
    Alternative,
    Completion,
    Decoding,
    Engine,
    FinishReason,
    ModelFault,
    ModelIdentity,
    OnCompletion,
    OnTokens,
    Request,
)
from forklock.models.engines.hosted.answers import cached_in
from forklock.models.engines.hosted.wire import (
    Server,
    message_of,
    plain,
    server_headers,
    tokenize_on_server,
)
from forklock.models.engines.tokens import alternatives_of
from forklock.models.engines.vllm.lora import VllmLora
from forklock.models.engines.vllm.prompts import LocalPrompts
from forklock.models.engines.vllm.server import VllmServer, death_fault
from forklock.models.engines.vllm.stream import GrowingSample, choices_of, likeliest, request_seed, strange
from forklock.models.web import clients as web
from forklock.models.web import deadline
from forklock.models.web.fan_out import Emit, Sample, Tokens, fan_out

REQUESTS_AT_ONCE = 64
SILENCE_S = 900.0
"""A stream that gives nothing for this long counts as dead; requests may wait their turn for minutes."""
TOKEN_S = 2.0
"""Added for each token of an answer, to get the time until which it must be whole."""
TOKEN_BYTES, SLACK_BYTES = 4096, 4 << 20
"""What a stream may take: so much a token (each comes in an event of its own), and beside them."""


class VllmEngine(Engine):
    """See the module; made by `forklock.models.engines.vllm.opening`."""

    def __init__(
        self,
        server: Server,
        identity: ModelIdentity,
        *,
        lora: VllmLora | None = None,
        owned: VllmServer | None = None,
        prompts: LocalPrompts | None = None,
        truncates: bool = False,
    ) -> None:
        """`truncates`: our truncation processor runs in the server. `owned`: we started the server and end it."""
        self.identity = identity
        self.context_tokens = server.context_tokens or 4096
        self._server = server
        self._base = server.model
        self._owned = owned
        self._prompts = prompts
        self._truncates = truncates
        self.supports_alternatives = prompts is not None
        self._loaded: str | None = None
        self._closed = False
        self._http = web.client(
            base_url=server.root,
            headers=server_headers(),
            connections=REQUESTS_AT_ONCE + 4,
            timeout=httpx.Timeout(SILENCE_S, connect=web.CONNECT_S),
        )
        if lora is not None:
            try:
                self._load(lora)
            except BaseException:
                self._http.close()
                raise

    @property
    def url(self) -> str:
        """The server's address with the base's name, which a second client attaches to."""
        return f"{self._server.base_url}#{self._base}"

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.complete`. All samples of a request share its prompt's KV."""
        began, until = time.perf_counter(), deadline.Until()
        jobs = []
        for index, request in enumerate(requests):
            body = self._body(index, request, decoding)
            for first in range(0, decoding.n, body["n"]):
                jobs.append(partial(self._collect, index, first, body, began, until))
        parts = fan_out(jobs, at_once=REQUESTS_AT_ONCE, on_tokens=on_tokens, on_completion=on_completion)
        flat = [completion for part in parts for completion in part]
        return [flat[i * decoding.n : (i + 1) * decoding.n] for i in range(len(requests))]

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        """See `Engine.stream`."""
        body = self._body(0, request, decoding.model_copy(update={"n": 1}))
        finished = False
        for chunk in self._chunks(body, deadline.Until()):
            for _, choice in choices_of(chunk, 1):
                finished = finished or bool(choice.get("finish_reason"))
                if choice["text"]:
                    yield choice["text"]
        if not finished:
            raise self._gone("the stream ended before the sample had")

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each token; only of a server that we started, whose tokenizer is at hand."""
        if self._prompts is None:
            return []
        return [str(self._prompts.tokenizer.decode([one])) for one in token_ids]

    def alternatives(self, request: Request, text: str, *, top_k: int = 8) -> list[Alternative]:
        """See `Engine.alternatives`; only of a server that we started, whose tokenizer is at hand."""
        if self._prompts is None:
            return super().alternatives(request, text, top_k=top_k)
        tokenizer = self._prompts.tokenizer
        answer: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        prompt = self._fitting(self._prompt_ids(request), len(answer))
        if not answer:
            return []
        body = {
            "model": self._server.model, "prompt": [*prompt, *answer], "max_tokens": 1, "temperature": 0.0,
            "prompt_logprobs": top_k,
        }  # fmt: skip
        rows = self._prompt_logprobs(body)[len(prompt) :]
        return alternatives_of(answer, ([*likeliest(row, top_k)] for row in rows), tokenizer.decode)

    def _prompt_logprobs(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            most = SLACK_BYTES + TOKEN_BYTES * len(body["prompt"]) * (1 + body["prompt_logprobs"])
            with web.spending(web.Budget(deadline.bounded(SILENCE_S), most)):
                answer = self._http.post("/v1/completions", json=body)
            if not answer.is_success:
                raise self._refused(answer.status_code, answer.text)
            found: list[dict[str, Any]] = web.decode_json(answer.content)["choices"][0]["prompt_logprobs"]
        except (web.TooSlow, web.TooLarge) as fault:
            deadline.check()
            raise self._gone(fault.message) from None
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise self._gone(error) from None
        return found

    def count_tokens(self, request: Request) -> int:
        """See `Engine.count_tokens`; the count is exact."""
        return len(self._prompt_ids(request))

    def close(self) -> None:
        """Ends the server if it is ours; else takes back the adapter that we loaded."""
        if self._closed:
            return
        self._closed = True
        if self._owned is None and self._loaded is not None:
            with (
                suppress(httpx.HTTPError, ModelFault),  # A server that is gone holds no adapter.
                web.spending(web.Budget(10.0, web.SMALL_ANSWER)),
            ):
                self._http.post("/v1/unload_lora_adapter", json={"lora_name": self._loaded})
        self._http.close()
        if self._owned is not None:
            self._owned.close()

    def _load(self, lora: VllmLora) -> None:
        body = {"lora_name": lora.served_name, "lora_path": str(lora.folder)}
        try:
            with web.spending(web.Budget(300.0, web.SMALL_ANSWER)):
                answer = self._http.post("/v1/load_lora_adapter", json=body)
        except (web.TooSlow, web.TooLarge) as fault:
            raise self._gone(fault.message) from None
        except httpx.HTTPError as error:
            raise self._gone(error) from None
        already = answer.status_code == 400 and "already been loaded" in answer.text
        if answer.status_code == 404:
            raise ModelFault(
                f"{self._server.base_url} takes no adapters at run time.",
                fix="Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1.",
            )
        if not (answer.is_success or already):
            raise ModelFault(f"vLLM refuses the adapter {lora.folder}: {message_of(answer.text)[0]}")
        self._server = replace(self._server, model=lora.served_name)
        self._loaded = None if already else lora.served_name

    def _prompt_ids(self, request: Request) -> list[int]:
        if self._closed:
            raise ModelFault("The engine is closed.", fix="Open it again.")
        if self._prompts is not None:
            return self._prompts.ids(request)
        if request.text is not None and request.prefill:
            raise ModelFault("A prefill goes with messages, not with raw text.", fix="Append it to the text.")
        ids = tokenize_on_server(self._server, request)
        if ids is None:
            if self._owned is not None and not self._owned.alive():
                raise death_fault(self._owned, "The vLLM server is gone")
            raise ModelFault(
                f"{self._server.root}/tokenize does not answer.", fix="Is it a vLLM server, and running?"
            )
        return ids

    def _fitting(self, ids: list[int], answer: int = 0) -> list[int]:
        if not ids:
            raise ModelFault("The prompt is empty.")
        if len(ids) + answer >= self.context_tokens:
            raise ModelFault(
                f"The prompt is {len(ids) + answer} tokens; the context of {self.identity.name} holds "
                f"{self.context_tokens}, answer included.",
                fix="Shorten the prompt, or take a model with a longer context.",
            )
        return ids

    def _body(self, index: int, request: Request, decoding: Decoding) -> dict[str, Any]:
        """One request of vLLM's completions API."""
        ids = self._fitting(self._prompt_ids(request))
        decoding = request.own(decoding)
        body: dict[str, Any] = {
            "model": self._server.model,
            "prompt": ids,
            "n": decoding.n if decoding.temperature else 1,  # vLLM refuses more of a greedy one
            "temperature": decoding.temperature,
            "max_tokens": min(request.bound(decoding), self.context_tokens - len(ids)),
            "stop": list(request.stops(decoding)),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "logprobs": 0,
            **self._truncation(decoding),
        }
        if decoding.seed is not None:
            body["seed"] = request_seed(decoding.seed, index)
        if self._prompts is not None and self._prompts.end_ids:
            body["stop_token_ids"] = list(self._prompts.end_ids)
        return body

    def _truncation(self, decoding: Decoding) -> dict[str, Any]:
        """Truncation fields; greedy needs none, since no truncation removes the likeliest token."""
        self.refuse_virtual_ssd(decoding)
        if decoding.temperature == 0:
            return {}
        wanted = {
            "top_k": (decoding.top_k, 0),
            "top_p": (decoding.top_p, 1.0),
            "min_p": (decoding.min_p, 0.0),
        }
        set_ones = {key: value for key, (value, neutral) in wanted.items() if value != neutral}
        if self._truncates:
            return {"vllm_xargs": {f"forklock_{key}": value for key, value in set_ones.items()}}
        if "min_p" in set_ones and "top_p" in set_ones:
            raise ModelFault(
                "This vLLM server applies min-p before top-p, not after it.", fix="Set only one of the two."
            )
        return set_ones

    def _collect(
        self, index: int, first: int, body: dict[str, Any], began: float, until: deadline.Until, emit: Emit
    ) -> list[Completion]:
        """Read one request's stream to its end: samples `first` and following."""
        growing = [GrowingSample() for _ in range(body["n"])]
        done: dict[int, Completion] = {}
        cached = None
        for chunk in self._chunks(body, until):
            cached = cached_in(chunk) if chunk.get("usage") else cached
            for number, choice in choices_of(chunk, body["n"]):
                sample = growing[number]
                new = sample.take(choice)
                if new:
                    emit(Tokens(new))
                if choice.get("finish_reason"):
                    seconds = time.perf_counter() - began
                    done[number] = self._completion(sample, choice["finish_reason"], body, seconds)
                    if len(done) < len(growing):
                        emit(Sample(index, first + number, done[number]))
        if len(done) < len(growing):
            raise self._gone("the stream ended before every sample had")
        last = list(done)[-1]  # the usage, which comes at the end, is told with the last sample
        done[last] = done[last].model_copy(update={"cached_tokens": cached})
        emit(Sample(index, first + last, done[last]))
        return [done[number] for number in range(len(growing))]

    def _completion(
        self, sample: GrowingSample, reason: str, body: dict[str, Any], seconds: float
    ) -> Completion:
        if reason not in ("stop", "length"):
            raise ModelFault(
                f"vLLM broke a sample off: {plain(str(reason)[:100])}.", fix=self._where_to_look()
            )
        whole = len(sample.logprobs) == len(sample.ids)
        return Completion(
            text="".join(sample.text),
            finish_reason=FinishReason(reason),
            prompt_tokens=len(body["prompt"]),
            completion_tokens=len(sample.ids),
            token_ids=tuple(sample.ids),
            logprobs=tuple(sample.logprobs) if whole else None,
            seconds=seconds,
            cost_usd=0.0,
            model=self.identity,
        )

    def _chunks(self, body: dict[str, Any], until: deadline.Until) -> Iterator[dict[str, Any]]:
        """The stream's events, decoded."""
        tokens = body["n"] * body["max_tokens"]
        seconds = until.left(SILENCE_S + TOKEN_S * body["max_tokens"])
        asked = self._http.build_request("POST", "/v1/completions", json=body)
        answer = None
        try:
            with web.spending(web.Budget(seconds, SLACK_BYTES + TOKEN_BYTES * tokens)):
                answer = self._http.send(asked, stream=True)
            if not answer.is_success:
                raise self._refused(answer.status_code, answer.read().decode(errors="replace"))
            for line in answer.iter_lines():
                data = line.removeprefix("data:").strip()
                if not line.startswith("data:") or data == "[DONE]":
                    continue
                chunk = web.decode_json(data)
                if not isinstance(chunk, dict):
                    raise strange()
                if "error" in chunk:
                    raise self._refused(500, data)
                yield chunk
        except (web.TooSlow, web.TooLarge) as fault:
            until.left(0.0)
            raise self._gone(fault.message) from None
        except (httpx.HTTPError, ValueError, TypeError) as error:
            raise self._gone(error) from None
        finally:
            if answer is not None:
                answer.close()

    def _refused(self, status: int, text: str) -> ModelFault:
        message = message_of(text)[0]
        if status >= 500 and self._owned is not None:
            time.sleep(1.0)  # A dying engine answers 500 first; its log has the reason a moment later.
            if not self._owned.alive():
                return death_fault(self._owned, "The vLLM server died during a request")
        if "offset" in message and "Generator" in message:
            return ModelFault("This vLLM build cannot seed top-k or top-p.", fix="Set no seed.")
        return ModelFault(f"vLLM answered {status}: {message}", fix=self._where_to_look())

    def _gone(self, reason: object) -> ModelFault:
        if self._owned is not None:
            time.sleep(0.5)
            if not self._owned.alive():
                return death_fault(self._owned, "The vLLM server died during a request")
        words = str(reason) or type(reason).__name__
        return ModelFault(
            f"The vLLM server at {self._server.base_url} broke off: {plain(words)}.",
            fix=self._where_to_look(),
        )

    def _where_to_look(self) -> str:
        return f"The server's log: {self._owned.log}" if self._owned else "Look into the server's log."

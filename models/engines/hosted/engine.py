"""The hosted engine: any provider that LiteLLM knows, and any OpenAI-compatible server (room `models/`).

In: requests. Out: completions over HTTP, several at once, with retries for what passes (429, 5xx, broken
connections) and faults that name the fix for what does not. Each request has a deadline and a size. An option that
the other side would ignore or refuse is a fault, unless `fit` got no word that the user asked for it; what most callers
set by default (the seed, several samples in one request, log probabilities) is left out where the server refuses it,
and that is logged once. Not covered: images, tools, providers' batch APIs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from forklock.models.contract import (
    Completion,
    Decoding,
    Engine,
    Fitted,
    ModelFault,
    ModelIdentity,
    OnCompletion,
    OnTokens,
    Request,
)
from forklock.models.engines.hosted.answers import (
    Piece,
    cut_at_stops,
    estimated_prompt,
    pieces_of,
    until_stop,
)
from forklock.models.engines.hosted.refusals import Refused
from forklock.models.engines.hosted.routes import Route, cannot, fault_of, fit
from forklock.models.engines.hosted.windows import WindowGuard
from forklock.models.engines.hosted.wire import CONTINUE_LAST, tokenize_on_server
from forklock.models.web import clients as web
from forklock.models.web.deadline import Until
from forklock.models.web.fan_out import Emit, Sample, Tokens, fan_out

REQUESTS_AT_ONCE = 16
ATTEMPTS = 5
TIMEOUT_S = 600.0
"""For one answer, a whole stream included."""
TOKEN_BYTES, TOKEN_BYTES_WITH_LOGPROBS, SLACK_BYTES = 256, 1024, 512 << 10
"""What an answer may take: so much a token, and beside them."""
STOPS = 4
"""Stop strings that OpenAI's API takes; the rest are applied here."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Call:
    """One request on the wire: samples `first` and following of `request`."""

    request: Request
    decoding: Decoding
    number: int
    """Number of the first sample, counted over the whole call of the engine. It shifts the seed."""
    count: int


class HostedEngine(Engine):
    """See the module; made by `forklock.models.engines.hosted.opening`."""

    def __init__(self, route: Route, timeout_s: float, attempts: int) -> None:
        self.identity = ModelIdentity(name=route.name, revision=route.revision, engine="hosted")
        self.endpoint = route.endpoint
        self.context_tokens = route.context_tokens
        self.widen = route.widen
        self.supports_prefill = route.prefill
        self.continues_text = route.extended
        self.honours_seed = "seed" in route.params
        self._route = route
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._closed = False
        self._counts_tokens = route.server is not None
        host = httpx.URL(route.server.base_url).host if route.server is not None else ""
        self._guard = WindowGuard(route.name, route.window, host)
        self._unasked: frozenset[str] = frozenset({"seed", "n", "logprobs", "return_token_ids"})
        """Parameters that may be left out."""
        self._refused: frozenset[str] = frozenset()
        """Parameters that are left out."""

    def fit(self, decoding: Decoding, *, asked: Collection[str] = ()) -> Fitted:
        """See `Engine.fit`. What was not asked for is also left out later, should the server refuse it."""
        route = self._route
        unknown = [name for name in ("top_k", "min_p") if name not in route.truncation]
        unknown += [name for name in ("temperature", "top_p") if name not in route.params]
        if not self.honours_seed and "seed" in asked:
            unknown.append("seed")
        if decoding.temperature == 0:
            unknown = [name for name in unknown if name == "temperature"]
        fitted = fit(decoding, unknown, asked, where=route.name)
        self._refused |= {name for name in unknown if name == "temperature"}
        droppable = {"temperature", "top_p", "top_k", "min_p", "seed"} - set(asked)
        self._unasked = frozenset(droppable | {"n", "logprobs", "return_token_ids"})
        return fitted

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.complete`. Samples are one request where the other side has `n`, else one each."""
        self._check_open()
        began, until = time.perf_counter(), Until()
        jobs: list[Callable[[Emit], list[Completion]]] = []
        for index, request in enumerate(requests):
            # vLLM refuses `n` for greedy samples.
            splits = "n" not in self._route.params or not request.own(decoding).temperature
            together = 1 if splits or "n" in self._refused else decoding.n
            for first in range(0, decoding.n, together):
                call = _Call(request, decoding, index * decoding.n + first, together)
                self._body(call)  # Faults of options come before anything is sent.
                self._guard.before(request)
                jobs.append(self._job(call, index, first, began, until))
        parts = fan_out(jobs, at_once=REQUESTS_AT_ONCE, on_tokens=on_tokens, on_completion=on_completion)
        flat = [completion for part in parts for completion in part]
        return [flat[i * decoding.n : (i + 1) * decoding.n] for i in range(len(requests))]

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        """See `Engine.stream`."""
        self._check_open()
        call = _Call(request, decoding, 0, 1)
        return until_stop(self._streamed(call, self._body(call), Until()), request.stops(decoding))

    def _streamed(self, call: _Call, body: dict[str, Any], until: Until) -> Iterator[str]:
        finished = False
        budget = self._budget(call, until)
        try:
            with web.spending(budget):
                chunks = self._route.caller.stream(call.request, body)
                first = next(chunks, None)
            while first is not None:
                for choice in first["choices"]:
                    text = call.request.text is not None
                    piece = choice.get("text") if text else (choice.get("delta") or {}).get("content")
                    finished = finished or choice.get("finish_reason") is not None
                    if isinstance(piece, str) and piece:
                        yield piece
                first = next(chunks, None)
        except Refused as refused:
            raise self._cut_off(budget, until) or fault_of(refused, self._route, self._attempts) from None
        except web.TooSlow:
            raise self._cut_off(budget, until) or self._no_answer(budget) from None
        except (KeyError, TypeError, AttributeError):
            raise ModelFault(f"{self.identity.name} streams what is not OpenAI's format.") from None
        if not finished:
            raise ModelFault(f"{self.identity.name} broke the stream off.", fix="Try again.")

    def count_tokens(self, request: Request) -> int:
        """Exact where the server has `/tokenize`; else an upper estimate by length of text."""
        route = self._route
        if self._counts_tokens and route.server is not None and (route.extended or request.text is None):
            ids = tokenize_on_server(route.server, request, key=route.key)
            if ids is not None:
                return len(ids)
            self._counts_tokens = False  # Asking again would cost a request for each piece of a prompt.
        return estimated_prompt(request)

    def close(self) -> None:
        """See `Engine.close`."""
        if not self._closed:
            self._closed = True
            self._route.caller.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ModelFault("The engine is closed.", fix="Open it again.")

    # -- requests -------------------------------------------------------------------------------------

    def _job(
        self, call: _Call, index: int, first: int, began: float, until: Until
    ) -> Callable[[Emit], list[Completion]]:
        def run(emit: Emit) -> list[Completion]:
            pieces = self._answers(call, until)
            completions = [self._completion(piece, time.perf_counter() - began) for piece in pieces]
            for offset, completion in enumerate(completions):
                emit(Tokens(completion.completion_tokens))
                emit(Sample(index, first + offset, completion))
            return completions

        return run

    def _answers(self, call: _Call, until: Until) -> list[Piece]:
        """The samples of `call`: by one request, or one each where the server knows no `n`."""
        if call.count > 1 and "n" in self._refused:
            found: list[Piece] = []
        else:
            found = self._asked(call, until)[: call.count]
        for offset in range(len(found), call.count):
            single = _Call(call.request, call.decoding, call.number + offset, 1)
            found += self._asked(single, until)[:1]
        if len(found) != call.count:
            raise ModelFault(f"{self.identity.name} gave {len(found)} samples, {call.count} were asked for.")
        return found

    def _asked(self, call: _Call, until: Until) -> list[Piece]:
        """Send one request; retry without what the server refuses, unless the user asked for it."""
        while True:
            body = self._body(call)
            try:
                answer = self._retried(call, body, until)
            except Refused as refused:
                left_out = self._to_leave_out(refused, body)
                if not left_out:
                    raise fault_of(refused, self._route, self._attempts) from None
                log.warning("%s refuses %s; left out", self.identity.name, ", ".join(sorted(left_out)))
                self._refused |= left_out
                if call.count > 1 and "n" in left_out:
                    return []
                continue
            pieces = pieces_of(
                answer, call.request, most_tokens=call.request.bound(call.decoding), name=self.identity.name
            )
            if not pieces:
                raise ModelFault(f"{self.identity.name} gave no samples.", fix="Look into the server's log.")
            told = None if pieces[0].estimated else pieces[0].prompt_tokens
            self._guard.after(call.request, told, lambda request: self._counted(request, until))
            cost = answer.get("cost_usd")
            stops = call.request.stops(call.decoding)
            return [cut_at_stops(_priced(piece, cost, len(pieces)), stops) for piece in pieces]

    def _counted(self, request: Request, until: Until) -> int | None:
        """Return the server's count of a prompt; None if it does not tell."""
        call = _Call(request, Decoding(temperature=0.0, max_tokens=1), 0, 1)
        try:
            answer = self._retried(call, self._body(call), until)
        except (Refused, ModelFault):  # the answer that is there already counts more than the check
            return None
        pieces = pieces_of(answer, request, most_tokens=1, name=self.identity.name)
        return pieces[0].prompt_tokens if pieces and not pieces[0].estimated else None

    def _to_leave_out(self, refused: Refused, body: dict[str, Any]) -> frozenset[str]:
        """Parameters of a refused request that may be left out: the one that is named, else all of them."""
        if refused.status not in (400, 422, 501) or refused.too_long:
            return frozenset()
        sent = (set(body) | set(body.get("extra_body", {}))) & self._unasked
        named = {name for name in sent if refused.is_about(name)}
        return frozenset(named or sent)

    def _body(self, call: _Call) -> dict[str, Any]:
        """OpenAI's parameters of one request.

        Raises:
            ModelFault: an option that the other side does not honour.
        """
        route, request = self._route, call.request
        decoding = request.own(call.decoding)
        extra = self._truncation(decoding)
        body: dict[str, Any] = {
            "max_tokens": request.bound(decoding),
            **self._optional(decoding, request.stops(decoding), call),
        }
        if route.extended:
            extra["return_token_ids"] = True
            body["logprobs"] = True if request.text is None else 1
        if request.prefill:
            if not route.prefill or request.text is not None:
                raise ModelFault(f"{self.identity.name} cannot prefill an answer.", fix="Send no prefill.")
            if route.extended:
                extra |= CONTINUE_LAST
        extra = {key: value for key, value in extra.items() if key not in self._refused}
        body = {key: value for key, value in body.items() if key not in self._refused}
        return body | ({"extra_body": extra} if extra else {})

    def _optional(self, decoding: Decoding, stops: tuple[str, ...], call: _Call) -> dict[str, Any]:
        wanted: dict[str, Any] = {"temperature": decoding.temperature}
        if decoding.temperature > 0 and decoding.top_p < 1:
            wanted["top_p"] = decoding.top_p
        for name in wanted:
            if name not in self._route.params and name not in self._refused:
                raise cannot(self.identity.name, name)
        if stops and "stop" in self._route.params:
            # `cut_at_stops` applies the others.
            wanted["stop"] = list(stops if self._route.extended else stops[:STOPS])
        if call.count > 1:
            wanted["n"] = call.count
        if decoding.seed is not None:
            if self.honours_seed:
                wanted["seed"] = (decoding.seed * 1_000_003 + call.number) % 2**31
            elif "seed" not in self._refused:
                self._refused |= {"seed"}
                log.warning("%s honours no seed; samples are drawn afresh", self.identity.name)
        return wanted

    def _truncation(self, decoding: Decoding) -> dict[str, Any]:
        """Greedy needs none: no truncation removes the likeliest token."""
        self.refuse_virtual_ssd(decoding)
        if decoding.temperature == 0:
            return {}
        wanted: dict[str, Any] = {}
        if decoding.top_k:
            wanted["top_k"] = decoding.top_k
        if decoding.min_p:
            wanted["min_p"] = decoding.min_p
        for name in wanted:
            if name not in self._route.truncation and name not in self._refused:
                raise cannot(self.identity.name, name)
        if self._route.extended and decoding.min_p and decoding.top_p < 1:
            raise ModelFault(
                "This server applies min-p before top-p, not after it.", fix="Set only one of the two."
            )
        return wanted

    def _budget(self, call: _Call, until: Until) -> web.Budget:
        per_token = TOKEN_BYTES_WITH_LOGPROBS if self._route.extended else TOKEN_BYTES
        tokens = call.count * call.request.bound(call.decoding)
        return web.Budget(until.left(self._timeout_s), SLACK_BYTES + tokens * per_token)

    def _retried(self, call: _Call, body: dict[str, Any], until: Until) -> Any:
        """Send, and again after what passes; waits grow, or are what the server asks for.

        Raises:
            Refused: it does not pass.
            ModelFault: the time is used up, or the answer is too large.
        """
        for attempt in range(1, self._attempts + 1):
            budget = self._budget(call, until)
            try:
                with web.spending(budget):
                    return self._route.caller.complete(call.request, body)
            except web.TooSlow:
                raise self._cut_off(budget, until) or self._no_answer(budget) from None
            except web.TooLarge as fault:
                raise ModelFault(f"{self._route.where}: {fault.message}.", fix=fault.fix) from None
            except Refused as refused:
                cut = self._cut_off(budget, until)
                if cut is not None:
                    raise cut from None
                if not refused.passes or attempt == self._attempts:
                    raise
                wait = refused.retry_after
                time.sleep(until.left(min(20.0, 0.5 * 2 ** (attempt - 1)) if wait is None else wait))
        raise AssertionError("unreachable")

    # -- faults ---------------------------------------------------------------------------------------

    def _cut_off(self, budget: web.Budget, until: Until) -> ModelFault | None:
        """The fault of a request that its budget cut off, by whatever a library made of it."""
        until.left(0.0)
        if isinstance(budget.fault, web.TooLarge):
            return ModelFault(f"{self._route.where}: {budget.fault.message}.", fix=budget.fault.fix)
        return self._no_answer(budget) if isinstance(budget.fault, web.TooSlow) or budget.over else None

    def _no_answer(self, budget: web.Budget) -> ModelFault:
        return ModelFault(
            f"{self.identity.name} did not answer within {budget.seconds:.3g} s.",
            fix="Is the server overloaded? Ask for fewer tokens, or try again later.",
        )

    def _completion(self, piece: Piece, seconds: float) -> Completion:
        return Completion(
            text=piece.text,
            finish_reason=piece.reason,
            prompt_tokens=piece.prompt_tokens,
            completion_tokens=piece.tokens,
            tokens_estimated=piece.estimated,
            cached_tokens=piece.cached,
            token_ids=piece.token_ids,
            logprobs=piece.logprobs,
            seconds=seconds,
            cost_usd=piece.cost_usd,
            model=self.identity,
        )


def _priced(piece: Piece, cost: object, count: int) -> Piece:
    return replace(piece, cost_usd=float(cost) / count) if isinstance(cost, (int, float)) else piece

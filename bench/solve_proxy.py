"""A proxy in front of an OpenAI-compatible server that counts each run's tokens and ends them at a budget.

In: the address of a vLLM server. Out: an address for each run, `http://127.0.0.1:PORT/KEY/v1`, whose requests
its `Meter` counts. No agent's own accounting is trusted. The server is always asked for a stream, so that a budget ends
in mid-answer too: the samples in flight then end as if they had reached their length (`finish_reason: length`), and
further requests are refused with status 400, which no client repeats. A client that wanted one whole answer gets it put
together.

Not covered: tool calls and log probabilities for clients that do not stream; other paths than those of `PATHS`.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

PATHS = ("/v1/models", "/tokenize", "/v1/completions", "/v1/chat/completions")
SILENCE_S = 900.0
"""Seconds without a byte from the server until it counts as dead."""
NEUTRAL = {"top_k": (0, -1, None), "top_p": (1, None), "min_p": (0, None)}
"""Values of truncation that truncate nothing."""
Body = dict[str, Any]


@dataclass(slots=True)
class Meter:
    """What one run may use and has used. Thread-safe."""

    tokens: int | None = None
    """Generated tokens that it may have; None counts only."""
    seconds: float | None = None
    """Seconds from `begun` until which it may ask; None sets no end."""
    begun: float = field(default_factory=time.monotonic)
    prompt: int = 0
    """Prompt tokens, once for each request however many samples it has."""
    completion: int = 0
    requests: int = 0
    refused: int = 0
    faults: int = 0
    """Requests at which the server failed; what the run came to then says nothing about the agent."""
    closed: bool = False
    """The run is over: what is still in flight ends."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self, *, prompt: int = 0, completion: int = 0, requests: int = 0, refused: int = 0, faults: int = 0
    ) -> None:
        with self._lock:
            self.faults += faults
            self.prompt += prompt
            self.completion += completion
            self.requests += requests
            self.refused += refused

    def seconds_left(self) -> float:
        return float("inf") if self.seconds is None else self.begun + self.seconds - time.monotonic()

    def spent(self) -> str:
        """Which budget is used up; "" while there is some left."""
        if self.closed:
            return "the run is over"
        if self.tokens is not None and self.completion >= self.tokens:
            return f"the budget of {self.tokens} generated tokens is used up"
        if self.seconds_left() <= 0:
            return f"the budget of {self.seconds:g} seconds is used up"
        return ""


class Proxy(ThreadingHTTPServer):
    """See the module. `truncates`: the server is one that we start on a CPU, and has Forklock's truncation processor,
    which then does top-k, top-p and min-p for every client (vLLM's own sorts the whole vocabulary). Seeds are left out
    there: vLLM 0.32 dies of a seeded request whose prompt it prefills in pieces ("CPU Generator does not use offset").
    """

    daemon_threads = True
    request_queue_size = 256  # a wide step connects as often at once

    def __init__(self, upstream: str, *, key: str = "", truncates: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.truncates = truncates
        self.meters: dict[str, Meter] = {}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        self.http = httpx.Client(
            base_url=upstream.removesuffix("/").removesuffix("/v1"), headers=headers, limits=limits,
            timeout=httpx.Timeout(SILENCE_S, connect=10.0, pool=None), trust_env=False,
        )  # fmt: skip

    @contextmanager
    def metered(self, meter: Meter) -> Iterator[str]:
        """Give a run its address; at the end of the block its requests in flight end too."""
        key = secrets.token_hex(8)
        self.meters[key] = meter
        try:
            yield f"http://127.0.0.1:{self.server_address[1]}/{key}/v1"
        finally:
            meter.closed = True
            del self.meters[key]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed at their budget go away in mid-answer."""


@contextmanager
def serving(upstream: str, *, key: str = "", truncates: bool = False) -> Iterator[Proxy]:
    proxy = Proxy(upstream, key=key, truncates=truncates)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        proxy.http.close()


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the terminal for the results."""

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, content: bytes | None) -> None:
        _, key, *rest = self.path.split("/")
        path, meter = "/" + "/".join(rest), self.server.meters.get(key)
        if meter is None or path not in PATHS:
            self._error(404, "no run has this address, or the proxy does not know this path")
        elif not path.endswith("completions"):
            self._forward(path, content, meter)
        elif reason := meter.spent():
            meter.add(refused=1)
            self._error(400, f"{reason}: no more requests are served")
        else:
            self._generate(path, json.loads(content or b"{}"), meter)

    def _forward(self, path: str, content: bytes | None, meter: Meter) -> None:
        headers = {"Content-Type": "application/json"}
        method = "GET" if content is None else "POST"
        try:
            answer = self.server.http.request(method, path, content=content, headers=headers)
        except httpx.HTTPError as error:
            meter.add(faults=1)
            self._error(502, f"the model server does not answer: {error}")
            return
        self._send(answer.status_code, answer.content)

    def _generate(self, path: str, body: Body, meter: Meter) -> None:
        meter.add(requests=1)
        asked = asked_upstream(body, self.server.truncates)
        counted = Counted(meter)
        try:
            with self.server.http.stream("POST", path, json=asked) as answer:
                if answer.status_code != 200:
                    meter.add(faults=answer.status_code >= 500)
                    self._send(answer.status_code, answer.read())
                    return
                chunks = metered_chunks(answer.iter_lines(), body, path, counted)
                if body.get("stream"):
                    self._stream(chunks, bool((body.get("stream_options") or {}).get("include_usage")))
                else:
                    self._send(200, json.dumps(whole_answer(chunks, path)).encode())
        except httpx.HTTPError as error:
            meter.add(faults=1)
            with suppress(OSError):
                self._error(502, f"the model server broke off: {error}")
        finally:
            counted.settle()

    def _stream(self, chunks: Iterator[Body], with_usage: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for chunk in chunks:
            if chunk.get("choices") or with_usage or "error" in chunk:
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def _error(self, status: int, message: str) -> None:
        error = {"message": message, "type": "budget" if status == 400 else "proxy", "code": status}
        self._send(status, json.dumps({"error": error}).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def asked_upstream(body: Body, truncates: bool) -> Body:
    """The request as the server gets it: a stream that tells its tokens."""
    asked = {
        **body, "stream": True, "return_token_ids": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }  # fmt: skip
    if not truncates:
        return asked
    asked.pop("seed", None)
    extra = dict(asked.pop("vllm_xargs", None) or {})
    for name, neutral in NEUTRAL.items():
        value = asked.pop(name, None)
        if value not in neutral and body.get("temperature") != 0:
            extra[f"forklock_{name}"] = value
    return {**asked, "vllm_xargs": extra} if extra else asked


@dataclass(slots=True)
class Counted:
    """The tokens of one request, added to its meter as they come."""

    meter: Meter
    seen: int = 0
    said: int = 0
    """Generated tokens by the server's own count, at the end of the stream."""
    prompt: int = 0

    def take(self, chunk: Body) -> None:
        new = 0
        for choice in chunk.get("choices") or ():
            ids = choice.get("token_ids")
            text = choice.get("text") or (choice.get("delta") or {}).get("content")
            new += len(ids) if ids is not None else bool(text)
        self.seen += new
        usage = chunk.get("usage") or {}
        prompt = int(usage.get("prompt_tokens") or 0)
        self.meter.add(completion=new, prompt=max(0, prompt - self.prompt))
        self.prompt = max(self.prompt, prompt)
        if not chunk.get("choices"):
            self.said = int(usage.get("completion_tokens") or 0)

    def settle(self) -> None:
        """Add what the server generated beyond what its events told."""
        self.meter.add(completion=max(0, self.said - self.seen))


def metered_chunks(lines: Iterator[str], body: Body, path: str, counted: Counted) -> Iterator[Body]:
    """The stream's events, until the server or the budget ends it; the budget ends each open sample with `length`."""
    open_samples = dict.fromkeys(range(int(body.get("n") or 1)))
    head: Body = {}
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        chunk: Body = json.loads(data)
        counted.meter.add(faults="error" in chunk)
        counted.take(chunk)
        head = head or {key: chunk[key] for key in ("id", "object", "created", "model") if key in chunk}
        for choice in chunk.get("choices") or ():
            if choice.get("finish_reason"):
                open_samples.pop(choice["index"], None)
        yield chunk if not chunk.get("choices") else {**chunk, "usage": None}
        if open_samples and counted.meter.spent():
            yield {**head, "choices": [_cut(index, path) for index in open_samples]}
            return


def _cut(index: int, path: str) -> Body:
    words: Body = {"delta": {}} if "chat" in path else {"text": ""}
    return {"index": index, **words, "logprobs": None, "finish_reason": "length", "token_ids": []}


def whole_answer(chunks: Iterator[Body], path: str) -> Body:
    """One answer as a client that does not stream expects it."""
    texts: dict[int, list[str]] = {}
    reasons: dict[int, str] = {}
    answer: Body = {}
    for chunk in chunks:
        if "error" in chunk:
            return chunk
        answer |= {key: chunk[key] for key in ("id", "created", "model", "usage") if chunk.get(key)}
        for choice in chunk.get("choices") or ():
            text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            texts.setdefault(choice["index"], []).append(text)
            reasons[choice["index"]] = choice.get("finish_reason") or reasons.get(choice["index"], "stop")
    chat = "chat" in path
    choices = []
    for index, parts in sorted(texts.items()):
        words: Body = (
            {"message": {"role": "assistant", "content": "".join(parts)}}
            if chat
            else {"text": "".join(parts)}
        )
        choices.append({"index": index, **words, "logprobs": None, "finish_reason": reasons[index]})
    return {**answer, "object": "chat.completion" if chat else "text_completion", "choices": choices}

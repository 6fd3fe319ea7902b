"""A small real OpenAI-compatible HTTP server around any `Engine`, with faults on demand (for tests).

`/v1/models`, `/v1/chat/completions`, `/v1/completions` (plain and streamed) and, as the flavour `vllm`,
`/tokenize` and vLLM's extensions. `faults` is a list of what the next POSTs to a completions path do
instead of answering: an HTTP status, or `hang`, `malformed`, `drop` (close in mid-answer).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from forklock.models import Completion, Decoding, Engine, Message, ModelFault, Request


class OpenAIServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, engine: Engine, *, flavour: str = "vllm", name: str = "tiny") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.engine, self.flavour, self.name = engine, flavour, name
        self.faults: list[int | str] = []
        self.bodies: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


@contextmanager
def serve(engine: Engine, **options: Any) -> Iterator[OpenAIServer]:
    server = OpenAIServer(engine, **options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: OpenAIServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        card: dict[str, Any] = {"id": self.server.name, "object": "model", "owned_by": self.server.flavour}
        if self.server.flavour == "vllm":
            card["max_model_len"] = self.server.engine.context_tokens
        self._json(200, {"object": "list", "data": [card]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._tokenize(body)
            return
        self.server.bodies.append(body)
        if self.server.faults:
            self._fail(self.server.faults.pop(0))
            return
        if body["model"] != self.server.name:
            self._error(404, f"The model `{body['model']}` does not exist.")
            return
        request, decoding = _request(body), _decoding(body)
        try:
            with self.server.lock:
                if body.get("stream"):
                    self._stream(body, self.server.engine.stream(request, decoding))
                    return
                [samples] = self.server.engine.complete([request], decoding)
        except ModelFault as fault:
            self._error(400, f"maximum context length: {fault.message}")
            return
        chat = "messages" in body
        choices = [_choice(body, index, sample, chat) for index, sample in enumerate(samples)]
        made = sum(sample.completion_tokens for sample in samples)
        usage = {"prompt_tokens": samples[0].prompt_tokens, "completion_tokens": made}
        usage["total_tokens"] = sum(usage.values())
        kind = "chat.completion" if chat else "text_completion"
        answer = {"id": "x", "object": kind, "created": 1, "model": self.server.name}
        self._json(200, {**answer, "choices": choices, "usage": usage})

    def _tokenize(self, body: dict[str, Any]) -> None:
        if self.server.flavour != "vllm":
            self._error(404, "Not Found")
            return
        count = self.server.engine.count_tokens(_request(body))
        self._json(200, {"count": count, "tokens": [0] * count})

    def _stream(self, body: dict[str, Any], pieces: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        head = {"id": "x", "created": 1, "model": self.server.name}
        for piece in [*pieces, None]:
            choice: dict[str, Any] = {"index": 0, "finish_reason": "stop" if piece is None else None}
            if "messages" in body:
                choice["delta"] = {"role": "assistant", "content": piece or ""}
                kind = "chat.completion.chunk"
            else:
                choice["text"], kind = piece or "", "text_completion"
            chunk = {**head, "object": kind, "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def _fail(self, fault: int | str) -> None:
        if isinstance(fault, int):
            self._error(fault, "made to fail")
        elif fault == "hang":
            time.sleep(60)
        elif fault == "malformed":
            self._raw(200, b'{"choices": [')
        elif fault == "drop":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", "100000")
            self.end_headers()
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
            chunk["choices"] = [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
            self.connection.close()

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": "error", "code": status}})

    def _json(self, status: int, content: dict[str, Any]) -> None:
        self._raw(status, json.dumps(content).encode())

    def _raw(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _request(body: dict[str, Any]) -> Request:
    if "messages" not in body:
        prompt = body["prompt"]
        return Request(text=prompt[0] if isinstance(prompt, list) else prompt)
    messages = [Message(role=m["role"], content=m["content"]) for m in body["messages"]]
    prefill = messages.pop().content if body.get("continue_final_message") else ""
    return Request(messages=tuple(messages), prefill=prefill)


def _decoding(body: dict[str, Any]) -> Decoding:
    stop = body.get("stop") or []
    given = {
        key: body[key]
        for key in ("temperature", "top_k", "top_p", "min_p", "max_tokens", "n", "seed")
        if body.get(key) is not None
    }
    return Decoding(**given, stop=tuple([stop] if isinstance(stop, str) else stop))


def _choice(body: dict[str, Any], index: int, sample: Completion, chat: bool) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": index, "finish_reason": sample.finish_reason.value}
    if body.get("return_token_ids"):
        choice["token_ids"] = sample.token_ids
    if chat:
        choice["message"] = {"role": "assistant", "content": sample.text}
        if body.get("logprobs"):
            content = [
                {"token": "?", "logprob": p, "bytes": None, "top_logprobs": []} for p in sample.logprobs
            ]
            choice["logprobs"] = {"content": content}
    else:
        choice["text"] = sample.text
        if body.get("logprobs"):
            tokens = ["?"] * len(sample.logprobs)
            choice["logprobs"] = {
                "tokens": tokens,
                "token_logprobs": list(sample.logprobs),
                "top_logprobs": None,
                "text_offset": [0] * len(tokens),
            }
    return choice

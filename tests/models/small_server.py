"""An OpenAI-compatible server whose answers a test decides, and a proxy that counts what it carries (for tests)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], tuple[int, Any]]
"""From a request's body to (status, JSON); a list is streamed, event by event."""


def said(text: str = "hello there", **more: Any) -> tuple[int, dict[str, Any]]:
    """An honest answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return 200, {"choices": [choice | {"text": text}], "usage": usage} | more


class SmallServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer, models: tuple[str, ...], owner: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.models, self.owner = answer, models, owner
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.targets: list[str] = []
        """Request targets as they came; absolute ones came by a proxy."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


@contextmanager
def small_server(
    answer: Answer = lambda _body: said(), *, models: tuple[str, ...] = ("m",), owner: str = "someone"
) -> Iterator[SmallServer]:
    server = SmallServer(answer, models, owner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: SmallServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.targets.append(self.path)
        self.server.keys.append(self.headers["Authorization"])
        if not self.path.endswith("/models") or not self.server.models:
            self._json(404, {"error": {"message": "not here"}})
            return
        limit = {"max_model_len": 2048} if self.server.owner == "vllm" else {}
        card = {"owned_by": self.server.owner, **limit}
        self._json(200, {"data": [{"id": name, **card} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.targets.append(self.path)
        if not self.path.endswith("/completions"):
            known = self.path.endswith("/tokenize") and self.server.owner == "vllm"
            self._json(
                *((200, {"tokens": [1, 2, 3]}) if known else (404, {"error": {"message": "not here"}}))
            )
            return
        self.server.bodies.append(body)
        self._json(*self.server.answer(body))

    def _json(self, status: int, content: Any) -> None:
        raw = json.dumps(content).encode()
        if isinstance(content, list):  # events of a stream
            raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in content)
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def socks_proxy(port: int) -> Iterator[tuple[str, list[bytes]]]:
    """A SOCKS5 proxy that connects everything to a local port; (address, targets that were asked for)."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), []

    def carry(wire: socket.socket) -> None:
        wire.recv(2 + 255)
        wire.sendall(b"\x05\x00")
        asked.append(wire.recv(4 + 256 + 2))
        wire.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        far = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=_pump, args=(far, wire), daemon=True).start()
        _pump(wire, far)

    def accept() -> None:
        while True:
            try:
                wire, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(wire,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()

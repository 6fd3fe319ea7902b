"""A model server that means harm: floods, trickles, bombs and nonsense, by name (for tests).

Each behaviour is a function that gets the connection's socket after a request was read. `evil_on` is the set of paths
that misbehave; other paths are answered well, so that a client gets as far as the call that is tested.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TRICKLE_S = 0.02
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CARD = {"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 2048}

Behaviour = Callable[[socket.socket], None]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__] = function
    return function


def _drip(wire: socket.socket, pieces: Iterator[bytes] | bytes) -> None:
    """One piece at a time, for ever."""
    while True:
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            wire.sendall(piece)
            time.sleep(TRICKLE_S)


def _flood(wire: socket.socket, block: bytes) -> None:
    block *= max(1, (1 << 16) // len(block))
    while True:
        wire.sendall(block)


def _whole(wire: socket.socket, body: bytes, *, head: bytes = HEAD) -> None:
    wire.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


@behaviour
def silence(wire: socket.socket) -> None:
    time.sleep(30)


@behaviour
def closes(wire: socket.socket) -> None:
    pass


@behaviour
def no_http(wire: socket.socket) -> None:
    wire.sendall(b"\x00\xff SSH-2.0 hello\r\n" * 10)


@behaviour
def trickled_status(wire: socket.socket) -> None:
    _drip(wire, b"H")


@behaviour
def trickled_headers(wire: socket.socket) -> None:
    wire.sendall(HEAD + b"X-Long: ")
    _drip(wire, b"a")


@behaviour
def endless_headers(wire: socket.socket) -> None:
    wire.sendall(HEAD)
    _flood(wire, b"X-More: and more\r\n")


@behaviour
def endless_informational(wire: socket.socket) -> None:
    _flood(wire, b"HTTP/1.1 102 Processing\r\n\r\n")


@behaviour
def trickled_informational(wire: socket.socket) -> None:
    _drip(wire, b"HTTP/1.1 102 Processing\r\n\r\n")


@behaviour
def trickled_body(wire: socket.socket) -> None:
    wire.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    _drip(wire, b"1\r\n \r\n")


@behaviour
def trickled_length(wire: socket.socket) -> None:
    wire.sendall(HEAD + b"Content-Length: 1000000000000\r\n\r\n")
    _drip(wire, b"{")


@behaviour
def keep_alive_comments(wire: socket.socket) -> None:
    wire.sendall(SSE)
    _drip(wire, b": still here\n\n")


@behaviour
def flood_of_comments(wire: socket.socket) -> None:
    wire.sendall(SSE)
    _flood(wire, b": still here\n\n")


@behaviour
def empty_chunks(wire: socket.socket) -> None:
    wire.sendall(SSE)
    _drip(wire, b'data: {"choices": []}\n\n')


@behaviour
def empty_tokens(wire: socket.socket) -> None:
    wire.sendall(SSE)
    choice = {"index": 0, "text": "", "delta": {"content": ""}, "finish_reason": None}
    _drip(wire, f"data: {json.dumps({'choices': [choice]})}\n\n".encode())


@behaviour
def endless_body(wire: socket.socket) -> None:
    wire.sendall(HEAD + b"\r\n")
    _flood(wire, b" ")


@behaviour
def endless_list(wire: socket.socket) -> None:
    wire.sendall(HEAD + b'\r\n{"data": [')
    _flood(wire, b'{"id": "m"},')


@behaviour
def endless_line(wire: socket.socket) -> None:
    wire.sendall(SSE + b'data: {"choices": "')
    _flood(wire, b"a")


@behaviour
def endless_error(wire: socket.socket) -> None:
    wire.sendall(b"HTTP/1.1 500 No\r\n\r\n")
    _flood(wire, b"no ")


@behaviour
def trickled_error(wire: socket.socket) -> None:
    wire.sendall(b"HTTP/1.1 400 No\r\n\r\n")
    _drip(wire, b"n")


def _bomb() -> bytes:
    """512 MiB of zeros as gzip, put together from one compressed MiB: compressing all takes seconds."""
    packer = zlib.compressobj(wbits=-15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    checksum = 0x6DB88320
    return head + 512 * piece + packer.flush() + struct.pack("<II", checksum, 512 << 20)


BOMB = _bomb()


@behaviour
def gzip_bomb(wire: socket.socket) -> None:
    _whole(wire, BOMB, head=HEAD + b"Content-Encoding: gzip\r\n")


@behaviour
def deep_json(wire: socket.socket) -> None:
    _whole(wire, b"[" * 400_000)


@behaviour
def deep_object(wire: socket.socket) -> None:
    _whole(wire, b'{"data":' * 50_000)


@behaviour
def wide_json(wire: socket.socket) -> None:
    _whole(wire, b'{"data": [' + b"[]," * 130_000 + b"[]]}")


@behaviour
def huge_numbers(wire: socket.socket) -> None:
    message = {"role": "assistant", "content": "X"}
    choice = {"index": 0, "message": message, "text": "X", "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "data": "X", "tokens": "X", "usage": {"completion_tokens": "X"}})
    _whole(wire, body.replace('"X"', "1e999").encode())


@behaviour
def long_integer(wire: socket.socket) -> None:
    _whole(wire, b'{"data": ' + b"9" * 20_000 + b"}")


@behaviour
def nonsense_types(wire: socket.socket) -> None:
    _whole(wire, b'{"data": {"id": 5}, "choices": [null, 3], "tokens": {"a": []}, "usage": []}')


@behaviour
def bytes_that_are_no_text(wire: socket.socket) -> None:
    _whole(wire, b"\xff\xfe\x00{" * 100)


@behaviour
def redirect_elsewhere(wire: socket.socket) -> None:
    wire.sendall(
        b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/v1/\x1b]52;c;aGk=\x07\r\nContent-Length: 0\r\n\r\n"
    )


@behaviour
def redirect_to_itself(wire: socket.socket) -> None:
    wire.sendall(b"HTTP/1.1 302 Go\r\nLocation: /v1/models\r\nContent-Length: 0\r\n\r\n")


@behaviour
def come_back_next_year(wire: socket.socket) -> None:
    wire.sendall(b"HTTP/1.1 429 Later\r\nRetry-After: 31536000\r\nContent-Length: 0\r\n\r\n")


@behaviour
def come_back_nan(wire: socket.socket) -> None:
    wire.sendall(b"HTTP/1.1 503 Later\r\nRetry-After: nan\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def evil_server(name: str, evil_on: tuple[str, ...]) -> Iterator[str]:
    """A server whose answers to paths that end with one of `evil_on` follow the behaviour `name`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    wires: list[socket.socket] = []

    def serve(wire: socket.socket) -> None:
        try:
            path = _read_request(wire)
            if path.endswith(evil_on):
                BEHAVIOURS[name](wire)
            else:
                body = {"data": [CARD], "tokens": [1, 2, 3]}
                _whole(wire, json.dumps(body).encode(), head=HEAD + b"Connection: close\r\n")
        except OSError:
            pass  # The client went away, as it should.
        finally:
            wire.close()

    def accept() -> None:
        while True:
            try:
                wire, _ = listener.accept()
            except OSError:
                return
            wires.append(wire)
            threading.Thread(target=serve, args=(wire,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.close()
        for wire in wires:
            wire.close()


def _read_request(wire: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        block = wire.recv(65536)
        if not block:
            raise OSError("gone")
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        missing -= len(wire.recv(65536))
    return head.split()[1].decode()

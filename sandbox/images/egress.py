"""Runs the only way out of a build: an HTTP proxy on a unix socket that connects to allowed hosts alone.

In: host names. Out: a socket to mount into a container that has no network of its own; `forklock.sandbox.images.relay`
in there makes
a port of it. `CONNECT` (what HTTPS uses) reaches port 443 alone, `http://` requests port 80 alone, both by the name
that was asked for, so an allowed name is all that a build can reach. Each connection carries one request. Refusals are
kept, to say what a build would have needed. Not covered: user names and passwords of proxies; the proxy of
`HTTPS_PROXY`, if set, is used by neither.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from forklock.sandbox.images.relay import pipe

_HEAD_BYTES = 1 << 16
_CONNECT_S, _IDLE_S = 20.0, 120.0
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PORTS = {"CONNECT": 443, "http": 80}


class Egress:
    """The proxy, at work while the context is open."""

    def __init__(self, place: Path, hosts: Iterable[str]) -> None:
        """
        Args:
            place: where the socket is made; its directory decides who may use it.
            hosts: names as in URLs. `*.example.org` allows every name below example.org, and not itself.
        """
        self.hosts = tuple(dict.fromkeys(host.lower() for host in hosts))
        self.refused: list[str] = []
        """What was asked for and not allowed, each once, in order."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        place.chmod(0o777)
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._serve, name="egress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def allows(self, host: str) -> bool:
        """Return whether a host is allowed."""
        return any(
            host.endswith(one[1:]) and host != one[2:] if one.startswith("*.") else host == one
            for one in self.hosts
        )

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(_IDLE_S)
            head, rest = _read_head(client)
            asked = _parse(head)
            if asked is None:
                _refuse(client, 400, "only CONNECT to port 443 and http:// requests to port 80")
                return
            host, port, onward = asked
            if not self.allows(host):
                if host not in self.refused:
                    self.refused.append(host)
                _refuse(client, 403, f"{host} is not an allowed host")
                return
            try:
                server = socket.create_connection((host, port), timeout=_CONNECT_S)
            except OSError as error:
                _refuse(client, 502, f"{host}: {error}")
                return
            with server:
                server.settimeout(_IDLE_S)
                server.sendall(onward + rest)
                if not onward:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pipe, args=(server, client), daemon=True)
                back.start()
                pipe(client, server)
                back.join()


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Return a request's head, without the empty line, and what came after it."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _HEAD_BYTES:
        part = client.recv(1 << 14)
        if not part:
            break
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _parse(head: bytes) -> tuple[str, int, bytes] | None:
    """(host, port, what to send on) of a request's head; nothing is sent on for CONNECT. None for any other."""
    first, *fields = head.split(b"\r\n")
    match first.split(b" "):
        case [b"CONNECT", place, _]:
            host, _, port = place.decode("latin-1").lower().rpartition(":")
            known = _HOST.fullmatch(host) and port == str(_PORTS["CONNECT"])
            return (host, _PORTS["CONNECT"], b"") if known else None
        case [method, place, version] if place.lower().startswith(b"http://"):
            return _plain(method, place.decode("latin-1"), version, fields)
    return None


def _plain(method: bytes, place: str, version: bytes, fields: list[bytes]) -> tuple[str, int, bytes] | None:
    try:
        url = urlsplit(place)
        host, port = (url.hostname or ""), url.port or _PORTS["http"]
    except ValueError:
        return None
    if not _HOST.fullmatch(host) or port != _PORTS["http"] or url.username is not None:
        return None
    path = url.path or "/"
    path = f"{path}?{url.query}" if url.query else path
    ours = (b"connection:", b"proxy-connection:", b"host:")
    kept = [field for field in fields if not field.lower().startswith(ours)]
    lines = [b" ".join([method, path.encode("latin-1"), version]), b"Host: " + host.encode()]
    return host, port, b"\r\n".join([*lines, *kept, b"Connection: close", b"", b""])


def _refuse(client: socket.socket, status: int, reason: str) -> None:
    body = f"forklock: {reason}\n".encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    client.sendall(head.encode() + body)

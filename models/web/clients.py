"""Makes all HTTP clients: each request has a deadline, a size limit, and the right proxy.

In: a `Budget` around the call (`spending`), or the client's own default. Out: httpx clients whose sockets stop at
the deadline, whatever trickles in (headers and keep-alive lines included), and after so many bytes. Answers come
uncompressed, since a compressed one has no bound. Redirects are not followed unless asked for. litellm and
huggingface_hub are given these clients too. Not covered: how long the system resolves a name.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpcore
import httpx
from httpcore._backends.sync import SyncBackend

from forklock.models.contract import ModelFault
from forklock.models.web.proxies import proxy_for

SMALL_ANSWER = 4 << 20
"""Bytes of an answer whose size does not depend on what was asked: lists of models, errors."""
CONNECT_S = 10.0


class TooSlow(ModelFault):
    """A server did not give its whole answer in time."""


class TooLarge(ModelFault):
    """A server's answer is larger than what was asked for can be."""


@dataclass(slots=True)
class Budget:
    """What one request may take."""

    seconds: float
    """Until the whole answer is here."""
    bytes: int
    """That the server may send, headers included."""
    fault: ModelFault | None = None
    """Why the request was cut off; libraries between here and the caller wrap what is raised."""
    _end: float = field(init=False)
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds
        self._left = self.bytes

    def wait(self, timeout: float | None) -> float:
        """Seconds that the next socket operation may take.

        Raises:
            TooSlow: none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._cut(TooSlow(f"no whole answer within {self.seconds:.3g} s", fix=_SLOW))
        return left if timeout is None else min(left, timeout)

    def take(self, count: int) -> None:
        """
        Raises:
            TooLarge: more than `bytes` have come.
        """
        self._left -= count
        if self._left < 0:
            raise self._cut(TooLarge(f"the answer is larger than {self.bytes:,} bytes", fix=_LARGE))

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end

    def _cut(self, fault: ModelFault) -> ModelFault:
        self.fault = fault
        return fault


_SLOW = "Is the server overloaded? Ask for fewer tokens, or try again later."
_LARGE = "Is the URL that of an OpenAI-compatible server?"

_SPENDING: ContextVar[Budget | None] = ContextVar("forklock_budget", default=None)
_AT_WORK = threading.local()
"""`budget` of the request whose socket this thread works on."""


@contextmanager
def spending(budget: Budget) -> Iterator[Budget]:
    """Requests that this thread begins inside share `budget`."""
    token = _SPENDING.set(budget)
    try:
        yield budget
    finally:
        _SPENDING.reset(token)


def seconds_left() -> float:
    """Seconds of the budget around this call, a minute where there is none."""
    budget = _SPENDING.get()
    return budget.wait(None) if budget is not None else 60.0


def client(
    *,
    seconds: float = 60.0,
    most_bytes: int = SMALL_ANSWER,
    timeout: httpx.Timeout | float | None = None,
    headers: dict[str, str] | None = None,
    base_url: str = "",
    connections: int = 100,
    verify: Any = True,
    follow_redirects: bool = False,
) -> httpx.Client:
    """An HTTP client.

    Args:
        seconds, most_bytes: budget of a request that begins outside `spending`.
        timeout: of single operations (connect, read); None bounds the connection and leaves the rest to the budget.
        connections: most at once.
        verify: as httpx takes it.
    """
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.Client(
        transport=_Transport(seconds, most_bytes, limits, verify),
        timeout=timeout if timeout is not None else httpx.Timeout(None, connect=CONNECT_S),
        headers=headers,
        base_url=base_url,
        follow_redirects=follow_redirects,
        trust_env=False,
    )


def decode_json(raw: bytes | str) -> Any:
    """
    Raises:
        ValueError: no JSON, or nested too deeply to be an answer.
    """
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class _Transport(httpx.BaseTransport):
    """Chooses the proxy by the request's URL, and puts the budget between the request and its socket."""

    def __init__(self, seconds: float, most_bytes: int, limits: httpx.Limits, verify: Any) -> None:
        self._seconds, self._bytes, self._limits, self._verify = seconds, most_bytes, limits, verify
        self._routes: dict[tuple[str | None, bool], httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        budget = _SPENDING.get() or Budget(self._seconds, self._bytes)
        request.headers["Accept-Encoding"] = "identity"
        route = self._route(proxy_for(request.url), encrypted=request.url.scheme == "https")
        with _at_work(budget):
            response = route.handle_request(request)
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            response.close()
            raise TooLarge(f"the answer is compressed ({coding[:20]!r}), which was not asked for", fix=_LARGE)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Stream(response.stream, budget)
        return response

    def _route(self, proxy: str | None, *, encrypted: bool) -> httpx.HTTPTransport:
        key = (proxy, encrypted)
        with self._lock:
            if key not in self._routes:
                # Reading the certificates takes long, and fails where SSL_CERT_FILE is wrong.
                needed = encrypted or (proxy or "").startswith("https")
                verify = self._verify if self._verify is not True or not needed else _certificates()
                transport = httpx.HTTPTransport(
                    proxy=proxy, limits=self._limits, verify=verify if needed else False
                )
                # httpx offers no way to pass httpcore's public `network_backend`.
                transport._pool._network_backend = _Backend()
                self._routes[key] = transport
            return self._routes[key]

    def close(self) -> None:
        for route in self._routes.values():
            route.close()


@cache
def _certificates() -> ssl.SSLContext:
    """
    Raises:
        ModelFault: what the environment names as certificates are none.
    """
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:
        names = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
        raise ModelFault(
            f"The certificates to check servers by cannot be read: {error}.",
            fix=f"Correct or unset {' and '.join(names)}." if names else "Reinstall certifi.",
        ) from None


class _Stream(httpx.SyncByteStream):
    """A body that is read under its request's budget, in whichever thread reads it."""

    def __init__(self, inner: httpx.SyncByteStream, budget: Budget) -> None:
        self._inner, self._budget = inner, budget

    def __iter__(self) -> Iterator[bytes]:
        pieces = iter(self._inner)
        while True:
            with _at_work(self._budget):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        self._inner.close()


@contextmanager
def _at_work(budget: Budget) -> Iterator[None]:
    before = getattr(_AT_WORK, "budget", None)
    _AT_WORK.budget = budget
    try:
        yield
    finally:
        _AT_WORK.budget = before


class _Backend(httpcore.NetworkBackend):
    """httpcore's blocking sockets, under the budget of the request that uses them."""

    def __init__(self) -> None:
        self._inner = SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._inner.connect_tcp(host, port, _budget().wait(timeout), local_address, socket_options)
        return _Socket(stream)

    def sleep(self, seconds: float) -> None:
        time.sleep(_budget().wait(seconds))


class _Socket(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        budget = _budget()
        try:
            data = self._inner.read(max_bytes, budget.wait(timeout))
        except httpcore.ReadTimeout:
            budget.wait(None)
            raise
        budget.take(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        budget = _budget()
        try:
            self._inner.write(buffer, budget.wait(timeout))
        except httpcore.WriteTimeout:
            budget.wait(None)
            raise

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Socket(self._inner.start_tls(ssl_context, server_hostname, _budget().wait(timeout)))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _budget() -> Budget:
    """The budget of the request at work; sockets outside one get a short one."""
    found = getattr(_AT_WORK, "budget", None)
    return found if isinstance(found, Budget) else Budget(CONNECT_S, SMALL_ANSWER)

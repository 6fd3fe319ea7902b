"""The way out of a build: what it lets through, over real sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forklock.sandbox.images import egress, relay
from forklock.sandbox.images.egress import Egress

pytestmark = pytest.mark.hostile("sandbox")


class Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.path} {self.headers['Host']} {self.headers['Proxy-Connection']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one.server_port
        one.shutdown()


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Egress]:
    """Lets through to a server of ours, which stands at both ports."""
    with server() as port:
        monkeypatch.setattr(egress, "_PORTS", {"CONNECT": port, "http": port})
        with Egress(tmp_path / "s", ["LocalHost", "*.example.org"]) as one:
            yield one


def say(place: Path, text: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place))
        client.sendall(text.encode())
        client.shutdown(socket.SHUT_WR)
        got = b""
        while part := client.recv(1 << 16):
            got += part
        return got.decode()


def port() -> int:
    return egress._PORTS["http"]


def test_plain_requests_to_allowed_hosts(proxy: Egress, tmp_path: Path) -> None:
    text = "GET http://localhost/a?b=1 HTTP/1.1\r\nHost: elsewhere\r\nProxy-Connection: x\r\n\r\n"
    assert say(tmp_path / "s", text).endswith("/a?b=1 localhost None")
    assert not proxy.refused


def test_a_tunnel_carries_what_it_is_given(proxy: Egress, tmp_path: Path) -> None:
    text = f"CONNECT localhost:{port()} HTTP/1.1\r\n\r\nGET /deep HTTP/1.0\r\nHost: h\r\n\r\n"
    said = say(tmp_path / "s", text)
    assert said.startswith("HTTP/1.1 200") and said.endswith("/deep h None")


def test_other_hosts_are_refused_and_remembered(proxy: Egress, tmp_path: Path) -> None:
    for _ in range(2):
        assert say(tmp_path / "s", f"CONNECT 127.0.0.1:{port()} HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 403")
    assert say(tmp_path / "s", "GET http://evil.org/ HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 403")
    assert proxy.refused == ["127.0.0.1", "evil.org"]


@pytest.mark.parametrize(
    "text",
    [
        "CONNECT localhost:22 HTTP/1.1\r\n\r\n",
        "CONNECT localhost HTTP/1.1\r\n\r\n",
        "GET http://localhost:22/ HTTP/1.1\r\n\r\n",
        "GET http://user@localhost/ HTTP/1.1\r\n\r\n",
        "GET http://[::1/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "CONNECT local\0host:443 HTTP/1.1\r\n\r\n",
        "\r\n\r\n",
        "nonsense",
    ],
)
def test_everything_else_is_refused(proxy: Egress, tmp_path: Path, text: str) -> None:
    assert say(tmp_path / "s", text).startswith("HTTP/1.1 400")


def test_a_head_without_an_end_is_not_read_for_ever(proxy: Egress, tmp_path: Path) -> None:
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        assert say(tmp_path / "s", "A" * (1 << 20)).startswith("HTTP/1.1 400")
        raise BrokenPipeError  # it may have been told before it was cut off


def test_names_below_an_allowed_one(proxy: Egress) -> None:
    assert proxy.allows("a.example.org") and proxy.allows("a.b.example.org")
    assert not proxy.allows("example.org") and not proxy.allows("badexample.org")
    assert not proxy.allows("localhost.evil.org")


def test_a_relay_makes_a_port_of_the_socket(proxy: Egress, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        here = probe.getsockname()[1]
    command = [sys.executable, "-I", "-S", relay.__file__, str(tmp_path / "s"), str(here)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            with socket.create_connection(("127.0.0.1", here), timeout=10) as client:
                client.sendall(b"GET http://localhost/x HTTP/1.1\r\n\r\n")
                client.settimeout(10)
                got = b""
                while part := client.recv(1 << 16):
                    got += part
            assert got.endswith(b"/x localhost None")
        finally:
            process.kill()

"""A server on localhost that speaks as the Hugging Face hub does, for one repository. It can misbehave in many ways."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    files: dict[str, bytes]
    repo_id: str = "Tiny/Model-1B"
    licence: str = "apache-2.0"
    commit: str = COMMIT
    lfs_from: int = 20_000
    """Files of this size or more have a sha256; others the hash of their git blob."""
    siblings: list[dict[str, Any]] = field(default_factory=list)
    """More entries of the listing, or others for files of the same name."""
    status: int = 200
    """Of the listing."""
    token: str = ""
    """What is asked for; empty: nothing."""
    cdn: str = ""
    """Where large files are redirected to; empty: nowhere."""
    drop_after: int | None = None
    pause_s: float = 0.0
    endless: frozenset[str] = frozenset()
    sent: dict[str, int] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(path, Authorization) of each request."""
    url: str = ""

    @classmethod
    def of_folder(cls, folder: Path, **more: Any) -> Hub:
        return cls({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}, **more)

    def listing(self) -> dict[str, Any]:
        named = {one.get("rfilename") for one in self.siblings}
        found = [self._entry(name, content) for name, content in self.files.items() if name not in named]
        card = {"license": self.licence}
        return {
            "id": self.repo_id,
            "sha": self.commit,
            "siblings": [*found, *self.siblings],
            "cardData": card,
        }

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
        if len(content) >= self.lfs_from:
            entry["lfs"] = {
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 130,
            }
        return entry


@contextlib.contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:  # noqa: C901
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            given = self.headers.get("Authorization", "")
            hub.seen.append((path, given))
            if hub.token and given != f"Bearer {hub.token}" and not path.startswith("/cdn/"):
                self._say(401, b"{}")
            elif path.startswith(f"/api/models/{hub.repo_id}/revision/"):
                self._say(hub.status, json.dumps(hub.listing()).encode())
            elif path.startswith((f"/{hub.repo_id}/resolve/{hub.commit}/", "/cdn/")):
                self._file(path.rsplit("/", 1)[-1], path.startswith("/cdn/"))
            else:
                self._say(404, b"{}")

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, name: str, on_cdn: bool) -> None:
            content = hub.files[name]
            if hub.cdn and not on_cdn and len(content) >= hub.lfs_from:
                self.send_response(302)
                self.send_header("Location", f"{hub.cdn}/cdn/{name}" if hub.cdn.count("/") == 2 else hub.cdn)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            if name not in hub.endless:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self._blocks(name, content, start)

        def _blocks(self, name: str, content: bytes, start: int) -> None:
            end = len(content) if hub.drop_after is None else min(len(content), start + hub.drop_after)
            with contextlib.suppress(OSError):
                for at in range(start, end, 4096):
                    block = content[at : min(at + 4096, end)]
                    self.wfile.write(block)
                    hub.sent[name] = hub.sent.get(name, 0) + len(block)
                    time.sleep(hub.pause_s)
                while name in hub.endless:
                    self.wfile.write(b"\0" * 65536)
                    hub.sent[name] += 65536
            if end < len(content) or name in hub.endless:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

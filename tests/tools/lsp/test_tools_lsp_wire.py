"""The pipes of a server: bytes as they come in and messages as many threads send them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import psutil
import pytest

from forklock.tools.lsp.wire.frames import Frames, Wire


class Below:
    """What asyncio reads with; told of the end."""

    def __init__(self) -> None:
        self.ended = 0

    def eof_received(self) -> None:
        self.ended += 1

    def connection_lost(self, _exc: Exception | None) -> None:
        self.ended += 1


def framed(*bodies: bytes, head: bytes = b"") -> bytes:
    return b"".join(head + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies)


@pytest.mark.parametrize("size", [1, 3, 17, 10_000])
def test_bodies_arrive_whole_however_the_bytes_come(size: int) -> None:
    bodies = [b"{}", b"", "größe 🙂".encode(), b"x" * 5000, b"\r\n\r\nContent-Length: 9\r\n\r\n"]
    said: list[bytes] = []
    frames = Frames(below := Below(), said.append, pytest.fail)
    stream = framed(*bodies) + framed(b"last", head=b"Content-Length: nonsense\r\nContent-Type: x\r\n")
    for start in range(0, len(stream), size):
        frames.data_received(stream[start : start + size])
    assert said == [*bodies, b"last"]
    frames.eof_received()
    frames.connection_lost(None)
    assert below.ended == 2


@pytest.mark.parametrize("noise", [b"\xff" * 100_000, b"oh: dear\r\n\r\n" + framed(b"{}")])
def test_what_is_no_stream_of_messages_is_said_once(noise: bytes) -> None:
    said: list[bytes] = []
    failed: list[bool] = []
    frames = Frames(Below(), said.append, lambda: failed.append(True))
    for _ in range(3):
        frames.data_received(noise)
    assert failed == [True] and said == []


def test_messages_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    """Larger than the pipe holds, to a reader that takes its time."""
    sent = {bytes([65 + n]) * (50_000 + n) for n in range(12)}
    target = tmp_path / "read"

    async def main() -> None:
        script = f"sleep 0.3; exec cat > {target}"
        process = await asyncio.create_subprocess_exec("sh", "-c", script, stdin=asyncio.subprocess.PIPE)
        assert process.stdin is not None
        wire = Wire(process.stdin, asyncio.get_running_loop())
        threads = [threading.Thread(target=wire.write, args=(framed(body),)) for body in sent]
        for thread in threads:
            thread.start()
        wire.write(framed(b"of the loop"))
        for thread in threads:
            await asyncio.to_thread(thread.join)
        while wire._rest:
            await asyncio.sleep(0.01)
        await process.stdin.drain()
        wire.close()
        wire.write(framed(b"too late"))
        process.stdin.close()
        await process.wait()

    before = psutil.Process().num_fds()
    asyncio.run(main())
    said: list[bytes] = []
    Frames(Below(), said.append, pytest.fail).data_received(target.read_bytes())
    assert sorted(said) == sorted({*sent, b"of the loop"})
    assert psutil.Process().num_fds() == before

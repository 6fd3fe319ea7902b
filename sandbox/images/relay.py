"""Connects a port on a container's loopback with a unix socket of the host.

    python3 -I -S relay.py SOCKET PORT

What connects to 127.0.0.1:PORT talks to whoever listens on SOCKET (`forklock.sandbox.images.egress`). Says "ready" on
stdout, and runs until it is killed. Standard library only: it runs on the image's Python (3.9 or later).
"""

import contextlib
import socket
import sys
import threading


def pipe(source: socket.socket, target: socket.socket) -> None:
    """Copy until `source` ends, then shut `target` down for writing."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def serve(client: socket.socket, place: str) -> None:
    """Serve one connection, both ways."""
    with client, socket.socket(socket.AF_UNIX) as host:
        try:
            host.connect(place)
        except OSError:
            return
        back = threading.Thread(target=pipe, args=(host, client), daemon=True)
        back.start()
        pipe(client, host)
        back.join()


def main() -> None:
    place, port = sys.argv[1], int(sys.argv[2])
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, place), daemon=True).start()


if __name__ == "__main__":
    main()

"""Connects a port on a container's loopback with a unix socket of the host.

    python3 -I -S relay.py SOCKET PORT [COMMAND …]

What connects to 127.0.0.1:PORT talks to whoever listens on SOCKET (`forklock.sandbox.images.egress`). Says "ready" on
stdout, and runs until it is killed; with a command, until that ends, and with its exit code. Standard library only: it
runs on the image's Python (3.9 or later).
"""

import contextlib
import socket
import subprocess
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
    place, port, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        if command:
            threading.Thread(target=serve_all, args=(listener, place), daemon=True).start()
            sys.exit(subprocess.run(command, check=False).returncode)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        serve_all(listener, place)


def serve_all(listener: socket.socket, place: str) -> None:
    """Serve connections until the process ends."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, place), daemon=True).start()


if __name__ == "__main__":
    main()

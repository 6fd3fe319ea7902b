"""Runs a command in a process group that dies with whoever holds our standard input (room `models/`).

In: a command line; standard input is a pipe that the parent never writes to. Out: the command's exit code.
When the pipe ends, since the parent closed it or was killed, even by SIGKILL, the whole group is ended. A
script of its own, since PR_SET_PDEATHSIG follows the parent's *thread* and knows no grandchildren. Imports
the standard library only, so that it starts at once under any interpreter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

GRACE_S = 8.0


def main() -> None:
    # A handler, not SIG_IGN: the child would inherit that. We outlive our own signal to the group.
    signal.signal(signal.SIGTERM, lambda *_: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    code = child.wait()
    # Its own children (engine core, workers) do not outlive it either.
    os.killpg(0, signal.SIGTERM)
    os._exit(code if code >= 0 else 128 - code)


def _end_with_parent(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

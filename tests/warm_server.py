"""The warm Python of `warm.py`: imports what commands need, then forks for each command that comes over the socket.

Started as `warm_server.py DESCRIPTOR`; ends when the other end of the socket is closed. It has one thread.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

PRELOADED = (
    "forklock.agent.cli", "forklock.agent.log.view", "forklock.agent.session", "forklock.agent.settings",
    "forklock.evals.commands.main", "forklock.evals.problems.catalogue", "forklock.evals.reports.terminal",
    "forklock.models.catalogue.pull", "forklock.models.web.clients", "forklock.sandbox.backends.bubblewrap",
    "forklock.sandbox.backends.docker.backend", "forklock.selfdistill.cli", "forklock.selfdistill.round",
    "forklock.tools.commands.main", "forklock.tools.frame", "forklock.tools.index.map", "forklock.tools.index.search",
    "forklock.tools.localise", "forklock.tools.lsp", "pydantic_settings", "rich.console", "rich.markdown", "rich.table",
    "rich.traceback",
    "tree_sitter_typescript", "typer.rich_utils",
)  # fmt: skip
"""What most commands import. Nothing that starts a thread: a fork must be safe."""
LEARNED = ("litellm", "pytest", "scipy.stats", "torch", "transformers")
"""Seconds to import, and needed by some commands: imported here once a command has done so, for those after it."""


def serve(wire: socket.socket) -> dict[str, Any]:
    """Fork for each order. Returns in the children alone, each with its order; the streams are in place then."""
    woken, waker = os.pipe()
    learned, teller = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([wire, woken, learned], [], [])
        if learned in ready:
            for name in os.read(learned, 1 << 16).decode().split():
                importlib.import_module(name)
            settle()
        if woken in ready:
            os.read(woken, 4096)
            _report_the_ended(wire)
        if wire in ready:
            packet, streams, _, _ = socket.recv_fds(wire, 1 << 20, 3)
            if not packet:
                os._exit(0)
            order: dict[str, Any] = json.loads(packet.decode("utf-8", "surrogateescape"))
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                atexit.register(_teach, teller, [name for name in LEARNED if name not in sys.modules])
                for descriptor in (woken, waker, learned, wire.detach()):
                    os.close(descriptor)
                _take_streams(streams)
                return order
            for stream in streams:
                os.close(stream)
            wire.send(json.dumps({"started": 1, "pid": pid}).encode())


def _teach(teller: int, names: list[str]) -> None:
    """Name what this command had to import."""
    with contextlib.suppress(OSError):  # the command may have closed what it did not open
        os.write(teller, "".join(f"{name}\n" for name in names if name in sys.modules).encode() or b"\n")


def _report_the_ended(wire: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            report = {
                "pid": pid,
                "code": os.waitstatus_to_exitcode(status),
                "cpu_s": used.ru_utime + used.ru_stime,
            }
            with contextlib.suppress(BrokenPipeError):
                wire.send(json.dumps(report).encode())


def _take_streams(streams: list[int]) -> None:
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    for name, target, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = open(target, "wb", closefd=False)  # noqa: SIM115
        text = io.TextIOWrapper(raw, "utf-8", errors, line_buffering=os.isatty(target) or target == 2)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    sys.__stdin__ = sys.stdin


def settle() -> None:
    """Make forks cheap: what is imported by now is no garbage, and stays shared with the children."""
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()


def end(run: Callable[[dict[str, Any]], None], order: dict[str, Any]) -> None:
    """Run the order and exit as Python does, without tearing down modules one by one, which takes a second."""
    code = 0
    try:
        run(order)
    except SystemExit as left:
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    for last in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        try:
            last()
        except BrokenPipeError:
            code = 120
    os._exit(code & 0xFF)


def become(order: dict[str, Any]) -> None:
    """Take the order's place, environment and arguments, and run it, as `python -c` or `python -m` would."""
    if order["session"]:
        os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    kind, what, *sys.argv = order["argv"]
    sys.path[:0] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if kind == "-m":
        if not hasattr(sys.modules.get(what), "__path__"):
            sys.modules.pop(what, None)  # it is run, not imported
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    del sys.path[0]  # the tests' folder
    for module in PRELOADED:
        importlib.import_module(module)
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it is fetched at import
    settle()
    order = serve(socket.socket(fileno=int(sys.argv[1])))
    end(become, order)

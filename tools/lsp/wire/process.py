"""How a server's process is started: its command line, its containment and its memory bound.

A server in a control group is ended by the kernel at its bound. Where no group can be made, `over_memory` looks at its
memory every `LOOK_S` seconds, so a fast one overshoots.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.backends.bubblewrap.contained import contained
from forklock.sandbox.contract import Limits, SandboxFault
from forklock.sandbox.linux.cgroups import Group, make_group
from forklock.sandbox.linux.limits import TreeWatcher
from forklock.tools.lsp.servers.programs import environment, readable, runnable
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire.faults import Crashed

START_S = 20.0
"""Seconds for a start; a cold basedpyright on a loaded machine needs most of it."""
MEMORY_VARIABLE = "FORKLOCK_SERVER_MB"
MOST_MB = 8192
LOOK_S = 0.2
PROCESSES = 2048
"""Most processes and threads of a server. Bounded only where a control group can be made."""
_SCRATCH = "/tmp"  # noqa: S108  its own, inside its name space
_LAUNCH = """
import os, sys
parent, doors, argv = int(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
for door in doors:
    with open(door, "w") as file:
        file.write("0")
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
except (AttributeError, OSError):
    pass
if os.getppid() == parent:
    os.execv(argv[0], argv)
"""


def bound_mb() -> int:
    """MiB that each server may take: FORKLOCK_SERVER_MB, else half of the machine's memory, at most 8 GB."""
    said = os.environ.get(MEMORY_VARIABLE, "").strip()
    if said.isdigit() and int(said) > 0:
        return int(said)
    return min(MOST_MB, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**21)


@dataclass(frozen=True, slots=True)
class Launch:
    """How the servers of one workspace are started."""

    root: Path
    python: Path | None = None
    """The interpreter whose packages imports resolve to; None: the server's own choice."""
    start_s: float = START_S
    trusted: bool = True
    """Servers run among our own processes, and not in name spaces of their own."""
    memory_mb: int | None = None
    """MiB that each server and its children may take; None: `bound_mb`."""

    @property
    def bound(self) -> int:
        """The memory bound in MiB."""
        return self.memory_mb or bound_mb()


@dataclass(frozen=True, slots=True)
class Spawn:
    """What a process is made of. The control group is the caller's to remove."""

    argv: tuple[str, ...]
    env: dict[str, str]
    pass_fds: tuple[int, ...]
    group: Group | None


@contextmanager
def spawn(server: Server, program: Path, launch: Launch) -> Iterator[Spawn]:
    """Prepare a server's process, which is to be started inside the block.

    Raises:
        Crashed: it cannot be contained.
    """
    root = launch.root
    words = runnable(program, (*server.argv[1:], *server.arguments(root)))
    own = server.environment(root)
    with ExitStack() as stack:
        fds: tuple[int, ...] = ()
        if not launch.trusted:
            scratch = {"HOME": _SCRATCH, "TMPDIR": _SCRATCH, "XDG_CACHE_HOME": _SCRATCH}
            apart = contained(
                words, root, readable=readable(program, root, launch.python), writable=server.writes(root),
                env={**environment(), **scratch, **own},
            )  # fmt: skip
            try:
                one = stack.enter_context(apart)
            except SandboxFault as exc:
                raise Crashed(f"{server.name} cannot be contained: {exc.message}") from exc
            words, fds = tuple(one.argv), one.pass_fds
        group = make_group(memory_mb=launch.bound, processes=PROCESSES)
        doors = " ".join(group.doors()) if group else ""
        argv = (sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), doors, *words)
        yield Spawn(argv, {**environment(), **own}, fds, group)


async def watch_memory(
    pid: int | None, bound: int, alive: Callable[[], bool], over: Callable[[], None]
) -> None:
    """Call `over` when a process and its children take too much. For machines where no control group can be made."""
    watcher = TreeWatcher(pid, Limits(memory_mb=bound, processes=PROCESSES), over)
    while alive():
        watcher.tick()
        await asyncio.sleep(LOOK_S)

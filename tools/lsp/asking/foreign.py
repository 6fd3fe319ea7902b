"""Says which files outside the workspace may be read when a server names them: libraries, and stubs of a server.

In: a path that a server names. Out: the file to read, or None for a file that servers cannot see. So a server that a
repository has taken over cannot make us read other files of the user. Not covered: servers that run among our own
processes; these can read the files themselves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from forklock.tools.lsp.servers.programs import readable
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire.process import Launch


class Foreign:
    """The files outside one workspace."""

    def __init__(self, servers: Sequence[Server], launch: Launch) -> None:
        self._servers = tuple(servers)
        self._launch = launch

    def shown(self, file: Path) -> Path | None:
        """The file with links followed, if servers can see it; else None."""
        try:
            real = Path(real_path(str(file)))
        except (OSError, ValueError):
            return None
        return real if any(real.is_relative_to(place) for place in self._places) else None

    @cached_property
    def _places(self) -> list[Path]:
        found = [Path("/usr")]
        for server in self._servers:
            program = server.program()
            found += readable(program, self._launch.root, self._launch.python) if program is not None else []
            found += server.writes(self._launch.root)
        return [Path(os.path.realpath(place)) for place in found]


def real_path(path: str) -> str:
    """`os.path.realpath`, asked of the kernel where that works."""
    try:
        fd = os.open(path, os.O_PATH)
    except OSError:
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
    except OSError:
        return os.path.realpath(path)
    finally:
        os.close(fd)

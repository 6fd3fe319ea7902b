"""Files outside a workspace that servers may name: libraries, and the stubs that come with a server (room `tools/`).

In: a path that a server names. Out: the file to read, or None for what no server is shown. A server that a repository
has led astray cannot have other files of the user's read. Not covered: servers that run among our own processes, which
can read them themselves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tools.lsp.servers.programs import readable
from tools.lsp.servers.server import Server
from tools.lsp.wire.process import Launch


class Foreign:
    """The files outside one workspace."""

    def __init__(self, servers: Sequence[Server], launch: Launch) -> None:
        self._servers = tuple(servers)
        self._launch = launch

    def shown(self, file: Path) -> Path | None:
        """The file, links followed, where it is one that servers see."""
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
    """`os.path.realpath`, by the kernel where it tells."""
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

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

from tools.lsp.servers.table import ServerSpec, find_server, readable


class Foreign:
    def __init__(self, root: Path, specs: Sequence[ServerSpec], python: Path | None) -> None:
        self._root = root
        self._specs = tuple(specs)
        self._python = python

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
        for spec in self._specs:
            program = find_server(spec)
            found += readable(program, self._root, self._python) if program is not None else []
            found += spec.writes(self._root)
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

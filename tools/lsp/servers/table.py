"""The list of language servers, and which of them to ask about a file or a repository.

Another server is a file beside this one and an entry in `_LIST`; order counts, since the first server for look-ups that
reads a file is the one that is chosen. Nothing is started here.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from forklock.sandbox.backends.bubblewrap.contained import why_not_contained
from forklock.tools.contract import ToolFault
from forklock.tools.index.files import suffixes
from forklock.tools.lsp.servers.basedpyright import BasedPyright
from forklock.tools.lsp.servers.clangd import Clangd
from forklock.tools.lsp.servers.gopls import Gopls
from forklock.tools.lsp.servers.ruff import Ruff
from forklock.tools.lsp.servers.rust_analyzer import RustAnalyzer
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.servers.ty import Ty
from forklock.tools.lsp.servers.typescript import TypeScript

_LIST: tuple[Server, ...] = (
    Ty(),
    Ruff(),
    BasedPyright(),
    TypeScript(),
    Clangd(),
    Gopls(),
    RustAnalyzer(),
)

SERVERS: dict[str, Server] = {server.name: server for server in _LIST}
DEFAULT = ("ty", "ruff")
"""Asked in every repository."""


def servers_for_file(path: str, root: Path) -> tuple[str, ...]:
    """The servers to ask about a file, installed or not: an absent one's answers say how to get it.

    Raises:
        ToolFault: no server reads the file, or only one that runs code of the repository and cannot be contained here;
            the user then has to name it.
    """
    suffix = Path(path).suffix
    chosen = _for_suffix(suffix)
    if not chosen:
        known = " ".join(sorted({suffix for server in _LIST for suffix in server.languages}))
        raise ToolFault(
            f"no language server of the list reads {suffix or path!r}", fix=f"known suffixes: {known}"
        )
    for server in chosen:
        if server.runs_repo_code and not _contains(root):
            message = f"{server.name} runs build tools of the repository, and cannot be contained here"
            raise ToolFault(message, fix=f"if you trust the repository, name it: --server {server.name}")
    return tuple(server.name for server in chosen)


def servers_for(root: Path) -> tuple[str, ...]:
    """The default servers, and those of the other languages that the repository holds."""
    held = suffixes(root)
    chosen = {server.name for suffix in held for server in _for_suffix(suffix)} - set(DEFAULT)
    others = (server for server in _LIST if server.name in chosen)
    return DEFAULT + tuple(s.name for s in others if not s.runs_repo_code or _contains(root))


def has_server(path: str) -> bool:
    """Tell whether a server of the list reads such files, installed or not."""
    return any(server.reads(PurePosixPath(path)) for server in _LIST)


def _for_suffix(suffix: str) -> list[Server]:
    """The first server for look-ups that reads such files, and every linter that does."""
    reading = [server for server in _LIST if suffix in server.languages]
    first = next((server for server in reading if server.lookups), None)
    return [server for server in reading if server is first or not server.lookups]


def _contains(root: Path) -> bool:
    """Whether servers for this workspace will run in name spaces of their own."""
    return not trusting() and why_not_contained(root) is None


def trusting() -> bool:
    """Whether the user allows servers to run among their own processes (FORKLOCK_TRUSTED)."""
    return bool(os.environ.get("FORKLOCK_TRUSTED"))

"""ruff: a linter for Python."""

from __future__ import annotations

from pathlib import Path

from forklock.tools.lsp.servers.server import PullingServer, Settings
from forklock.tools.lsp.servers.ty import PYTHON


class Ruff(PullingServer):
    name = "ruff"
    argv = ("ruff", "server")
    languages = PYTHON
    fix = "pip install ruff"
    lookups = False
    tested = True

    def options(self, root: Path, python: Path | None) -> Settings:
        # Only errors that cost a model a step, unless the repository selects rules itself.
        lint = {"select": ["E9", "F"]}
        return {"settings": {"lint": lint, "configurationPreference": "filesystemFirst", "logLevel": "error"}}

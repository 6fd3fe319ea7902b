"""basedpyright: types and look-ups for Python."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.lsp.servers.roots import import_roots
from forklock.tools.lsp.servers.server import PullingServer, Settings
from forklock.tools.lsp.servers.ty import PYTHON

_READY = re.compile(r"(Found \d+|No) source files?")


class BasedPyright(PullingServer):
    """Answers "nothing" about the workspace until it has logged how many source files it found."""

    name = "basedpyright"
    argv = ("basedpyright-langserver", "--stdio")
    languages = PYTHON
    fix = "pip install basedpyright"
    reports_ready = True
    tested = True

    def settings(self, root: Path, python: Path | None) -> Settings:
        # It runs the interpreter to find its search path, so it never gets one that merely lies in the repository.
        interpreter = str(python or sys.executable)
        analysis = {
            "diagnosticMode": "openFilesOnly",
            "typeCheckingMode": "standard",
            "autoImportCompletions": False,
            "extraPaths": [str(folder) for folder in import_roots(root)],
        }
        return {"python": {"pythonPath": interpreter}, "basedpyright": {"analysis": analysis}, "pyright": {}}

    def is_ready(self, method: str, params: Any) -> bool | None:
        return True if method == lsp.WINDOW_LOG_MESSAGE and _READY.search(params.message) else None

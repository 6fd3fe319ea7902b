"""How clangd is started so that it answers about unsaved texts and writes nothing into the repo (room `tools/`).

In: a workspace. Out: arguments. clangd keeps the index of a project beside its `compile_commands.json`: it is
given a link to that file in our cache folder instead. Not covered: `compile_commands.json` elsewhere than in
the root or in `build/`.
"""

from __future__ import annotations

from pathlib import Path

from tools.lsp.servers import caches

WORDS = (
    "--log=error",
    "--use-dirty-headers",  # an unsaved header counts for the files that include it
    "--header-insertion=never",
    "--limit-references=0",
    "--limit-results=0",
    "--rename-file-limit=0",
    "--pch-storage=memory",
    "--completion-parse=always",  # busy, it else offers words of the text instead of what is in scope
)
_DATABASE = "compile_commands.json"


def database(root: Path) -> Path | None:
    places = (root / _DATABASE, root / "build" / _DATABASE)
    return next((place for place in places if place.is_file()), None)


def indexes(root: Path) -> bool:
    """Without a list of what is compiled clangd knows the opened files and what they include, no more."""
    return database(root) is not None


def writes(root: Path) -> tuple[Path, ...]:
    """Where its index of `root` is kept, once `arguments` has made it."""
    found = database(root)
    folder = caches.folder_of("clangd", found) if found else None
    return (folder,) if folder and folder.is_dir() else ()


def arguments(root: Path) -> tuple[str, ...]:
    found = database(root)
    if found is None:
        return ()
    folder = caches.made("clangd", found, link=_DATABASE)
    if folder is None:  # no cache to write to: then no index is kept
        return (f"--compile-commands-dir={found.parent}", "--background-index=false")
    return (f"--compile-commands-dir={folder}",)

"""rust-analyzer: Rust.

It runs cargo on the repository, and with it `build.rs` and procedural macros. It writes nothing into the repository and
downloads nothing. Not covered: crates that were never fetched; run `cargo fetch` for them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.sandbox.interpreters.policy import workspace_policy
from forklock.tools.lsp.servers import places
from forklock.tools.lsp.servers.server import Ask, DebianPackages, Server, Settings

_KEPT = ("PATH", "CARGO_HOME", "CARGO_NET_OFFLINE")
_LANGUAGES = {".rs": "rust"}


def _script(folder: Path) -> str:
    """Start it by the loader of its packages: it is linked to a newer C library than older systems have."""
    loader, libraries = (
        places.the_one(folder, "usr/lib*/ld-linux-*.so.*"),
        places.the_one(folder, "usr/lib/*-linux-gnu*"),
    )
    source = shlex.quote(str(places.the_one(folder, "usr/src/rustc-*/library")))
    words = (str(loader), "--library-path", str(libraries), str(folder / "usr/bin/rust-analyzer"))
    return (
        f'[ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library" ] || export RUST_SRC_PATH={source}\n'
        f'exec {shlex.join(words)} "$@"'
    )


class RustAnalyzer(Server):
    name = "rust-analyzer"
    argv = ("rust-analyzer",)
    languages = _LANGUAGES
    fix = "rustup component add rust-analyzer"
    debian = DebianPackages(("rust-analyzer", "rust-src"), "--version", _script)
    runs_repo_code = True
    warms_up_s = 60.0
    reports_ready = True
    discards_early = True
    reads_late = True
    tested = True

    def options(self, root: Path, python: Path | None) -> Settings:
        built = [str(folder / "target") for folder in self.writes(root)]
        return {
            # "none": read the standard library by its own folders; its dependencies would have to be downloaded.
            "cargo": {"sysrootQueryMetadata": "none", **({"targetDir": built[0]} if built else {})},
            # `cargo check` reads what is on disk, which is not the text that is asked about.
            "checkOnSave": False,
            # Without these it reports almost nothing: wrong types and unknown names are among them.
            "diagnostics": {"experimental": {"enable": True}},
            "completion": {"callable": {"snippets": "none"}, "autoimport": {"enable": False}},
            "files": {"watcher": "client"},
            "cachePriming": {"enable": False},  # takes many seconds, for every file of every crate
        }

    def settings(self, root: Path, python: Path | None) -> Settings:
        return {"rust-analyzer": self.options(root, python)}

    def writes(self, root: Path) -> tuple[Path, ...]:
        folder = places.made("rust-analyzer", root)
        return (folder,) if folder else ()

    def environment(self, root: Path) -> Mapping[str, str]:
        policy = workspace_policy(root).env
        return {"CARGO_NET_OFFLINE": "true"} | {k: policy[k] for k in _KEPT if k in policy}

    def is_ready(self, method: str, params: Any) -> bool | None:
        return bool(getattr(params, "quiescent", False)) if method == "experimental/serverStatus" else None

    async def text_of(self, ask: Ask, uri: str) -> str | None:
        return str(await ask("rust-analyzer/viewFileText", lsp.TextDocumentIdentifier(uri)))

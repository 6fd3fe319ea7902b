"""How rust-analyzer is started so that it writes nothing into the repo and downloads nothing (room `tools/`).

In: a workspace. Out: options, environment, where cargo builds. It runs cargo on the repo, and with it the repo's
`build.rs` and procedural macros. Not covered: crates that nobody has fetched yet: run `cargo fetch` for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.interpreters.policy import workspace_policy
from tools.lsp.servers import caches

_KEPT = ("PATH", "CARGO_HOME", "CARGO_NET_OFFLINE")


def options(root: Path, _python: Path | None) -> Mapping[str, Any]:
    built = [str(folder / "target") for folder in writes(root)]
    return {
        # "none": the standard library by its own folders; its dependencies would have to be downloaded first.
        "cargo": {"sysrootQueryMetadata": "none", **({"targetDir": built[0]} if built else {})},
        # `cargo check` reads what is on disk, which is not the text that is asked about.
        "checkOnSave": False,
        # Without these nearly nothing is told: wrong types and unknown names are among them.
        "diagnostics": {"experimental": {"enable": True}},
        "completion": {"callable": {"snippets": "none"}, "autoimport": {"enable": False}},
        "files": {"watcher": "client"},
        "cachePriming": {"enable": False},  # many seconds, for every file of every crate
    }


def settings(root: Path, python: Path | None) -> Mapping[str, Any]:
    return {"rust-analyzer": options(root, python)}


def writes(root: Path) -> tuple[Path, ...]:
    folder = caches.made("rust-analyzer", root)
    return (folder,) if folder else ()


def environment(root: Path) -> Mapping[str, str]:
    policy = workspace_policy(root).env
    return {"CARGO_NET_OFFLINE": "true"} | {k: policy[k] for k in _KEPT if k in policy}

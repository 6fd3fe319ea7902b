"""How gopls is started so that it answers about exactly one text, writes nothing into the repo and downloads nothing
(room `tools/`).

In: a workspace. Out: settings, environment, where its caches are. It runs `go list` on the repo. Not covered: modules
that nobody has fetched yet: run `go mod download` for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.interpreters.policy import workspace_policy
from tools.lsp.servers import caches

_KEPT = ("GOPROXY", "GOTOOLCHAIN", "GOMODCACHE")


def options(_root: Path, _python: Path | None) -> Mapping[str, Any]:
    # No delay: else it publishes first what its type checker says, without what its analysers and quick fixes add.
    return {"diagnosticsDelay": "0s", "semanticTokens": False}


def settings(root: Path, python: Path | None) -> Mapping[str, Any]:
    return {"gopls": options(root, python)}


def writes(root: Path) -> tuple[Path, ...]:
    folder = caches.made("gopls", root)
    return (folder,) if folder else ()


def environment(root: Path) -> Mapping[str, str]:
    """Both caches in a folder of ours; neither modules nor toolchains are downloaded."""
    policy = workspace_policy(root).env
    env = {"GOPROXY": "off", "GOTOOLCHAIN": "local"} | {k: policy[k] for k in _KEPT if k in policy}
    for folder in writes(root):
        env |= {"GOCACHE": str(folder / "build"), "GOPLSCACHE": str(folder / "gopls")}
    return env

"""gopls: Go.

It runs `go list` on the repository. Its caches lie in a folder of ours, and it downloads nothing. Not covered: modules
that were never fetched; run `go mod download` for them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from forklock.sandbox.interpreters.policy import workspace_policy
from forklock.tools.lsp.servers import places
from forklock.tools.lsp.servers.server import DebianPackages, Server, Settings

_KEPT = ("GOPROXY", "GOTOOLCHAIN", "GOMODCACHE")
_LANGUAGES = {".go": "go"}


def _script(folder: Path) -> str:
    go = shlex.quote(str(places.the_one(folder, "usr/lib/go-*/bin")))
    return f'PATH={go}:"$PATH" exec {shlex.quote(str(folder / "usr/bin/gopls"))} "$@"'


class Gopls(Server):
    name = "gopls"
    argv = ("gopls",)
    languages = _LANGUAGES
    fix = "go install golang.org/x/tools/gopls@latest"
    debian = DebianPackages(("gopls", "golang-go"), "version", _script)
    runs_repo_code = True
    warms_up_s = 60.0
    tested = True

    def options(self, root: Path, python: Path | None) -> Settings:
        # With a delay it first publishes what its type checker says, without its analysers and quick fixes.
        return {"diagnosticsDelay": "0s", "semanticTokens": False}

    def settings(self, root: Path, python: Path | None) -> Settings:
        return {"gopls": self.options(root, python)}

    def writes(self, root: Path) -> tuple[Path, ...]:
        folder = places.made("gopls", root)
        return (folder,) if folder else ()

    def environment(self, root: Path) -> Mapping[str, str]:
        policy = workspace_policy(root).env
        env = {"GOPROXY": "off", "GOTOOLCHAIN": "local"} | {k: policy[k] for k in _KEPT if k in policy}
        for folder in self.writes(root):
            env |= {"GOCACHE": str(folder / "build"), "GOPLSCACHE": str(folder / "gopls")}
        return env

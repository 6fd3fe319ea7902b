"""typescript-language-server, a front to TypeScript's own tsserver.

It publishes diagnostics without a version, and none at all for a file that stays clean. So tsserver itself is asked
through a command of the front, in the order of the edits: every answer is about exactly that text. The TypeScript that
runs is ours; the front would run the one in the repository's `node_modules`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.lsp.servers.roots import script_projects
from forklock.tools.lsp.servers.server import Ask, PullingServer, Settings

_BESIDE = "../../../typescript/lib/tsserver.js"
"""From the front's script to the TypeScript that npm put beside its package."""
_COMMAND = "typescript.tsserverRequest"
_REQUESTS = ("syntacticDiagnosticsSync", "semanticDiagnosticsSync")
_SEVERITY = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "suggestion": lsp.DiagnosticSeverity.Hint,
    "message": lsp.DiagnosticSeverity.Information,
}
_LANGUAGES = {
    ".ts": "typescript", ".tsx": "typescriptreact", ".mts": "typescript", ".cts": "typescript",
    ".js": "javascript", ".jsx": "javascriptreact", ".mjs": "javascript", ".cjs": "javascript",
}  # fmt: skip


class TypeScript(PullingServer):
    name = "typescript"
    argv = ("typescript-language-server", "--stdio")
    languages = _LANGUAGES
    fix = "tools servers --install typescript"
    npm = ("typescript@5", "typescript-language-server@5")
    """The majors that the conformance tests cover. TypeScript 7 has no tsserver."""
    tested = True

    def program(self) -> Path | None:
        found = super().program()
        return found if found is not None and Path(_tsserver(found)).is_file() else None

    def options(self, root: Path, python: Path | None) -> Settings:
        front = super().program()
        server: dict[str, Any] = {"useClientFileWatcher": True, "useSyntaxServer": "never"}
        if front is not None:
            server["path"] = _tsserver(front)
        return {
            "tsserver": server,
            "disableAutomaticTypingAcquisition": True,  # it would download
            "hostInfo": "forklock",
            "preferences": {
                "includeCompletionsForModuleExports": False,
                "includeCompletionsWithSnippetText": False,
            },
        }

    def knows_all(self, root: Path) -> bool:
        """True where the root has the only project file. Otherwise tsserver knows the opened files, what they import,
        and the projects that hold them."""
        found = script_projects(root)
        return len(found) == 1 and found[0].parent == root

    async def pull(self, ask: Ask, uri: str) -> list[lsp.Diagnostic]:
        found: list[lsp.Diagnostic] = []
        for request in _REQUESTS:
            params = lsp.ExecuteCommandParams(_COMMAND, [request, {"file": uri}])
            found += _diagnostics(await ask(lsp.WORKSPACE_EXECUTE_COMMAND, params))
        return found


def _tsserver(front: Path) -> str:
    return os.path.normpath(front.resolve() / _BESIDE)


def _diagnostics(answer: Any) -> list[lsp.Diagnostic]:
    """Read a response of tsserver. Raises ValueError where it holds none."""
    if _get(answer, "type") != "response" or not _get(answer, "success"):
        raise ValueError(str(_get(answer, "message") or "tsserver did not answer"))
    body: Iterable[Any] = _get(answer, "body") or ()
    return [_diagnostic(item) for item in body]


def _diagnostic(item: Any) -> lsp.Diagnostic:
    return lsp.Diagnostic(
        range=lsp.Range(_position(_get(item, "start")), _position(_get(item, "end"))),
        message=str(_get(item, "text")),
        severity=_SEVERITY.get(str(_get(item, "category")), lsp.DiagnosticSeverity.Error),
        code=_get(item, "code"),
        source="typescript",
    )


def _position(place: Any) -> lsp.Position:
    """tsserver counts lines and UTF-16 units from 1."""
    return lsp.Position(
        max(0, int(_get(place, "line") or 1) - 1), max(0, int(_get(place, "offset") or 1) - 1)
    )


def _get(thing: Any, name: str) -> Any:
    """A field of an untyped result: pygls may return it as a dict or as an object."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)

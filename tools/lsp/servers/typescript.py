"""What is particular about tsserver behind `typescript-language-server` (room `tools/`).

In: a workspace; answers of tsserver's own protocol. Out: initialization options; `Diagnostic`s. The front
publishes without a version, and nothing at all for a file that stays clean: so tsserver is asked, in the
order of the edits, which makes every answer one about exactly that text.

The TypeScript that runs is ours: the front would run the repo's own `node_modules/typescript`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from tools.lsp.servers.roots import script_projects

COMMAND = "typescript.tsserverRequest"
BESIDE = "../../../typescript/lib/tsserver.js"
"""From the front's script to the TypeScript that npm put beside its package."""
ASKED = ("syntacticDiagnosticsSync", "semanticDiagnosticsSync")
_SEVERITY = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "suggestion": lsp.DiagnosticSeverity.Hint,
    "message": lsp.DiagnosticSeverity.Information,
}


def options(_root: Path, _python: Path | None) -> Mapping[str, Any]:
    from tools.lsp.servers.table import find_program

    front = find_program("typescript-language-server")
    server: dict[str, Any] = {"useClientFileWatcher": True, "useSyntaxServer": "never"}
    if front is not None:
        server["path"] = os.path.normpath(front.resolve() / BESIDE)
    return {
        "tsserver": server,
        "disableAutomaticTypingAcquisition": True,  # it would download
        "hostInfo": "forklock",
        "preferences": {
            "includeCompletionsForModuleExports": False,
            "includeCompletionsWithSnippetText": False,
        },
    }


def knows_all(root: Path) -> bool:
    """The only project file says which files there are. Where there is none, or one for each package, tsserver knows
    the opened files, what they import, and the projects that hold them."""
    found = script_projects(root)
    return len(found) == 1 and found[0].parent == root


def request(command: str, uri: str) -> lsp.ExecuteCommandParams:
    return lsp.ExecuteCommandParams(COMMAND, [command, {"file": uri}])


def diagnostics(answer: Any) -> list[lsp.Diagnostic]:
    """Raises ValueError where tsserver did not answer the question."""
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
    """pygls makes objects of results that it has no type for."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)

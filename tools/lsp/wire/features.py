"""How our client answers what servers send. What it tells them that it can do is in `capabilities`.

Not covered: answers to our own requests (`client`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.lsp.wire.client import Client

_ACCEPTED = (
    lsp.CLIENT_REGISTER_CAPABILITY,
    lsp.CLIENT_UNREGISTER_CAPABILITY,
    lsp.WINDOW_WORK_DONE_PROGRESS_CREATE,
    lsp.WINDOW_SHOW_MESSAGE_REQUEST,
    lsp.WORKSPACE_DIAGNOSTIC_REFRESH,
    lsp.WORKSPACE_SEMANTIC_TOKENS_REFRESH,
    lsp.WORKSPACE_INLAY_HINT_REFRESH,
    lsp.WORKSPACE_CODE_LENS_REFRESH,
    lsp.WINDOW_SHOW_MESSAGE,
    lsp.TELEMETRY_EVENT,
    lsp.LOG_TRACE,
)
"""Requests and notifications that are answered with nothing."""


def register(client: Client) -> None:
    """Handle what a server may request of us."""
    feature = client.feature
    folder = lsp.WorkspaceFolder(uri=client.root.as_uri(), name=client.root.name)
    feature(lsp.WORKSPACE_CONFIGURATION)(lambda p: [_section(client.settings, i.section) for i in p.items])
    feature(lsp.WORKSPACE_WORKSPACE_FOLDERS)(lambda _p: [folder])
    feature(lsp.WORKSPACE_APPLY_EDIT)(
        lambda _p: lsp.ApplyWorkspaceEditResult(applied=False, failure_reason="edits are the agent's")
    )
    feature(lsp.WINDOW_SHOW_DOCUMENT)(lambda _p: lsp.ShowDocumentResult(success=False))
    for method in _ACCEPTED:
        feature(method)(lambda _p: None)
    _register_reports(client)


def _register_reports(client: Client) -> None:
    """Handle what a server reports: diagnostics, progress, readiness."""

    def published(params: lsp.PublishDiagnosticsParams) -> None:
        client.published[params.uri] = (params.version, tuple(params.diagnostics))
        client.wake()

    def progress(params: lsp.ProgressParams) -> None:
        value = params.value
        kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", "")
        if kind == "begin":
            client.worked = True
            client.working.add(params.token)
        elif kind == "end":
            client.working.discard(params.token)
        client.wake()

    def readiness(method: str, params: Any) -> None:
        ready = client.server.is_ready(method, params)
        if ready is not None:
            client.ready = ready
            client.wake()

    feature = client.feature
    for method in (lsp.WINDOW_LOG_MESSAGE, "experimental/serverStatus"):
        feature(method)(lambda params, method=method: readiness(method, params))
    feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(published)
    feature(lsp.PROGRESS)(progress)


def _section(settings: Mapping[str, Any], section: str | None) -> Any:
    """`a.b` of nested settings; None where there is nothing, which makes a server use its defaults."""
    value: Any = settings
    for part in (section or "").split(".") if section else []:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value

"""What our client tells servers that it can do, and how it answers what they send.

Not covered: answers to our own requests (`client`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

if TYPE_CHECKING:
    from forklock.tools.lsp.wire.client import Client

CAPABILITIES = lsp.ClientCapabilities(
    general=lsp.GeneralClientCapabilities(
        position_encodings=[lsp.PositionEncodingKind.Utf32, lsp.PositionEncodingKind.Utf16]
    ),
    experimental={"serverStatusNotification": True},
    window=lsp.WindowClientCapabilities(work_done_progress=True),
    workspace=lsp.WorkspaceClientCapabilities(
        configuration=True,
        workspace_folders=True,
        did_change_configuration=lsp.DidChangeConfigurationClientCapabilities(),
        did_change_watched_files=lsp.DidChangeWatchedFilesClientCapabilities(
            dynamic_registration=True, relative_pattern_support=True
        ),
        diagnostics=lsp.DiagnosticWorkspaceClientCapabilities(refresh_support=True),
        symbol=lsp.WorkspaceSymbolClientCapabilities(),
        workspace_edit=lsp.WorkspaceEditClientCapabilities(document_changes=True),
    ),
    text_document=lsp.TextDocumentClientCapabilities(
        synchronization=lsp.TextDocumentSyncClientCapabilities(),
        # basedpyright pushes, late, unless pulling may be registered.
        diagnostic=lsp.DiagnosticClientCapabilities(dynamic_registration=True),
        publish_diagnostics=lsp.PublishDiagnosticsClientCapabilities(version_support=True, data_support=True),
        hover=lsp.HoverClientCapabilities(content_format=[lsp.MarkupKind.PlainText, lsp.MarkupKind.Markdown]),
        rename=lsp.RenameClientCapabilities(prepare_support=False),
        call_hierarchy=lsp.CallHierarchyClientCapabilities(),
        code_action=lsp.CodeActionClientCapabilities(
            code_action_literal_support=lsp.ClientCodeActionLiteralOptions(
                lsp.ClientCodeActionKindOptions([lsp.CodeActionKind.QuickFix, lsp.CodeActionKind.Source])
            ),
            data_support=True,
            resolve_support=lsp.ClientCodeActionResolveOptions(["edit"]),
        ),
        definition=lsp.DefinitionClientCapabilities(link_support=False),
        references=lsp.ReferenceClientCapabilities(),
        document_symbol=lsp.DocumentSymbolClientCapabilities(hierarchical_document_symbol_support=True),
        completion=lsp.CompletionClientCapabilities(
            completion_item=lsp.ClientCompletionItemOptions(
                snippet_support=False, documentation_format=[lsp.MarkupKind.PlainText]
            )
        ),
    ),
)
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

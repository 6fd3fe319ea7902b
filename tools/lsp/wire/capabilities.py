"""What our client tells servers that it can do."""

from __future__ import annotations

from lsprotocol import types as lsp

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

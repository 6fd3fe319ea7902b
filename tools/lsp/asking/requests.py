"""The requests that servers are sent: their parameters, and what not every server offers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.servers.table import SERVERS
from forklock.tools.lsp.wire.documents import uri_of

WIDE = frozenset(
    {lsp.TEXT_DOCUMENT_REFERENCES, lsp.TEXT_DOCUMENT_RENAME, lsp.TEXT_DOCUMENT_PREPARE_CALL_HIERARCHY}
)
"""Methods that ask about the whole workspace."""
OFFERED = {
    lsp.TEXT_DOCUMENT_RENAME: ("rename_provider", "rename"),
    lsp.TEXT_DOCUMENT_PREPARE_CALL_HIERARCHY: ("call_hierarchy_provider", "call hierarchy"),
}
"""Method → (capability, our word for it), for what not every server offers."""
_PARAMS: dict[str, Callable[..., Any]] = {
    lsp.TEXT_DOCUMENT_DEFINITION: lsp.DefinitionParams,
    lsp.TEXT_DOCUMENT_HOVER: lsp.HoverParams,
    lsp.TEXT_DOCUMENT_COMPLETION: lsp.CompletionParams,
    lsp.TEXT_DOCUMENT_PREPARE_CALL_HIERARCHY: lsp.CallHierarchyPrepareParams,
}


def params_at(method: str, file: Path, position: lsp.Position) -> Any:
    """The parameters of a request about a position."""
    document = lsp.TextDocumentIdentifier(uri_of(file))
    if method == lsp.TEXT_DOCUMENT_REFERENCES:
        uses_only = lsp.ReferenceContext(include_declaration=False)
        return lsp.ReferenceParams(uses_only, document, position)
    return _PARAMS[method](document, position)


def outline_of(file: Path) -> lsp.DocumentSymbolParams:
    """The parameters of a request for an outline."""
    return lsp.DocumentSymbolParams(lsp.TextDocumentIdentifier(uri_of(file)))


def instead_of(server: Server, words: str) -> str:
    """Advice to use another server, where this one lacks a feature and there is an alternative."""
    other = SERVERS.get(server.alternative)
    return f"{other.name} has {words}: {other.fix}, and name it" if other else ""

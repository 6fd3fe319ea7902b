"""Writes and reads by hand the requests that are sent most.

In: parameters; a result as parsed JSON. Out: a message; lsprotocol's types with the fields that we use, at a tenth of
the cost of the general converter. Readers raise KeyError, TypeError or ValueError where the result is malformed.
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lsprotocol import types as lsp


def message(method: str, msg_id: str, params: Any) -> bytes:
    """The message of a request about a position in a document."""
    said: dict[str, Any] = {
        "textDocument": {"uri": params.text_document.uri},
        "position": {"line": params.position.line, "character": params.position.character},
    }
    if method == lsp.TEXT_DOCUMENT_REFERENCES:
        said["context"] = {"includeDeclaration": params.context.include_declaration}
    body = json.dumps({"jsonrpc": "2.0", "id": msg_id, "method": method, "params": said}).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def _position(raw: Mapping[str, int]) -> lsp.Position:
    return lsp.Position(raw["line"], raw["character"])


def _range(raw: Mapping[str, Any]) -> lsp.Range:
    return lsp.Range(_position(raw["start"]), _position(raw["end"]))


def _places(raw: Any) -> list[lsp.Location] | None:
    if raw is None:
        return None
    items = [raw] if isinstance(raw, Mapping) else raw
    return [lsp.Location(item["uri"], _range(item["range"])) for item in items]


def _hover(raw: Any) -> lsp.Hover | None:
    if raw is None:
        return None
    contents = raw["contents"]
    parts = contents if isinstance(contents, list) else [contents]
    text = "\n\n".join(part if isinstance(part, str) else part["value"] for part in parts)
    return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.PlainText, text))


def _completion(raw: Any) -> lsp.CompletionList:
    whole = raw if isinstance(raw, Mapping) else {"items": raw or []}
    items = [_item(item) for item in whole["items"]]
    return lsp.CompletionList(bool(whole.get("isIncomplete")), items)


def _item(raw: Mapping[str, Any]) -> lsp.CompletionItem:
    return lsp.CompletionItem(raw["label"], detail=raw.get("detail"), sort_text=raw.get("sortText"))


READERS: dict[str, Callable[[Any], Any]] = {
    lsp.TEXT_DOCUMENT_DEFINITION: _places,
    lsp.TEXT_DOCUMENT_REFERENCES: _places,
    lsp.TEXT_DOCUMENT_HOVER: _hover,
    lsp.TEXT_DOCUMENT_COMPLETION: _completion,
}

"""The protocol of pygls, with repairs.

Answers that do not parse fail their request at once. The most frequent look-ups are read by hand (`reading`). Two
structures that lsprotocol 2025.0.0 cannot read are read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lsprotocol import types as lsp
from pygls.protocol import LanguageServerProtocol, default_converter
from pygls.protocol.json_rpc import JsonRPCResponseMessage


class Protocol(LanguageServerProtocol):
    """The protocol of one connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.readers: dict[Any, Callable[[Any], Any]] = {}
        """Request id → reader of its answer, for requests whose answers the converter does not read."""

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Read a message. An answer that does not parse fails its request, instead of never arriving."""
        if "jsonrpc" not in data:  # part of a message
            return data
        try:
            reader = self.readers.pop(data.get("id"), None) if "method" not in data else None
            if reader is not None and "error" not in data:
                return JsonRPCResponseMessage(data["id"], data["jsonrpc"], reader(data.get("result")))
            return super().structure_message(data)
        except Exception as exc:
            if "method" in data or "id" not in data:
                raise
            error = lsp.ResponseError(
                code=lsp.ErrorCodes.ParseError, message=f"cannot read the answer: {exc}"
            )
            return lsp.ResponseErrorMessage(id=data["id"], error=error)

    def handle_message(self, message: Any) -> None:
        """Handle answers first: pygls compares each message with three `typing` protocols, which doubles the cost."""
        if type(message) is JsonRPCResponseMessage:
            self._handle_response(message.id, message.result)
        else:
            super().handle_message(message)


def converter() -> Any:
    """The converter of pygls, without `notebookDocumentSync`.

    lsprotocol 2025.0.0 cannot structure it; ty, ruff and pyrefly send it, and nothing here reads it.
    """
    made: Any = default_converter()  # type: ignore[no-untyped-call]
    options = lsp.NotebookDocumentSyncOptions | lsp.NotebookDocumentSyncRegistrationOptions | None
    made.register_structure_hook(options, lambda _value, _type: None)
    made.register_structure_hook(lsp.Command | lsp.CodeAction, partial(_action, made))
    return made


def _action(converter: Any, value: Any, _type: Any) -> Any:
    """Tell a code action from a command: lsprotocol 2025.0.0 mistakes an action that has a command for the command."""
    kind = lsp.Command if isinstance(value.get("command"), str) else lsp.CodeAction
    return converter.structure(value, kind)

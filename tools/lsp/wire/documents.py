"""The documents that a server has open, and their versions.

In: the text that each document must have, changes on disk. Out: notifications to the server that is running now; a
server that starts later is told everything by `open_all`. Not covered: waiting until a server has read them
(`connection`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lsprotocol import types as lsp

from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire.client import Client

MAX_OPEN = 48
"""Documents kept open; the longest unused is closed first."""

Disk = Callable[[Path], str | None]
"""Path → the text on disk, or None."""


@dataclass(slots=True)
class Document:
    """An open document."""

    text: str
    version: int
    """Also the number of the change that made it: greater in one document means later."""


class Documents:
    """Belongs to one event loop."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: dict[str, Document] = {}
        self._version = 0
        self._disk: Disk = lambda _path: None
        self.client: Client | None = None
        """The running server; None while there is none."""
        self.unseen: set[Path] = set()
        """Files that changed on disk or were closed, and that a server which `reads_late` may not have read yet."""

    # --- what is open ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._open)

    def holds(self, uri: str) -> bool:
        """Whether the document is open."""
        return uri in self._open

    def version(self, uri: str) -> int:
        """The version of an open document."""
        return self._open[uri].version

    def is_behind(self, uri: str) -> bool:
        """Whether something else changed since the server was told of this document."""
        return self._open[uri].version != self._version

    def text(self, path: Path) -> str | None:
        """The text that the server should have for a file."""
        document = self._open.get(uri_of(path))
        return document.text if document else self._disk(path)

    def are_settled(self, wanted: Mapping[Path, str], disk: Disk) -> bool:
        """Whether `settle` would tell the server nothing."""
        if not all(uri_of(path) in self._open for path in wanted):
            return False
        if self._server.rereads_opened and any(self.is_behind(uri_of(path)) for path in wanted):
            return False
        open_ = ((path_of(uri), document.text) for uri, document in self._open.items())
        return all((wanted[path] if path in wanted else disk(path)) == text for path, text in open_)

    # --- changes ---------------------------------------------------------------------------------

    def settle(self, wanted: Mapping[Path, str], disk: Disk) -> None:
        """Give every open document its text: that of `wanted`, or else that on disk. Opens what is missing, and closes
        what is neither wanted nor on disk."""
        self._disk = disk
        names = {uri_of(path): path for path in wanted}
        for uri in [u for u in self._open if u not in names]:
            text = disk(path_of(uri))
            if text is None:
                self._close(uri)
                # Servers keep believing in a file that they have only seen as a document.
                self.tell_changes({path_of(uri): lsp.FileChangeType.Deleted})
            else:
                self._change(uri, text)
        for uri, path in names.items():
            self._change(uri, wanted[path])
        for uri in [u for u in self._open if u not in names][: max(0, len(self._open) - MAX_OPEN)]:
            self._close(uri)

    def open_all(self, client: Client) -> None:
        """Open every document in a server that has just started."""
        self.client = client
        for uri, document in self._open.items():
            self._did_open(client, uri, document)

    def reopen(self, client: Client, uri: str) -> None:
        """Open a document anew, as a later version, where something else changed since: what the server published about
        the old version does not count that change."""
        if self.is_behind(uri):
            text = self._open[uri].text
            self._close(uri)
            self._did_open(client, uri, self._next(uri, text))

    def tell_changes(self, changes: Mapping[Path, lsp.FileChangeType]) -> None:
        """Tell the server what commands changed on disk."""
        self._version += 1 if changes else 0
        self.unseen |= changes.keys()
        if self.client is not None and changes:
            events = [lsp.FileEvent(uri=uri_of(p), type=kind) for p, kind in changes.items()]
            self.client.tell(
                lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES, lsp.DidChangeWatchedFilesParams(changes=events)
            )

    def _next(self, uri: str, text: str) -> Document:
        self._version += 1
        self._open[uri] = Document(text, self._version)
        return self._open[uri]

    def _change(self, uri: str, text: str) -> None:
        client, document = self.client, self._open.pop(uri, None)
        if document is not None and document.text == text:
            self._open[uri] = document  # moved to the end: last used
            return
        published = client is not None and not self._server.pulls(client.capabilities)
        stale = document is not None and document.version != self._version and published
        new = self._next(uri, text)
        if client is None:
            return  # opened when the server starts
        if document is None:
            self._did_open(client, uri, new)
        elif stale:
            # Something else changed since. A busy clangd would publish about the new version with old headers first.
            self._did_close(client, uri)
            self._did_open(client, uri, new)
        else:
            self._did_change(client, uri, new)

    def _close(self, uri: str) -> None:
        self._open.pop(uri, None)
        if self.client is not None:
            self._did_close(self.client, uri)
            self.unseen.add(path_of(uri))

    # --- notifications ---------------------------------------------------------------------------

    def _did_open(self, client: Client, uri: str, document: Document) -> None:
        language = self._server.languages.get(path_of(uri).suffix, "plaintext")
        item = lsp.TextDocumentItem(
            uri=uri, language_id=language, version=document.version, text=document.text
        )
        client.tell(lsp.TEXT_DOCUMENT_DID_OPEN, lsp.DidOpenTextDocumentParams(text_document=item))

    @staticmethod
    def _did_change(client: Client, uri: str, new: Document) -> None:
        identifier = lsp.VersionedTextDocumentIdentifier(uri=uri, version=new.version)
        whole = [lsp.TextDocumentContentChangeWholeDocument(text=new.text)]
        client.tell(
            lsp.TEXT_DOCUMENT_DID_CHANGE,
            lsp.DidChangeTextDocumentParams(text_document=identifier, content_changes=whole),
        )

    @staticmethod
    def _did_close(client: Client, uri: str) -> None:
        identifier = lsp.TextDocumentIdentifier(uri=uri)
        client.tell(lsp.TEXT_DOCUMENT_DID_CLOSE, lsp.DidCloseTextDocumentParams(text_document=identifier))


@lru_cache(maxsize=4096)
def uri_of(path: Path) -> str:
    """The URI of a file."""
    return path.as_uri()


@lru_cache(maxsize=4096)
def path_of(uri: str) -> Path:
    """The file of a URI."""
    from pygls.uris import to_fs_path

    return Path(to_fs_path(uri) or uri)

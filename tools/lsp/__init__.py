"""Answers questions about a repository by asking real language servers.

In: paths, positions, name paths, unsaved texts. Out: `LookupAnswer` and `DiagnosticsAnswer`, each with its `Freshness`.
The protocol itself (0-based, UTF-16, URIs, versions) never leaves this package.
"""

from forklock.tools.lsp.intel import Intel, open_intel

__all__ = ["Intel", "open_intel"]

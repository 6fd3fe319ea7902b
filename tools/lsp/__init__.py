"""Answers questions about a repository by asking real language servers.

In: paths, positions, name paths, unsaved texts. Out: `LookupAnswer` and `DiagnosticsAnswer`, each with its `Freshness`.
The protocol itself (0-based, UTF-16, URIs, versions) never leaves this package.
"""

from forklock.tools.lsp.intel import Intel, open_intel
from forklock.tools.lsp.servers.programs import find_python
from forklock.tools.lsp.servers.table import DEFAULT, SERVERS, servers_for, servers_for_file

__all__ = ["DEFAULT", "SERVERS", "Intel", "find_python", "open_intel", "servers_for", "servers_for_file"]

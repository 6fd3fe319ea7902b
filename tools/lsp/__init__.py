"""Language servers: what a repo means, asked of programs that know (room `tools/`).

In: paths, positions, name paths, unsaved texts. Out: `LookupAnswer` and `DiagnosticsAnswer`, each saying
what it is worth (`Freshness`). LSP itself (0-based, UTF-16, URIs, versions) never leaves this package.
"""

from tools.lsp.intel import Intel, open_intel

__all__ = ["Intel", "open_intel"]

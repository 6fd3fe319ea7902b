"""Where servers that Forklock installs lie, and what servers may keep between runs (room `tools/`).

Paths only: nothing is created here. The rule is that of `models.paths` (`FORKLOCK_HOME`, else the platform's
folders), said again because this room may not import that one.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def _home() -> Path | None:
    home = os.environ.get("FORKLOCK_HOME", "").strip()
    return Path(home).expanduser().absolute() if home else None


def servers_dir() -> Path:
    """An npm prefix of our own: `node_modules/` lies in it."""
    return (_home() or platformdirs.user_data_path("forklock", appauthor=False)) / "servers"


def indexes_dir() -> Path:
    """What servers write about a workspace and would otherwise write into it."""
    home = _home()
    cache = home / "cache" if home else platformdirs.user_cache_path("forklock", appauthor=False)
    return cache / "indexes"

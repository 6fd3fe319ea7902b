"""Where this user's models, adapters, engines and caches lie. Paths only: nothing is created here.

`FORKLOCK_HOME` moves all of it under one folder; without it the platform's own places are taken
(`~/.local/share/forklock` and `~/.cache/forklock` on Linux, XDG variables honoured).
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "FORKLOCK_HOME"


def _home() -> Path | None:
    home = os.environ.get(HOME_VARIABLE, "").strip()
    return Path(home).expanduser().absolute() if home else None


def data_dir() -> Path:
    """What is dear to make again: models, adapters, engine environments."""
    return _home() or platformdirs.user_data_path("forklock", appauthor=False)


def cache_dir() -> Path:
    """What may be deleted at any time: half-done downloads, samples."""
    home = _home()
    return home / "cache" if home else platformdirs.user_cache_path("forklock", appauthor=False)


def models_dir() -> Path:
    """Pulled models, one transformers folder each, by catalogue name."""
    return data_dir() / "models"


def adapters_dir() -> Path:
    """Root of the adapter registry (`models/adapters/registry.py` has the layout)."""
    return data_dir() / "adapters"


def engines_dir() -> Path:
    """Python environments of engines that must not share ours (vLLM)."""
    return data_dir() / "engines"

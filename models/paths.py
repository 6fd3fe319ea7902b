"""Where this user's models, adapters, engines and caches lie. Paths only: nothing is created here.

`FORKLOCK_HOME` moves all of it under one folder; without it the platform's own places are taken
(`~/.local/share/forklock`, `~/.local/state/forklock`, `~/.config/forklock` and `~/.cache/forklock` on Linux, XDG
variables honoured).
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "FORKLOCK_HOME"


def _home() -> Path | None:
    home = os.environ.get(HOME_VARIABLE, "").strip()
    return user_path(home).absolute() if home else None


def data_dir() -> Path:
    """What is dear to make again: models, adapters, engine environments, rounds, results of evaluations."""
    return _home() or platformdirs.user_data_path("forklock", appauthor=False)


def state_dir() -> Path:
    """What this user's work left behind: the runs of `agent solve`, by repository."""
    home = _home()
    return home / "state" if home else platformdirs.user_state_path("forklock", appauthor=False)


def settings_file() -> Path:
    """The user's own settings, for all repositories."""
    home = _home()
    folder = home if home else platformdirs.user_config_path("forklock", appauthor=False)
    return folder / "forklock.toml"


def cache_dir() -> Path:
    """What may be deleted at any time: half-done downloads, clones, scratch copies."""
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


def lies_in_repository(path: Path, top: Path) -> bool:
    """Whether a path of the user's lies in the work tree `top`, so that its content is the repository's word.

    A repository that holds the whole home folder is the user's own.
    """
    root = top.resolve()
    return path.resolve().is_relative_to(root) and not user_path("~").resolve().is_relative_to(root)


def names_folder(text: str) -> bool:
    """Whether what the user wrote is meant as a path. A bare relative path is not: a folder of the repository that the
    user stands in would pass for a model or for a provider."""
    return text in (".", "..") or text.startswith(("./", "../", "/", "~"))


def user_path(text: str) -> Path:
    """The path that the user wrote, `~` expanded where it can be."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):  # no such user, or no name at all
        return Path(text)


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; of a name that no file system takes, False."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False

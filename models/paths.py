"""Names the folders of this user's models, adapters, engines and caches. Nothing is created here.

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
    """Return the folder of what is expensive to make again: models, adapters, environments, rounds, results."""
    return _home() or platformdirs.user_data_path("forklock", appauthor=False)


def state_dir() -> Path:
    """Return the folder of the runs of `agent solve`, by repository."""
    home = _home()
    return home / "state" if home else platformdirs.user_state_path("forklock", appauthor=False)


def settings_file() -> Path:
    """Return the user's own settings file, for all repositories."""
    home = _home()
    folder = home if home else platformdirs.user_config_path("forklock", appauthor=False)
    return folder / "forklock.toml"


def cache_dir() -> Path:
    """Return the folder of what may be deleted at any time: unfinished downloads, clones, scratch copies."""
    home = _home()
    return home / "cache" if home else platformdirs.user_cache_path("forklock", appauthor=False)


def models_dir() -> Path:
    """Return the folder of pulled models, one transformers folder each: NAME, or OWNER--NAME from the hub."""
    return data_dir() / "models"


def adapters_dir() -> Path:
    """Return the root of the adapter registry (`models/adapters/registry.py` has the layout)."""
    return data_dir() / "adapters"


def engines_dir() -> Path:
    """Return the folder of Python environments for engines that must not share ours (vLLM)."""
    return data_dir() / "engines"


def lies_in_repository(path: Path, top: Path) -> bool:
    """Return whether a path of the user's lies in the work tree `top`, so that the repository may have written it.

    A repository that holds the whole home folder is the user's own.
    """
    root = top.resolve()
    return path.resolve().is_relative_to(root) and not user_path("~").resolve().is_relative_to(root)


def names_folder(text: str) -> bool:
    """Return whether the user's words mean a path. A bare relative path does not: otherwise a folder of the current
    repository could pass for a model or a provider."""
    return text in (".", "..") or text.startswith(("./", "../", "/", "~"))


def user_path(text: str) -> Path:
    """Return the path that the user wrote, with `~` expanded if possible."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):  # no such user, or no name at all
        return Path(text)


def is_folder(path: Path) -> bool:
    """Return whether there is such a folder; False for a name that no file system takes."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False

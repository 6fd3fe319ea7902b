"""Where environments lie that Forklock makes: in the user's data folder, and never in a repository.

In: the folder of a project. Out: the path of its environment, whether it is there or not.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs


def environments_dir() -> Path:
    """Return where managed environments lie. The rule is that of `forklock.models.paths`, which this room may not
    import."""
    home = os.environ.get("FORKLOCK_HOME", "").strip()
    data = (
        Path(home).expanduser().absolute()
        if home
        else platformdirs.user_data_path("forklock", appauthor=False)
    )
    return data / "environments"


def project_environment(project: Path) -> Path:
    """Return the prefix of the environment that was made for a new project, where there is one."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(project))).hexdigest()[:16]
    return environments_dir() / "projects" / digest / "venv"

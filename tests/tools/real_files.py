"""Real source files of languages that are read by a grammar: those that come with what is installed, and folders of
one's own.

`FORKLOCK_TEST_REPOS=DIR:DIR` adds folders (checkouts of real repos).
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from itertools import islice
from pathlib import Path

from forklock.tools.languages.known import LANGUAGES

SUFFIXES = sorted(suffix for one in LANGUAGES if one.tree("") is not None for suffix in one.suffixes)
"""Of languages that are read by a grammar."""
MOST = 40
"""Files of one folder and suffix."""
LARGEST = 60_000


def real_files() -> list[Path]:
    """In sorted order, at most `MOST` of each folder and suffix."""
    found: list[Path] = []
    for folder in _folders():
        for suffix in SUFFIXES:
            files = sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file())
            found += islice((path for path in files if path.stat().st_size <= LARGEST), MOST)
    return found


def _folders() -> list[Path]:
    go, npm = shutil.which("go"), shutil.which("npm")
    source = Path(go).resolve().parents[1] / "src" if go else None
    folders = [source / name for name in ("strings", "flag", "container")] if source else []
    folders += [Path(npm).resolve().parents[1] / "lib"] if npm else []
    folders += [Path(__file__).parents[2] / "examples" / "languages"]
    folders += [Path(sysconfig.get_path("include"))]
    folders += [Path(one) for one in os.environ.get("FORKLOCK_TEST_REPOS", "").split(":") if one]
    return [folder for folder in folders if folder.is_dir()]

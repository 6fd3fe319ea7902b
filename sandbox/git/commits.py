"""Makes a folder a git repository with one commit; nothing in the folder influences how.

In: a folder of ours with anybody's files. Out: the same with a `.git` of ours: all files are committed as they are,
bytes and all, whatever attributes and ignore rules say.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.objects import git_mode, write_loose, write_trees
from forklock.sandbox.git.repository import is_gits
from forklock.sandbox.git.run import run_git
from forklock.sandbox.linux.nofollow import Walk, open_regular, read_all

_MOST_BYTES = 1 << 30
_WHO = "Forklock <forklock@localhost> 946684800 +0000"
_CONFIG = (
    "[core]\n\trepositoryformatversion = 0\n\tfileMode = true\n\tbare = false\n\tlogAllRefUpdates = false\n"
)


def commit_all(folder: Path) -> str:
    """Make the repository; gives the id of its commit.

    Raises:
        SandboxFault: there is a `.git` already, a file cannot be read, or git is missing.
    """
    git = folder / ".git"
    if os.path.lexists(git):
        raise SandboxFault(f"{folder} has a .git already", fix="remove it")
    objects = git / "objects"
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
        (git / name).mkdir(parents=True)
    files = {}
    for path, fd, entries in Walk(folder):
        entries[:] = [entry for entry in entries if not is_gits(entry[0])]
        for name, found in entries:
            if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
                place = f"{path}/{name}" if path else name
                files[place] = (
                    git_mode(found.st_mode),
                    write_loose(objects, "blob", _content(fd, name, found)),
                )
    tree = write_trees(objects, files)
    text = f"tree {tree}\nauthor {_WHO}\ncommitter {_WHO}\n\nThe code as it is\n"
    commit = write_loose(objects, "commit", text.encode())
    (git / "refs" / "heads" / "main").write_text(f"{commit}\n")
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text(_CONFIG)
    run_git(["read-tree", commit], git_dir=git)
    return commit


def _content(folder: int, name: str, found: os.stat_result) -> bytes:
    try:
        if stat.S_ISLNK(found.st_mode):
            return os.readlink(os.fsencode(name), dir_fd=folder)
        fd = open_regular(folder, name)
    except OSError as error:
        raise SandboxFault(f"{name} cannot be read: {error}", fix="make it readable") from error
    try:
        data = read_all(fd, _MOST_BYTES)
    finally:
        os.close(fd)
    if data is None:
        raise SandboxFault(f"{name} is too large to be committed", fix="leave it out")
    return data

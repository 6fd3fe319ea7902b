"""What a workspace was, and how it differs now: a git diff without the repo's own git.

In: a directory, a git repo or not. Out: a unified diff that `git apply` turns into the present state.
The state lives in a git directory of our own; the repo's `.git` is only asked which ignored files it
tracks. The repo is hostile: none of its hooks, filters, attributes, drivers or configuration applies.
Not covered: the content of nested repositories, and empty directories (git has no name for them).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sandbox.contract import SandboxFault
from sandbox.linux.private import Shared

_ENV = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
}
_SAFE = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.untrackedCache=false",
    "-c", "safe.directory=*",
    "-c", "protocol.allow=never",
)  # fmt: skip
_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = false
\tautocrlf = false
\tsafecrlf = false
\tcompression = 0
\tlooseCompression = 0
\tfsync = none
\tfileMode = true
\tsymlinks = true
\tprecomposeUnicode = false
[gc]
\tauto = 0
[advice]
\taddEmbeddedRepo = false
"""
_TEXT = "* -text !eol -filter -ident !working-tree-encoding !diff !whitespace !merge\n"
"""Beats every .gitattributes in the tree: bytes stay as they are, and a diff is a diff."""
_BYTES = "* -text !eol -filter -ident !working-tree-encoding -diff\n"
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Baseline:
    """The state of a directory at one moment, kept in a private directory that all its forks share."""

    def __init__(self, folder: Path, tracked: frozenset[bytes]) -> None:
        self.shared = Shared(folder)
        self._tree = _EMPTY_TREE
        self._tracked = tracked
        """Files that the repo tracks although it ignores them: an ignore rule does not hide those."""

    @property
    def folder(self) -> Path:
        return self.shared.folder

    @classmethod
    def take(cls, root: Path, folder: Path, environments: Sequence[str] = ()) -> Baseline:
        """Record `root` as it is now. Reads every file that git does not ignore. `environments`: paths in it that are
        no content.

        Raises:
            SandboxFault: git is missing, or a file cannot be read.
        """
        base = cls(folder, _tracked_but_ignored(root))
        _git_dir(folder / "text", _TEXT, _excludes(root, environments))
        _git_dir(folder / "bytes", _BYTES, "")
        if any(os.scandir(root)):
            index = folder / "index"
            base._add(root, index)
            base._tree = base._git(root, index, ["write-tree"]).decode().strip()
        return base

    def index_of(self, tree: Path, index: Path) -> None:
        """Write the `index` of a tree that never changes, for `diff` to start from."""
        made = index.with_name("index.made")
        if (self.folder / "index").exists():
            shutil.copyfile(self.folder / "index", made)
        self._add(tree, made)
        if made.exists():  # git writes none for an empty tree
            made.rename(index)

    def diff(self, root: Path, scratch: Path, start: Path | None = None) -> str:
        """Unified diff of `root` as it is now against the baseline. Bytes that are not UTF-8 appear as
        git's binary patches, so the text is always valid.

        `scratch` is a private directory, one per workspace: the file stats that it keeps make the next diff
        cheap. The first begins with those of `start`, an index, if given.
        """
        index = scratch / "index"
        for known in (start, self.folder / "index"):
            if known and known.exists() and not index.exists():
                shutil.copyfile(known, index)
        self._add(root, index)
        command = [
            "diff", "--cached", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv",
            "--no-color", "--src-prefix=a/", "--dst-prefix=b/", self._tree, "--",
        ]  # fmt: skip
        raw = self._git(root, index, command)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return self._lossless(root, index, command, raw)

    def _lossless(self, root: Path, index: Path, command: list[str], raw: bytes) -> str:
        """The same diff with the files that are not UTF-8 as binary patches."""
        listing = [*command[:1], "--name-only", "-z", *command[2:]]
        names = self._git(root, index, listing).split(b"\0")[:-1]
        sections = re.split(rb"(?m)^(?=diff --git )", raw)[1:]
        parts = []
        for name, section in zip(names, sections, strict=True):
            try:
                parts.append(section.decode())
            except UnicodeDecodeError:
                one = [*command, os.fsdecode(name)]
                parts.append(self._git(root, index, one, view="bytes").decode())
        return "".join(parts)

    def _add(self, root: Path, index: Path) -> None:
        # "Big" files go into one pack, and not into a file each: creating files is what costs.
        one_pack = ["-c", "core.bigFileThreshold=1", "-c", "pack.compression=0"]
        self._git(root, index, [*one_pack, "add", "-A", "--ignore-errors", "--", "."], may_fail=True)
        present = [name for name in self._tracked if os.path.lexists(root / os.fsdecode(name))]
        if present:
            command = ["add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul"]
            self._git(root, index, command, stdin=b"\0".join(present))

    def _git(
        self,
        root: Path,
        index: Path,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        may_fail: bool = False,
        view: Literal["text", "bytes"] = "text",
    ) -> bytes:
        env = _ENV | {
            "GIT_DIR": str(self.folder / view),
            "GIT_OBJECT_DIRECTORY": str(self.folder / "objects"),
            "GIT_WORK_TREE": str(root),
            "GIT_INDEX_FILE": str(index),
            "GIT_LITERAL_PATHSPECS": "1",
        }
        return run_git(command, cwd=root, env=env, stdin=stdin, may_fail=may_fail)


def run_git(
    command: Sequence[str], *, cwd: Path, env: dict[str, str], stdin: bytes = b"", may_fail: bool = False
) -> bytes:
    """Run git with nothing of the user's or the repo's making.

    Raises:
        SandboxFault: git is missing, or failed and may not.
    """
    try:
        done = subprocess.run(
            ["git", *_SAFE, *command], cwd=cwd, env=env, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise SandboxFault("git is not installed", fix="install git, e.g. `sudo apt install git`") from None
    if done.returncode and not may_fail:
        reason = done.stderr.decode(errors="replace").strip()
        raise SandboxFault(
            f"git {' '.join(command[:6])} failed: {reason}", fix="see whether every file can be read"
        )
    return done.stdout


def _git_dir(folder: Path, attributes: str, exclude: str) -> None:
    """What `git init` would make, without its process."""
    (folder / "info").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "HEAD").write_text("ref: refs/heads/none\n")
    (folder / "config").write_text(_CONFIG)
    (folder / "info" / "attributes").write_text(attributes)
    (folder / "info" / "exclude").write_text(exclude)
    (folder.parent / "objects").mkdir(exist_ok=True)


def _tracked_but_ignored(root: Path) -> frozenset[bytes]:
    if not (root / ".git").exists():
        return frozenset()
    command = ["ls-files", "-z", "-i", "-c", "--exclude-standard", "--", "."]
    names = run_git(command, cwd=root, env=dict(_ENV), may_fail=True).split(b"\0")
    return frozenset(name for name in names if name and name.split(b"/")[0] not in (b".git", b".forklock"))


def _excludes(root: Path, environments: Sequence[str]) -> str:
    own = root / ".git" / "info" / "exclude"
    try:
        text = own.read_text(errors="replace") if own.is_file() else ""
    except OSError:
        text = ""
    return "\n".join([text, "/.forklock", *(f"/{name}" for name in environments), ""])

"""The user's repository: what state it is in, a private copy to work on, and applying a diff at the end.

Repo content is hostile: git runs with hooks, file-system monitors, external diffs and system config off.
The copy lives in the user's cache folder, not under `.forklock/`: tools that honour ignore files would
skip everything in there, and tools that climb to a parent's config would find the original's.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract import AgentFault

_SAFE = (
    "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.untrackedCache=false",
    "-c", "core.quotePath=false",
    "-c", "safe.directory=*",
)  # fmt: skip
_MAX_FILE_BYTES = 64 * 1024 * 1024


def git(repo: Path, *args: str, stdin: bytes | None = None) -> bytes:
    """Run git in `repo` with a hostile repo in mind.

    Raises:
        AgentFault: git is missing or says no; its words are in the message.
    """
    try:
        done = subprocess.run(
            ["git", *_SAFE, *args],
            cwd=repo,
            input=stdin,
            capture_output=True,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1",
                 "GIT_TERMINAL_PROMPT": "0", "HOME": "/nonexistent"},
            timeout=120,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise AgentFault(
            "git is not installed", fix="install git, for example `apt-get install git`"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise AgentFault(f"`git {args[0]}` took over two minutes in {repo}") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise AgentFault(f"`git {args[0]}` failed in {repo}: {words[0] if words else done.returncode}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class RepoState:
    root: Path
    head: str | None
    """Commit id, None before the first commit."""
    changed: tuple[str, ...]
    """Tracked files that differ from HEAD."""


def inspect_repo(folder: Path) -> RepoState:
    """What state the user's repository is in.

    Raises:
        AgentFault: no such folder, or not inside a git work tree.
    """
    if not folder.is_dir():
        raise AgentFault(f"{folder} is not a folder", fix="give the repository's folder with --repo PATH")
    try:
        root = Path(git(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    except AgentFault as error:
        raise AgentFault(
            f"{folder} is not inside a git repository",
            fix="run `git init && git add -A && git commit -m start` there, so that changes can be told apart",
        ) from error
    return RepoState(root=root, head=_head(root), changed=_changed(root))


def _head(root: Path) -> str | None:
    try:
        return git(root, "rev-parse", "--verify", "HEAD").decode().strip()
    except AgentFault:
        return None


def _changed(root: Path) -> tuple[str, ...]:
    raw = git(root, "status", "--porcelain=v1", "-z", "--untracked-files=no", "--ignore-submodules=all")
    fields = raw.decode(errors="surrogateescape").split("\0")
    return tuple(field[3:] for field in fields if len(field) > 3)


def require_clean(state: RepoState) -> None:
    """Refuse a tree whose tracked files have uncommitted changes.

    Raises:
        AgentFault: naming some of the files.
    """
    if state.changed:
        some = ", ".join(state.changed[:3]) + (" …" if len(state.changed) > 3 else "")
        raise AgentFault(
            f"{state.root} has uncommitted changes ({some})",
            fix="commit or stash them, or pass --allow-dirty to work on the tree as it is",
        )


def copy_workspace(root: Path, destination: Path) -> int:
    """Copy tracked and untracked, but not ignored, files to `destination`; returns how many.

    Symbolic links are copied as links, those that leave the repository are left out. `.git` and
    `.forklock` are never copied.
    """
    names = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode(
        errors="surrogateescape"
    )
    partial = destination.with_name(destination.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    count = sum(_copy_one(root, partial, name) for name in sorted(set(names.split("\0"))) if name)
    shutil.rmtree(destination, ignore_errors=True)
    partial.rename(destination)
    return count


def _copy_one(root: Path, destination: Path, name: str) -> int:
    source, target = root / name, destination / name
    if name.split("/", 1)[0] in (".git", ".forklock") or not (source.is_symlink() or source.is_file()):
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        if not source.resolve().is_relative_to(root.resolve()):
            return 0
        target.symlink_to(source.readlink())
    elif source.stat().st_size <= _MAX_FILE_BYTES:
        shutil.copy2(source, target, follow_symlinks=False)
    return 1


def apply_diff(root: Path, diff: str, *, check_only: bool = False) -> None:
    """Apply a git diff to the work tree; all of it or nothing.

    Raises:
        AgentFault: it does not apply: the tree has changed since the run began.
    """
    flags: Sequence[str] = ("--check",) if check_only else ()
    try:
        git(root, "apply", "--whitespace=nowarn", *flags, "-", stdin=diff.encode(errors="surrogateescape"))
    except AgentFault as error:
        raise AgentFault(
            f"the diff does not apply to {root}: {error.message.split(': ', 1)[-1]}",
            fix="the files have changed since the run; see the diff with `agent show RUN --diff`",
        ) from error

"""The user's repository: its state, a private copy to work on, and applying a diff at the end.

A repository's content is not trusted. Its git folder is read as plain files, its commits are read in a sandbox
(`forklock.sandbox.git.repository`, `forklock.sandbox.history.history`), and git never runs in it. The copy lies in the
user's cache folder and not under `.forklock/`, where tools that honour ignore files would skip it and tools that look
for a parent's configuration would find the original's.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.sandbox import SandboxFault
from forklock.sandbox.files.atomic import put_in_place
from forklock.sandbox.git.index import IndexNotRead
from forklock.sandbox.git.patch import Changed
from forklock.sandbox.git.patch import apply_diff as apply_patch
from forklock.sandbox.git.patch import state_digest as digest_of
from forklock.sandbox.git.repository import find_root, open_repository
from forklock.sandbox.git.run import clone_bare
from forklock.sandbox.history import changed_files, open_history
from forklock.sandbox.history.committing import commit_files as commit_now
from forklock.sandbox.history.committing import require_committable as committable
from forklock.sandbox.linux.private import remove_tree
from forklock.sandbox.workspace.copying import copy_workspace as copy_all


@dataclass(frozen=True, slots=True)
class RepoState:
    root: Path
    head: str | None
    """Commit id, None before the first commit."""

    @property
    def changed(self) -> tuple[str, ...]:
        """Tracked files that differ from the last commit. Each call looks again.

        Raises:
            AgentFault: that cannot be determined.
        """
        try:
            return tuple(changed_files(self.root))
        except IndexNotRead as error:
            raise AgentFault(
                f"git's index of {self.root} cannot be read: {error}",
                fix="`rm .git/index && git reset` makes a new one; or pass --allow-dirty to take the tree as it is",
            ) from error
        except SandboxFault as fault:
            raise AgentFault(
                f"whether {self.root} has uncommitted changes cannot be determined: {fault.message}",
                fix=f"{fault.fix}; or pass --allow-dirty to take the tree as it is",
            ) from fault


def inspect_repo(folder: Path) -> RepoState:
    """Finds the repository that a folder lies in.

    Raises:
        AgentFault: no such folder, or not inside a git work tree.
    """
    if not folder.is_dir():
        raise AgentFault(f"{folder} is not a folder", fix="give the repository's folder with --repo PATH")
    root = find_root(folder)
    repository = open_repository(root) if root else None
    if root is None or repository is None:
        _refuse_separate(folder)
        raise AgentFault(
            f"{folder} is not inside a git repository",
            fix="run `git init && git add -A && git commit -m start` there, so that changes can be seen"
            if any(folder.iterdir())
            else "run `git init` there",
        )
    try:
        return RepoState(root=root, head=repository.head())
    except SandboxFault as fault:
        raise AgentFault(fault.message, fix=fault.fix) from fault


def _refuse_separate(folder: Path) -> None:
    """
    Raises:
        AgentFault: there is a `.git`, but the git folder that it names does not name this work tree.
    """
    here = folder.resolve()
    top = next((place for place in (here, *here.parents) if (place / ".git").is_file()), None)
    if top is not None:
        raise AgentFault(
            f"{top / '.git'} leads to a git folder that does not name {top} as its own, so it is not used: "
            "a downloaded file could lead to any repository of yours",
            fix=f"if it is yours: `git -C {shlex.quote(str(top))} config core.worktree {shlex.quote(str(top))}`",
        )


def require_clean(state: RepoState) -> None:
    """Refuses a tree whose tracked files have uncommitted changes.

    Raises:
        AgentFault: naming some of the files.
    """
    changed = state.changed
    if changed:
        some = ", ".join(changed[:3]) + (" …" if len(changed) > 3 else "")
        raise AgentFault(
            f"{state.root} has uncommitted changes ({some})",
            fix="commit or stash them, or pass --allow-dirty to work on the tree as it is",
        )


def copy_workspace(root: Path, destination: Path) -> tuple[str, ...]:
    """Copies what a sandbox on `root` would show: tracked, untracked and ignored files, submodules, git's own folder.

    Links are copied as links. Returns the top-level entries that were left out: caches, and virtual environments, which
    are mounted instead.

    Raises:
        AgentFault: something cannot be copied.
    """
    partial = destination.with_name(destination.name + ".partial")
    remove_tree(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        left = copy_all(root, partial)
    except SandboxFault as fault:
        remove_tree(partial)
        raise AgentFault(fault.message, fix=fault.fix) from fault
    remove_tree(destination)
    put_in_place(partial, destination, durable=False)
    return left


def apply_diff(
    root: Path, diff: str, *, check_only: bool = False, may_lead_out: bool = False, reverse: bool = False
) -> list[Changed]:
    """Applies a git diff to the work tree, all of it or nothing. Returns which files it changes.

    Args:
        may_lead_out: links that lead out of the tree are allowed.
        reverse: takes the diff back.

    Raises:
        AgentFault: it does not apply, since the tree has changed since the run began, or it is refused.
    """
    data = diff.encode(errors="surrogateescape")
    try:
        return apply_patch(root, data, check_only=check_only, may_lead_out=may_lead_out, reverse=reverse)
    except SandboxFault as fault:
        what = "cannot be taken back from" if reverse else "does not apply to"
        raise AgentFault(
            f"the diff {what} {root}: {fault.message.removeprefix('`git apply` failed: ')}",
            fix="have the files changed? See the diff with `agent show RUN --diff`",
        ) from fault


def state_digest(root: Path, name: str) -> str:
    """Returns the digest of a file's state, as `apply_diff` returns it; "" where there is none that can be read."""
    try:
        return digest_of(root, name)
    except (SandboxFault, ValueError):
        return ""


def require_committable(root: Path, files: Sequence[Changed]) -> str:
    """Checks that these files can be committed alone. Returns the commit that is checked out.

    Raises:
        AgentFault: they cannot.
    """
    try:
        return committable(root, [file.name for file in files])
    except (SandboxFault, IndexNotRead) as fault:
        fix = fault.fix if isinstance(fault, SandboxFault) else "`rm .git/index && git reset` makes a new one"
        raise AgentFault(f"nothing was changed: {fault}", fix=fix) from fault


def commit_files(root: Path, head: str, names: Sequence[str], message: str) -> str:
    """Commits these files as they are, on the branch that is checked out. Returns the commit.

    Raises:
        AgentFault: it cannot be made; the files stay as they are.
    """
    try:
        return commit_now(root, head, names, message)
    except SandboxFault as fault:
        raise AgentFault(
            f"the files are changed and not committed: {fault.message}", fix=fault.fix
        ) from fault


def file_at(root: Path, commit: str, path: str) -> bytes:
    """Reads a file as of a commit.

    Raises:
        AgentFault: there is no such file or commit.
    """
    try:
        with open_history(root) as history:
            return history.file(commit, path)
    except SandboxFault as fault:
        raise AgentFault(fault.message, fix=fault.fix) from fault


def diff_between(root: Path, old: str, new: str, *, without: Sequence[str] = ()) -> str:
    """Makes the diff between two commits.

    Args:
        without: paths to leave out.

    Raises:
        AgentFault: there is no such commit.
    """
    try:
        with open_history(root) as history:
            return history.diff(old, new, without=without).decode(errors="surrogateescape")
    except SandboxFault as fault:
        raise AgentFault(fault.message, fix=fault.fix) from fault


def clone(url: str, target: Path) -> None:
    """Fetches a repository over https into a new folder, without a work tree.

    Raises:
        AgentFault: it cannot be fetched.
    """
    try:
        clone_bare(url, target)
    except SandboxFault as fault:
        raise AgentFault(fault.message, fix=fault.fix) from fault

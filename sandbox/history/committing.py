"""Commits files of a work tree, without running git in it.

In: a repository and names of files that were changed. Out: a commit on the branch that is checked out, as
`git commit -- FILES` would make it, without hooks and filters. Objects are written here; only git in a sandbox reads
the repository's own, and writes the index. Not covered: files under a filter such as `lfs`, or with changed line ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.files.atomic import put_in_place
from forklock.sandbox.git.objects import LINK, git_mode, object_id, write_loose, write_trees
from forklock.sandbox.git.repository import Repository, open_repository
from forklock.sandbox.git.run import user_identity
from forklock.sandbox.history.history import History, open_history
from forklock.sandbox.linux.nofollow import folder_of, read_inside
from forklock.sandbox.linux.private import scratch

_MOST_BYTES = 256 << 20
_BUSY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply", "index.lock")


def require_committable(root: Path, names: Sequence[str]) -> str:
    """Check that a commit of these files, changed from now on, would hold these changes and nothing else.

    Returns:
        The commit that it would be based on.

    Raises:
        SandboxFault: there is no commit or no name yet, another operation of git is going on, or one of the files has
            changes that are not committed.
    """
    repository = _repository(root)
    head = repository.head()
    if head is None:
        raise SandboxFault("there is no commit yet", fix="make the first one yourself")
    busy = [name for name in _BUSY if os.path.lexists(repository.git_dir / name)]
    if busy:
        raise SandboxFault(
            f"git is in the middle of something ({busy[0]})", fix="finish it first, or commit yourself"
        )
    user_identity()
    with open_history(root) as history:
        files = history.files(head)
    staged = {entry.name: (entry.mode, entry.oid) for entry in repository.tracked()}
    for name in names:
        now = _entry(repository, name)
        if not files.get(name) == now == staged.get(name):
            raise SandboxFault(
                f"{name} has changes that are not committed, or that git stores in another form",
                fix="commit them first, or apply without --commit",
            )
    return head


def commit_files(root: Path, head: str, names: Sequence[str], message: str) -> str:
    """Commit these files as they are now, and return the commit's id.

    Args:
        head: what `require_committable` returned.

    Raises:
        SandboxFault: the branch moved meanwhile, or something cannot be written; the branch is as it was.
    """
    repository = _repository(root)
    with open_history(root) as history, scratch() as ours:
        before = history.files(head)
        after = {name: entry for name, entry in before.items() if name not in names}
        objects = ours / "objects"
        objects.mkdir()
        for name in names:
            if (entry := _entry(repository, name, objects)) is not None:
                after[name] = entry
        old = ours / "old"
        old.mkdir()
        write_trees(old, before)
        algorithm = "sha256" if repository.oid_bytes == 32 else "sha1"
        if algorithm != "sha1":
            raise SandboxFault(
                "repositories with SHA-256 objects are not committed to", fix="commit yourself"
            )
        tree = write_trees(objects, after)
        who = f"{user_identity()} {int(time.time())} {time.strftime('%z')}"
        text = f"tree {tree}\nparent {head}\nauthor {who}\ncommitter {who}\n\n{message}"
        commit = write_loose(objects, "commit", text.encode())
        index = _new_index(history, repository, {name: after.get(name) for name in names})
        _copy_objects(objects, old, repository.common / "objects")
        _move(repository, head, commit, index)
    return commit


def _repository(root: Path) -> Repository:
    repository = open_repository(root)
    if repository is None:
        raise SandboxFault(f"{root} is no git repository", fix="run `git init` there")
    return repository


def _entry(repository: Repository, name: str, objects: Path | None = None) -> tuple[int, str] | None:
    """Return mode and blob of a file as it is; write the blob to `objects`."""
    try:
        with folder_of(repository.root, name) as (folder, last):
            mode = git_mode(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode)
            data = os.readlink(os.fsencode(last), dir_fd=folder) if mode == LINK else None
    except (OSError, ValueError):
        return None
    data = data if data is not None else read_inside(repository.root, name, _MOST_BYTES)
    if data is None:
        return None
    return mode, object_id("blob", data) if objects is None else write_loose(objects, "blob", data)


def _new_index(history: History, repository: Repository, files: dict[str, tuple[int, str] | None]) -> bytes:
    """Return the index with these entries, written by git in the sandbox."""
    data = read_inside(repository.git_dir, "index", 512 << 20)
    if data is None:
        raise SandboxFault("git's index cannot be read", fix="`git reset` makes a new one")
    words: list[str] = []
    for name, entry in files.items():
        words += ["--remove", "--force-remove", name] if entry is None else [
            "--add", "--cacheinfo", f"{entry[0]:o},{entry[1]},{name}"
        ]  # fmt: skip
    return history.index_with(data, words)


def _copy_objects(made: Path, known: Path, target: Path) -> None:
    for place in sorted(made.glob("??/*")):
        relative = place.relative_to(made)
        if (known / relative).exists() or (target / relative).exists():
            continue
        owner = target.stat()
        (target / relative.parent).mkdir(exist_ok=True)
        beside = target / relative.parent / f".{place.name}.new"
        shutil.copyfile(place, beside)
        beside.chmod(0o444)
        if os.geteuid() == 0:
            for one in (beside, target / relative.parent):
                os.chown(one, owner.st_uid, owner.st_gid)
        put_in_place(beside, target / relative)


def _move(repository: Repository, head: str, commit: str, index: bytes) -> None:
    """Let the branch and the index follow, both locked as git locks them."""
    said = (read_inside(repository.git_dir, "HEAD", 1 << 16) or b"").decode(errors="replace").strip()
    ref = said.removeprefix("ref:").strip() if said.startswith("ref:") else "HEAD"
    place = (repository.git_dir if ref == "HEAD" else repository.common) / ref
    if ref != "HEAD" and not ref.startswith("refs/heads/"):
        raise SandboxFault(f"HEAD is at {ref}, which is no branch", fix="check out a branch")
    with (
        _locked(repository.git_dir, "index", index) as new_index,
        _locked(place.parent, place.name, f"{commit}\n".encode()) as new_ref,
    ):
        if repository.head() != head:
            raise SandboxFault("the branch moved meanwhile", fix="commit the change yourself")
        put_in_place(new_ref, place)
        put_in_place(new_index, repository.git_dir / "index")


@contextlib.contextmanager
def _locked(folder: Path, name: str, content: bytes) -> Iterator[Path]:
    lock = folder / f"{name}.lock"
    try:
        if folder.resolve() != folder.absolute():
            raise OSError("its folder is behind a link")
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat()
        fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SandboxFault(
            f"{folder / name} cannot be locked: {error}", fix=f"if no git is running, remove {lock}"
        ) from error
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(content)
            if os.geteuid() == 0:
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
        yield lock
    finally:
        lock.unlink(missing_ok=True)

"""Reads what commits of a repository hold, by a git that runs in a sandbox.

In: a repository, whose objects are anybody's. Out: listings, files, diffs and archives of commits. git works with our
own configuration on objects that are mounted read-only, without network. Not covered: repositories that borrow
objects of others, and partial clones whose objects are missing; both raise `SandboxFault`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.contract import Limits, Policy, Sandbox, SandboxFault
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.git.index import MAX_BYTES
from forklock.sandbox.git.repository import Repository, open_repository
from forklock.sandbox.git.run import ENV, SAFE, make_git_dir
from forklock.sandbox.linux.nofollow import read_inside
from forklock.sandbox.linux.private import scratch

_LIMITS = Limits(wall_s=20.0, memory_mb=4096, output_bytes=512 << 20, file_mb=16 << 10)
_WHOLE_S = 300.0
"""Timeout for reading all files of a commit, in seconds."""
_OBJECT_NAME = re.compile(r"[0-9a-fA-F]{4,64}")
_HIDDEN = frozenset({"PATH", "GIT_CONFIG_GLOBAL"})


@dataclass(frozen=True, slots=True)
class History:
    """A repository's objects, open for questions."""

    _sandbox: Sandbox
    _folder: Path
    _repository: Repository

    def commit(self, name: str) -> str:
        """Return the object id of a commit, from an id, its beginning, or a ref.

        Raises:
            SandboxFault: there is no such commit.
        """
        if _OBJECT_NAME.fullmatch(name):
            return name.lower()
        for ref in (name, f"refs/{name}", f"refs/heads/{name}", f"refs/tags/{name}"):
            found = self._repository.resolve(ref)
            if found:
                return found
        raise SandboxFault(
            f"{self._repository.root} has no commit {name[:60]!r}", fix="give a full commit id"
        )

    def files(self, commit: str) -> dict[str, tuple[int, str]]:
        """Return mode and object id by path, submodules included."""
        found = {}
        raw = self.git("ls-tree", "-r", "-z", "--full-tree", self.commit(commit))
        for line in raw.split(b"\0")[:-1]:
            about, _, name = line.partition(b"\t")
            mode, _, oid = about.split(b" ")
            found[name.decode(errors="surrogateescape")] = int(mode, 8), oid.decode()
        return found

    def file(self, commit: str, path: str) -> bytes:
        """Return a file's content as of a commit.

        Raises:
            SandboxFault: it is not there.
        """
        return self.git("cat-file", "blob", f"{self.commit(commit)}:{path}")

    def diff(self, old: str, new: str, *, without: Sequence[str] = ()) -> bytes:
        """Return git's diff between two commits; the paths `without` are left out."""
        skip = [f":(exclude,literal){path}" for path in without]
        flags = ("--no-ext-diff", "--no-textconv", "--no-color", "--binary", "--full-index")
        return self.git(
            "diff", *flags, self.commit(old), self.commit(new), "--", ":(top)", *skip, literal=False
        )

    def archive(self, commit: str) -> Path:
        """Make a tar file of all files as of a commit, also those that its attributes exclude from releases. It is
        removed when the history is closed."""
        self.git("archive", "--format=tar", "--output=archive.tar", self.commit(commit), timeout_s=_WHOLE_S)
        place = self._folder / "archive.tar"
        if place.is_symlink() or not place.is_file():
            raise SandboxFault("git wrote no archive", fix="see that TMPDIR has room")
        return place

    def index_with(self, index: bytes, words: Sequence[str]) -> bytes:
        """Return an index after `git update-index` with these words.

        Raises:
            SandboxFault: git cannot read it, or wrote none.
        """
        place = self._folder / "git" / "index"
        write_atomic(place, index, durable=False, like=self._folder.stat())
        place.chmod(0o600)
        self.git("update-index", *words)
        made = read_inside(self._folder, "git/index", MAX_BYTES)
        if made is None:
            raise SandboxFault("git wrote no index", fix="see that TMPDIR has room")
        return made

    def git(self, *words: str, literal: bool = True, timeout_s: float | None = None) -> bytes:
        """Run git on the objects and return its output.

        Raises:
            SandboxFault: git fails, prints too much, or takes too long.
        """
        env = {name: value for name, value in ENV.items() if name not in _HIDDEN}
        if not literal:
            del env["GIT_LITERAL_PATHSPECS"]
        env |= {"GIT_DIR": f"{self._sandbox.workdir}/git", "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = self._sandbox.exec(["git", *SAFE, *words], env=env, timeout_s=timeout_s)
        if not done.ok or done.truncated:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            what = "it took too long" if done.timed_out else "it printed too much" if done.truncated else ""
            raise SandboxFault(
                f"`git {words[0]}` failed on {self._repository.root}: {what or (said or [str(done.exit_code)])[-1]}",
                fix="see `git fsck` there",
            )
        return done.stdout


@contextmanager
def open_history(root: Path) -> Iterator[History]:
    """Open the objects of the repository at `root`: a work tree, or a bare repository.

    Raises:
        SandboxFault: there is none, it borrows objects, or no sandbox can run here.
    """
    repository = open_repository(root) or _bare(root)
    if repository is None:
        raise SandboxFault(f"{root} is no git repository", fix="name a clone or a bare repository")
    objects = (repository.common / "objects").resolve()
    if os.path.lexists(objects / "info" / "alternates"):
        raise SandboxFault(
            f"{root} borrows its objects from another repository, which is not read",
            fix="make it stand alone: `git repack -a -d && rm .git/objects/info/alternates`",
        )
    from forklock.sandbox.backends.open import open_sandbox

    with scratch(objects.stat().st_uid) as folder:
        place = folder / "history"
        place.mkdir()
        make_git_dir(place / "git", sha256=repository.oid_bytes == 32)
        (place / "git" / "objects" / "info" / "alternates").write_text(f"{objects}\n")
        _give(place, objects.stat())
        policy = Policy(readable=(objects,), limits=_LIMITS)
        with open_sandbox(place, policy, forks_in=folder) as sandbox:
            yield History(sandbox, place, repository)


def _bare(root: Path) -> Repository | None:
    objects = root / "objects"
    if (root / "HEAD").is_file() and objects.is_dir() and not objects.is_symlink():
        return Repository(root, root, root)
    return None


def _give(folder: Path, owner: os.stat_result) -> None:
    """For root: give the folder to the owner of the objects; git then runs as that user."""
    if os.geteuid() == 0 and owner.st_uid:
        for place in (folder, *folder.rglob("*")):
            os.chown(place, owner.st_uid, owner.st_gid, follow_symlinks=False)

"""A commit of a repository without its future, and a test command on a folder: what evals of whole agents need.

An agent that is measured must not find the fix in the history, so a checkout has one commit of its own.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract import AgentFault
from agent.repo import git
from sandbox import BackendName, Policy, open_sandbox, scratch
from sandbox.interpreters.policy import workspace_policy
from tools.contract import TestStatus, ToolFault
from tools.testing.run import run_tests

_AUTHOR = ("-c", "user.name=Forklock", "-c", "user.email=forklock@localhost", "-c", "commit.gpgSign=false")
_REASON_CHARS = 400


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What a test command said of a folder."""

    status: str
    passed: frozenset[str]
    """Test ids, as the runner gives them."""
    reasons: Mapping[str, str]
    """Of the tests that failed: id to the first lines of why."""
    output: str
    """The command's words, capped."""
    wall_s: float

    @property
    def ran(self) -> bool:
        """False where the command did not even start: nothing can be said of any test."""
        return self.status != TestStatus.NOT_STARTED.value


def check_out(source: Path, commit: str, target: Path) -> None:
    """Make `target` a git repository with one commit: `source`'s files as of `commit`, those too that its
    `.gitattributes` keep out of releases.

    Args:
        source: a clone or a bare repository.

    Raises:
        AgentFault: no such repository or commit.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(_archive(source, commit))) as files:
        try:
            files.extractall(target, filter="data")
        except (tarfile.FilterError, OSError) as error:
            raise AgentFault(f"{source.name} at {commit[:12]} cannot be unpacked: {error}") from error
    make_repository(target)


def make_repository(folder: Path) -> None:
    """Make a folder a git repository with one commit that holds all its files.

    Raises:
        AgentFault: git is missing or says no.
    """
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all", "--force")
    git(folder, *_AUTHOR, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", "The code as it is")


def _archive(source: Path, commit: str) -> bytes:
    """All files as of a commit. A repository that borrows `source`'s objects has attributes of its own."""
    objects = source / git(source, "rev-parse", "--git-path", "objects").decode().rstrip("\n")
    kind = git(source, "rev-parse", "--show-object-format").decode().strip()
    with scratch() as borrower:
        git(borrower, "init", "--quiet", "--bare", f"--object-format={kind}")
        (borrower / "objects" / "info" / "alternates").write_text(f"{objects.resolve()}\n")
        (borrower / "info").mkdir(exist_ok=True)
        (borrower / "info" / "attributes").write_text("* -export-ignore -export-subst\n")
        return git(borrower, "archive", "--format=tar", commit)


def file_at(source: Path, commit: str, path: str) -> bytes:
    """A file as of a commit.

    Raises:
        AgentFault: it is not there.
    """
    return git(source, "show", f"{commit}:{path}")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a checkout was at first, kept where whoever works in it does not look: it may commit, amend, or remove
    `.git`, and its settings and filters are not ours to run."""

    work: Path
    kept: Path
    """A git directory."""

    def changed(self) -> list[str]:
        """Paths that are new, gone or different."""
        self._see_new()
        names = self._git("diff", "--name-only", "--no-renames", "-z", "HEAD").decode(
            errors="surrogateescape"
        )
        return [name for name in names.split("\0") if name]

    def diff(self, *, without: Sequence[str] = ()) -> str:
        """New files, too, but for those that are ignored.

        Args:
            without: paths left out.
        """
        self._see_new()
        skip = [f":(exclude,literal){path}" for path in (*without, ".forklock")]
        flags = ("--no-ext-diff", "--no-textconv", "--binary")
        return self._git("diff", *flags, "HEAD", "--", ".", *skip).decode(errors="surrogateescape")

    def as_at_first(self, path: str) -> bytes | None:
        """A file's content, a folder's listing; None where neither was there."""
        try:
            return self._git("show", f"HEAD:{path}")
        except AgentFault:
            return None

    def _see_new(self) -> None:
        with contextlib.suppress(
            AgentFault
        ):  # of what cannot be added the rest is: a repository without a commit
            self._git("add", "--all", "--intent-to-add", "--ignore-errors")

    def _git(self, *words: str) -> bytes:
        return git(self.work, f"--git-dir={self.kept}", f"--work-tree={self.work}", *words)


def baseline(work: Path, kept: Path) -> Baseline:
    """Remember `work`, as `check_out` made it, in the new folder `kept`."""
    shutil.copytree(work / ".git", kept)
    return Baseline(work, kept)


def try_command(
    folder: Path,
    command: str,
    *,
    backend: BackendName = "auto",
    timeout_s: float = 300.0,
    own_plugins: bool = True,
) -> TrialReport:
    """Run a test command on a folder, in a sandbox, without network.

    Args:
        timeout_s: wall-clock seconds.
        own_plugins: whether pytest loads plug-ins that the folder registers by itself.

    Raises:
        AgentFault: the command needs a shell.
        SandboxFault: no sandbox, or it failed.
    """
    with open_sandbox(folder, workspace_policy(folder, Policy()), backend=backend) as sandbox:
        try:
            report = run_tests(sandbox, command, timeout_s=timeout_s, own_plugins=own_plugins)
        except ToolFault as fault:
            raise AgentFault(f"{command!r} cannot be run: {fault.message}", fix=fault.fix) from fault
    return TrialReport(
        status=report.status.value,
        passed=report.passed,
        reasons={f.test_id: f.message[:_REASON_CHARS] for f in report.failures},
        output=report.output,
        wall_s=report.wall_s,
    )

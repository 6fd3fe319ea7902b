"""A commit of a repository without its future, and a test command on a folder: what evals of whole agents need.

An agent that is measured must not find the fix in the history, so a checkout has one commit of its own.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract import AgentFault
from sandbox import BackendName, Policy, SandboxFault, open_sandbox
from sandbox.git.commits import commit_all
from sandbox.git.history import open_history
from sandbox.git.repository import is_gits
from sandbox.interpreters.policy import workspace_policy
from sandbox.linux.nofollow import read_inside
from sandbox.linux.private import remove_tree
from sandbox.workspace.diff import MAX_FILE_BYTES
from sandbox.workspace.diff import Baseline as Remembered
from tools.contract import TestStatus, ToolFault
from tools.testing.run import run_tests

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
    remove_tree(target)
    target.mkdir(parents=True)
    with _faults(), open_history(source) as history, tarfile.open(history.archive(commit)) as files:
        try:
            files.extractall(target, members=_plain(files), filter="data")
        except (tarfile.TarError, OSError) as error:
            raise AgentFault(f"{source.name} at {commit[:12]} cannot be unpacked: {error}") from error
    make_repository(target)


def _plain(files: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Members of which none is git's own: a crafted tree can hold those, with settings that git would obey."""
    for member in files:
        if any(is_gits(step) for step in member.name.split("/")):
            raise tarfile.TarError(f"it holds {member.name!r}, which is git's own")
        yield member


def make_repository(folder: Path) -> None:
    """Make a folder a git repository with one commit that holds all its files.

    Raises:
        AgentFault: git is missing, or a file cannot be read.
    """
    with _faults():
        commit_all(folder)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except SandboxFault as fault:
        raise AgentFault(fault.message, fix=fault.fix) from fault


class Baseline:
    """What a checkout was at first, kept where whoever works in it does not look: it may commit, amend, or remove
    `.git`, and its settings and filters are not ours to run."""

    def __init__(self, work: Path, kept: Path) -> None:
        """Remember `work` in the new folder `kept`.

        Raises:
            AgentFault: a file cannot be read.
        """
        self.work = work
        kept.mkdir(parents=True)
        with _faults():
            self._first = Remembered.take(work, kept)

    def changed(self) -> list[str]:
        """Paths that are new, gone or different."""
        with _faults():
            return self._first.changed(self.work)

    def diff(self, *, without: Sequence[str] = ()) -> str:
        """New files, too, but for those that are ignored.

        Args:
            without: paths left out.
        """
        with _faults():
            return self._first.diff(self.work, without=without)

    def now(self, path: str) -> bytes | None:
        """A file's content as it is now; None where there is none. Links are not followed."""
        return read_inside(self.work, path, MAX_FILE_BYTES)

    def as_at_first(self, path: str) -> bytes | None:
        """A file's content, the names in a folder; None where neither was there."""
        return self._first.as_at_first(path)


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

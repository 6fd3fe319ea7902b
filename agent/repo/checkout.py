"""Checkouts of one commit without its future, and test commands that run on them.

An agent that is measured must not find the fix in the history, so a checkout has one commit of its own.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.sandbox import BackendName, Policy, SandboxFault, open_sandbox
from forklock.sandbox.git.commits import commit_all
from forklock.sandbox.git.repository import is_gits
from forklock.sandbox.history import open_history
from forklock.sandbox.interpreters.policy import workspace_policy
from forklock.sandbox.linux.nofollow import read_inside
from forklock.sandbox.linux.private import remove_tree
from forklock.sandbox.workspace.diff import MAX_FILE_BYTES
from forklock.sandbox.workspace.diff import Baseline as Remembered
from forklock.tools.contract import TestStatus, ToolFault
from forklock.tools.testing.run import run_tests

_REASON_CHARS = 400


@dataclass(frozen=True, slots=True)
class TrialReport:
    """The result of a test command on a folder."""

    status: str
    passed: frozenset[str]
    """Test ids in the runner's form."""
    reasons: Mapping[str, str]
    """First lines of each failure, by test id."""
    output: str
    """The command's output, cut."""
    wall_s: float

    @property
    def ran(self) -> bool:
        """False where the command did not start, so that no test has a result."""
        return self.status != TestStatus.NOT_STARTED.value


def check_out(source: Path, commit: str, target: Path) -> None:
    """Makes `target` a git repository with one commit that holds `source`'s files as of `commit`.

    Files that `.gitattributes` keeps out of releases are among them.

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
    """Refuses members in git's own folder: a crafted tree can hold settings there that git would obey."""
    for member in files:
        if any(is_gits(step) for step in member.name.split("/")):
            raise tarfile.TarError(f"it holds {member.name!r}, which is git's own")
        yield member


def make_repository(folder: Path) -> None:
    """Makes a folder a git repository with one commit that holds all its files.

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
    """The first state of a checkout, kept outside it: an agent may commit, amend, or remove `.git`, and its git
    settings and filters are not to be run."""

    def __init__(self, work: Path, kept: Path) -> None:
        """Remembers `work` in the new folder `kept`.

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
        """Makes the diff to the first state. It has new files, but no ignored ones.

        Args:
            without: paths to leave out.
        """
        with _faults():
            return self._first.diff(self.work, without=without)

    def now(self, path: str) -> bytes | None:
        """Reads a file as it is now; None where there is none. Links are not followed."""
        return read_inside(self.work, path, MAX_FILE_BYTES)

    def as_at_first(self, path: str) -> bytes | None:
        """Returns a file's first content, or the names in a folder; None where neither was there."""
        return self._first.as_at_first(path)


def try_command(
    folder: Path,
    command: str,
    *,
    backend: BackendName = "auto",
    timeout_s: float = 300.0,
    own_plugins: bool = True,
) -> TrialReport:
    """Runs a test command on a folder, in a sandbox, without network.

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

"""A commit of a repository without its future, and a test command on a folder: what evals of whole agents need.

An agent that is measured must not find the fix in the history, so a checkout has one commit of its own.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.contract import AgentFault
from agent.repo import git
from sandbox import BackendName, Policy, open_sandbox
from sandbox.interpreters import workspace_policy
from tools.contract import TestStatus
from tools.testrun import run_tests

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
    """Make `target` a git repository with one commit: `source`'s files as of `commit`.

    Args:
        source: a clone or a bare repository.

    Raises:
        AgentFault: no such repository or commit.
    """
    archive = git(source, "archive", "--format=tar", commit)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
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


def file_at(source: Path, commit: str, path: str) -> bytes:
    """A file as of a commit.

    Raises:
        AgentFault: it is not there.
    """
    return git(source, "show", f"{commit}:{path}")


def changes(repo: Path, *, without: tuple[str, ...] = ()) -> str:
    """Diff of the work tree, new files too, against the one commit that `check_out` made.

    Args:
        without: paths left out.
    """
    # The first commit, not HEAD: an agent may have committed its work.
    first = git(repo, "rev-list", "--max-parents=0", "HEAD").decode().split()[-1]
    git(repo, "add", "--all", "--intent-to-add")
    skip = [f":(exclude,literal){path}" for path in (*without, ".forklock")]
    diff = git(repo, "diff", "--no-ext-diff", "--no-textconv", "--binary", first, "--", ".", *skip)
    return diff.decode(errors="surrogateescape")


def try_command(
    folder: Path, command: str, *, backend: BackendName = "auto", timeout_s: float = 300.0
) -> TrialReport:
    """Run a test command on a folder, in a sandbox, without network.

    Args:
        timeout_s: wall-clock seconds.

    Raises:
        ToolFault: the command needs a shell.
        SandboxFault: no sandbox, or it failed.
    """
    with open_sandbox(folder, workspace_policy(folder, Policy()), backend=backend) as sandbox:
        report = run_tests(sandbox, command, timeout_s=timeout_s)
    return TrialReport(
        status=report.status.value,
        passed=report.passed,
        reasons={f.test_id: f.message[:_REASON_CHARS] for f in report.failures},
        output=report.output,
        wall_s=report.wall_s,
    )

"""What the user asks for, and which commands check it, each in which folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from forklock.agent.contract import Task
from forklock.agent.repo import RepoState
from forklock.agent.settings import AgentSettings
from forklock.tools.testing.run import detect_test_command

WriteTest = Literal["auto", "always", "only", "never"]
WRITE_TEST: tuple[WriteTest, ...] = get_args(WriteTest)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What `agent solve` was asked to do, before anything runs."""

    statement: str
    """The task in the user's words."""
    state: RepoState
    test_command: str
    settings: AgentSettings
    allow_dirty: bool = False
    """Uncommitted changes are worked on, too."""
    verified: bool = True
    """The check fails now. False: nothing fails, and the change that most samples agree on is taken."""
    cwd: str = "."
    """The folder below the repository's top that the check runs in."""
    write_test: WriteTest = "never"
    """Whether the run writes its check itself. `auto`: where there is no test command, or what it runs cannot serve."""
    keep_test: bool = True
    """The tests that it writes are part of its change."""

    def task(self, base: Path, *, checked: bool | None = None) -> Task:
        """The task, with the suite that must not get worse.

        Args:
            base: a copy of the repository.
            checked: `test_command` is the check, so that it is not the suite as well. None: as `write_test` says.
        """
        checked = self.write_test == "never" if checked is None else checked
        setting = self.settings.regression
        suite: str | None
        if setting == "auto":
            suite, place = suggested_command(base, self.cwd)
        else:
            suite, place = (None if setting == "none" else setting), self.cwd
        if checked and (suite, place) == (self.test_command, self.cwd):
            suite = None
        return Task(self.statement, self.state.root, self.test_command, suite, self.cwd, place)


def suggested_command(root: Path, cwd: str) -> tuple[str | None, str]:
    """Finds the repository's own test command, and the folder that it runs in.

    The files in `cwd` decide, else those in the next folder above that suggests a command.
    """
    place = PurePosixPath(cwd)
    for folder in (place, *place.parents):
        found = detect_test_command(root / folder)
        if found is not None:
            return found, str(folder)
    return None, cwd

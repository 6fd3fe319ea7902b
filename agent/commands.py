"""Which commands check a run, and in which folder each of them runs: where the user stands."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from agent.contract import Task
from agent.settings import AgentSettings
from tools.testing.run import detect_test_command


def task_of(
    statement: str, repo: Path, test_command: str, settings: AgentSettings, base: Path, cwd: str
) -> Task:
    """The task, with the suite that must not get worse."""
    suite, place = _regression_command(settings.regression, base, cwd)
    if (suite, place) == (test_command, cwd):
        suite = None
    return Task(statement, repo, test_command, suite, cwd, place)


def _regression_command(setting: str, root: Path, cwd: str) -> tuple[str | None, str]:
    """The suite's command and the folder that it runs in."""
    if setting == "none":
        return None, cwd
    return (setting, cwd) if setting != "auto" else suggested_command(root, cwd)


def suggested_command(root: Path, cwd: str) -> tuple[str | None, str]:
    """What the files suggest where the user stands, else in the next folder above that suggests anything."""
    place = PurePosixPath(cwd)
    for folder in (place, *place.parents):
        found = detect_test_command(root / folder)
        if found is not None:
            return found, str(folder)
    return None, cwd

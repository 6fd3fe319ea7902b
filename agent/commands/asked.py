"""What `agent solve` and `agent plan` are asked: the task in words, the check, and the folder that it runs in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forklock.agent.session import WriteTest


def asked(
    task: str, issue: str | None, continue_from: str | None, test: str, root: Path, cwd: str, wish: WriteTest
) -> tuple[str, str, str]:
    """The task, the check, and the folder that it runs in.

    Raises:
        AgentFault: one of them is missing.
    """
    if continue_from is None:
        return (read_task(task, issue), *require_test(test, root, cwd, wish))
    from forklock.agent.log.runs import find
    from forklock.agent.session.continued import continued

    earlier = continued(find(root, continue_from), root, read_task(task, issue) if task or issue else "")
    if test.strip():
        return earlier.statement, test, cwd
    return earlier.statement, earlier.test_command, earlier.cwd


def read_task(task: str, issue: str | None) -> str:
    """The task in words, from the command line, a file or an issue.

    Raises:
        AgentFault: there is none, or it cannot be read.
    """
    from forklock.agent.contract import AgentFault
    from forklock.agent.session.issue import read_issue

    if issue is not None:
        said = read_issue(issue)
        return f"{task.strip()}\n\n{said}" if task.strip() else said
    if task.startswith("@"):
        try:
            task = Path(task[1:]).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise AgentFault(f"cannot read the task from {task[1:]}: {error}") from error
    if not task.strip():
        raise AgentFault("no task was given", fix='say what is wrong: agent solve "…" --test "…"')
    return task


def write_test_wish(word: str, test: str, *, unverified: bool) -> WriteTest:
    """Whether tests are written: `auto` asks for none where the user gave a check, or wants none."""
    from forklock.agent.contract import AgentFault
    from forklock.agent.session import WRITE_TEST

    if word not in WRITE_TEST:
        raise AgentFault(f"--write-test {word}: no such choice", fix=f"one of {', '.join(WRITE_TEST)}")
    wish: WriteTest = word
    if not test.strip():
        return "never" if unverified and wish == "auto" else wish
    if wish in ("always", "only"):
        raise AgentFault(
            f"--test gives a check, and --write-test {wish} writes one", fix="give one of the two"
        )
    return "never"


def require_test(test: str, root: Path, cwd: str, wish: WriteTest = "never") -> tuple[str, str]:
    """The check, or the repository's own suite where none was given, and the folder that it runs in."""
    from forklock.agent.contract import AgentFault
    from forklock.agent.driving.new_project import COMMAND, is_empty
    from forklock.agent.session import suggested_command

    if test.strip():
        return test, cwd
    found, cwd = suggested_command(root, cwd)
    if found is None and is_empty(root):
        return COMMAND, cwd
    if found is None and wish == "never":
        raise AgentFault(
            "no check was given and none was found", fix="say how to tell success, with --test CMD"
        )
    return found or "", cwd

"""`tools test` and `tools localise`: run the repository's tests in a sandbox, on copies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forklock.sandbox.commands.options import check_sandbox
from forklock.sandbox.terminal import row, say

if TYPE_CHECKING:
    from forklock.tools.contract import TestReport
    from forklock.tools.testing import Spectrum

RepoOption = Annotated[Path, typer.Option("--repo", help="The root of the repository.")]
SandboxOption = Annotated[
    str, typer.Option("--sandbox", help="auto, docker, bubblewrap or host (isolates nothing).")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `tools`."""
    app.command("test")(print_tests)
    app.command()(localise)


def root_of(repo: Path) -> Path:
    """The absolute path of a folder. Raises typer.BadParameter where it is none."""
    if not repo.is_dir():
        raise typer.BadParameter(f"{repo} is not a folder", param_hint="--repo")
    return repo.resolve()


def place_of(repo: Path) -> tuple[Path, str]:
    """The top of the repository that a folder belongs to, and the folder's path in it: commands run there.

    Raises:
        typer.BadParameter: it is no folder.
    """
    folder = root_of(repo)
    top = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)
    return top, folder.relative_to(top).as_posix()


def print_tests(
    command: Annotated[str, typer.Argument(help="Such as 'python -m pytest -q'; found unless given.")] = "",
    repo: RepoOption = Path(),
    repeat: Annotated[int, typer.Option(min=1, help="Runs; tells tests that fail only sometimes.")] = 1,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one run.")] = 120,
    test_timeout: Annotated[
        float | None,
        typer.Option(min=0.01, help="Seconds for one test (node: file; go: package)."),
    ] = None,
    sandbox: SandboxOption = "auto",
) -> None:
    """Run the tests on a copy, in a sandbox. Exit code 0 only if all passed in every run; else 1."""
    from forklock.sandbox import open_sandbox, workspace_policy
    from forklock.tools.contract import TestStatus
    from forklock.tools.testing import detect_test_command, why_hopeless
    from forklock.tools.testing.repeat import in_words, run_repeatedly

    root, cwd = place_of(repo)
    asked = command or detect_test_command(root / cwd)
    if not asked:
        raise typer.BadParameter("no tests were found; say how they are run", param_hint="COMMAND")
    with open_sandbox(root, workspace_policy(root), backend=check_sandbox(sandbox)) as here:
        found = run_repeatedly(
            here, asked, times=repeat, timeout_s=timeout, test_timeout_s=test_timeout, cwd=cwd
        )
        hopeless = why_hopeless(asked, found.reports[0], here.root, cwd=cwd)
    say(in_words(asked, found))
    if hopeless is not None:
        say(f"what to do: {hopeless.fix}", err=True)
    if any(report.status is not TestStatus.PASSED for report in found.reports):
        raise typer.Exit(1)


def localise(
    statement: Annotated[str, typer.Argument(help="What is wrong, in words.")],
    repo: RepoOption = Path(),
    test: Annotated[
        str, typer.Option(help="A command whose failures say more; it is run first, twice.")
    ] = "",
    sandbox: SandboxOption = "auto",
    limit: Annotated[int, typer.Option(min=1)] = 6,
) -> None:
    """Print the definitions that are likely at fault, and why.

    The likeliest first. Exit code 1 if there is none.
    """
    from forklock.tools.localise.localise import localise as suspects_of

    root, cwd = place_of(repo)
    report, spectrum = _runs(root, test, sandbox, cwd) if test.strip() else (None, None)
    if report is not None:
        _require_failing(test, report, root, cwd)
    found = suspects_of(root, task=statement, report=report, limit=limit, spectrum=spectrum)
    for one in found:
        say(row(f"{one.symbol.path}:{one.symbol.start_line}", one.symbol.name_path, "; ".join(one.reasons)))
    if not found:
        more = "" if test.strip() else ", or give a failing test with --test"
        say(f"nothing points at a definition: describe more of what is wrong{more}", err=True)
        raise typer.Exit(1)


def _require_failing(test: str, report: TestReport, root: Path, cwd: str) -> None:
    """Check that the command says something about the code.

    Raises:
        ToolFault: it could not be started or can never pass.
    """
    from forklock.sandbox.interpreters.managed import install_words
    from forklock.tools.contract import TestStatus, ToolFault
    from forklock.tools.testing import why_hopeless

    if report.status is TestStatus.NOT_STARTED:
        raise ToolFault(
            f"`{test}` cannot be started: {report.output.strip()[:300]}",
            fix=f"{install_words(root, cwd=cwd)}; for Docker `agent sandbox image build` makes an image",
        )
    hopeless = why_hopeless(test, report, root, cwd=cwd, install=lambda name: install_words(root, name, cwd))
    if hopeless is not None:
        raise ToolFault(hopeless.message, fix=hopeless.fix)
    if report.status is TestStatus.PASSED:
        say(f"`{test}` passes, so only the words are used", err=True)


def _runs(root: Path, command: str, backend: str, cwd: str) -> tuple[TestReport, Spectrum | None]:
    """The tests' report and, where one fails, the functions that they enter; from copies of the repository."""
    from forklock.sandbox import open_sandbox, workspace_policy
    from forklock.tools.testing import run_tests, trace_tests

    with open_sandbox(root, workspace_policy(root), backend=check_sandbox(backend)) as here:
        with here.fork() as copy:
            report = run_tests(copy, command, cwd=cwd)
        with here.fork() as copy:
            return report, trace_tests(copy, command, cwd=cwd) if report.failures else None

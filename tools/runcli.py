"""`tools test` and `tools localise`: what runs the repo's tests, in a sandbox, on copies. Thin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sandbox.terminal import row, say

if TYPE_CHECKING:
    from sandbox import BackendName
    from tools.contract import TestReport
    from tools.testing.spectrum import Spectrum

RepoOption = Annotated[Path, typer.Option("--repo", help="The root of the repository.")]
SandboxOption = Annotated[
    str, typer.Option("--sandbox", help="auto, docker, bubblewrap or host (isolates nothing).")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `tools`."""
    app.command("test")(print_tests)
    app.command()(localise)


def root_of(repo: Path) -> Path:
    """Raises typer.BadParameter: no folder."""
    if not repo.is_dir():
        raise typer.BadParameter(f"{repo} is not a folder", param_hint="--repo")
    return repo.resolve()


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
    from sandbox import open_sandbox, workspace_policy
    from tools.contract import TestStatus
    from tools.testing.command import detect_test_command
    from tools.testing.repeat import run_repeatedly
    from tools.testing.words import in_words

    root = root_of(repo)
    asked = command or detect_test_command(root)
    if not asked:
        raise typer.BadParameter("no tests were found; say how they are run", param_hint="COMMAND")
    with open_sandbox(root, workspace_policy(root), backend=_backend(sandbox)) as here:
        found = run_repeatedly(here, asked, times=repeat, timeout_s=timeout, test_timeout_s=test_timeout)
    say(in_words(asked, found))
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
    from tools.localise.localise import localise as suspects_of

    root = root_of(repo)
    report, spectrum = _runs(root, test, sandbox) if test.strip() else (None, None)
    if report is not None:
        _require_failing(test, report)
    found = suspects_of(root, task=statement, report=report, limit=limit, spectrum=spectrum)
    for one in found:
        say(row(f"{one.symbol.path}:{one.symbol.start_line}", one.symbol.name_path, "; ".join(one.reasons)))
    if not found:
        more = "" if test.strip() else ", or give a failing test with --test"
        say(f"nothing points at a definition: say more of what is wrong{more}", err=True)
        raise typer.Exit(1)


def _require_failing(test: str, report: TestReport) -> None:
    """
    Raises:
        ToolFault: the command could not be started, so it says nothing of the code.
    """
    from tools.contract import TestStatus, ToolFault

    if report.status is TestStatus.NOT_STARTED:
        raise ToolFault(
            f"`{test}` cannot be started: {report.output.strip()[:300]}",
            fix="inside the sandbox only the repository, its .venv and the system's programs exist: see "
            "`agent sandbox image build`, or choose another with --sandbox",
        )
    if report.status is TestStatus.PASSED:
        say(f"`{test}` passes: only the words are gone by", err=True)


def _backend(name: str) -> BackendName:
    from typing import get_args

    from sandbox import BackendName

    known: dict[str, BackendName] = {one: one for one in get_args(BackendName)}
    if name not in known:
        raise typer.BadParameter(f"one of {', '.join(known)}", param_hint="--sandbox")
    return known[name]


def _runs(root: Path, command: str, backend: str) -> tuple[TestReport, Spectrum | None]:
    """The tests' report and, where one fails, what they enter; from copies of the repository."""
    from sandbox import open_sandbox, workspace_policy
    from tools.testing.run import run_tests
    from tools.testing.spectrum import trace_tests

    with open_sandbox(root, workspace_policy(root), backend=_backend(backend)) as here:
        with here.fork() as copy:
            report = run_tests(copy, command)
        with here.fork() as copy:
            return report, trace_tests(copy, command) if report.failures else None

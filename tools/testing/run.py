"""Runs a test command in a sandbox and reports its outcome truthfully.

In: a sandbox and a command. Out: a `TestReport`. All known runners (`forklock.tools.testing.args`) also write a
machine-readable report to a folder whose name is drawn for this run. Verdicts rest on that report *and* on the exit
code, never on printed text: fake summaries, reports written elsewhere and `os._exit(0)` do not pass.

Not covered: tested code that looks for this very report (in the workspace, or on a command line) and forges it; a
`conftest.py` that changes outcomes; under node's and go's runners, tests that write that runner's own messages to
their output. They share their judge's sandbox; the answer to that is hidden tests in a fresh process, not parsing.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from forklock.sandbox import ExecResult, Sandbox
from forklock.tools.contract import TestFailure, TestReport, TestStatus, ToolFault
from forklock.tools.testing.args import with_report, with_test_limit
from forklock.tools.testing.command import Command, detect_test_command, parse_command
from forklock.tools.testing.environment import command_environment
from forklock.tools.testing.logs import read_cargo, read_go
from forklock.tools.testing.minitest import read_minitest
from forklock.tools.testing.plan import PLUGIN, Watch, read_plan, watched
from forklock.tools.testing.reports import Inside, Results, read_junit, read_suites, read_unittest

MAX_REPORT_BYTES = 30_000_000
MAX_PARTS = 2_000
OUTPUT_CHARS = 60_000
_LIMIT_PLUGIN = Path(__file__).parent / "inside" / "testlimit_plugin.py"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_NO_PYTEST = re.compile(r"No module named '?(pytest|py\.test)'?\s*$")
_FILE = re.compile(r"(^[^ ]+\.py|^/.+\.[cm]?[jt]sx?)$")


def run_tests(
    sandbox: Sandbox,
    command: str | Sequence[str],
    *,
    timeout_s: float = 120,
    test_timeout_s: float | None = None,
    cwd: str = ".",
    own_plugins: bool = True,
) -> TestReport:
    """Run tests once.

    Args:
        timeout_s: wall-clock seconds for the whole command.
        test_timeout_s: for each test, which then fails (node: each file; go: each package; cargo and others: no limit).
        cwd: the folder that the command is run in, below the workspace.
        own_plugins: whether pytest loads plug-ins that folders of the workspace register by themselves.

    Raises:
        ToolFault: the command cannot be understood (a shell would be needed).
        SandboxFault: the sandbox failed.
    """
    parsed = parse_command(command)
    env = command_environment(sandbox, parsed.env, cwd)
    watch = watched(parsed)
    with report_folder(sandbox) as (folder, inner):
        if test_timeout_s is not None:
            parsed, env = _limited(parsed, env, test_timeout_s, folder, inner)
        if watch is not None:
            env |= watch.env(inner, sandbox.workdir, own_plugins=own_plugins)
            parsed, env = with_plugin(parsed, env, PLUGIN, folder, inner)
        argv = with_report(parsed, f"{inner}/report")
        result = sandbox.exec(argv, env=env, timeout_s=timeout_s, cwd=cwd)
        text = _whole(folder) if parsed.runner != "other" else None
        plan = read_plan(read_report(folder / "plan"))
        end = read_report(folder / "plan.end")
    results = _READERS[parsed.runner](text, Inside(sandbox.workdir, cwd)) if text is not None else None
    return replace(_believed(_report(parsed, result, results), watch, end), plan=plan)


def _believed(report: TestReport, watch: Watch | None, end: str | None) -> TestReport:
    """The status of a run that passed, unless its end contradicts that."""
    if report.status is not TestStatus.PASSED or watch is None or watch.ended_well(end):
        return report
    unfinished = TestFailure(
        "pytest", "the report says that all passed, but the run did not come to its own end"
    )
    return replace(report, status=TestStatus.FAILED, failures=(unfinished,))


def _limited(
    command: Command, env: dict[str, str], seconds: float, folder: Path, inner: str
) -> tuple[Command, dict[str, str]]:
    """The command and its environment, with a limit for each test."""
    env = {**env, "FORKLOCK_TEST_TIMEOUT": f"{seconds:g}"}
    if command.runner != "pytest":
        return with_test_limit(command, seconds), env
    return with_plugin(command, env, _LIMIT_PLUGIN, folder, inner)


def with_plugin(
    command: Command, env: Mapping[str, str], plugin: Path, folder: Path, inner: str, *beside: Path
) -> tuple[Command, dict[str, str]]:
    """A pytest command and its environment with one of our plug-ins. The plug-in is copied into a report's folder
    (`report_folder`), with the modules that it imports."""
    module = f"forklock_{plugin.stem}"
    for file in (plugin, *beside):
        shutil.copyfile(file, folder / f"forklock_{file.name}")
    before = env.get("PYTHONPATH", "").split(":") if env.get("PYTHONPATH") else []
    paths = [inner, *(path for path in before if path != inner)]
    argv = (*command.argv[: command.at], "-p", module, *command.argv[command.at :])
    return replace(command, argv=argv), {**env, "PYTHONPATH": ":".join(paths)}


# --- the report ------------------------------------------------------------------------------------


@contextmanager
def report_folder(sandbox: Sandbox) -> Iterator[tuple[Path, str]]:
    """A fresh folder with a name that cannot be guessed: its path on the host and as commands see it."""
    name = f".forklock-report-{secrets.token_hex(16)}"
    folder = sandbox.root / name
    try:
        folder.mkdir()
        folder.chmod(0o777)  # commands may run as another user
    except OSError as error:
        fix = "Free space on the disk, or make the workspace writable."
        raise ToolFault(f"no test report can be kept in {sandbox.root}: {error.strerror}", fix=fix) from error
    try:
        yield folder, f"{sandbox.workdir}/{name}"
    finally:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)


def _whole(folder: Path) -> str | None:
    """The report, or the parts that several programs left in its place."""
    if folder.is_symlink():
        return None
    parts = sorted(folder.glob("report.part-*"))[:MAX_PARTS] or [folder / "report"]
    texts = [text for part in parts if (text := read_report(part)) is not None]
    return "\n".join(texts) if texts else None


def read_report(file: Path) -> str | None:
    """The report, if it is a regular file of a sane size: the tested code could have put anything there."""
    if file.parent.is_symlink():
        return None
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as source:
        about = os.fstat(source.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_REPORT_BYTES:
            return None
        return source.read().decode("utf-8", "replace")


_READERS = {
    "pytest": read_junit,
    "unittest": read_unittest,
    "node": read_suites,
    "vitest": read_suites,
    "ctest": read_suites,
    "go": read_go,
    "cargo": read_cargo,
    "minitest": read_minitest,
}
_BUILDS = {"go", "cargo"}
"""Runners that compile first: without a report nothing was run."""


# --- the verdict -----------------------------------------------------------------------------------


def _report(command: Command, result: ExecResult, results: Results | None) -> TestReport:
    output = _output(result)
    status = _cut_short(result) or _status(command, result, results, output)
    return TestReport(
        status=status,
        passed=results.passed if results else frozenset(),
        failures=results.failures if results else (),
        output=output,
        wall_s=result.wall_s,
        exit_code=result.exit_code,
    )


def _cut_short(result: ExecResult) -> TestStatus | None:
    if result.timed_out:
        return TestStatus.TIMED_OUT
    if result.oom_killed:
        return TestStatus.OUT_OF_MEMORY
    return TestStatus.NOT_STARTED if result.exit_code in {126, 127} else None


def _status(command: Command, result: ExecResult, results: Results | None, output: str) -> TestStatus:
    code = result.exit_code
    if command.runner == "other":
        return TestStatus.PASSED if code == 0 else TestStatus.FAILED
    if results is None:  # no report: whatever was printed, the runner did not come to its end
        if command.runner == "pytest" and code == 1 and _NO_PYTEST.search(output):
            return TestStatus.NOT_STARTED
        uncollected = command.runner in _BUILDS or (command.runner == "pytest" and code in {2, 3, 4, 5})
        return TestStatus.NOT_COLLECTED if uncollected else TestStatus.FAILED
    if code == 0 and results.passed and not results.failures:
        return TestStatus.PASSED
    if results.uncollected or not (results.passed or results.failures or results.skipped):
        return TestStatus.NOT_COLLECTED
    if command.runner == "pytest" and code in {2, 3, 4, 5} and not results.failures:
        return TestStatus.NOT_COLLECTED
    if code == 0 and results.skipped and not results.failures:
        return TestStatus.NOT_COLLECTED  # everything was skipped: nothing was shown to work
    return TestStatus.FAILED


def printed(result: ExecResult) -> str:
    """What a command printed: its stdout, then its stderr, without colours."""
    parts = [part.decode("utf-8", "replace").strip() for part in (result.stdout, result.stderr)]
    return _ANSI.sub("", "\n".join(part for part in parts if part)).replace("\r\n", "\n")


def _output(result: ExecResult) -> str:
    text = printed(result)
    if len(text) <= OUTPUT_CHARS:
        return text
    half = OUTPUT_CHARS // 2
    return f"{text[:half]}\n... {len(text) - OUTPUT_CHARS} characters left out ...\n{text[-half:]}"


# --- before and after ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs of the same command. Ids in sorted order."""

    fixed: tuple[str, ...]
    """Failed before, pass now."""
    broken: tuple[str, ...]
    """Passed before, and do not now: failed, skipped, or gone."""
    still_failing: tuple[str, ...]
    """Failed before and do not pass now, the vanished included."""
    new_failures: tuple[str, ...]
    """Fail now and were not seen before."""


def compare(before: TestReport, after: TestReport) -> Comparison:
    failed = {failure.test_id for failure in before.failures if _is_test(failure.test_id)}
    fail_now = {failure.test_id for failure in after.failures}
    return Comparison(
        fixed=tuple(sorted(failed & after.passed)),
        broken=tuple(sorted(before.passed - after.passed)),
        still_failing=tuple(sorted(failed - after.passed)),
        new_failures=tuple(sorted(fail_now - failed - before.passed)),
    )


def is_solved(before: TestReport, after: TestReport) -> bool:
    """All pass now, nothing that passed before has failed or vanished, and no failing test was removed."""
    change = compare(before, after)
    return after.status is TestStatus.PASSED and not change.broken and not change.still_failing


def _is_test(test_id: str) -> bool:
    """Not a file that could not be collected: its tests have ids of their own once it can."""
    if test_id.startswith("unittest.loader."):
        return False
    return "::" in test_id or not _FILE.search(test_id)


__all__ = [
    "Comparison",
    "compare",
    "detect_test_command",
    "is_solved",
    "parse_command",
    "printed",
    "run_tests",
]

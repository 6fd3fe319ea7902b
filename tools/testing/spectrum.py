"""What each test executes: the check is run once more, traced, and says where its failures can come from.

Comes in: a sandbox and a pytest command. Goes out: a `Spectrum`, for `forklock.tools.localise`. A fault makes a test
fail only where it is executed, so what no failing test runs is not at fault, and what only failing tests run
is most suspect (Ochiai's coefficient: Abreu, Zoeteweij and van Gemund 2006, "An Evaluation of Similarity
Coefficients for Software Fault Localization").

Evidence, not a verdict: the tested code could forge it, and would only mislead its own repair. Not covered:
what runs on import or in other processes; runners other than pytest.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox import Sandbox
from forklock.tools.index.files import is_test_path
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.environment import command_environment
from forklock.tools.testing.run import read_report, report_folder, with_plugin

_PLUGIN = Path(__file__).parent / "inside" / "spectrum_plugin.py"


@dataclass(frozen=True, slots=True)
class TestTrace:
    """Functions that one test entered: the lines where they begin, by path below the root. Test files are
    left out."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    test_id: str
    failed: bool
    entered: dict[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The traces of one run of the check."""

    traces: tuple[TestTrace, ...]

    @property
    def failing(self) -> int:
        return sum(trace.failed for trace in self.traces)

    def suspicion(self) -> dict[str, dict[int, float]]:
        """Ochiai's coefficient of each function that a failing test entered, by path and first line: 1.0 where all
        failing tests enter it and no passing one does."""
        hit: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        for trace in self.traces:
            for path, lines in trace.entered.items():
                for line in lines:
                    hit[path, line][not trace.failed] += 1
        found: dict[str, dict[int, float]] = defaultdict(dict)
        for (path, line), (failed, passed) in hit.items():
            if failed:
                found[path][line] = failed / math.sqrt(self.failing * (failed + passed))
        return dict(found)


def trace_tests(
    sandbox: Sandbox, command: str | Sequence[str], *, timeout_s: float = 120, cwd: str = "."
) -> Spectrum | None:
    """Run a failing check traced. None where that is not possible, or no test fails.

    Raises:
        ToolFault: the command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    found = trace_suite(sandbox, command, timeout_s=timeout_s, cwd=cwd)
    return found if found is not None and any(trace.failed for trace in found.traces) else None


def trace_suite(
    sandbox: Sandbox, command: str | Sequence[str], *, timeout_s: float = 120, cwd: str = "."
) -> Spectrum | None:
    """Run tests traced: one to three times as slow as usual. None where that is not possible: another runner than
    pytest, or no time left.

    Raises:
        ToolFault: the command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    parsed = parse_command(command)
    if parsed.runner != "pytest":
        return None
    with report_folder(sandbox) as (folder, inner):
        env = {
            **command_environment(sandbox, parsed.env, cwd),
            "FORKLOCK_SPECTRUM_ROOT": sandbox.workdir, "FORKLOCK_SPECTRUM_OUT": f"{inner}/spectrum",
        }  # fmt: skip
        traced, env = with_plugin(parsed, env, _PLUGIN, folder, inner)
        argv = [*traced.argv[: traced.at], "-p", "no:cacheprovider", *traced.argv[traced.at :]]
        result = sandbox.exec(argv, env=env, timeout_s=timeout_s, cwd=cwd)
        text = read_report(folder / "spectrum")
    if text is None or result.timed_out or result.oom_killed:
        return None
    traces = tuple(trace for line in text.splitlines() if (trace := _trace(line)))
    return Spectrum(traces)


def _trace(line: str) -> TestTrace | None:
    """None for what is no trace: the tested code may have written to the file too."""
    try:
        raw = json.loads(line)
        entered = {
            path: frozenset(int(number) for number in numbers)
            for path, numbers in raw["files"].items()
            if not is_test_path(path)
        }
        return TestTrace(str(raw["id"]), bool(raw["failed"]), entered)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None

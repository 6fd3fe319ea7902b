"""Test runs as text for a terminal (room `tools/`). Pure."""

from __future__ import annotations

from tools.contract import TestFailure
from tools.testing.repeat import Repeated

SHOWN = 20
OUTPUT_LINES = 20


def in_words(command: str, found: Repeated) -> str:
    """What happened, each failure with its place, and which tests fail only sometimes."""
    first = found.reports[0]
    counts = (
        f"{len(first.passed)} passed, {len(first.failures)} failed"
        if first.total
        else "no report of single tests"
    )
    lines = [f"{command}: {first.status.value}; {counts}; {first.wall_s:.1f} s"]
    for failure in first.failures[:SHOWN]:
        lines += _failure(failure)
    if len(first.failures) > SHOWN:
        lines.append(f"and {len(first.failures) - SHOWN} more failures")
    if not first.failures and first.status.value != "passed":
        lines += ["", *first.output.strip().splitlines()[-OUTPUT_LINES:]]
    if len(found.reports) > 1:
        lines += [
            "",
            f"{len(found.reports)} runs: {', '.join(report.status.value for report in found.reports)}",
            *_flaky(found),
        ]
    return "\n".join(lines)


def _failure(failure: TestFailure) -> list[str]:
    place = f"  {failure.frames[-1].path}:{failure.frames[-1].line}" if failure.frames else ""
    return ["", f"{failure.test_id}{place}", *(f"    {line}" for line in failure.message.splitlines()[:8])]


def _flaky(found: Repeated) -> list[str]:
    if not found.failed:
        return ["no test failed in any run"]
    told = [
        f"  {test}: passed {found.passed[test]}, failed {found.failed[test]}" for test in found.flaky[:SHOWN]
    ]
    always = len(found.failed) - len(found.flaky)
    head = f"{len(found.flaky)} tests fail only sometimes" if told else "no test fails only sometimes"
    return [f"{head}; {always} that failed never passed", *told]

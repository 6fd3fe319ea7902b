"""Adds a report to a test command, for each runner, and drops the user's own options that would contradict it.

In: a parsed command and the file for the report. Out: an argv. pytest, node, vitest and ctest write JUnit files;
unittest runs under a reporter of ours. go and cargo write none: a few words of shell start the test programs that
they build, and keep libtest's log of outcomes, or Go's verbose output. The reports are read by
`forklock.tools.testing.reports` and `forklock.tools.testing.logs`. Not covered: cargo projects that set a `runner`
for their target by name; that runner is used then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from forklock.tools.testing import minitest
from forklock.tools.testing.command import Command

_NO_CACHE = (
    "--lf", "--last-failed", "--ff", "--failed-first", "--nf", "--new-first", "--sw", "--stepwise", "--cache",
)  # fmt: skip
_NODE_REPORTERS = ("--test-reporter=junit", "--test-reporter=spec", "--test-reporter-destination=stdout")

# $0 the report, $1 the test program. Lines that begin with the report's name are ours: tests don't know it. Each
# program has a file of its own, `report.part-PID`: go runs several at once.
# A program whose harness is not Rust's own knows no log, and gets none.
_CARGO = (
    'exe=$1; shift; log=$0.$$; out=$log.out; knows=--logfile; grep -aq logfile "$exe" || knows=; '
    '"$exe" ${knows:+--logfile "$log"} "$@" >"$out" 2>&1; code=$?; cat "$out"; '
    '{ echo "$0 run $code ${exe##*/}"; cat "$log" 2>/dev/null; echo "$0 said"; cat "$out"; echo; } >>"$0.part-$$"; '
    'rm -f "$log" "$out"; exit $code'
)
# Runs in the package's directory. Marks that no text of a test's own can end up in front of exist since Go 1.20.
# The names come first: what a test prints cannot add to them.
_GO = (
    "exe=$1; shift; out=$0.$$; which=.; for word; do case $word in -test.run=*) which=${word#-test.run=};; esac; done; "
    'mode=test2json; "$exe" -test.v=test2json -test.list . >/dev/null 2>&1 || mode=true; '
    '{ echo "$0 run $mode $PWD"; "$exe" -test.list "${which%%/*}"; echo "$0 said"; } >>"$0.part-$$"; '
    '"$exe" "$@" -test.v=$mode >"$out" 2>&1; code=$?; cat "$out"; '
    '{ cat "$out"; echo; echo "$0 end $code"; } >>"$0.part-$$"; rm -f "$out"; exit $code'
)


_LIMITS: dict[str, Callable[[float], tuple[str, ...]]] = {
    "node": lambda seconds: (f"--test-timeout={1000 * seconds:.0f}",),
    "vitest": lambda seconds: (f"--testTimeout={1000 * seconds:.0f}",),
    "ctest": lambda seconds: ("--timeout", f"{seconds:g}"),
    "go": lambda seconds: (f"-timeout={seconds:g}s",),
}


def with_test_limit(command: Command, seconds: float) -> Command:
    """Add a time limit for each test, where the runner has an option for it that the user did not give.

    pytest and unittest get theirs by the environment (`forklock.tools.testing.run`). node's limit is for each
    file, go's for each package. cargo has none.
    """
    words = _LIMITS[command.runner](seconds) if command.runner in _LIMITS else ()
    given = {word.partition("=")[0] for word in command.argv}
    if not words or words[0].partition("=")[0] in given:
        return command
    at = command.at
    return replace(command, argv=(*command.argv[:at], *words, *command.argv[at:]))


def with_report(command: Command, report: str) -> list[str]:
    """The user's command, extended to write a report to `report`. All other options stay as the user gave them."""
    argv, at = list(command.argv), command.at
    if command.runner == "pytest":
        return [*argv[:at], *_pytest(argv[at:], report)]
    if command.runner == "node":
        junit, *shown = _NODE_REPORTERS
        tail = [word for word in argv[at:] if not word.startswith("--test-reporter")]
        return [*argv[:at], junit, f"--test-reporter-destination={report}", *shown, *tail]
    if command.runner == "vitest":
        tail = _without(argv[at:], {"--reporter", "--outputFile"})
        once = [] if {"run", "--run"} & set(tail) else ["--run"]
        ours = ["--reporter=junit", "--reporter=default", f"--outputFile.junit={report}"]
        return [*argv[:at], *tail, *once, *ours]
    if command.runner == "ctest":
        return [*argv, "--output-junit", report]  # the last one counts
    if command.runner == "unittest":
        source = (Path(__file__).parent / "inside" / "unittest_report.py").read_text("utf-8")
        return [*argv[: at - 2], "-c", source, report, *argv[at:]]
    if command.runner == "cargo":
        runner = ", ".join(map(json.dumps, ("sh", "-c", _CARGO, report)))
        return [*argv[:at], "--config", f'target."cfg(all())".runner = [{runner}]', *argv[at:]]
    if command.runner == "minitest":
        return minitest.with_report(argv, at, report)
    if command.runner == "go":
        return [*argv[:at], f"-exec=sh -c '{_GO}' {report}", *_without(argv[at:], {"-exec", "--exec"})]
    return argv


def _pytest(tail: list[str], report: str) -> list[str]:
    tail = _without(tail, {"--junitxml", "--junit-xml"})
    ours = [
        f"--junitxml={report}",
        "-o",
        "junit_family=xunit1",
        "-o",
        "junit_logging=no",
        "-rN",
        "--tb=short",
    ]
    cached = any(word.startswith(_NO_CACHE) for word in tail)
    return [*ours, *([] if cached else ["-p", "no:cacheprovider"]), *tail]


def _without(words: list[str], options: set[str]) -> list[str]:
    """Drop some options and their values; `--option.part` counts as such an option, too."""
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif name.partition(".")[0] in options:
            skip = not equals
        else:
            kept.append(word)
    return kept

"""Proves a bug: applied in a fork, at least one stable test fails, three times the same.

In: a `Bug` and the ground. Out: a `Proven`, or the reason why it is no task. The first run takes only the tests that
reach the changed functions, so that most rejections take about a second; the others take the files of the failing
tests.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox import Sandbox
from forklock.selfdistill.tasks.contract import Bug, Ground, digest_of
from forklock.tools.behaviour.ask import Behaviour, Plan, Target, ask
from forklock.tools.contract import TestFailure, TestReport, TestStatus
from forklock.tools.languages.known import check_syntax, language_of, symbols
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.run import run_tests

RUNS = 3
"""Runs that must fail in the same way; the first takes fewer tests."""
TEST_S = 10.0
"""Seconds for one test."""
MOST_NAMED = 200
"""With more tests than this, their files are named."""
MOST_BROKEN = 0.5
"""A bug that breaks a larger share of the suite is too blunt to learn from."""
FEW_TESTS = 20
"""In a smaller suite any share is fine."""
ASKED_TESTS = 40
"""Tests whose inputs are asked about, at most."""
ASK_S = 4.0
_DID_NOT_RUN = {
    TestStatus.TIMED_OUT: "timed out", TestStatus.OUT_OF_MEMORY: "out of memory",
    TestStatus.NOT_COLLECTED: "does not load", TestStatus.NOT_STARTED: "does not start",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proven:
    """A bug whose tests fail."""

    diff: str
    command: str
    failures: tuple[TestFailure, ...]
    """Failures of the last run, the most specific test first."""
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    test_files: tuple[str, ...]
    answers: dict[str, str]
    """Digest of each further input, and of what came of it."""
    seconds: float
    """Wall-clock of one run of the check."""


def prove(base: Sandbox, ground: Ground, bug: Bug) -> Proven | str:
    """Try a bug. Returns the reason where it is no task.

    Raises:
        SandboxFault: the sandbox failed.
    """
    wrong = unfit(base.root, ground, bug)
    if wrong:
        return wrong
    tests = ground.reaching(bug.places)
    if not tests:
        return "no test reaches it"
    with base.fork() as fork:
        put(fork.root, bug)
        diff = fork.diff()
        first = _run(fork, ground, command_for(ground, tests), len(tests))
    failing = _failing(first, ground)
    reason = _no_failure(first, failing) or _too_much(failing, ground)
    if reason:
        return reason
    if not all("@@ " in part for part in diff.split("\ndiff --git ")):
        return "changes more than lines"
    files = tuple(dict.fromkeys(file for test in failing if (file := file_of(base.root, test))))
    command = command_of_files(ground, files)
    again = [_in_fork(base, ground, command, bug) for _ in range(RUNS - 1)]
    sets = [_failing(report, ground) for report in again]
    if any(report.status in _DID_NOT_RUN for report in again):
        return "timed out"
    if any(one != sets[0] for one in sets) or not set(failing) <= set(sets[0]):
        return "fails only sometimes"
    last = again[-1]
    passing = frozenset.intersection(*(report.passed for report in again))
    by_id = {failure.test_id: failure for failure in last.failures}
    answers = _answers(base, ground, bug) or {
        f"test {failure.test_id}": digest_of(failure.message) for failure in last.failures
    }
    return Proven(
        diff, command, specific_first([by_id[test] for test in sets[0] if test in by_id], ground), tuple(sets[0]),
        tuple(test for test in ground.tests if test in passing), files, answers, last.wall_s,
    )  # fmt: skip


def unfit(root: Path, ground: Ground, bug: Bug) -> str:
    """Return why a bug need not be run; "" where it has to be."""
    changed = False
    for path, text in bug.files.items():
        if path in ground.frozen or language_of(path).is_test(path):
            return "changes what judges it"
        before = (root / path).read_bytes().decode("utf-8", "replace")
        if check_syntax(path, text) is not None:
            return "does not parse"
        language = language_of(path)
        changed = changed or language.program_words(before) != language.program_words(text)
    return "" if changed else "the same program"


def program_of(bug: Bug) -> str:
    """Return a text that is equal for equal programs."""
    return "\x1f".join(
        f"{path}\x1f{language_of(path).program_words(text)}" for path, text in sorted(bug.files.items())
    )


def put(root: Path, bug: Bug) -> None:
    """Write a bug's files into a fork."""
    for path, text in bug.files.items():
        (root / path).write_bytes(text.encode())


def _no_failure(report: TestReport, failing: Sequence[str]) -> str:
    if report.status in _DID_NOT_RUN:
        return _DID_NOT_RUN[report.status]
    if not report.total:
        return "does not load"
    return "" if failing else "no test fails"


def _too_much(failing: Sequence[str], ground: Ground) -> str:
    whole = len(ground.tests)
    return "breaks most of the suite" if whole >= FEW_TESTS and len(failing) > MOST_BROKEN * whole else ""


def specific_first(failures: Sequence[TestFailure], ground: Ground) -> tuple[TestFailure, ...]:
    """Return failures, those of tests that enter the fewest functions first: they say most about what is wrong."""
    entered = Counter(index for tests in ground.reach.values() for index in tests)
    order = {test: (entered[index], index) for index, test in enumerate(ground.tests)}
    return tuple(sorted(failures, key=lambda failure: order.get(failure.test_id, (0, 0))))


def _in_fork(base: Sandbox, ground: Ground, command: str, bug: Bug) -> TestReport:
    with base.fork() as fork:
        put(fork.root, bug)
        return _run(fork, ground, command, len(ground.tests))


def _run(fork: Sandbox, ground: Ground, command: str, tests: int) -> TestReport:
    limit = max(20.0, min(5 * ground.seconds + 10.0, 20.0 + 2.0 * tests))
    return run_tests(fork, command, timeout_s=limit, test_timeout_s=TEST_S, cwd=ground.cwd)


def _failing(report: TestReport, ground: Ground) -> list[str]:
    """Return the stable tests that fail, in the order of the suite."""
    failed = {failure.test_id for failure in report.failures}
    return [test for test in ground.tests if test in failed]


# -- commands -------------------------------------------------------------------------------------------------------


def command_for(ground: Ground, tests: Sequence[str]) -> str:
    """Return the command that runs some tests, or their files where there are many; the suite's own command where its
    runner takes no names of tests."""
    if not ground.traced or len(tests) == len(ground.tests):
        return ground.command
    if len(tests) <= MOST_NAMED and not any(re.search(r"\s", test) for test in tests):
        return _with_words(ground, tests)
    return command_of_files(ground, tuple(dict.fromkeys(test.partition("::")[0] for test in tests)))


def command_of_files(ground: Ground, files: Sequence[str]) -> str:
    """Return the command that runs files of tests; the suite's own where its runner takes none."""
    return _with_words(ground, files) if ground.traced and files else ground.command


def _with_words(ground: Ground, words: Sequence[str]) -> str:
    """Put names in the place of those that the command has: paths, which a traced runner takes at its end."""
    parsed = parse_command(ground.command)
    kept = [word for word in parsed.argv[parsed.at :] if word.startswith("-") or not _is_path(word, ground)]
    env = [f"{name}={value}" for name, value in parsed.env.items()]
    return shlex.join([*env, *parsed.argv[: parsed.at], *kept, *words])


def _is_path(word: str, ground: Ground) -> bool:
    plain = word.rstrip("/").partition("::")[0]
    return (
        any(test == word or test.startswith((f"{plain}/", f"{plain}::")) for test in ground.tests)
        or plain == "."
    )


def file_of(root: Path, test: str) -> str | None:
    """Return the file that a test's id begins with, if there is one."""
    for mark in ("::", " > "):
        path = test.partition(mark)[0]
        if path != test and ".." not in path and (root / path).is_file():
            return path
    return None


# -- behaviour ------------------------------------------------------------------------------------------------------


def targets_of(root: Path, places: Sequence[str]) -> tuple[Target, ...]:
    """Return the functions of these names as they stand in a tree."""
    found = []
    for place in dict.fromkeys(places):
        path, _, name = place.partition(":")
        try:
            known = symbols(path, (root / path).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        found += [Target.of(one) for one in known if one.name_path == name]
    return tuple(found)


def questions(root: Path, ground: Ground, places: Sequence[str]) -> Plan | None:
    """Return which further inputs to ask about: those of tests that reach the places, and variants. None where the
    runner cannot be asked."""
    tests = ground.reaching(tuple(places))
    targets = targets_of(root, places)
    if not ground.traced or not tests or not targets:
        return None
    step = max(1, len(tests) // ASKED_TESTS)
    chosen = tests[::step][:ASKED_TESTS]
    files = tuple(dict.fromkeys(test.partition("::")[0] for test in chosen))
    return Plan(command_of_files(ground, files), targets, tuple(chosen), ground.cwd)


def behaviour(fork: Sandbox, plan: Plan) -> Behaviour | None:
    """Ask the code of a fork."""
    return ask(fork, plan, timeout_s=60.0 + 2 * ASK_S, seconds=ASK_S, calls=20, variants=6)


def _answers(base: Sandbox, ground: Ground, bug: Bug) -> dict[str, str]:
    plan = questions(base.root, ground, bug.places)
    if plan is None:
        return {}
    with base.fork() as fork:
        put(fork.root, bug)
        found = behaviour(fork, plan)
    return {} if found is None else {
        f"{function} {key}": answer.value if answer.behaved else answer.ending
        for (function, key), answer in found.answers.items() if answer.ending != "timed out"
    }  # fmt: skip

"""Decides whether a test fails for the statement's reason. Pure.

A test is kept where an assertion about a result of the code under test fails, or where the code under test raises an
exception that the statement speaks of. Everything else that makes a test fail says nothing of the task.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from forklock.tools.contract import Frame, TestFailure, TestReport, TestStatus
from forklock.tools.index.files import is_test_path
from forklock.tools.languages.forms.form import WrittenTest


class Verdict(StrEnum):
    """What became of a written test. All but `KEPT` are reasons to reject it, in plain words."""

    KEPT = "kept"
    NO_TEST = "no test in the answer"
    SYNTAX = "does not parse"
    REPLACES = "replaces the code under test"
    JUDGES_NOTHING = "judges nothing of the code under test"
    PASSES = "passes now"
    SKIPPED = "is skipped"
    IMPORT = "cannot be imported"
    BROKEN = "is broken itself"
    OTHER_REASON = "fails for another reason than the statement's"
    TIMEOUT = "runs out of time"
    ENDS_RUN = "ends the test run"
    WRITES = "changes files of the repository"
    UNREACHED = "does not run the code under test"
    FLAKY = "ends differently each time"
    CONTRADICTS = "contradicts tests that more samples agree on"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and what it rests on."""

    verdict: Verdict
    detail: str = ""
    """What the runner said, in a few lines."""
    message: str = ""
    """How the test fails, without what changes from run to run."""


_NAMED = re.compile(r"\b[A-Z]\w*(?:Error|Exception|Warning|Iteration|Interrupt|Exit|Fault|Failure)\b")
_CRASH = re.compile(
    r"\b(?:crash\w*|exceptions?|trace ?backs?|stack ?traces?|rais(?:es?|ed|ing)|throw(?:s|n|ing)?|errors out)\b",
    re.IGNORECASE,
)
_EXCEPTION = re.compile(r"(?P<name>[A-Za-z_][\w.]*)(?:: |:?\s*$|:\n)", re.MULTILINE)
_NO_RAISE = re.compile(r"DID NOT (?:RAISE|WARN)(?: <class '(?:[\w.]+\.)?(?P<name>\w+)'>)?")
_REFUSAL = re.compile(
    r"\b(?:errors?|refus\w+|reject\w*|invalid|warn\w*|not (?:be )?allowed|must not|complain\w*)\b", re.I
)
_CHANGING = re.compile(r"0x[0-9a-fA-F]{4,}|\b\d+\.\d{4,}s?\b|/tmp/\S+|/[\w./-]*pytest-of-\S+")
_MESSAGE_CHARS = 400
_QUOTED_CHARS = 10
"""An exception's message of at least this length counts as named where the statement quotes it."""


def judge(report: TestReport, test: WrittenTest, path: str, statement: str) -> Finding:
    """The verdict on one test, from a run of a file that holds it alone.

    Args:
        path: the test's file, below the workspace.
    """
    words = report.output.strip()[-_MESSAGE_CHARS:]
    if report.status is TestStatus.TIMED_OUT:
        return Finding(Verdict.TIMEOUT, words)
    if report.status is TestStatus.OUT_OF_MEMORY:
        return Finding(Verdict.ENDS_RUN, words)
    failure = next((one for one in report.failures if plain_name(one.test_id) == test.name), None)
    if failure is None:
        return _no_failure(report, test, words)
    return _of_failure(failure, test, path, statement)


def plain_name(test_id: str) -> str:
    """A test's name behind its file, without parameters."""
    return test_id.partition("::")[2].partition("[")[0]


def _no_failure(report: TestReport, test: WrittenTest, words: str) -> Finding:
    if report.status is TestStatus.PASSED or any(plain_name(one) == test.name for one in report.passed):
        return Finding(Verdict.PASSES)
    if report.status is TestStatus.NOT_COLLECTED:
        if report.failures:
            return Finding(Verdict.IMPORT, report.failures[0].message)
        return Finding(
            Verdict.SKIPPED if "skipped" in words or "deselected" in words else Verdict.IMPORT, words
        )
    return Finding(Verdict.ENDS_RUN, words)


def _of_failure(failure: TestFailure, test: WrittenTest, path: str, statement: str) -> Finding:
    message = steady(failure.message)
    own = [frame for frame in failure.frames if frame.path == path]
    last = failure.frames[-1] if failure.frames else None
    if last is not None and _is_code(last, path):
        if speaks_of(statement, failure.message):
            return Finding(Verdict.KEPT, failure.message, f"{message} in {last.function}")
        return Finding(Verdict.OTHER_REASON, failure.message, message)
    if not own:  # a fixture that is missing, or a set-up that failed
        return Finding(Verdict.BROKEN, failure.message)
    if (wanted := _NO_RAISE.search(failure.message)) and not _wants(statement, wanted["name"] or ""):
        return Finding(Verdict.OTHER_REASON, failure.message, message)
    if _is_assertion(failure.message):
        judged = any(test.judges(frame.line) for frame in own)
        return Finding(Verdict.KEPT if judged else Verdict.JUDGES_NOTHING, failure.message, message)
    if test.judges(own[-1].line) and _quotes(statement, failure.message):
        return Finding(
            Verdict.KEPT, failure.message, message
        )  # a call that the code under test does not take
    return Finding(Verdict.BROKEN, failure.message, message)


def _is_code(frame: Frame, path: str) -> bool:
    return frame.path != path and not is_test_path(frame.path)


def _is_assertion(message: str) -> bool:
    first = message.lstrip()
    return first.startswith(("assert ", "AssertionError", "Failed: ", "Failed:\n")) or bool(
        _NO_RAISE.match(first)
    )


def exception_of(message: str) -> str:
    """The name of the exception's class, without its module; "" where the message begins with none."""
    found = _EXCEPTION.match(message.lstrip())
    return found["name"].rpartition(".")[2] if found else ""


def speaks_of(statement: str, message: str) -> bool:
    """Whether a statement speaks of an exception: by its class, by its message, or of a crash without saying which."""
    name = exception_of(message)
    if name and re.search(rf"\b{re.escape(name)}\b", statement):
        return True
    if _quotes(statement, message):
        return True
    return not _NAMED.search(statement) and bool(_CRASH.search(statement))


def _wants(statement: str, name: str) -> bool:
    """Whether a statement asks for an exception of this class: by name, or in other words where it names none."""
    if name and re.search(rf"\b{re.escape(name)}\b", statement):
        return True
    return not _NAMED.search(statement) and bool(_CRASH.search(statement) or _REFUSAL.search(statement))


def _quotes(statement: str, message: str) -> bool:
    said = message.partition(": ")[2].partition("\n")[0].strip()
    return len(said) >= _QUOTED_CHARS and said.lower() in statement.lower()


def steady(message: str) -> str:
    """A failure's message without addresses, times and temporary paths."""
    return _CHANGING.sub("…", message.strip())[:_MESSAGE_CHARS]

"""Reads machine-readable test reports, which hostile code may have written.

In: the report's text. Out: passed ids and failures. XML is read by expat with document types refused (no entities, no
expansion). A malformed report is no report (None), never an exception.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from forklock.tools.contract import Frame, TestFailure

MESSAGE_CHARS = 1_500
MAX_FRAMES = 50
MAX_DEPTH = 100
MAX_TRACE_CHARS = 200_000
# None of these may take longer than in proportion to what hostile tests print: `^\s*` would go over each run of empty
# lines from each of them, and open repetitions beside each other over a long line from each of its places.
_SHORT = re.compile(r"^(?P<path>[^\s:][^:\n]*\.py):(?P<line>\d+): (?:in (?P<function>.+))?", re.MULTILINE)
_LONG = re.compile(
    r'^[ \t]*File "(?P<path>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?', re.MULTILINE
)
_JS = re.compile(
    r"^[ \t]*at (?:(?P<function>[^\n(]{1,300}) )?\(?(?P<path>(?:file://)?/[^\n:()]{1,1000}):(?P<line>\d+):\d+\)?$",
    re.MULTILINE,
)
_VITEST = re.compile(
    r"^[ \t]*❯ (?:(?P<function>[^\n]{1,300}) )?(?P<path>(?:file://)?[^\s:]{1,1000}):(?P<line>\d+):\d+[ \t]*$",
    re.MULTILINE,
)
_NODE = re.compile(r"\[?Error \[ERR_TEST_FAILURE\]: (.*?)(?:\] \{\n|\n[ \t]+at )", re.DOTALL)
_NODE_CAUSE = re.compile(r"^[ \t]*cause: (\w+)", re.MULTILINE)
_C = re.compile(r"(?<![^\s:()'\"])(?P<path>[^\s:()'\"]{1,1000}\.(?:c|cc|cpp|cxx|h|hh|hpp)):(?P<line>\d+)")
_LIBRARY = frozenset({"site-packages", "dist-packages", ".venv", "venv", ".tox", ".nox", "node_modules"})


@dataclass(frozen=True, slots=True)
class Results:
    """The outcomes of a run."""

    passed: frozenset[str]
    failures: tuple[TestFailure, ...]
    skipped: int = 0
    uncollected: bool = False
    """Some file could not be collected."""


def read_junit(text: str, where: Inside | str) -> Results | None:
    """Read pytest's `--junitxml` (family xunit1). Ids are as pytest writes them: `tests/test_x.py::Class::test[p]`."""
    root = _tree(text)
    if root is None:
        return None
    if all(suite.get("tests") == "0" for suite in root.iter("testsuite")):
        return Results(frozenset(), ())  # what it lists was only set up: --setup-plan, --setup-only
    cases = [(_pytest_id(case), case) for case in root.iter("testcase")]
    results = _results(
        [(test_id, case) for test_id, case in cases if test_id],
        lambda test_id, _case, part: _failure(test_id, part, where),
    )
    if not all(test_id for test_id, _ in cases):  # begun and not ended: pytest.exit
        unfinished = TestFailure("pytest", "the run was ended by a test before its end")
        results = replace(results, failures=(*results.failures, unfinished))
    bad = [part for _, case in cases if (part := _bad(case)) is not None]
    return replace(results, uncollected=any(part.get("message") == "collection failure" for part in bad))


def _results(
    cases: Iterable[tuple[str, Element]], failure: Callable[[str, Element, Element], TestFailure]
) -> Results:
    """Return the results of test cases. `failure` makes one of an id, its case and the part that says what failed."""
    passed: set[str] = set()
    failures: dict[str, TestFailure] = {}
    skipped = 0
    for test_id, case in cases:
        bad = _bad(case)
        if bad is not None:
            failures.setdefault(test_id, failure(test_id, case, bad))
        elif case.find("skipped") is not None or case.get("status") in {"disabled", "notrun"}:
            skipped += 1
        else:
            passed.add(test_id)
    return Results(frozenset(passed - failures.keys()), tuple(failures.values()), skipped)


def _bad(case: Element) -> Element | None:
    return next((part for part in case if part.tag in {"failure", "error"}), None)


def read_suites(text: str, where: Inside | str) -> Results | None:
    """Read JUnit files of other runners (node, vitest, ctest). Ids are the names of the suites and the test, with ` >
    ` between.

    Tests with one name count as one, which passed only if all of them did.
    """
    root = _tree(text)
    if root is None:
        return None
    return _results(_cases(root, ()), lambda test_id, case, part: _other_failure(test_id, case, part, where))


def _cases(part: Element, suites: tuple[str, ...]) -> Iterator[tuple[str, Element]]:
    """The outermost suite is the run itself, whatever it is called. What is nested too deep is left out."""
    for child in part:
        if child.tag == "testsuite" and len(suites) < MAX_DEPTH:
            yield from _cases(child, (*suites, child.get("name", "")))
        elif child.tag == "testcase":
            yield " > ".join([*suites, child.get("name", "")]), child


def _other_failure(test_id: str, case: Element, part: Element, where: Inside | str) -> TestFailure:
    text = (part.text or case.findtext("system-out") or "")[:MAX_TRACE_CHARS]
    said = _NODE.match(text.strip())
    kind = _NODE_CAUSE.search(text)
    if said:  # node prints the whole error object; the exception is enough
        message = f"{kind[1]}: {said[1]}" if kind else said[1]
        message = message.rstrip()
    else:
        message = "\n".join(filter(None, [part.get("message", "").strip(), text.strip()]))
    return TestFailure(test_id, shorten(message), js_frames(text, where) or _c_frames(text, where))


def js_frames(text: str, where: Inside | str) -> tuple[Frame, ...]:
    """Places in the workspace that a JavaScript stack names, outermost first as in Python's."""
    kept = []
    text = text[:MAX_TRACE_CHARS]
    for match in (*_JS.finditer(text), *_VITEST.finditer(text)):
        path = inside(match["path"].removeprefix("file://"), where)
        if path is not None:
            kept.append(Frame(path, int(match["line"]), (match["function"] or "").strip()))
    return tuple(reversed(kept[:MAX_FRAMES]))


def _c_frames(text: str, where: Inside | str) -> tuple[Frame, ...]:
    """Places that an assertion of C or C++ names, as far as they lie in the workspace."""
    found = ((inside(match["path"], where), match["line"]) for match in _C.finditer(text))
    frames = [Frame(path, int(line), "") for path, line in found if path is not None]
    return tuple(dict.fromkeys(frames[:MAX_FRAMES]))


def _tree(text: str) -> Element | None:
    builder = TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("document types are refused")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text, True)
        return builder.close()
    except (expat.ExpatError, ValueError, AssertionError):
        return None


def _pytest_id(case: Element) -> str:
    """Node id from file, class name and name."""
    file, class_name, name = case.get("file", ""), case.get("classname", ""), case.get("name", "")
    module = file.removesuffix(".py").replace("/", ".")
    if not file:
        return f"{class_name}.{name}".strip(".") if class_name else name
    if not class_name and name == module:
        return file
    if class_name and class_name != module and not class_name.startswith(f"{module}."):
        return _inherited_id(class_name, name) or f"{file}::{name}"
    inner = class_name.removeprefix(module).strip(".")
    return "::".join([file, *inner.split("."), name] if inner else [file, name])


def _inherited_id(class_name: str, name: str) -> str:
    """Node id of a test that a class inherits from another file, which is the one that the case names: the class's own
    file is in the class name, up to the first part that is written as a class. "" where no part is."""
    parts = class_name.split(".")
    at = next((n for n, part in enumerate(parts) if n and part[:1].isupper()), None)
    return "::".join(["/".join(parts[:at]) + ".py", *parts[at:], name]) if at is not None else ""


def _failure(test_id: str, part: Element, where: Inside | str) -> TestFailure:
    text = part.text or ""
    message = part.get("message", "")
    if message in {"", "collection failure"} or message.startswith("failed on"):
        errors = [line[1:].strip() for line in text.split("\n") if line.startswith("E ")]
        message = "\n".join(errors) or message or text.strip()[-MESSAGE_CHARS:]
    return TestFailure(test_id, shorten(message), frames(text, where))


def read_unittest(text: str, where: Inside | str) -> Results | None:
    """Read the lines that `tools/testing/inside/unittest_report.py` writes. If the last line is missing, the run did
    not end."""
    passed: set[str] = set()
    failures: dict[str, TestFailure] = {}
    uncollected = False
    try:
        rows = [json.loads(line) for line in text.splitlines()]
        if not rows or rows[-1]["end"] != len(rows) - 1:
            return None
        for row in rows[:-1]:
            test_id, trace = str(row["id"]), str(row["text"])
            if row["outcome"] == "passed":
                passed.add(test_id)
                continue
            uncollected |= test_id.startswith("unittest.loader._FailedTest")
            last = trace.strip().rpartition("\n")[2] or "unexpected success"
            found = frames(trace, where)
            failures.setdefault(test_id, TestFailure(test_id, shorten(_exception(trace) or last), found))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Results(frozenset(passed - failures.keys()), tuple(failures.values()), 0, uncollected)


def _exception(trace: str) -> str:
    """What follows the last frame: the exception and its message."""
    lines = trace.rstrip().split("\n")
    last = max((n for n, line in enumerate(lines) if line.startswith("  ")), default=-1)
    return "\n".join(lines[last + 1 :])


def frames(text: str, where: Inside | str) -> tuple[Frame, ...]:
    """Places in the workspace that a traceback names, outermost first, without libraries."""
    text = text[-MAX_TRACE_CHARS:]
    found = sorted([*_SHORT.finditer(text), *_LONG.finditer(text)], key=lambda match: match.start())
    kept = []
    for match in found:
        path = inside(match["path"], where)
        if path is not None:
            kept.append(Frame(path, int(match["line"]), (match["function"] or "").strip()))
    return tuple(kept[-MAX_FRAMES:])


@dataclass(frozen=True, slots=True)
class Inside:
    """The workspace as commands see it, and the folder below it that they ran in."""

    root: str
    cwd: str = "."


def inside(path: str, where: Inside | str) -> str | None:
    """A traceback's path relative to the workspace; None outside of it or in an installed library."""
    at = where if isinstance(where, Inside) else Inside(where)
    pure = PurePosixPath(path)
    if pure.is_absolute():
        if not pure.is_relative_to(at.root):
            return None
        pure = pure.relative_to(at.root)
    elif at.cwd != ".":
        pure = PurePosixPath(posixpath.normpath(f"{at.cwd}/{path}"))
    if ".." in pure.parts or _LIBRARY & set(pure.parts) or path.startswith("<"):
        return None
    return str(pure)


def shorten(message: str) -> str:
    """Keep the head and the tail: the exception, and how a comparison ended."""
    message = message.strip()
    if len(message) <= MESSAGE_CHARS:
        return message
    half = MESSAGE_CHARS // 2
    return f"{message[:half]}\n... {len(message) - MESSAGE_CHARS} characters ...\n{message[-half:]}"

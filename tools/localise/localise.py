"""Where is the fault? Suspects from evidence alone, before any model is asked.

Comes in: a root, the task's words, a failing test report. Goes out: definitions outside the tests, ranked,
each with its reasons. Evidence, added up: stack frames (the innermost weighs most); names in the task; what
the failing tests call, less what passing tests call as well (Ochiai's formula, on names instead of lines);
names that resemble the test's; what those call in turn, one and two hops on; and, where a traced run is given
(`forklock.tools.testing.spectrum`), what failing tests execute and passing ones do not.

Deterministic, and linear in the size of the repo. Measured on real fixes by `bench/localise_hits.py`.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from forklock.tools.contract import Frame, Symbol, TestFailure, TestReport
from forklock.tools.index.files import CodeIndex, is_test_path, load_index
from forklock.tools.localise.graph import Graph
from forklock.tools.localise.reached import find_test, plain_id, reached_by_test
from forklock.tools.testing.spectrum import Spectrum

MAX_FAILURES = 20
MAX_PASSED = 400
OUTPUT = "the check's output"
"""Stands for the test's id where no runner's report names one."""
FRAME, TASK_CODE, TASK_WORD, CALL, TEST_NAME = 3.0, 2.5, 0.5, 2.0, 1.5
"""Weights of one piece of evidence: frame, name written as code in the task, plain word, call, test name."""
FRAME_DECAY, HOP_DECAY, HOPS = 0.75, 0.6, 5
ALIKE = 2.0
"""Weight of a definition whose name is made of the words of the task and the tests; half if none calls it."""
VARIABLE, CLASS = 0.5, 0.6
"""Factors for what is rarely the place itself: a constant, a class that was only made or named."""
EXECUTED, NOT_EXECUTED = 1.0, 0.2
"""Weight of a definition that all failing tests run and no passing one; factor for one that none of them runs."""
FAILING_LINE = 2.0
"""Factor for a call on the test's failing line."""
_CODE = re.compile(r"`([^`\n]+)`|([A-Za-z_][\w.]*)(\()?")
_PLACE = re.compile(r"(?<![^\s:()'\"])(?P<path>[^\s:()'\"]{1,1000}\.\w{1,4}):(?P<line>\d+)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Suspect:
    symbol: Symbol
    score: float
    """Comparable within one answer only."""
    reasons: tuple[str, ...]


@dataclass
class _Evidence:
    """Scores by (path, name path), with the reasons in the order in which they came."""

    graph: Graph
    allow_tests: bool
    scores: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    reasons: dict[tuple[str, str], dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, path: str, name_path: str, weight: float, reason: str) -> None:
        if path not in self.graph.index.files or (
            self.graph.is_test(path, name_path) and not self.allow_tests
        ):
            return
        path = _implementation(self.graph, path, name_path)
        key = (path, _outermost(self.graph, path, name_path))
        self.scores[key] += weight
        self.reasons[key][reason] = None


def localise(
    root: Path,
    *,
    task: str,
    report: TestReport | None,
    limit: int = 6,
    index: CodeIndex | None = None,
    spectrum: Spectrum | None = None,
) -> list[Suspect]:
    """At most `limit` suspects, the most likely first. Test files only if the task names one."""
    graph = Graph(index or load_index(root))
    evidence = _Evidence(graph, _wants_tests(task))
    failures = report.failures[:MAX_FAILURES] if report else ()
    if report is not None and not failures:
        failures = _from_output(graph, report.output)
    _from_frames(evidence, failures)
    _from_task(evidence, task)
    _from_tests(evidence, failures, report.passed if report else frozenset())
    _from_test_names(evidence, failures)
    _onward(evidence)
    _from_words(evidence, task, failures)
    executed = _from_spectrum(evidence, spectrum) if spectrum else None
    return _suspects(evidence, limit, executed)


def _wants_tests(task: str) -> bool:
    return (
        re.search(r"\btests?/\w|\btest_\w+\.py\b", task) is not None
        and re.search(
            r"\b(fix|correct|update|rewrite)\w* (the )?(failing |broken )?tests?\b", task, re.IGNORECASE
        )
        is not None
    )


# --- frames ----------------------------------------------------------------------------------------


def _from_frames(evidence: _Evidence, failures: Iterable[TestFailure]) -> None:
    failures = list(failures)
    for failure in failures:
        inner = [frame for frame in failure.frames if not is_test_path(frame.path)]
        seen: set[tuple[str, str]] = set()
        inner = [frame for frame in inner if not _in_test(evidence.graph, frame)]
        for distance, frame in enumerate(reversed(inner)):
            if frame.path not in evidence.graph.index.files:
                continue
            name_path = _at(evidence.graph, frame.path, frame.line)
            if not name_path or (frame.path, name_path) in seen:
                continue
            seen.add((frame.path, name_path))
            place = "raised in" if distance == 0 else "in the traceback of"
            weight = FRAME * FRAME_DECAY**distance / math.sqrt(len(failures))
            evidence.add(frame.path, name_path, weight, f"{place} {failure.test_id} (line {frame.line})")


def _in_test(graph: Graph, frame: Frame) -> bool:
    """A test that stands in a file of code, as in Rust."""
    return frame.path in graph.index.files and graph.is_test(frame.path, _at(graph, frame.path, frame.line))


def _from_output(graph: Graph, output: str) -> tuple[TestFailure, ...]:
    """Where no test is known to have failed: the places that a compiler or an assertion names, the first innermost."""
    places = [(m["path"].removeprefix("./"), int(m["line"])) for m in _PLACE.finditer(output)]
    frames = [Frame(path, line, "") for path, line in places if path in graph.index.files][:MAX_FAILURES]
    return (TestFailure(OUTPUT, "", tuple(frames[::-1])),) if frames else ()


def _at(graph: Graph, path: str, line: int) -> str:
    holding = [d for d in graph.scope(path).all if d.start_line <= line <= d.end_line]
    return min(holding, key=lambda d: d.end_line - d.start_line).name_path if holding else ""


# --- the task's words ------------------------------------------------------------------------------


def _from_task(evidence: _Evidence, task: str) -> None:
    weights: dict[str, float] = {}
    for match in _CODE.finditer(task):
        names = _DOTTED.findall(match[1]) if match[1] else [match[2].rstrip(".")]
        for name in names:
            coded = bool(match[1] or match[3]) or _looks_like_code(name)
            weights[name] = max(weights.get(name, 0), TASK_CODE if coded else TASK_WORD)
    for dotted, weight in weights.items():
        last = dotted.rpartition(".")[2]
        places = [
            (path, h) for path, h in evidence.graph.index.defined.get(last, ()) if not is_test_path(path)
        ]
        matching = [
            (path, h) for path, h in places if "." in dotted and f".{h.name_path}".endswith(f".{dotted}")
        ]
        for path, head in matching or places:
            share = weight / len(matching or places)
            evidence.add(path, head.name_path, share, f"the task names {dotted}")


def _looks_like_code(word: str) -> bool:
    return "_" in word or "." in word or re.search(r"[a-z][A-Z]", word) is not None


# --- what the tests call ---------------------------------------------------------------------------


def _from_tests(evidence: _Evidence, failures: Iterable[TestFailure], passed: frozenset[str]) -> None:
    graph = evidence.graph
    called: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    tests: dict[str, None] = {}
    for failure in failures:
        found = find_test(graph, failure.test_id, failure.frames)
        if found is None or plain_id(failure.test_id) in tests:
            continue
        tests[plain_id(failure.test_id)] = None
        path, definition = found
        lines = {frame.line for frame in failure.frames if frame.path == path}
        for target in reached_by_test(graph, path, definition):
            weight = target.surety * (FAILING_LINE if target.line in lines else 1.0)
            key = (target.path, target.name_path)
            called[key][failure.test_id] = max(called[key].get(failure.test_id, 0), weight)
    if not called:
        return
    passing = _passing_calls(graph, passed, set(called), set(tests))
    for key, by_test in called.items():
        ochiai = len(by_test) / math.sqrt(len(tests) * (len(by_test) + passing[key]))
        weight = CALL * ochiai * sum(by_test.values()) / len(by_test)
        evidence.add(*key, weight, f"called by {next(iter(by_test))}")


def _passing_calls(
    graph: Graph, passed: frozenset[str], wanted: set[tuple[str, str]], failing: set[str]
) -> dict[tuple[str, str], int]:
    """How many passing tests call each."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    plain = sorted({plain_id(test_id) for test_id in passed} - failing)
    for test_id in plain[:MAX_PASSED]:
        found = find_test(graph, test_id)
        if found:
            for key in {(t.path, t.name_path) for t in reached_by_test(graph, *found)} & wanted:
                counts[key] += 1
    return counts


# --- what the tests execute ------------------------------------------------------------------------


def _from_spectrum(evidence: _Evidence, spectrum: Spectrum) -> set[tuple[str, str]]:
    """Add what a traced run says; the definitions that failing tests run."""
    best: dict[tuple[str, str], float] = {}
    for path, lines in spectrum.suspicion().items():
        if path not in evidence.graph.index.files:
            continue
        for line, score in lines.items():
            name_path = _at(evidence.graph, path, line)
            if name_path:
                key = (path, _outermost(evidence.graph, path, name_path))
                best[key] = max(best.get(key, 0.0), score)
    for key, score in best.items():
        evidence.add(*key, EXECUTED * score, "executed by failing tests")
    return set(best)


# --- names alike -----------------------------------------------------------------------------------


def _from_test_names(evidence: _Evidence, failures: Iterable[TestFailure]) -> None:
    """`NumericRangeTests::test_reversed` speaks of `numeric_range` and of `__reversed__`."""
    index = evidence.graph.index
    by_squeezed: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, places in index.defined.items():
        squeezed = name.replace("_", "").lower()
        if len(squeezed) >= 4:
            by_squeezed[squeezed] += [(p, h.name_path) for p, h in places if not is_test_path(p)]
    for failure in failures:
        for words in _name_parts(failure.test_id):
            for size in range(len(words), 0, -1):
                runs = ["".join(words[n : n + size]) for n in range(len(words) - size + 1)]
                hits = [(run, place) for run in runs for place in by_squeezed.get(run, ())]
                for _, place in hits[:10]:
                    weight = TEST_NAME * size / len(words) / len(hits)
                    evidence.add(*place, weight, f"its name is in {failure.test_id}")


def _name_parts(test_id: str) -> list[list[str]]:
    """Words of the class's and of the function's name, lower case, without "test"."""
    if test_id == OUTPUT:
        return []
    plain = plain_id(test_id)
    names = plain.split("::")[1:] or re.split(r" > |/", plain)[1:] or plain.split(".")[-2:]
    parts = []
    for name in names:
        words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
        parts.append([word for word in words if word not in {"test", "tests", "case"}])
    return [words for words in parts if words]


def _from_words(evidence: _Evidence, task: str, failures: Iterable[TestFailure]) -> None:
    """Names made of the rarer words of the task and of the tests' names: `strip_comments` and
    `StripCommentsFilter`. Rare is what few names of this repo hold."""
    index = evidence.graph.index
    said = _words(task) | {word for f in failures for part in _name_parts(f.test_id) for word in part}
    names = {name: _words(name) for name in index.defined}
    frequency = Counter(word for words in names.values() for word in words)
    total = len(names) + 1
    for name, words in names.items():
        weights = {word: math.log(total / frequency[word]) for word in words}
        shared = sum(weight for word, weight in weights.items() if word in said)
        whole = sum(weights.values())
        if not shared or shared < 0.4 * whole:
            continue
        for path, head in index.defined[name][:10]:
            key = (path, _outermost(evidence.graph, path, head.name_path)) if not is_test_path(path) else None
            reached = key in evidence.scores
            weight = ALIKE * (shared / whole) ** 2 * (1.0 if reached else 0.5)
            weight *= 0.3 if head.kind == "class" else 1.0  # names an area rather than a place
            evidence.add(path, head.name_path, weight, "its name is made of the task's words")


def _words(text: str) -> set[str]:
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]+", text)
    return {word.lower() for word in found if len(word) > 2}


# --- what suspects call ----------------------------------------------------------------------------


def _onward(evidence: _Evidence) -> None:
    """Faults are often in a helper beneath the function that a test calls."""
    graph = evidence.graph
    front = dict(evidence.scores)
    for _ in range(HOPS):
        following: dict[tuple[str, str], float] = defaultdict(float)
        for (path, name_path), score in sorted(front.items(), key=lambda item: (-item[1], item[0]))[:40]:
            definition = graph.scope(path).by_path.get(name_path)
            if definition is None or definition.kind == "class":
                continue
            targets = {
                (t.path, t.name_path): t.surety
                for t in graph.calls(path, definition)
                if (t.path, t.name_path) != (path, name_path)
            }
            for (other, other_path), surety in targets.items():
                weight = score * HOP_DECAY * surety / math.sqrt(len(targets))
                key = (other, _outermost(graph, other, other_path))
                if key == (path, name_path):
                    continue
                evidence.add(other, other_path, weight, f"called by {name_path}")
                following[key] += weight
        front = following


def _implementation(graph: Graph, path: str, name_path: str) -> str:
    """A stub stands for the module beside it, a declaration for what it declares."""
    if name_path in graph.scope(path).declared:
        files, places = graph.index.files, graph.index.defined.get(name_path.rpartition(".")[2], ())
        defined = [
            p for p, h in places if h.name_path == name_path and name_path not in graph.scope(p).declared
        ]
        return next(
            (
                p
                for p in defined
                if files[p].group == files[path].group and name_path in graph.scope(p).by_path
            ),
            path,
        )
    beside = path.removesuffix("i")
    if path.endswith(".pyi") and beside in graph.index.files and name_path in graph.scope(beside).by_path:
        return beside
    return path


def _outermost(graph: Graph, path: str, name_path: str) -> str:
    """A local function belongs to the one that holds it: that is what gets edited."""
    known = graph.scope(path).by_path
    parts = name_path.split(".")
    for size in range(1, len(parts)):
        outer = known.get(".".join(parts[:size]))
        if outer and outer.kind in {"function", "method"}:
            return outer.name_path
    return name_path


def _suspects(evidence: _Evidence, limit: int, executed: set[tuple[str, str]] | None = None) -> list[Suspect]:
    """`executed`: what failing tests run, None where that is not known."""
    weighed = {}
    for (path, name_path), score in evidence.scores.items():
        definition = evidence.graph.scope(path).by_path.get(name_path)
        if definition is not None and not path.endswith(".pyi"):
            weighed[path, name_path] = score * {"variable": VARIABLE, "class": CLASS}.get(
                definition.kind, 1.0
            )
            if executed is not None and definition.kind in ("function", "method"):
                weighed[path, name_path] *= 1.0 if (path, name_path) in executed else NOT_EXECUTED
    found = []
    for (path, name_path), score in sorted(weighed.items(), key=lambda item: (-round(item[1], 9), item[0])):
        definition = evidence.graph.scope(path).by_path[name_path]
        symbol = Symbol(path, name_path, definition.kind, definition.start_line, definition.end_line)
        found.append(Suspect(symbol, round(score, 4), tuple(evidence.reasons[path, name_path])[:5]))
        if len(found) == limit:
            break
    return found

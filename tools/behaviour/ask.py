"""Asks code how it behaves on the inputs of a repository's tests and on variants of them.

In: a sandbox, a pytest or unittest command, and the definitions to look at. Out: a `Behaviour`: the result of each
input, and of calls in a row. The functions run inside the sandbox, in the tests' own process
(`tools/testing/inside/behaviour_watch.py`). What it writes is evidence and not a verdict: the code under test could
forge it.

Not covered: other runners, languages other than Python, coroutines, code in other processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from forklock.sandbox import Sandbox
from forklock.tools.contract import Symbol
from forklock.tools.index.files import is_test_path, text_inside
from forklock.tools.languages.known import symbols
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.environment import command_environment
from forklock.tools.testing.run import read_report, report_folder, with_plugin

INSIDE = Path(__file__).parents[1] / "testing" / "inside"
PLUGIN, _UNITTEST = INSIDE / "behaviour_plugin.py", INSIDE / "behaviour_unittest.py"
BESIDE = (INSIDE / "behaviour_watch.py", INSIDE / "behaviour_inputs.py")
_VARIANTS = (30, 120)
"""Variants of an input: at least, and at most."""
_INPUTS = 600
"""Inputs that are aimed at, where the tests call the functions a few times only."""
Ending = Literal["returned", "refused", "failed", "timed out"]


@dataclass(frozen=True, slots=True)
class Target:
    """An observed function."""

    path: str
    name_path: str
    lines: tuple[int, int]
    """First and last line, decorators included; from 1."""

    @property
    def label(self) -> str:
        """`path:name_path`."""
        return f"{self.path}:{self.name_path}"

    @classmethod
    def of(cls, symbol: Symbol) -> Target:
        """The target of a symbol."""
        return cls(symbol.path, symbol.name_path, (symbol.start_line, symbol.end_line))


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one input."""

    function: str
    input: str
    """The arguments, for people; shortened."""
    ending: Ending
    """`refused` is an exception that the code raises by a `raise`; `failed` any other."""
    value: str
    """Digest of the value or the exception, and of the arguments afterwards."""
    output: str
    """The same for people; shortened."""
    path: frozenset[int]
    """The steps from line to line that the call took."""
    exact: bool
    """A test calls the function so; else it is a variant."""
    tests: frozenset[str]
    """The tests that the input, or what it is a variant of, comes from."""
    pair: bool = False
    """The second of two calls in a row."""
    stale: bool = False
    """A pair whose second answer depends on the other arguments of the first: alone, the call answers otherwise."""
    equal: bool = False
    """The value equals everything that it is compared with."""

    @property
    def behaved(self) -> bool:
        """Whether the code did what it means to do: it returned a value, or refused the input."""
        return self.ending in ("returned", "refused")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Answers by function and digest of the input."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    """The tests that failed while they were watched."""

    def joined(self, other: Behaviour) -> Behaviour:
        """Both together; where both have an answer, this one's."""
        return Behaviour({**other.answers, **self.answers}, self.failed | other.failed)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask: the functions, and the tests that reach them (none: all tests)."""

    command: str
    targets: tuple[Target, ...]
    tests: tuple[str, ...] = ()
    cwd: str = "."
    """The folder below the workspace that the command runs in."""
    variants: int = 30
    """Variants of each input: more where the tests call the functions a few times only."""


def plan(
    sandbox: Sandbox, command: str, changed: Sequence[Target], *, timeout_s: float, cwd: str = "."
) -> Plan | None:
    """Find the tests of a suite that reach the changed functions, and the callers that lead to them.

    None where that is not known: no pytest, no time left, or no test reaches them.

    Raises:
        ToolFault: the command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    rows = _run(sandbox, Plan(command, tuple(changed), cwd=cwd), mode="callers", timeout_s=timeout_s)
    if not rows:
        return None
    calls = next((row["calls"] for row in rows if isinstance(row.get("calls"), int)), 0)
    variants = max(_VARIANTS[0], min(_VARIANTS[1], _INPUTS // max(calls, 1)))
    tests = tuple(sorted({row["test"] for row in rows if "path" in row and isinstance(row.get("test"), str)}))
    callers: dict[str, Target] = {}
    for row in rows:
        path, line = row.get("path"), row.get("line")
        if isinstance(path, str) and isinstance(line, int) and path and not is_test_path(path):
            target = target_at(sandbox.root, path, line)
            if target is not None:
                callers[target.label] = target
    own = {target.label for target in changed}
    more = tuple(target for label, target in sorted(callers.items()) if label not in own)
    return Plan(command, (*changed, *more), tests, cwd, variants)


def ask(
    sandbox: Sandbox,
    what: Plan,
    *,
    timeout_s: float,
    seconds: float = 15.0,
    calls: int = 40,
    variants: int | None = None,
) -> Behaviour | None:
    """Ask the code in `sandbox`, which may change its files: use a fork.

    Args:
        timeout_s: wall-clock seconds for the whole run.
        seconds: the part of it for asking.
        calls: different inputs taken from tests, for each function.
        variants: variants of each input; None: the plan's.

    Raises:
        SandboxFault: the sandbox failed.
    """
    here = located(sandbox.root, what if variants is None else replace(what, variants=variants))
    rows = _run(sandbox, here, mode="ask", timeout_s=timeout_s, seconds=seconds, calls=calls)
    return None if rows is None else read_behaviour(rows)


def read_behaviour(rows: Iterable[dict[str, Any]]) -> Behaviour:
    """Read what `behaviour_watch` wrote; rows that are no answers are dropped."""
    rows = list(rows)
    answers: dict[tuple[str, str], Answer] = {}
    failed = frozenset(str(row.get("test")) for row in rows if row.get("outcome") == "failed")
    for row in rows:
        answer = _answer(row)
        if answer is None:
            continue
        key = (answer.function, row["key"])
        known = answers.get(key)
        if known is None:
            if answer.ending:
                answers[key] = answer
        else:
            exact = known.exact or answer.exact
            answers[key] = replace(known, exact=exact, tests=known.tests | answer.tests)
    return Behaviour(answers, failed)


def located(root: Path, what: Plan, texts: Mapping[str, str | None] = MappingProxyType({})) -> Plan:
    """The same functions, where they stand in this version of the code.

    Args:
        texts: files that differ from those in `root`.
    """
    found = []
    for target in what.targets:
        text = texts.get(target.path)
        known = _symbols(root, target.path) if text is None else _symbols_of(target.path, text)
        symbol = next((s for s in known if s.name_path == target.name_path), None)
        if symbol is not None:
            found.append(Target.of(symbol))
    return replace(what, targets=tuple(found))


def target_at(root: Path, path: str, line: int) -> Target | None:
    """The innermost function around a line."""
    around = [
        s
        for s in _symbols(root, path)
        if s.start_line <= line <= s.end_line and s.kind in ("function", "method")
    ]
    return Target.of(min(around, key=lambda s: s.end_line - s.start_line)) if around else None


def _symbols(root: Path, path: str) -> list[Symbol]:
    """Return the definitions of a file. Its name comes from the tested process: no link is followed, no pipe opened."""
    text = text_inside(root, path, "strict")
    return [] if text is None else _symbols_of(path, text)


def _symbols_of(path: str, text: str) -> list[Symbol]:
    try:
        return symbols(path, text)
    except ValueError:
        return []


def _run(
    sandbox: Sandbox,
    what: Plan,
    *,
    mode: Literal["callers", "ask"],
    timeout_s: float,
    seconds: float = 60.0,
    calls: int = 0,
) -> list[dict[str, Any]] | None:
    parsed = parse_command(what.command)
    if parsed.runner not in ("pytest", "unittest") or not what.targets or timeout_s <= 0:
        return None
    with report_folder(sandbox) as (folder, inner):
        job = job_of(sandbox, what, mode=mode, seconds=seconds, calls=calls)
        (folder / "job").write_text(json.dumps(job), "utf-8")
        env = {**command_environment(sandbox, parsed.env, what.cwd), "FORKLOCK_BEHAVIOUR": f"{inner}/job"}
        plugin = PLUGIN if parsed.runner == "pytest" else _UNITTEST
        command, env = with_plugin(parsed, env, plugin, folder, inner, *BESIDE)
        argv = [*command.argv[: command.at], "-p", "no:cacheprovider", *command.argv[command.at :]]
        if parsed.runner == "unittest":
            argv = [
                *parsed.argv[: parsed.at - 2],
                f"{inner}/forklock_{plugin.name}",
                *parsed.argv[parsed.at :],
            ]
        sandbox.exec(argv, env=env, timeout_s=timeout_s, cwd=what.cwd)
        text = read_report(folder / "behaviour.out")
    return None if text is None else list(rows_of(text))


def job_of(
    sandbox: Sandbox,
    what: Plan,
    *,
    mode: Literal["callers", "ask"],
    seconds: float,
    calls: int,
    paths: bool = True,
) -> dict[str, Any]:
    """The job that `behaviour_watch` reads.

    Args:
        paths: whether the way of each call through the code is recorded, which takes most of the time.
    """
    return {
        "root": sandbox.workdir, "mode": mode, "seconds": seconds, "calls": calls, "variants": what.variants,
        "paths": paths, "tests": what.tests, "targets": [
            {"path": t.path, "lines": t.lines, "name": t.name_path.rpartition(".")[2], "label": t.label}
            for t in what.targets
        ],
    }  # fmt: skip


def rows_of(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file with one on each line; other lines are dropped."""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row


def _answer(row: dict[str, Any]) -> Answer | None:
    """Read a row; None where it is no answer: the tested code may have written to the file, too."""
    words = [row.get(name, "") for name in ("f", "input", "kind", "value", "output", "test", "key")]
    path = row.get("path", [])
    if not all(isinstance(word, str) for word in words) or not isinstance(path, list):
        return None
    function, shown, kind, value, output, test, key = words
    if not key or kind not in ("returned", "refused", "failed", "timed out", ""):
        return None
    arcs = frozenset(arc for arc in path if isinstance(arc, int))
    exact, pair, stale, equal = (row.get(name) is True for name in ("exact", "pair", "stale", "equal"))
    return Answer(function, shown, kind, value, output, arcs, exact, frozenset({test}), pair, stale, equal)

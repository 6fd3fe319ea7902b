"""The tasks of `bench/solve.py`: a repository with a bug, a check that fails, and a hidden judge.

Example bugs are those of `examples/`; their judge compares with the clean library. QuixBugs' Python programs
(github.com/jkoppel/QuixBugs, MIT, not part of this project) show one failing case in a test and hide the others.
Repaired code runs in a sandbox, and right answers are kept outside of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from judge_bug import judge as judge_bug
from make_bug import bug_names, load_bug, make

from forklock.sandbox import open_sandbox, workspace_policy

CASE_S = 3.0
"""Seconds for one case of QuixBugs."""
ANSWER = """
import json, signal, sys
sys.setrecursionlimit(2000)
sys.path.insert(0, sys.argv[1])
name, cases = sys.argv[2], json.load(sys.stdin)
module = __import__(name)
def late(*_): raise TimeoutError
signal.signal(signal.SIGALRM, late)
for number, args in enumerate(cases):
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[3]))
    try:
        value = getattr(module, name)(*args)
        value = list(value) if hasattr(value, "__next__") else value
        row = json.dumps(value)
    except BaseException as error:
        row = json.dumps({"raised": type(error).__name__})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    print("\\n" + json.dumps([number, row]), flush=True)
"""


class Task(Protocol):
    """One task: what the agent is told, and what it is not."""

    @property
    def name(self) -> str: ...
    @property
    def statement(self) -> str: ...
    @property
    def test(self) -> str:
        """The command of the visible check."""
        ...

    @property
    def file(self) -> str:
        """The file that holds the bug; peers that must be given files to edit are given it."""
        ...

    def make(self, folder: Path) -> None:
        """Make the repository, a git one with one commit."""
        ...

    def wrong(self, folder: Path) -> str:
        """What is wrong with a repaired repository, in a line; "" where nothing is."""
        ...


@dataclass(frozen=True)
class ExampleTask:
    """An example bug."""

    bug: str

    @property
    def name(self) -> str:
        return f"example/{self.bug}"

    @property
    def statement(self) -> str:
        return load_bug(self.bug).task

    @property
    def test(self) -> str:
        return load_bug(self.bug).test

    @property
    def file(self) -> str:
        return load_bug(self.bug).file

    def make(self, folder: Path) -> None:
        make(self.bug, folder)

    def wrong(self, folder: Path) -> str:
        found = judge_bug(self.bug, folder)
        return f"{len(found)} inputs, such as {found[0]}" if found else ""


@dataclass(frozen=True)
class QuixTask:
    """A program of QuixBugs."""

    program: str
    text: str
    """The program with its bug."""
    statement: str
    cases: tuple[tuple[list[Any], Any], ...]
    """(arguments, right answer)."""
    shown: int
    """Number of the case that the visible test holds; it fails."""

    @property
    def name(self) -> str:
        return f"quixbugs/{self.program}"

    @property
    def test(self) -> str:
        return f"python -m pytest -q test_{self.program}.py"

    @property
    def file(self) -> str:
        return f"{self.program}.py"

    def make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.file).write_text(self.text, encoding="utf-8")
        test = (
            f"from {self.program} import {self.program}\n\n\n"
            f"def test_{self.program}():\n    assert {self._visible()}\n"
        )
        (folder / f"test_{self.program}.py").write_text(test, encoding="utf-8")
        _commit(folder)

    def _visible(self) -> str:
        arguments, right = self.cases[self.shown]
        called = f"{self.program}({', '.join(map(repr, arguments))})"
        if self.program == "sqrt":
            return f"abs({called} - {right!r}) <= {arguments[1]!r}"
        if self.program == "hanoi":
            return f"{called} == {[tuple(move) for move in right]!r}"
        return f"{f'list({called})' if _makes_iterator(self.text) else called} == {right!r}"

    def wrong(self, folder: Path) -> str:
        found = _failing(folder, self.program, self.cases)
        if not found:
            return ""
        number, answer = found[0]
        arguments, right = self.cases[number]
        shown = ", ".join(map(repr, arguments))
        return f"{len(found)} of {len(self.cases)} cases, such as {self.program}({shown}): {right!r}, not {answer}"


def example_tasks() -> list[Task]:
    return [ExampleTask(name) for name in bug_names()]


def quixbugs_tasks(root: Path, scratch: Path, *, count: int | None = None, only: str = "") -> list[Task]:
    """The programs whose cases are data, without cases that the right program does not answer in time.

    `count`: as many at most, in the order of a hash of their names, so that the choice is nobody's. `only`: those whose
    name contains it.
    """
    tasks: list[Task] = []
    paths = [path for path in (root / "json_testcases").glob("*.json") if only in f"quixbugs/{path.stem}"]
    for path in sorted(paths, key=lambda path: _hash(f"quixbugs/{path.stem}")):
        task = _quix_task(root, path, scratch) if count is None or len(tasks) < count else None
        if task is not None:
            tasks.append(task)
    return sorted(tasks, key=lambda task: task.name)


def sampled(tasks: list[Task], count: int | None) -> list[Task]:
    """`count` tasks, chosen by a hash of their names."""
    ranked = sorted(tasks, key=lambda task: _hash(task.name))
    return sorted(ranked[:count], key=lambda task: task.name)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _quix_task(root: Path, path: Path, scratch: Path) -> QuixTask | None:
    program = path.stem
    source = (root / "python_programs" / f"{program}.py").read_text(encoding="utf-8")
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            arguments, right = json.loads(line)
            cases.append((arguments if isinstance(arguments, list) else [arguments], right))
    text, statement = _split(source, program)
    right, _ = _split(
        (root / "correct_python_programs" / f"{program}.py").read_text(encoding="utf-8"), program
    )
    late = {number for number, _ in _failing(_written(scratch / "right", program, right), program, cases)}
    cases = [case for number, case in enumerate(cases) if number not in late]
    failing = _failing(_written(scratch / "wrong", program, text), program, cases)
    if not failing or len(cases) < 2:
        return None
    shortest = min(failing, key=lambda one: len(repr(cases[one[0]])))
    return QuixTask(program, text, statement, tuple(cases), shortest[0])


def _written(folder: Path, program: str, text: str) -> Path:
    folder = folder / program
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{program}.py").write_text(text, encoding="utf-8")
    return folder


def _split(source: str, program: str) -> tuple[str, str]:
    """A program and its description, which QuixBugs has below it: the description becomes the statement."""
    found = re.search(r'^"""(.*?)"""', source, re.DOTALL | re.MULTILINE)
    described = found.group(1).strip() if found else ""
    text = source.replace(found.group(0), "").rstrip() + "\n" if found else source
    return text, f"`{program}` gives a wrong answer or never ends.\n\n{described}".strip()


def _makes_iterator(text: str) -> bool:
    return re.search(r"^\s+yield\b", text, re.MULTILINE) is not None


def _failing(folder: Path, program: str, cases: Sequence[tuple[list[Any], Any]]) -> list[tuple[int, str]]:
    """Numbers of the cases that are answered wrongly, each with the answer."""
    stdin = json.dumps([arguments for arguments, _ in cases]).encode()
    argv = ["python3", "-c", ANSWER, ".", program, str(CASE_S)]
    with open_sandbox(folder, workspace_policy(folder)) as whole, whole.fork() as sandbox:
        done = sandbox.exec(argv, stdin=stdin, timeout_s=CASE_S * len(cases) + 10)
    answers: dict[int, str] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        try:
            number, row = json.loads(line)
            answers.setdefault(int(number), str(row))
        except (ValueError, TypeError):
            continue
    return [
        (number, answers.get(number, "no answer"))
        for number, (_, right) in enumerate(cases)
        if not _same(answers.get(number), right)
    ]


def _same(row: str | None, right: Any) -> bool:
    try:
        answer = json.loads(row) if row is not None else None
    except ValueError:
        return False
    if row is not None and isinstance(right, float) and isinstance(answer, int | float):
        return abs(answer - right) <= 1e-2 * max(1.0, abs(right))
    return row is not None and answer == right


def _commit(folder: Path) -> None:
    identity = ("-c", "user.name=Example", "-c", "user.email=example@example.invalid")
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "Import"]):
        subprocess.run(["git", *words], cwd=folder, check=True)

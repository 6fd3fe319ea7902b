"""Finds all that judges a candidate, in a workspace as it was before.

In: a workspace, and the checks with their reports. Out: a `Frozen` set. It comes from what the checks *run* (files of
the reported tests, the command's words and the scripts behind them, plug-ins, settings, helpers that only tests import)
and from whole classes of names besides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from forklock.tools.contract import ToolFault
from forklock.tools.frozen.check_files import Named, named_files
from forklock.tools.frozen.frozen import Frozen, Judge
from forklock.tools.frozen.imports import importers, supports_tests
from forklock.tools.frozen.patterns import by_settings, data_of_tests
from forklock.tools.frozen.runner_files import (
    is_built,
    is_loaded,
    is_settings,
)
from forklock.tools.frozen.test_parts import Judging
from forklock.tools.index.files import CodeIndex, is_test_path, load_index
from forklock.tools.languages.known import language_of
from forklock.tools.languages.python.language import PYTHON
from forklock.tools.testing.command import parse_command

_LIKE_A_TEST = frozenset({
    "test", "tests", "spec", "specs", "check", "checks", "checker", "verify", "verifier", "validate",
    "selftest", "smoke",    "judge", "grade", "grader", "examine", "bench", "doctests",
})  # fmt: skip
_LOCAL = re.compile(r"""require\(["']\.|from ["']\.|import ["']\.|#include "|^\s*mod \w+;""", re.MULTILINE)


def frozen_of(root: Path, judges: Iterable[Judge]) -> Frozen:
    """All that judges, in a workspace as it was before any candidate."""
    frozen, index = Frozen(), load_index(root, PYTHON)
    imported_by = importers(index)
    for judge in judges:
        named = named_files(root, judge.command, judge.cwd)
        tests = set(_test_files(root, judge))
        tests |= set(by_settings(root)) if judge.report.plan is None else set()
        frozen.whole |= named.data
        frozen.roots |= _roots(root, tests, judge)
        for path in tests | named.code:
            _add_code(frozen, root, path, imported_by, script=path in named.code)
        _add_plan(frozen, index, imported_by, judge)
        frozen.by_exit |= _by_exit(judge)
        frozen.examples |= _runs_examples(root, named, judge, frozen)
    held = {path for path in index.files if frozen.holds(path)}
    frozen.whole |= {path for path in data_of_tests(root, index, held) if not is_settings(path)}
    frozen.whole |= set(_behind_links(root, frozen))
    frozen.here = frozenset(_modules(root, frozen.roots))
    frozen.alone = frozenset(_alone(root, frozen))
    frozen.names = frozenset(_imported_names(frozen))
    return frozen


def _by_exit(judge: Judge) -> bool:
    try:
        return judge.report.plan is None and parse_command(judge.command).runner == "other"
    except ToolFault:
        return True


def _test_files(root: Path, judge: Judge) -> Iterator[str]:
    plan = judge.report.plan
    if plan is not None:
        yield from (path for path in (*plan.tests, *plan.broken) if (root / path).is_file())
        yield from (path for path in plan.doctests if not language_of(path).examples)
    ids = [*judge.report.passed, *(failure.test_id for failure in judge.report.failures)]
    folders = dict.fromkeys((judge.cwd, *_start_folders(judge), ".", "src"))
    seen: set[str] = set()
    for test_id in ids:
        for name in _files_of(test_id):
            if name in seen:
                continue
            seen.add(name)
            found = (PurePosixPath(os.path.normpath(f"{folder}/{name}")).as_posix() for folder in folders)
            yield from (path for path in found if not path.startswith("..") and (root / path).is_file())


def _start_folders(judge: Judge) -> list[str]:
    """Where unittest looks: `-s`, and the word after `discover`."""
    words = judge.command.split()
    named = [
        words[at + 1]
        for at, word in enumerate(words[:-1])
        if word in {"-s", "--start-directory", "discover", "-t"}
    ]
    return [os.path.normpath(f"{judge.cwd}/{name}") for name in named if not name.startswith("-")]


def _files_of(test_id: str) -> Iterator[str]:
    """Files that an id may name: `tests/x.py::T::t`, `pkg.mod.Class.test`, `src/x.spec.ts > suite > test`."""
    plain = test_id.removeprefix("unittest.loader._FailedTest.").partition("[")[0]
    if "::" in plain or " > " in plain:
        yield re.split(r"::| > ", plain)[0]
        return
    parts = plain.partition(" ")[0].split(".")
    for count in range(len(parts), 0, -1):
        yield f"{'/'.join(parts[:count])}.py"


def _add_code(
    frozen: Frozen, root: Path, path: str, imported_by: dict[str, set[str]], *, script: bool
) -> None:
    """A code file that the check runs: whole, or its tests alone where it is also what they test."""
    words = {word.lower() for word in re.split(r"[._-]+", PurePosixPath(path).stem)}
    if is_test_path(path) or words & _LIKE_A_TEST or not language_of(path).reads:
        frozen.whole.add(path)
    elif not language_of(path).imports_known:
        text = _text(root / path)
        if _LOCAL.search(text):
            frozen.whole.add(path)
    elif any(path in users for users in imported_by.values()) and not imported_by.get(path):
        frozen.whole.add(path)  # it uses others, and no other uses it
    else:
        frozen.parts[path] = Judging(script=script)


def _add_plan(frozen: Frozen, index: CodeIndex, imported_by: dict[str, set[str]], judge: Judge) -> None:
    plan = judge.report.plan
    if plan is None:
        loaded: set[str] = set(index.files)
    else:
        loaded = set(plan.loaded)
        frozen.whole |= {path for path in plan.plugins if path not in frozen.parts}
        frozen.whole |= {path for path in plan.settings if not is_settings(path)}
        frozen.installed |= set(plan.installed)
        for path in plan.doctests:
            if language_of(path).examples and frozen.holds(path) is None:
                frozen.parts.setdefault(path, Judging(tests=False, script=False))
    tests = {path for path in index.files if frozen.holds(path)}
    grown = True
    while grown:  # helpers of helpers
        users = {path for path in loaded - tests if imported_by.get(path) and imported_by[path] <= tests}
        more = {path for path in users if path in index.files and supports_tests(index.files[path])} - set(
            frozen.parts
        )
        grown = bool(more)
        frozen.whole |= more
        tests |= more


def _roots(root: Path, tests: Iterable[str], judge: Judge) -> set[str]:
    """Folders from which the check's imports may start, as pytest and Python put them on the path."""
    found = {"" if judge.cwd == "." else judge.cwd}
    for path in tests:
        folder = PurePosixPath(path).parent
        found.add("" if str(folder) == "." else str(folder))
        while str(folder) != "." and (root / folder / "__init__.py").exists():
            folder = folder.parent
        found.add("" if str(folder) == "." else str(folder))
    try:
        given = parse_command(judge.command).env.get("PYTHONPATH", "").split(":")
    except ToolFault:
        given = []
    found |= {os.path.normpath(f"{judge.cwd}/{one}") for one in given if one and not one.startswith("/")}
    return {"" if one == "." else one for one in found if not one.startswith("..")}


def _modules(root: Path, roots: Iterable[str]) -> Iterator[str]:
    """Modules that can be imported from some folders: `folder/name`."""
    for folder in roots:
        if not (root / folder).is_dir():
            continue
        for found in (root / folder).iterdir():
            package = found.is_dir() and any(found.glob("*.py"))
            if package or (found.is_file() and is_loaded(found.name)):
                yield f"{folder}/{found.name.partition('.')[0]}".lstrip("/")


def _alone(root: Path, frozen: Frozen) -> Iterator[str]:
    for path in {*frozen.whole, *frozen.parts}:
        stem = path.removesuffix(".py")
        if stem != path and not any((root / stem).glob("__init__.*")):
            yield stem


def _imported_names(frozen: Frozen) -> Iterator[str]:
    for path in {*frozen.whole, *frozen.parts}:
        pure = PurePosixPath(path)
        if pure.suffix != ".py":
            continue
        module = pure.parent if pure.stem in {"__init__", "__main__"} else pure.with_suffix("")
        folder = "" if str(module.parent) == "." else str(module.parent)
        if module.name and folder in frozen.roots:
            yield module.name


def _runs_examples(root: Path, named: Named, judge: Judge, frozen: Frozen) -> bool:
    if judge.report.plan is not None and judge.report.plan.doctests:
        return True
    texts = [judge.command, named.mentions]
    tests = [
        path
        for path in frozen.whole
        if language_of(path).examples or path.endswith((".sh", ".ini", ".cfg", ".toml"))
    ]
    return any("doctest" in text for text in texts) or any("doctest" in _text(root / path) for path in tests)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as source:
            return source.read(1_000_000).decode("utf-8", "replace")
    except OSError:
        return ""


def _behind_links(root: Path, frozen: Frozen) -> Iterator[str]:
    """Where frozen links lead to, inside the workspace."""
    base = root.resolve()
    for path in _links(base):
        try:
            target = (base / path).resolve()
        except (OSError, RuntimeError):
            continue
        inside = target.is_relative_to(base) and target != base
        if inside and (frozen.holds(path) or frozen.holds(f"{path}/x")):
            yield target.relative_to(base).as_posix()
    for path in list(frozen.whole):
        target = (base / path).resolve()
        if target.is_relative_to(base) and target != base:
            yield target.relative_to(base).as_posix()


def _links(base: Path) -> Iterator[str]:
    """Symbolic links of a tree, what is installed or built left out."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(base / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}".lstrip("/")
                    if entry.is_symlink():
                        yield path
                    elif entry.is_dir() and not is_built(path) and entry.name not in {".git", ".forklock"}:
                        waiting.append(path)
        except OSError:
            continue

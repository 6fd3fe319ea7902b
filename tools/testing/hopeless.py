"""Finds checks that no change of the code can make pass: the command is wrong, or something that it needs is missing.

In: a command, what it said of the untouched workspace, the workspace. Out: why it is hopeless, in the runner's own
last words, and what to do; None where the code may be to blame. A wrong refusal costs the user the run, so only what
is surely not the code's fault counts: no such file, test or option, nothing selected, everything skipped, a module
that has to be installed. Broken imports between the repository's own modules, and code that does not compile, are
tasks.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from forklock.tools.contract import TestReport, TestStatus, ToolFault
from forklock.tools.index.files import code_files, is_test_path
from forklock.tools.languages.python.language import PYTHON
from forklock.tools.testing.command import Command, parse_command

_WORDS = 700
_STARTERS = re.compile(r"^(?:python[\d.]*|pypy[\d.]*|sh|bash|dash|zsh|node|deno|ruby|perl|php|lua)$")
_SAID = re.compile(
    r"^(?:ERROR: |error: |Error: )?(?:"
    # make, just, rake, task
    r"g?make(?:\[\d+\])?: \*\*\* No rule to make target [`'\"](?P<goal>[^'\"`]+)['\"`]\.  Stop\."
    r"|g?make(?:\[\d+\])?: \*\*\* No targets specified and no makefile found\..*"
    r"|g?make(?:\[\d+\])?: \*\*\* \[.*\] Error 12[67]"
    r"|just(?:file)? does not contain recipe .*|Don't know how to build task .*|task: Task .* does not exist"
    r"|g?make(?:\[\d+\])?: \*\*\* .*: No such file or directory\.  Stop\."
    # npm and its like
    r"|(?:npm (?:ERR!|error) )?Missing script: .*|npm (?:ERR!|error) enoent .*package\.json.*"
    r"|.*ERR_PNPM_NO_(?:SCRIPT|IMPORTER_MANIFEST_FOUND).*|Command \"[^\"]+\" not found\.?|Script not found \".*"
    r"|Couldn't find a package\.json.*"
    # runners of scripts
    r"|Could not find '[^']+'|\S*node: bad option: .*|No test (?:files|suites?) found.*"
    r"|No tests found, exiting with code 1|CACError: Unknown option.*|.*Unrecognized CLI Parameter.*"
    # cargo, go, ctest
    r"|could not find `Cargo\.toml`.*|no (?:test|bin|example|bench) target named .*|no such (?:sub)?command.*"
    r"|unexpected argument .* found|package ID specification .* did not match any packages"
    r"|go: (?:cannot find main module|go\.mod file not found).*|flag provided but not defined: .*"
    r"|no Go files in .*|(?:pattern \S+: )?directory .* (?:not found|outside main module.*)"
    r"|no tests were found!*|.*Failed to change working directory.*"
    # Python
    r"|\S*python[\d.]*: (?:No module named \S+|can't open file .*|Error while finding module specification for .*)"
    r"|.*Start directory is not importable.*|.*: error: unrecognized arguments: .*|unrecognized arguments: .*"
    r"|unknown environment '.*'|provided environments not found in configuration file:.*|Sessions not found: .*"
    r")\s*$",
    re.MULTILINE | re.IGNORECASE,
)
_CONFTEST = re.compile(r"while loading conftest|ConftestImportFailure")
_PLUGIN = re.compile(r"Error importing plugin \"([\w.]+)\"")
_NO_MODULE = re.compile(r"No module named '([A-Za-z_][\w./-]*)'")
_NO_ATTRIBUTE = re.compile(r"has no attribute '(\w+)'")


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Why a check can never pass, and what to do."""

    message: str
    fix: str


def why_hopeless(
    command: str,
    report: TestReport,
    root: Path,
    *,
    cwd: str = ".",
    task: str = "",
    install: Callable[[str], str] | None = None,
) -> Hopeless | None:
    """Why the check can never pass, whatever the code is; None where it may.

    Args:
        cwd: the folder that it ran in, below `root`.
        task: the task as text: modules that it names may have to be written.
        install: module name → advice that makes it available to tests in this sandbox.
    """
    if report.status in (TestStatus.PASSED, TestStatus.TIMED_OUT, TestStatus.OUT_OF_MEMORY):
        return None
    try:
        parsed = parse_command(command)
    except ToolFault:
        return None
    missing = _missing_module(parsed, report, root, task)
    if missing is not None:
        return _module_words(command, missing, root, cwd, install)
    reason = _reason(parsed, report, root, cwd)
    if reason is None:
        return None
    place = "at the top of the repository" if cwd == "." else f"in {cwd}/, where you are"
    return Hopeless(
        f"`{command}` can never pass: {reason}{_last_words(report)}",
        fix=f"the command runs {place}, in a copy of the repository: try it there yourself, then give one that runs "
        "and fails",
    )


def _last_words(report: TestReport) -> str:
    lines = [line for line in report.output.splitlines() if line.strip()][-8:]
    text = "\n".join(lines)[-_WORDS:]
    return f". It said:\n{text}" if text else ""


# --- the command -----------------------------------------------------------------------------------------------


def _reason(command: Command, report: TestReport, root: Path, cwd: str) -> str | None:
    if report.status is TestStatus.NOT_STARTED:
        return "it cannot be started"
    script = _missing_script(command, root / cwd)
    if script is not None:
        return f"there is no file {script}"
    if command.runner == "pytest":
        return _pytest(report, root / cwd)
    if command.runner == "unittest" and (name := _mistyped(command, report, root / cwd)) is not None:
        return f"there is no test {name}"
    if report.total:
        return None
    said = _SAID.search(report.output)
    if said is not None and (said["goal"] is None or said["goal"] in command.argv):
        return "what it names is not there"
    if report.exit_code == 0 or (command.runner == "unittest" and _ran_nothing(report)):
        return "it runs no test"
    return None


def _ran_nothing(report: TestReport) -> bool:
    return (
        report.exit_code == 5
        or re.search(r"^(?:NO TESTS RAN|Ran 0 tests)\b", report.output, re.MULTILINE) is not None
    )


def _missing_script(command: Command, folder: Path) -> str | None:
    """The file that an interpreter is told to run, if it does not exist."""
    if command.runner not in ("other", "node") or not _STARTERS.match(PurePosixPath(command.argv[0]).name):
        return None
    for word in command.argv[1:]:
        if word.startswith("-"):
            if word in {
                "-c",
                "-m",
                "-e",
                "--eval",
                "-p",
                "-X",
                "-W",
                "-o",
                "-r",
                "--require",
                "--import",
                "--test",
            }:
                return None  # what follows is no file, or is its value
            continue
        absent = not (folder / word).exists() and not re.search(r"[*?\[{]", word)
        return word if absent and not word.startswith("/") else None
    return None


def _pytest(report: TestReport, folder: Path) -> str | None:
    code, broken = report.exit_code, report.plan is not None and bool(report.plan.broken)
    if report.total or broken or _CONFTEST.search(report.output):
        return None
    if code == 4:
        return "pytest does not understand it, or does not find what it names"
    if code == 5:
        return "no test is selected"
    if code == 0:
        return "every test is skipped"
    plugin = _PLUGIN.search(report.output)
    if plugin is not None and not (folder / plugin[1].replace(".", "/")).with_suffix(".py").exists():
        return f"there is no plug-in {plugin[1]}"
    return None


def _mistyped(command: Command, report: TestReport, folder: Path) -> str | None:
    """A name of the command that unittest could not load, where no file or class of that name is there."""
    for failure in report.failures:
        kind, found, rest = failure.test_id.partition("unittest.loader._FailedTest.")
        if kind or not found:
            continue
        for word in command.argv[command.at :]:
            parts = word.removesuffix(".py").replace("/", ".").split(".")
            absent = _NO_ATTRIBUTE.search(failure.message)
            if absent and absent[1] == rest and rest in parts[1:]:
                return word
            named = _NO_MODULE.search(failure.message)
            place = folder / parts[0]
            there = place.is_dir() or place.with_suffix(".py").exists()
            if named and (
                named[1] == word.removesuffix(".py") or (named[1].split(".")[0] == parts[0] and not there)
            ):
                return word
    return None


# --- modules -----------------------------------------------------------------------------------------------------


def _missing_module(command: Command, report: TestReport, root: Path, task: str) -> str | None:
    """A module without which files of tests cannot be read, that is not installed and that the task cannot mean to
    write."""
    if command.runner not in ("pytest", "unittest"):
        return None
    said = [*(f.message for f in report.failures if _is_collection(command, f.test_id)), *_startup(report)]
    words = [*command.argv[command.at :]]
    for name in dict.fromkeys(name for text in said for name in _NO_MODULE.findall(text)):
        first = name.split(".")[0]
        if any(first in re.split(r"[./:]", word) for word in words):
            continue  # a name that the user typed
        own = _own_module(root, first)
        if own is not None and "." in name:
            continue  # a part of the repository's own that is to be written
        if own is None and (re.search(rf"\b{re.escape(first)}\b", task) or _misspelt(first, root)):
            continue
        return str(name)
    return None


def _startup(report: TestReport) -> Iterator[str]:
    if _CONFTEST.search(report.output) or (not report.total and report.status is TestStatus.NOT_COLLECTED):
        yield report.output


def _is_collection(command: Command, test_id: str) -> bool:
    return test_id.startswith("unittest.loader.") if command.runner == "unittest" else "::" not in test_id


def _own_module(root: Path, name: str) -> str | None:
    """The folder in which the repository has a module of that name; a mere folder so named is the last guess."""
    guess = None
    for path in code_files(root, PYTHON):
        parts = PurePosixPath(path).parts
        if is_test_path(path):
            continue
        for depth, part in enumerate(parts):
            folder = "/".join(parts[:depth]) or "."
            if part == f"{name}.py" or (part == name and (root / folder / name / "__init__.py").is_file()):
                return folder
            if part == name:
                guess = guess or folder
    return guess


def _misspelt(name: str, root: Path) -> bool:
    """Whether it is nearly the name of an existing module: then the import may be the mistake."""
    known = {*sys.stdlib_module_names, *(PurePosixPath(path).stem for path in code_files(root, PYTHON))}
    return bool(difflib.get_close_matches(name, known, n=1, cutoff=0.8)) and name not in known


def _module_words(
    command: str, name: str, root: Path, cwd: str, install: Callable[[str], str] | None
) -> Hopeless:
    own = _own_module(root, name.split(".")[0])
    if own is not None:
        folder = os.path.normpath(own)
        path = os.path.relpath(folder, cwd)
        return Hopeless(
            f"`{command}` can never pass: it cannot import {name}, which is the repository's own, in {folder}/",
            fix=f"say where it lies: --test 'PYTHONPATH={path} {command}', or install the repository into a .venv in "
            "it: .venv/bin/python -m pip install -e .",
        )
    way = install(name) if install else "install it into a .venv in the repository, which the sandbox uses"
    return Hopeless(
        f"`{command}` can never pass: the module {name} is not installed where the tests run",
        fix=f"{way}; if the task is to write that module, name {name} in the task",
    )

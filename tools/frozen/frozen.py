"""Says which files a candidate may not change, because they judge it.

In: paths. Out: why a path, or a part of a file, is not to be edited. `forklock.tools.frozen.find` makes the set;
`forklock.tools.frozen.seal` compares the state of all that is frozen in two trees. The seal is the authority: it
is taken before and after the tests run, and covers ignored files, too. Paths count with links followed, both ways.

Not covered: code that changes its judge in memory (they share a process), and data files that tests read while
neither their name nor a script says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from forklock.tools.contract import TestReport
from forklock.tools.frozen.runner_files import (
    hidden_module,
    is_runner_file,
    is_settings,
    settings_that_count,
    shadowed,
)
from forklock.tools.frozen.test_parts import Judging, parts_that_judge
from forklock.tools.index.files import is_test_path
from forklock.tools.languages.known import language_of

_DATA_FOLDERS = frozenset({
    "fixtures", "snapshots", "golden", "goldens", "goldenfiles", "expected", "expectations", "test_data", "test-data",
    "baselines", "approvals", "approved", "cassettes",
})  # fmt: skip
_DATA = re.compile(
    r"(?:^|[._-])(?:expected|golden|snapshot|approved|expectations?)(?=[._-]|$)", re.IGNORECASE
)
_BADLY = r"""\s*(?:[1-9-]|f?["']|EXIT_FAILURE)"""
_ENDING = re.compile(rf"\b(?:_?[eE]xit|quit)\s*\((?!{_BADLY})|\braise\s+SystemExit\b(?!\s*\({_BADLY})")
"""Ends a program, and not with an error."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A check, where it runs, and its report."""

    command: str
    report: TestReport
    cwd: str = "."


@dataclass(slots=True)
class Frozen:
    """What judges a candidate."""

    whole: set[str] = field(default_factory=set)
    """Files, and folders with all that is in them."""
    parts: dict[str, Judging] = field(default_factory=dict)
    """Python files of which only what judges them is frozen."""
    examples: bool = False
    """The checks run examples of docstrings somewhere."""
    roots: set[str] = field(default_factory=lambda: {"", "src", "lib", "python"})
    """Folders that imports may start from."""
    installed: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()
    """Modules that the workspace had at each root, as `root/name`."""
    alone: frozenset[str] = frozenset()
    """Frozen modules beside which there is no package of the same name: their paths without `.py`."""
    by_exit: bool = False
    """A check is judged by its exit code alone."""
    names: frozenset[str] = frozenset()
    """What frozen modules and packages are imported as from a root."""
    nothing: bool = False
    """Nothing judges yet, in a project from nothing: everything may be written."""

    def holds(self, path: str) -> str | None:
        """The reason why all of a file is frozen; None where it is not."""
        if self.nothing:
            return None
        pure = PurePosixPath(path)
        if path in self.whole or any(str(parent) in self.whole for parent in pure.parents):
            return "is run or read by the check"
        if is_test_path(path):
            return "is a test"
        if is_runner_file(path):
            return "says how tests are run"
        code = language_of(path).reads
        if not code and (
            _DATA_FOLDERS & {part.lower() for part in pure.parts[:-1]} or _DATA.search(pure.name)
        ):
            return "holds what tests compare with"
        return None

    def refusal(self, path: str, target: str, *, new: bool) -> str | None:
        """Why a file may not be edited, or made; None where it may, as far as its parts allow (`parts_of`).

        Args:
            target: the path with links followed.
        """
        for one in dict.fromkeys((path, target)):
            reason = self.holds(one)
            if reason is not None:
                linked = f" (a link to {target})" if one != path else ""
                return f"{path}{linked} {reason}: tests are read-only here, repair the code they check"
            module = self.displaced(one) if new else None
            if module is not None:
                return f"{path} would be loaded in place of {module}: what runs the tests is read-only here"
        return None

    def displaced(self, path: str) -> str | None:
        """The module of the runner, or of anything else that judges, in whose place a new file would be loaded."""
        if self.nothing:
            return None
        hidden = hidden_module(path)
        if hidden in self.alone:
            return f"{hidden}.py"
        found = shadowed(path, self.roots, self.installed | self.names)
        return None if found is None or f"{found[1]}/{found[0]}".lstrip("/") in self.here else found[0]

    def ends_early(self, before: str, after: str) -> bool:
        """Whether an edit adds code that ends the program with success, where the check only looks at the exit code."""
        return self.by_exit and len(_ENDING.findall(after)) > len(_ENDING.findall(before))

    def parts_of(self, path: str, content: bytes | None) -> object:
        """The parts of an editable file that have to stay as they are."""
        if self.nothing:
            return ()
        if is_settings(path):
            return settings_that_count(path, content)
        if content is None or not (language_of(path).reads or PurePosixPath(path).suffix):
            return ()
        judging = self.parts.get(path, Judging(tests=False, examples=self.examples, script=False))
        return parts_that_judge(path, content.decode("utf-8", "replace"), judging)

"""Runs inside the sandbox, as a pytest plugin: which functions of the repository each test enters.

One JSON object per test and line of the file FORKLOCK_SPECTRUM_OUT: id, whether it failed, and by path below
FORKLOCK_SPECTRUM_ROOT the lines where the entered functions begin. Fixtures of a test count as the test. Code
that runs on import does not count. Stands alone: any Python from 3.8 on, pytest and the standard library only.

Only entries are traced, not lines: that is some ten times cheaper where a test loops.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set

import pytest

_LEAVE = {".venv", "venv", "env", "site-packages", "node_modules"}


class Spectrum:
    """Traces one test at a time."""

    def __init__(self, root: str, out: str) -> None:
        self.root = Path(root).resolve()
        self.ours = Path(__file__).resolve().parent
        self.out = Path(out)
        self.paths: Dict[str, Optional[str]] = {}
        """Below the root, by file name as the code has it; None for files that do not count."""
        self.failed = False

    def below_root(self, name: str) -> Optional[str]:
        if name.startswith("<"):  # made at run time, or frozen into the interpreter
            return None
        try:
            path = Path(name).resolve()
            below = path.relative_to(self.root)
        except (OSError, ValueError):
            return None
        return None if path.parent == self.ours or _LEAVE & set(below.parts) else below.as_posix()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.failed = False
        entered: Dict[int, Any] = {}  # by identity: two equal code objects may stand in different places

        def enter(frame: Any, _event: str, _arg: Any) -> None:
            entered[id(frame.f_code)] = frame.f_code

        threading.settrace(enter)
        sys.settrace(enter)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)
        row = {"id": item.nodeid, "failed": self.failed, "files": self.by_path(list(entered.values()))}
        with self.out.open("ab", buffering=0) as file:
            file.write(json.dumps(row).encode() + b"\n")

    def by_path(self, codes: List[Any]) -> Dict[str, List[int]]:
        found: Dict[str, Set[int]] = {}
        for code in codes:
            name = code.co_filename
            if name not in self.paths:
                self.paths[name] = self.below_root(name)
            path = self.paths[name]
            if path is not None:
                found.setdefault(path, set()).add(code.co_firstlineno)
        return {path: sorted(lines) for path, lines in found.items()}

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.failed = self.failed or report.failed


def pytest_configure(config: Any) -> None:
    root, out = os.environ["FORKLOCK_SPECTRUM_ROOT"], os.environ["FORKLOCK_SPECTRUM_OUT"]
    config.pluginmanager.register(Spectrum(root, out), "forklock-spectrum")

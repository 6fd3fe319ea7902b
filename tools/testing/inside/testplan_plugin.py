"""Runs inside the sandbox, as a pytest plugin: what a run is made of, and how it came to its end.

Two JSON files beside FORKLOCK_PLAN: the plan once all is collected (files of the tests, settings, conftests, plug-ins,
names of installed modules), and `.end` with the outcomes as they were reported here, under a word that the tested code
is not told. Plug-ins that a folder of the workspace registers are not loaded where FORKLOCK_PLAN_OWN says so. Stands
alone: any Python from 3.6 and pytest from 6 on.
"""

import json
import os
import sys
from typing import Any, Dict, List, Optional, Set

import pytest

_OUT = os.environ.get("FORKLOCK_PLAN", "")  # stays: workers of pytest-xdist collect, too
_ROOT = os.path.realpath(os.environ.get("FORKLOCK_PLAN_ROOT", "."))
_WORD = os.environ.pop("FORKLOCK_PLAN_WORD", "")
_OWN = os.environ.get("FORKLOCK_PLAN_OWN", "")
_LEAVE = {".venv", "venv", "env", "site-packages", "dist-packages", "node_modules"}


def _below(name: Any) -> Optional[str]:
    """A file's path below the workspace, links followed; None outside, and for what is installed."""
    try:
        path = os.path.relpath(os.path.realpath(str(name)), _ROOT)
    except (OSError, ValueError):
        return None
    parts = path.split("/")
    return (
        None
        if parts[0] == ".." or parts[0].startswith(".forklock-") or _LEAVE & set(parts)
        else "/".join(parts)
    )


def _file_of(module: Any) -> Any:
    try:
        return module.__dict__.get("__file__")
    except AttributeError:
        return None


class Plan:
    def __init__(self, config: Any) -> None:
        self.config = config
        self.broken: List[str] = []
        self.passed: Set[str] = set()
        self.failed: Set[str] = set()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.broken.append(str(report.nodeid))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: Any) -> None:
        files: Dict[str, bool] = {}
        for item in session.items:
            path = _below(getattr(item, "fspath", None) or getattr(item, "path", ""))
            if path is not None:
                files[path] = files.get(path, False) or type(item).__name__ != "DoctestItem"
        _write(_OUT, {
            "tests": sorted(path for path, whole in files.items() if whole),
            "doctests": sorted(path for path, whole in files.items() if not whole),
            "broken": [self._at_root(node) for node in self.broken],
            "settings": self._settings(),
            "plugins": self._plugins(),
            "loaded": sorted(filter(None, {_below(_file_of(m)) for m in list(sys.modules.values()) if _file_of(m)})),
            "installed": sorted({name.partition(".")[0] for name, m in list(sys.modules.items())
                                 if _file_of(m) and _below(_file_of(m)) is None}),
        })  # fmt: skip

    def _at_root(self, node: str) -> str:
        root = getattr(self.config, "rootdir", None) or getattr(self.config, "rootpath", ".")
        return _below("{}/{}".format(root, node.partition("::")[0])) or node

    def _settings(self) -> List[str]:
        ini = getattr(self.config, "inipath", None) or getattr(self.config, "inifile", None)
        found = [_below(ini)] if ini else []
        return [path for path in found if path is not None]

    def _plugins(self) -> List[str]:
        manager = self.config.pluginmanager
        registered = {id(plugin) for plugin, _ in manager.list_plugin_distinfo()}
        named = [p for p in manager.get_plugins() if id(p) not in registered and _file_of(p)]
        return sorted(path for path in {_below(_file_of(p)) for p in named} if path is not None)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: Any) -> None:
        if not hasattr(self.config, "workerinput"):
            _write(_OUT + ".end", {"word": _WORD, "exit": int(exitstatus), "passed": len(self.passed),
                                   "failed": len(self.failed)})  # fmt: skip


def _write(
    path: str, told: Dict[str, Any], dumps: Any = json.dumps, write: Any = open, rename: Any = os.replace
) -> None:
    part = "{}.{}".format(path, os.getpid())
    with write(part, "w", encoding="utf-8") as out:
        out.write(dumps(told))
    rename(part, path)


def pytest_addoption(pluginmanager: Any) -> None:
    if not _OWN:
        return
    try:
        from importlib.metadata import distributions
    except ImportError:
        return
    for one in distributions():
        if _below(getattr(one, "_path", "/")) is not None:
            for point in one.entry_points:
                if point.group == "pytest11":
                    pluginmanager.set_blocked(point.name)


def pytest_configure(config: Any) -> None:
    if _OUT:
        config.pluginmanager.register(Plan(config), "forklock-plan")

"""Tells files that say how tests are run from files that are tested.

In: a path, and where needed a file's bytes. Out: whether the path names settings, plug-ins or programs of a test
runner; the part of a settings file that a runner may read; whether a new file takes the place of a module that the
runner loads. Whole classes of names count, in any folder. An unknown section of a settings file counts: a section is
free only where it is known to be harmless. Pure.

Not covered: code under test that changes its runner while both run in one process.
"""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from forklock.sandbox.files.reading import parse_json, parse_toml

_NAMES = frozenset({
    "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "tox.toml", "noxfile.py",
    "sitecustomize.py", "usercustomize.py", "entry_points.txt", "pyvenv.cfg", "unittest.cfg", ".coveragerc",
    "makefile", "gnumakefile", "bsdmakefile", "justfile", ".justfile", "taskfile.yml", "taskfile.yaml", "rakefile",
    "build.ninja", "cmakelists.txt", "cmakepresets.json", "cmakeuserpresets.json", "meson.build", "meson_options.txt",
    "build.bazel", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "pom.xml",
    "build.xml",
    "build.rs", "rust-toolchain", "rust-toolchain.toml", "nextest.toml", "go.mod", "go.work", "go.sum", "modules.txt",
    "deno.json", "deno.jsonc", "bunfig.toml", ".npmrc", ".yarnrc", ".yarnrc.yml", "nx.json", "turbo.json",
    "lerna.json",
    "karma.conf.js", "wallaby.js", "gruntfile.js", "gulpfile.js", "phpunit.xml", "phpunit.xml.dist", ".rspec",
    "dockerfile", ".env", ".envrc", ".python-version", ".tool-versions", ".nvmrc", "mise.toml", ".mise.toml",
})  # fmt: skip
"""In lower case: some file systems do not tell the cases apart."""
_STEMS = frozenset({
    "jest", "vitest", "vite", "mocha", "ava", "playwright", "cypress", "jasmine", "karma", "babel", "tap",
    "web-test-runner",
    "nyc", "c8", "swc", "webpack", "rollup", "esbuild", "metro",
})  # fmt: skip
_CONFIGS = re.compile(
    r"^\.?(?P<tool>[a-z0-9-]+?)(?:\.(?:config|conf|workspace|setup|projects))(?:\.[\w.-]+)?$"
)
_RC = re.compile(r"^\.(?P<tool>[a-z0-9-]+?)rc(?:\.(?:c?js|mjs|ts|json5?|ya?ml|toml))?$")
_SUFFIXES = frozenset({
    ".pth", ".mk", ".mak", ".cmake", ".pyc", ".pyo", ".t", ".bats", ".feature", ".robot", ".snap", ".gradle",
    ".egg-link",
})  # fmt: skip
_FOLDERS = re.compile(
    r"(?:\.dist-info|\.egg-info)$|^(?:__pycache__|__snapshots__|node_modules|site-packages"
    r"|dist-packages|\.venv|\.tox|\.nox|\.cargo|\.config|\.github|\.husky|\.yarn|\.eggs)$"
)
_BUILT = frozenset({
    "node_modules", "site-packages", "dist-packages", ".venv", ".tox", ".nox", "__pycache__", ".eggs", ".cache",
    "CMakeFiles", "target", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis",
})  # fmt: skip
_INJECTED = frozenset({
    "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "sitecustomize.py",
    "usercustomize.py", "entry_points.txt",
})  # fmt: skip

RUNNER_MODULES = frozenset({
    "pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli", "attr",
    "attrs", "py",
    "colorama", "typing_extensions", "xdist", "execnet", "hypothesis", "mock", "coverage", "nose", "nose2",
    "unittest2",
    "testtools", "trial", "ward", "behave", "robot", "anyio", "importlib_metadata", "zipp", "faulthandler",
    "readline",
    "sitecustomize", "usercustomize",
})  # fmt: skip
"""Modules that runners and their usual plug-ins load, beside the standard library."""


def is_runner_file(path: str) -> bool:
    """Whether all of a file is a runner's settings, a plug-in's registration or what a build runs."""
    pure = PurePosixPath(path)
    name = pure.name.casefold()
    if name in _NAMES or pure.suffix.casefold() in _SUFFIXES or name.startswith(("makefile.", "dockerfile.")):
        return True
    if any(_FOLDERS.search(part) for part in pure.parts[:-1]) or _FOLDERS.search(pure.name):
        return True
    known = _CONFIGS.match(name) or _RC.match(name)
    return known is not None and known["tool"] in _STEMS


def is_injected(path: str) -> bool:
    """Whether a file that appears while tests run says how the next ones are run."""
    pure = PurePosixPath(path)
    return pure.name.casefold() in _INJECTED or pure.suffix.casefold() == ".pth"


def is_built(path: str) -> bool:
    """Whether a path lies in what tools install or build, and may write at any time."""
    return bool(_BUILT & set(PurePosixPath(path).parts))


# --- settings files that hold other things, too ------------------------------------------------------------

_FREE_TOOLS = frozenset({
    "black", "ruff", "isort", "mypy", "pyright", "basedpyright", "pylint", "flake8", "bandit", "commitizen",
    "bumpversion",
    "towncrier", "semantic_release", "pydocstyle", "interrogate", "codespell", "vulture", "autopep8", "yapf",
    "djlint",
})  # fmt: skip
_FREE_PROJECT = frozenset({
    "name", "version", "description", "readme", "license", "license-files", "authors", "maintainers", "keywords",
    "classifiers", "urls", "dependencies", "optional-dependencies", "requires-python", "scripts",
    "gui-scripts", "dynamic",
})  # fmt: skip
_FREE_SETUP = frozenset({"metadata", "bdist_wheel", "sdist", "check", "upload", "egg_info"})
_FREE_PACKAGE = frozenset({
    "name", "version", "description", "keywords", "homepage", "bugs", "license", "author", "contributors", "funding",
    "repository", "dependencies", "peerDependencies", "optionalDependencies", "engines", "private", "files",
    "eslintConfig",
    "prettier", "browserslist", "publishConfig",
})  # fmt: skip
_FREE_CARGO = frozenset({"dependencies", "features", "lints", "badges"})
_FREE_CARGO_PACKAGE = frozenset({
    "name", "version", "description", "license", "authors", "keywords", "categories", "readme", "repository",
    "homepage",
    "documentation", "rust-version",
})  # fmt: skip

SETTINGS = frozenset({"pyproject.toml", "setup.cfg", "package.json", "cargo.toml"})


def is_settings(path: str) -> bool:
    """Whether a file holds a runner's settings beside others."""
    return PurePosixPath(path).name.casefold() in SETTINGS


def settings_that_count(path: str, content: bytes | None) -> object:
    """The part of a settings file that a runner may read; the whole text where it cannot be parsed, None where there
    is nothing."""
    if content is None:
        return None
    text = content.decode("utf-8", "replace")
    try:
        return _READERS[PurePosixPath(path).name.casefold()](text) or None
    except (ValueError, configparser.Error, RecursionError, AttributeError, TypeError):
        return text


def _pyproject(text: str) -> object:
    found = parse_toml(text.encode())
    tools = _without(found.pop("tool", {}), _FREE_TOOLS)
    project = _without(found.pop("project", {}), _FREE_PROJECT)
    found.pop("dependency-groups", None)
    return _filled({**found, "tool": tools, "project": project})


def _setup(text: str) -> object:
    read = configparser.RawConfigParser(strict=False)
    read.read_string(text)
    free = _FREE_SETUP | _FREE_TOOLS
    kept = {name: dict(read[name]) for name in read.sections() if name.split(":")[-1] not in free}
    if "options" in kept:
        kept["options"] = {
            k: v for k, v in kept["options"].items() if k not in {"install_requires", "python_requires"}
        }
    kept.pop("options.extras_require", None)
    return _filled({**kept, "DEFAULT": dict(read.defaults())})


def _package(text: str) -> object:
    return _filled(_without(parse_json(text), _FREE_PACKAGE))


def _cargo(text: str) -> object:
    found = _without(parse_toml(text.encode()), _FREE_CARGO)
    if "package" in found:
        found["package"] = _without(found["package"], _FREE_CARGO_PACKAGE)
    return _filled(found)


_READERS = {"pyproject.toml": _pyproject, "setup.cfg": _setup, "package.json": _package, "cargo.toml": _cargo}


def _without(table: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name not in names}


def _filled(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if value not in ({}, [], None)}


# --- modules in the place of others --------------------------------------------------------------------------


_LOADED = re.compile(r"\.(py[cwdi]?|so|zip|egg)$")


def is_loaded(name: str) -> bool:
    """Whether a file's name is that of a module."""
    return _LOADED.search(name) is not None


_HIDES = re.compile(
    r"(?:^|(?P<folder>.*)/)(?:__init__\.(?:pyc?|.*so|pyd)|(?P<name>[^./]+)\.(?:.*\.)?(?:so|pyd))$"
)


def hidden_module(path: str) -> str | None:
    """The path, without `.py`, of the module beside this file that Python would no longer load: a package and a
    compiled module come before a module of the same name."""
    found = _HIDES.match(path)
    if found is None:
        return None
    return "/".join(filter(None, (found["folder"], found["name"]))) or None


def shadowed(path: str, roots: Collection[str], installed: Collection[str] = ()) -> tuple[str, str] | None:
    """The runner's or the standard library's module in whose place a new file would be loaded, and the folder that it
    would be loaded from.

    Args:
        roots: folders that imports start from, "" for the top.
        installed: more names of modules that the check loads from outside.
    """
    pure = PurePosixPath(path)
    for depth, part in enumerate(pure.parts):
        root = "/".join(pure.parts[:depth])
        last = depth == len(pure.parts) - 1
        if root not in roots or (last and not is_loaded(part)):
            continue
        name = part.partition(".")[0] if last else part
        if (
            name in RUNNER_MODULES
            or name in sys.stdlib_module_names
            or name in installed
            or name.startswith("pytest_")
        ):
            return name, root
    return None


# --- Python's runners alone ------------------------------------------------------------------------------------

_PYTHON = frozenset({
    "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "sitecustomize.py",
    "usercustomize.py", "entry_points.txt", "pyvenv.cfg", "unittest.cfg",
})  # fmt: skip
_PYTHON_FOLDERS = re.compile(
    r"(?:\.dist-info|\.egg-info)$|^(?:__pycache__|site-packages|dist-packages|\.venv|\.eggs)$"
)
_PYTEST_SECTION = re.compile(r"^[ \t]*\[[^\n]*pytest[^\n]*(?:\n(?!\[)[^\n]*)*", re.MULTILINE | re.IGNORECASE)


def is_python_runner_file(path: str) -> bool:
    """Whether a file says how pytest or unittest run, once all is installed: `is_runner_file` without builds."""
    pure = PurePosixPath(path)
    known = pure.name.casefold() in _PYTHON or pure.suffix.casefold() in {".pth", ".pyc", ".pyo", ".egg-link"}
    return known or any(_PYTHON_FOLDERS.search(part) for part in pure.parts)


def pytest_settings(path: str, content: bytes | None) -> object:
    """What pytest reads of a `pyproject.toml` or `setup.cfg`; the whole text where it cannot be read."""
    text = (content or b"").decode("utf-8", "replace")
    if PurePosixPath(path).name.casefold() == "setup.cfg":
        try:
            configparser.RawConfigParser(strict=False).read_string(text)
        except configparser.Error:
            return text
        return _PYTEST_SECTION.findall(text)
    try:
        tools = parse_toml(text.encode()).get("tool", {})
        return {name: value for name, value in tools.items() if name.startswith("pytest")}
    except (ValueError, RecursionError, AttributeError):
        return text

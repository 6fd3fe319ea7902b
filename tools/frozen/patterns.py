"""Finds test files and their data from settings and texts, where no runner reports them.

In: a workspace, its index. Out: paths: files that match the patterns of a runner's settings (`python_files`,
`testMatch`), for runners that a script starts; and data files that tests name and no other code does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from forklock.tools.index.files import CodeIndex, all_files
from forklock.tools.languages.known import language_of

_SETTINGS = re.compile(
    r"(?:^|/)(?:\.?pytest\.(?:ini|toml)|tox\.ini|setup\.cfg|pyproject\.toml|package\.json|\.mocharc\.\w+"
    r"|(?:jest|ava|mocha)\.config\.\w+)$"
)
_GIVEN = re.compile(
    r"(?:python_files[\"']?\s*=|[\"']?(?:testMatch|testRegex|spec)[\"']?\s*:)\s*"
    r"(\[[^\]]*\]|[^\n]*(?:\n[ \t]+[^\n=\[]+)*)"
)
_PATTERN = re.compile(r"[\w./*?-]*\*[\w./*?-]*|[\w./-]+\.\w+")
_NAME = re.compile(r"[\w-][\w.-]*\.[A-Za-z]\w{0,9}\b")
_MAX_BYTES = 1_000_000


def by_settings(root: Path) -> Iterator[str]:
    """Files that a runner's settings call tests."""
    paths = all_files(root)
    patterns: set[str] = set()
    for path in paths:
        if _SETTINGS.search(path):
            for given in _GIVEN.findall(_text(root / path)):
                patterns |= {pattern.removeprefix("./") for pattern in _PATTERN.findall(given)}
    # What matches everything says nothing of what is a test.
    patterns = {p.replace("**/", "*") for p in patterns if not re.fullmatch(r"[*/]*(\.\w+)?", p)}
    for path in paths if patterns else ():
        if language_of(path).reads:
            name = PurePosixPath(path).name
            if any(fnmatch(path, pattern) or fnmatch(name, pattern) for pattern in patterns):
                yield path


def data_of_tests(root: Path, index: CodeIndex, tests: Collection[str]) -> Iterator[str]:
    """Files other than code that only tests name."""
    named: set[str] = set()
    elsewhere: set[str] = set()
    for path, file in index.files.items():
        (named if path in tests else elsewhere).update(_NAME.findall(file.text))
    only = named - elsewhere
    for path in all_files(root) if only else ():
        if PurePosixPath(path).name in only and not language_of(path).reads:
            yield path


def _text(file: Path) -> str:
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > _MAX_BYTES:
            return ""
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""

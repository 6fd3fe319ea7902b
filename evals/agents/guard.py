"""evals: changes of an agent to how tests are run, rather than to what they test.

In: the paths that an agent changed. Out: those that are left out of its answer, as changes to the hidden tests are: a
`conftest.py` or a setting of pytest could call every test passed. Not covered, since it cannot be: the code under
test shares a process with its tests, and could do the same from any module.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from sandbox.reading import Unreadable, parse_toml

_NAMES = frozenset(
    {"conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "sitecustomize.py", "usercustomize.py"}
)
_RUNNER = frozenset({"pytest", "_pytest", "pluggy", "iniconfig", "unittest"})
"""What a module beside the code would take the place of, since its folder is the first that is looked in."""
_SETTINGS = frozenset({"pyproject.toml", "setup.cfg"})

Content = Callable[[str], bytes | None]
"""A file's content; None where there is none."""


def changes_of_the_runner(changed: Iterable[str], before: Content, after: Content) -> list[str]:
    """Those of `changed` that say how tests are run."""
    return [path for path in changed if _says_how(path, before, after)]


def _says_how(path: str, before: Content, after: Content) -> bool:
    place = PurePosixPath(path)
    if place.name in _NAMES or place.suffix == ".pth":
        return True
    if path in _SETTINGS:
        return _pytest_settings(path, before(path)) != _pytest_settings(path, after(path))
    return _takes_the_runners_place(place, before)


def _takes_the_runners_place(place: PurePosixPath, before: Content) -> bool:
    root = "src/" if place.parts[0] == "src" and len(place.parts) > 1 else ""
    first = place.parts[1 if root else 0]
    return first.removesuffix(".py") in _RUNNER and before(root + first) is None


def _pytest_settings(path: str, content: bytes | None) -> object:
    """What pytest reads there; all of it where it cannot be read."""
    text = (content or b"").decode(errors="replace")
    try:
        if path == "pyproject.toml":
            return parse_toml(text.encode()).get("tool", {}).get("pytest")
        settings = configparser.RawConfigParser()
        settings.read_string(text)
        return dict(settings["tool:pytest"]) if settings.has_section("tool:pytest") else None
    except (Unreadable, configparser.Error, AttributeError):
        return text

"""Turns a repo's Python manifests (uv.lock, poetry.lock, else others) into commands that install its dependencies."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.images.manifests import read_file, read_toml, strings, table

_TEST_GROUPS = ("test", "tests", "testing", "dev", "develop", "development")
_REQUIREMENTS = re.compile(r"[\w.-]*(requirements|constraints)[\w.-]*\.(txt|in)")
_INSTALLED = re.compile(r"requirements|(requirements[-_.])?(test|tests|testing|dev)([-_.]requirements)?")
_OWN = re.compile(r"\s*(-e|--editable)?\s*(\.|\./|file:\.)(\[[^\]]*\])?\s*(#.*)?")
_TOOLS, _EXPORTED = "/opt/forklock/tools", "/opt/forklock/exported.txt"
_PYTEST = "'pytest>=8,<10'"


@dataclass(frozen=True, slots=True)
class PythonPart:
    sources: tuple[str, ...]
    files: Mapping[str, bytes]
    commands: tuple[str, ...]
    """Shell commands of a RUN, in the context, with the environment's pip as `pip`."""
    versions: str = ""
    notes: tuple[str, ...] = ()


def python_part(repo: Path) -> PythonPart | None:
    return locked_python(repo) or declared_python(repo)


def locked_python(repo: Path) -> PythonPart | None:
    project = read_file(repo, "pyproject.toml")
    tools = f"python3 -m venv {_TOOLS} && {_TOOLS}/bin/pip install -q --no-cache-dir"
    exports = {
        "uv.lock": (
            f"{tools} uv",
            f"{_TOOLS}/bin/uv export -q --frozen --no-emit-workspace --all-groups --all-extras"
            f" --no-hashes -o {_EXPORTED}",
        ),
        "poetry.lock": (
            f"{tools} 'poetry>=2' 'poetry-plugin-export>=1.9'",
            f"{_TOOLS}/bin/poetry export -q --all-groups --all-extras --without-hashes -o {_EXPORTED}",
        ),
    }
    for name, commands in exports.items():
        lock = read_file(repo, name)
        if lock is None or project is None:
            continue
        pytest = "" if re.search(rb'(?m)^name = "pytest"$', lock) else f" {_PYTEST}"
        install = f"pip install --no-cache-dir -r {_EXPORTED}{pytest}"
        clean = f"rm -rf {_TOOLS} {_EXPORTED}"
        return PythonPart(
            ("pyproject.toml", name),
            {"pyproject.toml": project, name: lock},
            (*commands, install, clean),
            _wanted_python(repo),
        )
    return None


def declared_python(repo: Path) -> PythonPart | None:
    project = read_toml(repo, "pyproject.toml")
    needed = [*_project_requirements(project), *_setup_requirements(repo)]
    texts, notes = _requirements_files(repo)
    chosen = [name for name in texts if _INSTALLED.fullmatch(PurePosixPath(name).stem)]
    named = [name for name in ("pyproject.toml", "setup.cfg") if read_file(repo, name) is not None]
    if not (needed or chosen or project.get("project")):
        if project.get("tool", {}).get("poetry"):
            raise SandboxFault(
                "poetry.lock is missing, and Poetry's own constraints need it", fix="`poetry lock`"
            )
        return None
    files = {name: text.encode() for name, text in texts.items()}
    files["declared.txt"] = "\n".join([*dict.fromkeys(needed), ""]).encode()
    options = " ".join(f"-r {shlex.quote(name)}" for name in ("declared.txt", *chosen))
    install = f"pip install --no-cache-dir {_PYTEST} {options}"
    return PythonPart((*named, *chosen), files, (install,), _wanted_python(repo), tuple(notes))


def _project_requirements(project: Mapping[str, Any]) -> list[str]:
    """Return PEP 621's dependencies, with the extras and PEP 735's groups for tests and development."""
    declared = table(project.get("project"))
    found = strings(declared.get("dependencies"))
    for name, extra in table(declared.get("optional-dependencies")).items():
        if name.lower() in _TEST_GROUPS:
            found += strings(extra)
    groups = table(project.get("dependency-groups"))
    for name in groups:
        if name.lower() in _TEST_GROUPS:
            found += _group(groups, name, ())
    own = _normal(str(declared.get("name", "")))
    return [one for one in found if not own or _normal(re.split(r"[\[\s<>=!~;@]", one)[0]) != own]


def _group(groups: Mapping[str, Any], name: str, above: tuple[str, ...]) -> list[str]:
    """Return a dependency group with those that it includes (PEP 735)."""
    found = []
    entries = groups.get(name)
    for entry in entries if isinstance(entries, list) else []:
        included = entry.get("include-group") if isinstance(entry, dict) else None
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(included, str) and included not in above:
            found += _group(groups, included, (*above, name))
    return found


def _setup_requirements(repo: Path) -> list[str]:
    """Return what a setup.cfg declares."""
    data = read_file(repo, "setup.cfg")
    if data is None:
        return []
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(data.decode(errors="replace"))
    except configparser.Error as error:
        raise SandboxFault(f"setup.cfg cannot be read: {error}", fix="correct setup.cfg") from error
    texts = [parser.get("options", "install_requires", fallback="")]
    if parser.has_section("options.extras_require"):
        extras = parser["options.extras_require"]
        texts += [text for name, text in extras.items() if name.lower() in _TEST_GROUPS]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "file:", "attr:"))]


def _requirements_files(repo: Path) -> tuple[dict[str, str], list[str]]:
    """Return requirements files by path, without the lines that install the repo itself, and notes about those."""
    found: dict[str, str] = {}
    notes = []
    for name in python_files(repo):
        if not _REQUIREMENTS.fullmatch(PurePosixPath(name).name) and not name.startswith("requirements/"):
            continue
        lines = (read_file(repo, name) or b"").decode(errors="replace").splitlines()
        kept = [line for line in lines if not _OWN.fullmatch(line)]
        if len(kept) < len(lines):
            notes.append(f"{name}: the repo itself is not installed; it is found by PYTHONPATH")
        found[name] = "\n".join([*kept, ""])
    return found, notes


def python_files(repo: Path) -> list[str]:
    """Return the files that may name Python dependencies, sorted."""
    fixed = ("pyproject.toml", "setup.cfg", "uv.lock", "poetry.lock")
    plain = [path.name for path in repo.glob("*") if _REQUIREMENTS.fullmatch(path.name)]
    nested = [f"requirements/{path.name}" for path in (repo / "requirements").glob("*.txt")]
    return sorted(name for name in {*fixed, *plain, *nested} if read_file(repo, name) is not None)


def _wanted_python(repo: Path) -> str:
    """Return the version that .python-version pins (its first two numbers), else what the metadata requires."""
    pinned = (read_file(repo, ".python-version") or b"").decode(errors="replace").strip()
    found = re.match(r"(\d+\.\d+)(\.\d+)?$", pinned.splitlines()[0].strip() if pinned else "")
    if found:
        return f"=={found[1]}.*"
    told = table(read_toml(repo, "pyproject.toml").get("project")).get("requires-python")
    return told if isinstance(told, str) else ""


def _normal(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()

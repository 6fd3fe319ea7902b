"""Makes a Dockerfile with a repo's dependencies from the repo's own files.

In: a repo. Out: a `Recipe`: the Dockerfile, the few files that it needs, and a key over their content, which is the
image's name. Nothing of the repo is executed here. The first of these is used: a dev container, a Dockerfile, or the
Python files (uv.lock, else poetry.lock, else pyproject.toml and setup.cfg with the requirements files) together with
package.json. Not covered: dependencies that only running a setup.py tells, dev container features, conda.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.images.manifests import inside, read_file, read_json, table
from forklock.sandbox.images.python import (
    PythonPart,
    declared_python,
    locked_python,
    python_files,
    python_part,
)

VERSION = "2"
"""Part of every key. It changes when the same files make another image."""
REPOSITORY = "forklock-repo"
Source = Literal["auto", "devcontainer", "dockerfile", "lock", "manifest"]

_ENV = "/opt/forklock/env"
_BUILD = "/opt/forklock/build"
# pytest compiles its plug-ins anew, seconds of work, wherever it may not write beside them: later nothing may.
_COMPILE = "cd $(mktemp -d) && (env -u PYTHONDONTWRITEBYTECODE python -m pytest -q >/dev/null 2>&1 || true)"
SETTINGS = (
    *("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "NPM_CONFIG_REGISTRY"),
    *("PIP_NO_INDEX", "PIP_FIND_LINKS"),
)
"""Environment of an installation that a build takes over as arguments; nothing of it stays in the image."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make the image of one state of a repo's dependencies."""

    sources: tuple[str, ...]
    """The files that it comes from, by their path in the repo."""
    dockerfile: str
    """If it is ours, `{base}` and `{path}` are filled in later."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The build's context, by path in it; unused if `context` is set."""
    context: str | None = None
    """The context of a Dockerfile of the repo's own: a directory in the repo, by path."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Build arguments that the repo's dev container asks for."""
    python: str = ""
    """Versions of Python that the repo takes, as a specifier; empty where it does not say."""
    notes: tuple[str, ...] = ()
    """What was left out, for the user to know."""

    @property
    def own(self) -> bool:
        """Return whether the Dockerfile is the repo's own."""
        return self.context is not None

    @property
    def key(self) -> str:
        """16 hex digits over everything that the image is made from, but the base and, of a Dockerfile of the
        repo's own, what that copies besides the files that name dependencies."""
        told = [VERSION, self.dockerfile, self.context, self.python, sorted(self.arguments.items())]
        digest = hashlib.sha256(json.dumps(told).encode())
        for name, data in sorted(self.files.items()):
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
        return digest.hexdigest()[:16]

    @property
    def tag(self) -> str:
        return f"{REPOSITORY}:{self.key}"


def find_recipe(repo: Path, source: Source = "auto") -> Recipe | None:
    """Return the recipe for `repo` as it is now; None if no file says what it depends on.

    Raises:
        SandboxFault: a file that says it cannot be read.
    """
    kinds = {
        "devcontainer": (_devcontainer,),
        "dockerfile": (_dockerfile,),
        "lock": (_locked,),
        "manifest": (_manifests,),
        "auto": (_devcontainer, _dockerfile, _locked, _manifests),
    }
    for kind in kinds[source]:
        found = kind(repo)
        if found is not None:
            return found
    return None


# --- the repo's own way -----------------------------------------------------------------------------


def _devcontainer(repo: Path) -> Recipe | None:
    for name in (".devcontainer/devcontainer.json", ".devcontainer.json"):
        data = read_file(repo, name)
        if data is None:
            continue
        told = read_json(name, data)
        notes = tuple(
            f"{one} of {name}: not supported, left out"
            for one in ("features", "postCreateCommand", "dockerComposeFile")
            if told.get(one)
        )
        build = table(told.get("build"))
        file = build.get("dockerfile") or told.get("dockerFile")
        folder = PurePosixPath(name).parent
        if isinstance(file, str):
            context = str(build.get("context") or told.get("context") or ".")
            arguments = {str(k): str(v) for k, v in dict(build.get("args") or {}).items()}
            return _of_dockerfile(repo, str(folder / file), str(folder / context), arguments, (name,), notes)
        if isinstance(told.get("image"), str):
            python = python_part(repo)
            text = _compose(python, _node_part(repo)).replace("{base}", str(told["image"]))
            files = {**(python.files if python else {}), **_node_files(repo)}
            sources = (name, *(python.sources if python else ()), *_node_files(repo))
            return Recipe(sources, text, files=files, notes=notes + (python.notes if python else ()))
    return None


def _dockerfile(repo: Path) -> Recipe | None:
    for name in ("Dockerfile", "Containerfile"):
        if read_file(repo, name) is not None:
            return _of_dockerfile(repo, name, ".", {}, (), ())
    return None


def _of_dockerfile(
    repo: Path,
    name: str,
    context: str,
    arguments: Mapping[str, str],
    before: tuple[str, ...],
    notes: tuple[str, ...],
) -> Recipe:
    name, context = inside(repo, name), inside(repo, context)
    data = read_file(repo, name)
    if data is None:
        raise SandboxFault(f"{before[0]} names {name}, which is not there", fix=f"correct {before[0]}")
    named = [one for one in (*python_files(repo), *_node_files(repo)) if one != name]
    files = {one: data for one in named if (data := read_file(repo, one)) is not None}
    text = data.decode(errors="replace")
    return Recipe((*before, name), text, files=files, context=context, arguments=arguments, notes=notes)


# --- from what it depends on ------------------------------------------------------------------------


def _locked(repo: Path) -> Recipe | None:
    python = locked_python(repo)
    return _recipe(repo, python) if python else None


def _manifests(repo: Path) -> Recipe | None:
    python = declared_python(repo)
    return _recipe(repo, python) if python or _node_files(repo) else None


def _recipe(repo: Path, python: PythonPart | None) -> Recipe:
    node = _node_files(repo)
    files = {**(python.files if python else {}), **node}
    return Recipe(
        (*(python.sources if python else ()), *node),
        _compose(python, _node_part(repo)),
        files=files,
        python=python.versions if python else "",
        notes=python.notes if python else (),
    )


def _node_files(repo: Path) -> dict[str, bytes]:
    """Return package.json and its lock, if it has dependencies."""
    data = read_file(repo, "package.json")
    if data is None:
        return {}
    told = read_json("package.json", data)
    if not any(told.get(kind) for kind in ("dependencies", "devDependencies")):
        return {}
    found = {"package.json": data}
    for name in ("package-lock.json", "npm-shrinkwrap.json"):
        lock = read_file(repo, name)
        if lock is not None:
            found[name] = lock
    return found


def _node_part(repo: Path) -> tuple[str, ...]:
    """Return commands that put the packages into /node_modules, where Node looks from every directory."""
    files = _node_files(repo)
    if not files:
        return ()
    install = "npm ci" if len(files) > 1 else "npm install"
    return (
        "command -v npm >/dev/null || (apt-get update -q && apt-get install -y -q --no-install-recommends nodejs"
        " npm && rm -rf /var/lib/apt/lists/*)",
        f"{install} --ignore-scripts --no-audit --no-fund",
        "mv node_modules /node_modules",
        "rm -rf /root/.npm",
    )


def _compose(python: PythonPart | None, node: Iterable[str]) -> str:
    """Return our Dockerfile. `{base}` and `{path}` are filled in when it is built."""
    lines = ["FROM {base}", "USER root", "ENTRYPOINT []", *(f"ARG {name}" for name in SETTINGS)]
    lines += [f"COPY . {_BUILD}/", f"WORKDIR {_BUILD}"]
    if python:
        commands = [f'export PATH="{_ENV}/bin:$PATH" PIP_RETRIES=2', *python.commands]
        lines += [f"RUN python3 -m venv {_ENV}", "RUN " + " && ".join(commands), f"ENV VIRTUAL_ENV={_ENV}"]
        lines.append(f'RUN export PATH="{_ENV}/bin:$PATH" && {_COMPILE}')
    node = list(node)
    if node:
        lines.append("RUN " + " && ".join(node))
    first = ":".join([*([f"{_ENV}/bin"] if python else []), *(["/node_modules/.bin"] if node else [])])
    return "\n".join([*lines, f"ENV PATH={first}:{{path}}" if first else "", ""])

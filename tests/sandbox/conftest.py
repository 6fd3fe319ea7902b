"""One sandbox per backend and test, on a small git repo; backends that cannot run here skip loudly."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from forklock.sandbox import BackendName, Limits, Policy, Sandbox, open_sandbox
from forklock.sandbox.backends.bubblewrap import inside as bubblewrap_inside
from forklock.sandbox.backends.open import BACKENDS, backend_class, why_not

OpenHere = Callable[..., Sandbox]
GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}


def skip_unless_it_runs(backend: str) -> None:
    problem = why_not(backend)
    if problem:
        pytest.skip(f"{backend}: {problem[0]}. Fix: {problem[1]}")


@pytest.fixture
def skip_unless() -> Callable[[str], None]:
    """Call with a backend's name: skips the test where it cannot run."""
    return skip_unless_it_runs


def named(backends: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(name, marks=[pytest.mark.docker] if name == "docker" else []) for name in backends]


@pytest.fixture(params=named(name for name in BACKENDS if backend_class(name).isolates))
def isolated(request: pytest.FixtureRequest) -> BackendName:
    """A backend that isolates."""
    skip_unless_it_runs(request.param)
    return request.param


@pytest.fixture(params=named(BACKENDS))
def backend(request: pytest.FixtureRequest) -> BackendName:
    """Any backend."""
    skip_unless_it_runs(request.param)
    return request.param


@pytest.fixture
def repo(repo_to_copy: Path, tmp_path: Path) -> Path:
    """A git repo with a commit, an ignored file and an ignore rule."""
    return shutil.copytree(repo_to_copy, tmp_path / "repo", symlinks=True)


@pytest.fixture(scope="session")
def repo_to_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repo-to-copy") / "repo"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("def a():\n    return 1\n")
    (root / ".gitignore").write_text("*.log\n")
    (root / "noise.log").write_text("noise\n")
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True, env=GIT)
    return root


@pytest.fixture
def open_here(repo: Path, tmp_path: Path) -> Iterator[OpenHere]:
    """Opens sandboxes on `repo` with forks under the test's own directory; closes them at the end."""
    opened: list[Sandbox] = []

    def open_one(backend: BackendName, policy: Policy | None = None, root: Path | None = None) -> Sandbox:
        policy = policy or Policy(limits=Limits(wall_s=20, memory_mb=512))
        opened.append(open_sandbox(root or repo, policy, backend=backend, forks_in=tmp_path / "forks"))
        for _ in range(2 if backend == "bubblewrap" else 0):  # the test's own runs in what was made ahead
            opened[-1].exec(["true"])
        return opened[-1]

    yield open_one
    for sandbox in opened:
        sandbox.close()


PLACES: dict[str, BackendName] = {
    "docker": "docker",
    "bubblewrap": "bubblewrap",
    "bubblewrap without control groups": "bubblewrap",
}


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), *list(PLACES)[1:]])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend that isolates, and how it bounds memory and processes: a key of `PLACES`."""
    skip_unless_it_runs(PLACES[request.param])
    if request.param not in PLACES.values():
        monkeypatch.setattr(bubblewrap_inside, "make_group", lambda **_: None)
    return request.param


@pytest.fixture(params=["ours", "another user's"])
def open_place(request: pytest.FixtureRequest, place: str, repo: Path) -> Iterator[Sandbox]:
    """A sandbox of that kind on a workspace that is ours, or, for root, another user's: commands become its owner."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # pytest's own let no other user pass
        root = Path(folder) / "repo"
        shutil.copytree(repo, root)
        if request.param != "ours":
            if os.geteuid() != 0:
                pytest.skip("only root can give a directory away")
            Path(folder).chmod(0o755)
            subprocess.run(["chown", "-R", "1234:1234", str(root)], check=True)
        policy = Policy(limits=Limits(wall_s=20, memory_mb=512))
        with open_sandbox(root, policy, backend=PLACES[place], forks_in=Path(folder) / "forks") as sandbox:
            for _ in range(2 if sandbox.backend == "bubblewrap" else 0):
                sandbox.exec(["true"])
            yield sandbox

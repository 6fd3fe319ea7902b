"""The interpreter that a repo's tests run with is found, granted and works inside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import BackendName, Policy, python_policy
from sandbox.interpreters.policy import find_environment


@pytest.fixture
def venv_repo(repo: Path) -> Path:
    """The repo with a `.venv` that holds one module of its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=repo, check=True)
    site = next((repo / ".venv" / "lib").glob("python3*")) / "site-packages"
    (site / "only_here.py").write_text("ANSWER = 42\n")
    return repo


def test_the_repos_own_environment_comes_first(venv_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert find_environment(venv_repo) == venv_repo / ".venv"
    policy = python_policy(venv_repo, Policy(env={"PATH": "/bin", "X": "1"}))
    assert policy.env["PATH"] == f"{venv_repo}/.venv/bin:/bin"
    assert (policy.env["X"], policy.env["PYTHONHASHSEED"]) == ("1", "0")
    assert policy.env["PYTHONDONTWRITEBYTECODE"] == "1"
    assert venv_repo / ".venv" not in policy.readable, "it is in the workspace already"


def test_then_the_active_one_then_ours(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    active = tmp_path / "active"
    (active / "bin").mkdir(parents=True)
    (active / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("VIRTUAL_ENV", str(active))
    assert find_environment(repo) == active
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "gone"))
    assert find_environment(repo) == Path(sys.prefix)


def test_a_hostile_link_grants_nothing(repo: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    (secrets / "bin").mkdir(parents=True)
    (secrets / "bin" / "key").write_text("k")
    (repo / ".venv" / "bin").mkdir(parents=True)
    (repo / ".venv" / "pyvenv.cfg").write_text("")
    (repo / ".venv" / "bin" / "python").symlink_to(secrets / "bin" / "key")
    granted = python_policy(repo).readable
    assert not any(secrets.is_relative_to(path) or path.is_relative_to(secrets) for path in granted)


def test_it_runs_inside_and_in_forks(isolated: BackendName, venv_repo: Path, open_here) -> None:
    sandbox = open_here(isolated, python_policy(venv_repo))
    argv = ["python", "-c", "import only_here, sys; print(only_here.ANSWER, sys.prefix)"]
    result = sandbox.exec(argv)
    if isolated == "docker" and b"No module" in result.stderr:
        pytest.skip("docker: this machine's interpreter does not run on the image's libc")
    assert result.stdout.decode().split() == ["42", str(venv_repo / ".venv")], result
    with sandbox.fork() as fork:
        assert fork.exec(argv).stdout == result.stdout
        assert not fork.exec(["sh", "-c", "echo > .venv/evil"]).ok


@pytest.mark.docker
def test_docker_falls_back_to_the_images_python(repo: Path, tmp_path: Path, open_here, skip_unless) -> None:
    skip_unless("docker")
    broken = tmp_path / "broken"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin" / "python").write_text("#!/no/such/loader\n")
    (broken / "bin" / "python").chmod(0o755)
    policy = Policy(readable=(broken,), env={"PATH": f"{broken}/bin:/usr/local/bin:/usr/bin:/bin"})
    result = open_here("docker", policy).exec(["python", "-c", "print('image')"])
    assert result.stdout == b"image\n", result

"""The interpreter that a repo's tests run with is found, granted and works inside."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from forklock.sandbox import BackendName, Policy, open_sandbox, python_policy, workspace_policy
from forklock.sandbox.interpreters.environments import environment_names, find_environment
from forklock.sandbox.interpreters.managed import install_words
from forklock.sandbox.interpreters.policy import environment_for

WHERE = ["python", "-c", "import only_here, sys; print(only_here.ANSWER, sys.prefix)"]


def make_environment(folder: Path, *words: str) -> Path:
    """A virtual environment that holds one module of its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *words, str(folder)], check=True)
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    (site / "only_here.py").write_text("ANSWER = 42\n")
    return folder


def skip_on_a_foreign_libc(backend: str, stderr: bytes) -> None:
    if backend == "docker" and b"No module" in stderr:
        pytest.skip("docker: this machine's interpreter does not run on the image's libc")


@pytest.fixture
def venv_repo(repo: Path) -> Path:
    """The repo with a `.venv`."""
    make_environment(repo / ".venv")
    return repo


def test_the_repos_own_environment_comes_first(venv_repo: Path) -> None:
    assert environment_for(venv_repo) == venv_repo / ".venv"
    policy = python_policy(venv_repo, Policy(env={"PATH": "/bin", "X": "1"}))
    assert policy.env["PATH"] == f"{venv_repo}/.venv/bin:/bin"
    assert (policy.env["X"], policy.env["PYTHONHASHSEED"]) == ("1", "0")
    assert policy.env["PYTHONDONTWRITEBYTECODE"] == "1"
    assert venv_repo / ".venv" not in policy.readable, "it is in the workspace already"


def test_then_the_active_one_then_a_managed_one(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = tmp_path / "active"
    (active / "bin").mkdir(parents=True)
    (active / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("VIRTUAL_ENV", str(active))
    assert environment_for(repo) == active
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "gone"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    assert find_environment(repo) is None
    managed = environment_for(repo)
    assert managed and managed.is_relative_to(tmp_path / "home" / "environments")


def test_ours_is_never_taken(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where it is active, not where it is first on PATH; only where it is the repo's own."""
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin:/usr/bin:/bin")
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    found = environment_for(repo)
    assert found and found.resolve() != Path(sys.prefix).resolve()
    with open_sandbox(repo, python_policy(repo), backend="host") as sandbox:
        names = ("forklock", "agent", "tools", "sandbox")
        code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
        assert sandbox.exec(["python", "-c", code]).stdout == b"[]\n"
        assert b"pytest" in sandbox.exec(["python", "-m", "pytest", "--version"]).stdout
        assert b"pytest" in sandbox.exec(["pytest", "--version"]).stdout


def test_a_package_of_a_monorepo_has_its_own(venv_repo: Path) -> None:
    package = venv_repo / "packages" / "a"
    make_environment(package / ".venv")
    (venv_repo / "packages" / "b").mkdir()
    assert environment_for(venv_repo, "packages/a") == package / ".venv"
    assert environment_for(venv_repo, "packages/b") == environment_for(venv_repo) == venv_repo / ".venv"
    assert environment_for(venv_repo, "../..") == venv_repo / ".venv"
    assert environment_names(venv_repo) == [".venv", "packages/a/.venv"]


def test_a_package_that_is_the_workspace_has_its_repositorys(
    isolated: BackendName, venv_repo: Path, tmp_path: Path, open_here
) -> None:
    """`tools test --repo packages/b`, with one environment at the top of the monorepo."""
    package = venv_repo / "packages" / "b"
    package.mkdir(parents=True)
    (tmp_path / ".venv").mkdir()
    assert environment_for(package) == venv_repo / ".venv"
    sandbox = open_here(isolated, python_policy(package), package)
    result = sandbox.exec(WHERE)
    skip_on_a_foreign_libc(isolated, result.stderr)
    assert result.stdout.decode().split() == ["42", f"{venv_repo}/.venv"], result
    assert not sandbox.exec(["ls", f"{venv_repo}/src"]).ok, "the rest of the repository is not the package's"


KEPT_ELSEWHERE = ["poetry", "pipenv", "hatch", "pdm", "pyenv", "a .venv file", "a link", "uv"]


def keep_elsewhere(tool: str, repo: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment where a tool keeps it for `repo`; its place."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(str(repo).encode()).digest()).decode()[:8]
    virtualenvs = home / ".local" / "share" / "virtualenvs"
    place = {
        "poetry": home / ".cache" / "pypoetry" / "virtualenvs" / f"shop-{digest}-py3.11",
        "hatch": home / ".local" / "share" / "hatch" / "env" / "virtual" / "shop" / digest / "shop",
        "pyenv": home / ".pyenv" / "versions" / "shop-3.11",
        "pdm": home / "environments" / "shop",
        "uv": home / "environments" / "shop",
    }.get(tool, virtualenvs / "shop-x1")
    make_environment(place)
    if tool == "pipenv":
        (place / ".project").write_text(str(repo))
    elif tool == "pdm":
        (repo / ".pdm-python").write_text(f"{place}/bin/python")
    elif tool == "pyenv":
        (repo / ".python-version").write_text("shop-3.11\n")
    elif tool == "a .venv file":
        (repo / ".venv").write_text("shop-x1\n")
    elif tool == "a link":
        (repo / ".venv").symlink_to(place)
    elif tool == "uv":
        monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(place))
    return place


@pytest.mark.parametrize("tool", KEPT_ELSEWHERE)
def test_environments_that_tools_keep_elsewhere(
    tool: str, isolated: BackendName, repo: Path, tmp_path: Path, open_here, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "me"
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "WORKON_HOME", "PYENV_ROOT", "POETRY_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    place = keep_elsewhere(tool, repo, home, monkeypatch)
    (place / "secret").write_text("s")
    sandbox = open_here(isolated, python_policy(repo))
    result = sandbox.exec(WHERE)
    skip_on_a_foreign_libc(isolated, result.stderr)
    assert result.stdout.decode().split() == ["42", str(place)], result
    assert not sandbox.exec(["cat", f"{place}/secret"]).ok
    if tool == "a link":
        with sandbox.fork() as fork:
            assert fork.exec([".venv/bin/python", *WHERE[1:]]).stdout.startswith(b"42"), (
                "by its own name, too"
            )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".venv", ()), (".venv", ("--copies",)), (".venv", ("--symlinks",)), ("venv", ()), ("env", ()), ("my-env", ()),
        *(
            pytest.param(name, words, marks=pytest.mark.slow)
            for name in ("venv", "env", "my-env")
            for words in (("--copies",), ("--symlinks",))
        ),
    ],
)  # fmt: skip
def test_it_runs_inside_and_in_forks(
    isolated: BackendName, repo: Path, name: str, words: tuple[str, ...], open_here
) -> None:
    make_environment(repo / name, *words)
    sandbox = open_here(isolated, python_policy(repo))
    result = sandbox.exec(WHERE)
    skip_on_a_foreign_libc(isolated, result.stderr)
    assert result.stdout.decode().split() == ["42", str(repo / name)], result
    with sandbox.fork() as fork:
        assert fork.exec(WHERE).stdout == result.stdout
        assert fork.exec([f"{name}/bin/python", *WHERE[1:]]).stdout == result.stdout
        assert not fork.exec(["sh", "-c", f"echo > {name}/evil"]).ok
        assert fork.diff() == ""


def test_a_copy_stands_in_for_the_original(backend: BackendName, venv_repo: Path, tmp_path: Path) -> None:
    """The agent's copy has no environment: it gets the original's, at the original's path, and an editable install
    of the original leads to the copy's code."""
    site = next((venv_repo / ".venv" / "lib").glob("python3*")) / "site-packages"
    (site / "__editable__.pth").write_text(f"{venv_repo}/src\n")
    make_environment(venv_repo / "packages" / "p" / ".venv")
    copy = tmp_path / "copy"
    (copy / "src").mkdir(parents=True)
    (copy / "src" / "a.py").write_text("def a():\n    return 'copy'\n")
    code = "import a, sys; print(a.a(), sys.prefix)"
    with (
        open_sandbox(copy, python_policy(venv_repo), backend=backend, shown_at=venv_repo) as sandbox,
        sandbox.fork() as fork,
    ):
        for one in (sandbox, fork):
            if backend == "host":
                assert one.exec([".venv/bin/python", "-c", "import only_here"]).ok
                continue
            for argv in (["python"], [".venv/bin/python"], [f"{venv_repo}/.venv/bin/python"]):
                result = one.exec([*argv, "-c", code])
                skip_on_a_foreign_libc(backend, result.stderr)
                assert result.stdout.decode().split() == ["copy", f"{venv_repo}/.venv"], (argv, result)
            assert one.exec(["packages/p/.venv/bin/python", "-c", "import only_here"]).ok
        (fork.root / "src" / "a.py").write_text("def a():\n    return 'fork'\n")
        assert "fork" in fork.diff() and ".venv" not in fork.diff()
    assert (venv_repo / "src" / "a.py").read_text() == "def a():\n    return 1\n"


def test_node_of_a_version_manager(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_unless
) -> None:
    """nvm keeps one node for each version in the home folder, and puts one of them on PATH."""
    skip_unless("bubblewrap")
    node = tmp_path / "me" / ".nvm" / "versions" / "node" / "v20.1.0"
    for name in ("bin", "include/node", "lib/node_modules/npm"):
        (node / name).mkdir(parents=True)
    (node / "bin" / "node").write_text("#!/bin/sh\necho ours\n")
    (node / "bin" / "node").chmod(0o755)
    (tmp_path / "me" / ".npmrc").write_text("SECRET")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("PATH", f"{node}/bin:/usr/bin:/bin")
    (repo / "package.json").write_text("{}")
    own = repo / "node_modules" / ".bin" / "runner"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho runner\n")
    own.chmod(0o755)
    with open_sandbox(repo, workspace_policy(repo), backend="bubblewrap") as sandbox:
        assert sandbox.exec(["node"]).stdout == b"ours\n"
        assert sandbox.exec(["runner"]).stdout == b"runner\n"
        assert not sandbox.exec(["cat", str(tmp_path / "me" / ".npmrc")]).ok


def test_the_host_has_the_users_programs(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "programs" / "their-tool"
    theirs.parent.mkdir()
    theirs.write_text("#!/bin/sh\necho theirs\n")
    theirs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin:{theirs.parent}:.:/usr/bin:/bin")
    with open_sandbox(repo, python_policy(repo), backend="host") as sandbox:
        assert sandbox.exec(["their-tool"]).stdout == b"theirs\n"
        path = sandbox.exec(["sh", "-c", "echo $PATH"]).stdout.decode().strip().split(":")
        assert f"{sys.prefix}/bin" not in path and "." not in path


def test_what_to_install_where(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.setenv("PATH", "/nowhere")
    assert "python3 -m venv .venv && .venv/bin/pip install pytest numpy" in install_words(repo, "numpy")
    (repo / "requirements.txt").write_text("numpy\n")
    assert ".venv/bin/pip install pytest -r requirements.txt" in install_words(repo, "numpy")
    (repo / "pyproject.toml").write_text("[project]\n")
    assert ".venv/bin/pip install pytest -e ." in install_words(repo, "a"), "the repo's own module"
    make_environment(repo / ".venv")
    assert f"`{repo}/.venv/bin/python -m pip install numpy`" in install_words(repo, "numpy")
    python = repo / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/gone/python3.9")
    assert "make it again" in install_words(repo, "numpy")


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


@pytest.mark.docker
def test_docker_falls_back_from_the_repos_own_too(repo: Path, open_here, skip_unless) -> None:
    skip_unless("docker")
    make_environment(repo / ".venv")
    python = repo / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text("#!/no/such/loader\n")
    python.chmod(0o755)
    result = open_here("docker", python_policy(repo)).exec(["python", "-c", "print('image')"])
    assert result.stdout == b"image\n", result

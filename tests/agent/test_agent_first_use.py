"""The first use, as the README says it: a fresh user, their own surroundings, a plain server, a repo as repos are.

Each set-up is solved end to end by the command line, and the change is applied. The user has a global git config with a
filter, line ends and ignore rules of their own, and proxies that lead nowhere. The server speaks plain OpenAI, and is a
script: what is tested is all that stands around a model.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from openai_server import serve
from scripted import ScriptedEngine

from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
from forklock.sandbox.backends.open import why_not

ROOT = Path(__file__).parents[2]
BUG = '''"""Prices."""

from {package}rules import RATE


def total(prices):
    """Sum of the prices, with tax."""
    return sum(prices[1:]) * RATE
'''
ANSWER = """The first price is skipped.

{path}
<<<<<<< SEARCH
    return sum(prices[1:]) * RATE
=======
    return sum(prices) * RATE
>>>>>>> REPLACE
"""
TESTS = """from {module} import total


def test_total():
    assert total([1, 2, 3]) == 12


def test_none():
    assert total([]) == 0
"""
GITCONFIG = """[user]
\tname = A Person
\temail = person@example.org
[core]
\tautocrlf = input
\texcludesFile = ~/.gitignore_global
\thooksPath = ~/.githooks
[commit]
\tgpgSign = false
[filter "lfs"]
\tclean = git-lfs clean -- %f
\tsmudge = git-lfs smudge -- %f
\tprocess = git-lfs filter-process
\trequired = true
[init]
\tdefaultBranch = trunk
[status]
\tshowUntrackedFiles = all
[alias]
\tls = ls-files
"""


@dataclass(frozen=True)
class Person:
    """A user account: a home, and variables as a login shell has them."""

    home: Path
    env: dict[str, str]
    python: str = sys.executable
    """Of the environment that Forklock is installed in."""
    become: tuple[str, ...] = ()
    """Words in front of a command that make it another user's."""

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.become, *words],
            cwd=cwd,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    @property
    def agent(self) -> tuple[str, ...]:
        return (str(Path(self.python).with_name("agent")),)

    def git(self, *words: str, cwd: Path) -> None:
        done = self.run("git", *words, cwd=cwd)
        assert done.returncode == 0, done.stderr


@dataclass
class Setup:
    """A repository, where the user stands in it, and what they type."""

    repo: Path
    environment: Path
    """A real environment with pytest, to copy from."""
    words: list[str] = field(default_factory=lambda: ["--test", "python -m pytest -q"])
    stands: str = "."
    python: str = sys.executable

    def write(self, name: str, text: str) -> None:
        (self.repo / name).parent.mkdir(parents=True, exist_ok=True)
        (self.repo / name).write_text(text)

    def shop(self, folder: str = ".", *, package: str = "", rules: bool = True) -> None:
        """A module with a bug, the rules that it imports, its tests."""
        dotted = package.replace("/", ".").removeprefix("src.") + "." if package else ""
        self.write(f"{folder}/{package}/shop.py", BUG.format(package=dotted))
        if package:
            self.write(f"{folder}/{package}/__init__.py", "")
        if rules:
            self.write(f"{folder}/{package}/rules.py", "RATE = 2\n")
        self.write(f"{folder}/tests/test_shop.py", TESTS.format(module=f"{dotted}shop"))

    def make_environment(self, place: Path, *, rules: bool = True) -> Path:
        """What `python -m venv` and `pip install pytest` leave; `rules`: and a dependency of the shop."""
        subprocess.run([self.python, "-m", "venv", "--without-pip", str(place)], check=True)
        source = next((self.environment / "lib").glob("python3*")) / "site-packages"
        site = next((place / "lib").glob("python3*")) / "site-packages"
        shutil.copytree(source, site, dirs_exist_ok=True)
        script = place / "bin" / "pytest"
        script.write_text(f"#!{place}/bin/python\nimport sys\n\nimport pytest\n\nsys.exit(pytest.main())\n")
        script.chmod(0o755)
        if rules:
            (site / "rules.py").write_text("RATE = 2\n")
        return site


def own_environment(name: str, *words: str) -> Callable[[Setup], None]:
    def build(setup: Setup) -> None:
        setup.shop(rules=False)
        setup.make_environment(setup.repo / name)
        setup.write("conftest.py", "")  # by it `pytest` alone finds the module
        setup.write(".gitignore", f"{name}/\n__pycache__/\n")
        if words:
            setup.words = list(words)

    return build


def linked_environment(setup: Setup) -> None:
    setup.shop(rules=False)
    setup.make_environment(setup.repo.parent / "environments" / "shop")
    (setup.repo / ".venv").symlink_to(setup.repo.parent / "environments" / "shop")
    setup.write(".gitignore", ".venv\n__pycache__/\n")


def editable(setup: Setup) -> None:
    """Installed with `pip install -e .`: the environment leads to the original's path, and the copy must be tested."""
    setup.shop(package="src/shop")
    site = setup.make_environment(setup.repo / ".venv")
    (site / "__editable__.shop-1.pth").write_text(f"{setup.repo}/src\n")
    setup.write(".gitignore", ".venv/\n")
    setup.words = ["--test", "pytest -q tests"]


def src_layout(*words: str) -> Callable[[Setup], None]:
    def build(setup: Setup) -> None:
        setup.shop(package="src/shop")
        setup.write("pyproject.toml", '[project]\nname = "shop"\nversion = "1"\n')
        setup.words = list(words)

    return build


def no_environment(setup: Setup) -> None:
    setup.shop()
    setup.write("tools/__init__.py", "")
    setup.write("tools/extra.py", "EXTRA = 1\n")
    setup.write("tests/test_extra.py", "from tools.extra import EXTRA\ndef test_extra(): assert EXTRA\n")


def monorepo(setup: Setup) -> None:
    """The user stands in a package that has an environment of its own."""
    setup.shop("packages/shop", rules=False)
    setup.make_environment(setup.repo / "packages" / "shop" / ".venv")
    setup.write("packages/other/tests/test_other.py", "def test_other(): assert True\n")
    setup.write(".gitignore", ".venv/\n__pycache__/\n")
    setup.stands = "packages/shop"
    setup.words = ["--test", "python -m pytest -q tests/test_shop.py"]


def monorepo_with_one_environment(setup: Setup) -> None:
    setup.shop("packages/shop", package="src/shop")
    setup.make_environment(setup.repo / ".venv", rules=False)
    setup.write(".gitignore", ".venv/\n__pycache__/\n")
    setup.stands = "packages/shop"


def submodule(setup: Setup) -> None:
    setup.shop(rules=False)
    setup.write("tests/conftest.py", "import sys\nsys.path.insert(0, 'vendored')\n")
    library = setup.repo.parent / "library"
    library.mkdir()
    (library / "rules.py").write_text("RATE = 2\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=library, check=True)
    subprocess.run([*git, "init", "-q"], cwd=setup.repo, check=True)
    subprocess.run([*git, "submodule", "add", "-q", str(library), "vendored"], cwd=setup.repo, check=True)


def ignored_module(setup: Setup) -> None:
    """A module that the build writes and git ignores, as setuptools-scm does."""
    setup.shop()
    setup.write(".gitignore", "rules.py\n__pycache__/\n")


SETUPS: dict[str, Callable[[Setup], None]] = {
    ".venv": own_environment(".venv"),
    "venv": own_environment("venv"),
    "env": own_environment("env", "--test", "python3 -m pytest -q"),
    ".venv by its path": own_environment(".venv", "--test", ".venv/bin/python -m pytest -q"),
    ".venv's pytest": own_environment(".venv", "--test", ".venv/bin/pytest -q tests"),
    "pytest of .venv": own_environment(".venv", "--test", "pytest -q tests"),
    "uv run": own_environment(".venv", "--test", "uv run --frozen python -m pytest -q"),
    "poetry run": own_environment(".venv", "--test", "poetry run python -m pytest -q"),
    "no words": own_environment(".venv", "--regression", "none"),
    "linked .venv": linked_environment,
    "editable install": editable,
    "src layout": src_layout("--test", "python -m pytest -q"),
    "src layout, pytest alone": src_layout("--test", "pytest -q tests"),
    "src layout, its own suite": src_layout(),
    "no environment, a folder of our name": no_environment,
    "monorepo": monorepo,
    "monorepo, one environment": monorepo_with_one_environment,
    "submodule": submodule,
    "ignored module": ignored_module,
}


def account(folder: Path, python: str = sys.executable, become: tuple[str, ...] = ()) -> Person:
    """A home that nothing of ours was in yet."""
    home = folder / "home"
    (home / ".githooks").mkdir(parents=True)
    (home / ".gitconfig").write_text(GITCONFIG)
    (home / ".gitignore_global").write_text("*.swp\n.idea/\n")
    hook = home / ".githooks" / "post-index-change"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    dead = "http://127.0.0.1:9"
    (folder / "tmp").mkdir()
    env = {
        "HOME": str(home), "PATH": f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
        "TMPDIR": str(folder / "tmp"), "COLUMNS": "200", "VIRTUAL_ENV": str(Path(python).parent.parent),
        "HTTP_PROXY": dead, "HTTPS_PROXY": dead, "http_proxy": dead, "https_proxy": dead,
        "ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9",
    }  # fmt: skip
    return Person(home, env, python, become)


def set_up(name: str, folder: Path, person: Person, environment: Path) -> Setup:
    setup = Setup(folder / "repo", environment, python=person.python)
    setup.repo.mkdir()
    SETUPS[name](setup)
    if person.become:
        subprocess.run(["chown", "-R", "12345:12345", str(folder)], check=True)
    if not (setup.repo / ".git").exists():
        person.git("init", "-q", cwd=setup.repo)
    person.git("add", "-A", cwd=setup.repo)
    person.git("commit", "-qm", "start", cwd=setup.repo)
    return setup


def solve_and_apply(setup: Setup, person: Person, backend: str) -> None:
    here = setup.repo / setup.stands
    path = next(setup.repo.rglob("shop.py")).relative_to(setup.repo)
    with serve(ScriptedEngine(lambda _request, _index: ANSWER.format(path=path)), flavour="plain") as server:
        words = [
            *person.agent,
            "solve",
            "The total leaves out the first price",
            *setup.words,
            "--model",
            server.url,
        ]
        done = person.run(*words, "--sandbox", backend, "--no-diagnostics", cwd=here)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "solved" in done.stdout
    assert person.run("git", "status", "--porcelain", cwd=here).stdout == "", (
        "the user's tree was not touched"
    )
    applied = person.run(*person.agent, "apply", "last", cwd=here)
    assert applied.returncode == 0, applied.stderr
    changed = person.run("git", "diff", cwd=here).stdout
    assert "+    return sum(prices) * RATE" in changed and changed.count("\n+") == 2, changed


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "bubblewrap"])
def backend(request: pytest.FixtureRequest) -> str:
    problem = why_not("docker") if request.param == "docker" else bubblewrap.why_not()
    if problem:
        pytest.skip(f"{request.param.upper()} DOES NOT RUN HERE: {problem[0]}. Fix: {problem[1]}")
    return str(request.param)


HOSTED = pytest.mark.skipif(find_spec("litellm") is None, reason="the `hosted` extra is not installed")


@HOSTED
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SETUPS)
def test_the_readmes_words_solve_it(
    name: str, backend: str, tmp_path: Path, active_environment: Path
) -> None:
    person = account(tmp_path)
    solve_and_apply(set_up(name, tmp_path, person, active_environment), person, backend)


@pytest.fixture
def another_user() -> Iterator[Path]:
    """A folder that belongs to a user who has never been here."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # pytest's own let no other user pass
        Path(folder).chmod(0o755)
        yield Path(folder)


@HOSTED
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [".venv", "src layout", "no environment, a folder of our name"])
def test_a_user_without_rights(name: str, another_user: Path, active_environment: Path) -> None:
    """A fresh account: no root, no rights, nothing of ours in its home."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("NO OTHER USER WAS TRIED: only root can become one, with setpriv")
    if (problem := bubblewrap.why_not()) is not None:
        pytest.skip(f"BUBBLEWRAP DOES NOT RUN HERE: {problem[0]}")
    become = ("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "--bounding-set=-all")
    person = account(another_user, install_for(another_user, become), become)
    environment = another_user / "environment"
    shutil.copytree(active_environment, environment, symlinks=True)
    solve_and_apply(set_up(name, another_user, person, environment), person, "bubblewrap")


def install_for(folder: Path, become: tuple[str, ...]) -> str:
    """An environment with Forklock that another user may run; its Python. Skips where there can be none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for base in (
        getattr(sys, "_base_executable", sys.executable),
        f"/usr/bin/{version}",
        f"/usr/local/bin/{version}",
    ):
        probe = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
        real = os.path.realpath(base)
        if (
            Path(real).exists()
            and subprocess.run([*become, real, "-c", probe], capture_output=True).returncode == 0
        ):
            break
    else:
        pytest.skip(f"NO OTHER USER WAS TRIED: no {version} here is theirs to run")
    subprocess.run([real, "-m", "venv", "--without-pip", str(folder / "forklock")], check=True)
    site = folder / "forklock" / "lib" / version / "site-packages"
    (site / "forklock.pth").write_text(f"{ROOT / 'src'}\n{sysconfig.get_path('purelib')}\n")
    script = folder / "forklock" / "bin" / "agent"
    script.write_text(f"#!{folder}/forklock/bin/python\nfrom forklock.agent.cli import main\n\nmain()\n")
    script.chmod(0o755)
    return str(folder / "forklock" / "bin" / "python")

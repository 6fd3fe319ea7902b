"""Nothing that a repo holds grants a sandbox more of the host than a Python's own parts."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forklock.sandbox import open_sandbox, workspace_policy
from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
from forklock.sandbox.interpreters.compilers import rust_toolchain
from forklock.sandbox.interpreters.grants import grants, is_private

SECRETS = (
    ".ssh/id_rsa", ".cargo/credentials.toml", ".local/share/keyrings/login", ".local/state/log", ".aws/credentials",
    ".config/gh/hosts.yml", ".netrc", "diary.txt", "work/.env", "work/notes/plan.txt", ".rustup/secret",
)  # fmt: skip
TARGETS = (
    "{home}", "{home}/..", "{home}/.ssh", "{home}/.local", "{home}/.local/share", "{home}/.cargo", "{home}/.config",
    "{home}/.aws", "{home}/work", "{home}/.rustup", "/", "/etc", "/root", "/home", "/proc/self/root{home}",
    "/proc/self/root", "/dev", "{home}/work/../.ssh", "{home}/./.local", ".venv", "nowhere",
)  # fmt: skip
INSIDE = ("", "/bin/python", "/bin/python3", "/id_rsa", "/bin")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder full of secrets."""
    folder = tmp_path / "me"
    for name in SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("SECRET\n")
    (folder / ".rustup" / "toolchains" / "stable-x86_64" / "bin").mkdir(parents=True)
    (folder / ".rustup" / "toolchains" / "stable-x86_64" / "bin" / "cargo").write_text("")
    (folder / ".rustup" / "toolchains" / "mine").symlink_to(folder)
    monkeypatch.setenv("HOME", str(folder))
    for name in ("CARGO_HOME", "RUSTUP_HOME", "PYENV_ROOT", "WORKON_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def give_shape(folder: Path) -> None:
    """Make a folder look like an environment, one of conda, and an installed Python, beside what it holds."""
    for name in ("bin/python", "bin/python3", "bin/python3.12", "lib/python3.12/os.py", "pyvenv.cfg",
                 "lib/python3.12/site-packages/pytest/__init__.py"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
        (folder / name).chmod(0o755)


def hostile_repos(repo: Path, home: Path) -> Iterator[str]:
    """Fill `repo` in one hostile way after the other; each time its description."""
    for (place, write), target in itertools.product(WAYS.items(), TARGETS):
        for inside in INSIDE if "{inside}" in place else ("",):
            shutil.rmtree(repo)
            repo.mkdir()
            where = target.format(home=home) + inside
            write(repo, where)
            yield f"{place}: {where}"


def linked_environment(repo: Path, target: str) -> None:
    (repo / ".venv").symlink_to(target)


def linked_python(repo: Path, target: str) -> None:
    (repo / ".venv" / "bin").mkdir(parents=True)
    (repo / ".venv" / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    (repo / ".venv" / "pyvenv.cfg").write_text("")
    (repo / ".venv" / "bin" / "python").symlink_to(target)


def chained_python(repo: Path, target: str) -> None:
    linked_python(repo, "../../a/bin/python3")
    (repo / "a").mkdir()
    (repo / "a" / "bin").symlink_to(target)


def linked_parts(repo: Path, target: str) -> None:
    (repo / ".venv").mkdir()
    (repo / ".venv" / "pyvenv.cfg").write_text("")
    for name in ("bin", "lib", "include", "share"):
        (repo / ".venv" / name).symlink_to(target)


def home_key(repo: Path, target: str) -> None:
    linked_python(repo, target)
    (repo / ".venv" / "bin" / "python").unlink()
    program = os.path.realpath(sys.executable)
    try:
        os.link(program, repo / ".venv" / "bin" / "python")
    except OSError:  # another file system
        shutil.copy(program, repo / ".venv" / "bin" / "python")
    (repo / ".venv" / "pyvenv.cfg").write_text(f"home = {target}\n")


def named(file: str) -> Callable[[Path, str], None]:
    def write(repo: Path, target: str) -> None:
        (repo / file).write_text(f"{target}\n")

    return write


def channel(repo: Path, target: str) -> None:
    (repo / "Cargo.toml").write_text("")
    (repo / "rust-toolchain.toml").write_text(f'[toolchain]\nchannel = "{target}"\n')


def climbing_channel(repo: Path, target: str) -> None:
    channel(repo, "../../" + target.rsplit("/", 1)[-1])


def old_channel(repo: Path, target: str) -> None:
    channel(repo, target)
    (repo / "rust-toolchain.toml").rename(repo / "rust-toolchain")


def own_tools(repo: Path, target: str) -> None:
    """Compilers and runtimes that come with the repo."""
    for name in ("package.json", "go.mod", "Cargo.toml"):
        (repo / name).write_text("{}")
    (repo / "node_modules").mkdir()
    (repo / "node_modules" / ".bin").symlink_to(target)


WAYS: dict[str, Callable[[Path, str], None]] = {
    ".venv → {inside}": linked_environment,
    ".venv/bin/python → {inside}": linked_python,
    ".venv/bin/python → a/bin → {inside}": chained_python,
    ".venv/* → {inside}": linked_parts,
    "pyvenv.cfg home {inside}": home_key,
    ".venv file {inside}": named(".venv"),
    ".pdm-python {inside}": named(".pdm-python"),
    ".python-version": named(".python-version"),
    "rust-toolchain.toml": channel,
    "rust-toolchain.toml climbs": climbing_channel,
    "rust-toolchain": old_channel,
    "node_modules/.bin": own_tools,
}


@pytest.mark.hostile("setup")
@pytest.mark.parametrize(("step", "every"), [(4, 15), pytest.param(1, 7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shaped", [False, True], ids=["as they are", "all shaped like a Python"])
def test_no_repo_grants_secrets(
    shaped: bool, step: int, every: int, home: Path, tmp_path: Path, tried: Callable[[int], None], skip_unless
) -> None:
    """Each way of pointing somewhere, at each place worth it (here: one case in four); some are tried in a real
    sandbox as well."""
    skip_unless("bubblewrap")
    if shaped:
        for name in ("", ".ssh", ".local", ".local/share", ".cargo", ".config", ".aws", "work", ".rustup"):
            give_shape(home / name)
    repo = tmp_path / "hostile"
    repo.mkdir()
    count = 0
    for told in itertools.islice(hostile_repos(repo, home), 0, None, step):
        count += 1
        readable = workspace_policy(repo).readable
        for path in readable:
            real = path.resolve()
            held = [name for name in SECRETS if (home / name).is_relative_to(real)]
            assert not held, f"{told}: grants {path}, which holds {held}"
            assert not any(real.is_relative_to(one) for one in ("/etc", "/proc", "/dev")), (told, path)
        if count % every == 0:
            secrets = [str(home / name) for name in SECRETS]
            with open_sandbox(repo, workspace_policy(repo), backend="bubblewrap") as sandbox:
                result = sandbox.exec(["cat", "/etc/shadow", *secrets])
            assert b"SECRET" not in result.stdout and b"root:" not in result.stdout, told
    tried(count)
    assert count > 500 / step


LOOK = """
import signal, sys
from pathlib import Path
from forklock.sandbox import workspace_policy
for repo in sys.argv[1:]:
    print(repo, flush=True)
    signal.alarm(20)  # its default ends us
    workspace_policy(Path(repo))
"""


@pytest.mark.hostile("setup")
def test_settings_that_are_no_files_hang_nothing(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """A pipe in place of each file that is looked at would block whoever opens it."""
    names = (".venv", ".pdm-python", ".python-version", "rust-toolchain.toml", "rust-toolchain", "Cargo.toml", "go.mod",
             "package.json", ".venv/pyvenv.cfg", "venv/bin/python", "src/__init__.py")  # fmt: skip
    repos = [tmp_path / name.replace("/", "-") for name in names]
    for repo, name in zip(repos, names, strict=True):
        (repo / name).parent.mkdir(parents=True)
        os.mkfifo(repo / name)
        if name != "Cargo.toml":
            (repo / "Cargo.toml").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *map(str, repos)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, f"hangs at {done.stdout.splitlines()[-1:]}: {done.stderr}"
    tried(len(names))


@pytest.mark.hostile("setup")
@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[toolchain]\nchannel = 5", "toolchain = 3", "\0", "x" * 2_000_000]
)
def test_a_damaged_toolchain_file_names_none(text: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "rust-toolchain.toml").write_text(text)
    assert rust_toolchain(tmp_path) is None


def test_a_toolchain_by_its_name(home: Path, tmp_path: Path) -> None:
    for name, found in {"stable": "stable-x86_64", "stable-x86_64": "stable-x86_64", "mine": None, "nightly": None,
                        "stab": None, "*": None, "": None}.items():  # fmt: skip
        (tmp_path / "rust-toolchain.toml").write_text(f'[toolchain]\nchannel = "{name}"\n')
        toolchain = rust_toolchain(tmp_path)
        assert (toolchain.name if toolchain else None) == found, name


def test_a_link_into_local_bin_grants_the_real_interpreter_alone(
    home: Path, tmp_path: Path, skip_unless
) -> None:
    """As `uv python install` leaves it: `~/.local/bin/python3.12` leads to a folder of its own; and user packages of
    another Python make `~/.local` look like an installation."""
    skip_unless("bubblewrap")
    (home / ".local" / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    program = Path(os.path.realpath(sys.executable))
    link = home / ".local" / "bin" / program.name
    link.parent.mkdir(parents=True)
    link.symlink_to(program)
    repo = tmp_path / "repo"
    subprocess.run([str(link), "-m", "venv", "--without-pip", str(repo / ".venv")], check=True)
    granted = grants(repo / ".venv", repo)
    inside = [path for path in granted if path.is_relative_to(home)]
    assert inside == [link], granted
    with open_sandbox(repo, workspace_policy(repo), backend="bubblewrap") as sandbox:
        result = sandbox.exec(["python", "-c", "import sys, json; print(sys.prefix)"])
        assert result.stdout.decode().strip() == f"{repo}/.venv", result


def test_other_peoples_homes_are_private(tmp_path: Path) -> None:
    assert is_private(Path("/home/someone-else/.pyenv/versions/3.12/lib/python3.12"), tmp_path)
    assert not is_private(Path("/home/someone-else/env/lib/python3.12"), Path("/home/someone-else/repo"))
    assert not is_private(Path("/opt/python/lib/python3.12"), tmp_path)


def test_bubblewrap_is_here() -> None:
    """Says loudly where the real sandbox could not be tried."""
    if bubblewrap.why_not():
        pytest.skip("BUBBLEWRAP IS NOT HERE: grants were looked at and not tried")

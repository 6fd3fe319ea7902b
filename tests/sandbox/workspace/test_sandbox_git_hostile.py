"""No git of ours obeys a repository: a generator of hostile trees against each of our operations on them."""

from __future__ import annotations

import ast
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile_trees import ENDLESS, SETTINGS, WHERE, Evil, git, make, plain_repo

from forklock.agent.contract import AgentFault
from forklock.agent.repo import apply_diff, copy_workspace, diff_between, file_at, inspect_repo
from forklock.agent.repo.checkout import Baseline, check_out
from forklock.sandbox import SandboxFault
from forklock.sandbox.git.repository import find_root, open_repository
from forklock.sandbox.git.tree import list_files
from forklock.sandbox.history import open_history
from forklock.sandbox.linux.private import remove_tree
from forklock.sandbox.workspace.workspace import open_workspace
from forklock.tools.index.files import all_files, code_files

ROOT = Path(__file__).parents[3]
ROOMS = ("agent", "tools", "selfdistill", "sandbox", "evals", "models")
Tried = Callable[[int], None]
NEW = (
    "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
)
EDIT = "diff --git a/b.txt b/b.txt\n--- a/b.txt\n+++ b/b.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
BOUND_S = 45.0
"""Seconds (wall clock): most take one, on a busy machine ten."""


@pytest.fixture(autouse=True)
def _no_traps_left(tmp_path: Path) -> Iterator[None]:
    """pytest removes a test's folder by a function that calls itself for each level: too deep for it."""
    yield
    remove_tree(tmp_path)


def opened(root: Path, scratch: Path) -> None:
    place = open_workspace(root, parent=scratch / "p")
    try:
        place.diff()
        (root / "src" / "new.py").write_text("y = 2\n")
        assert "+y = 2" in place.diff()
        fork = place.fork()
        (fork.root / "src" / "other.py").write_text("z = 3\n")
        assert "+z = 3" in fork.diff()
        inner = fork.fork()
        assert "+z = 3" in inner.diff()
        inner.close()
        fork.close()
    finally:
        place.close()
        (root / "src" / "new.py").unlink(missing_ok=True)


def inspected(root: Path, scratch: Path) -> None:
    find_root(root / "src")
    state = inspect_repo(root)
    assert state.head is None or len(state.head) == 40
    state.changed  # noqa: B018


def copied(root: Path, scratch: Path) -> None:
    base = scratch / "base"
    copy_workspace(root, base)
    assert (base / "src" / "a.py").is_file() and (base / "noise.log").is_file()
    opened(base, scratch)
    shutil.rmtree(base)


def applied(root: Path, scratch: Path) -> None:
    before = (root / "b.txt").read_bytes()
    apply_diff(root, NEW + EDIT, check_only=True)
    apply_diff(root, NEW + EDIT)
    assert (root / "b.txt").read_bytes() == b"one\n2\nthree\n", "no attribute of the tree changes a byte"
    (root / "new.py").unlink()
    (root / "b.txt").write_bytes(before)


def listed(root: Path, scratch: Path) -> None:
    for names in (all_files(root), code_files(root), list_files(root)):
        assert "src/a.py" in names


def of_history(root: Path, scratch: Path) -> None:
    assert file_at(root, "HEAD", "src/a.py").startswith(b"def a")
    head = inspect_repo(root).head or ""
    diff_between(root, head, head)
    check_out(root, head, scratch / "out")
    first = Baseline(scratch / "out", scratch / "first")
    (scratch / "out" / "b.txt").write_text("changed\n")
    assert first.changed() == ["b.txt"] and "+changed" in first.diff()
    shutil.rmtree(scratch / "out")
    shutil.rmtree(scratch / "first")


OPERATIONS = (opened, inspected, copied, applied, listed, of_history)


def run_all(root: Path, scratch: Path, evil: Evil) -> tuple[list[str], int]:
    """What broke, and how many operations were tried. A refusal in words is fine."""
    broken = []
    for operation in OPERATIONS:
        try:
            operation(root, scratch)
        except (SandboxFault, AgentFault) as fault:
            assert fault.fix and "Traceback" not in fault.message
        if evil.canary.exists():
            broken.append(f"{operation.__name__}: {evil.canary.read_text()}")
            evil.canary.unlink()
    return broken, len(OPERATIONS)


@pytest.mark.hostile("git")
@pytest.mark.parametrize("sizes", [(len(SETTINGS),), pytest.param((3, 12), marks=pytest.mark.slow)])
@pytest.mark.parametrize("where", WHERE)
def test_no_setting_runs_a_program(where: str, sizes: tuple[int, ...], tmp_path: Path, tried: Tried) -> None:
    """In each place: all settings; and random ones of them, so that none keeps git from reaching another."""
    choose = random.Random(where)
    every = len(SETTINGS)
    cases = [SETTINGS if size == every else tuple(choose.sample(SETTINGS, size)) for size in sizes]
    count = 0
    for number, chosen in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        evil = Evil(folder / "evil")
        root = make(folder / "repo", evil, where, chosen)
        broken, tries = run_all(root, folder, evil)
        count += tries
        assert not broken, (where, chosen, broken)
    tried(count)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.hostile("git")
@pytest.mark.parametrize("where", ["config", "nested repository", "submodule"])
def test_no_single_setting_runs_a_program(where: str, tmp_path: Path, tried: Tried) -> None:
    count = 0
    evil = Evil(tmp_path / "evil")
    for setting in SETTINGS:
        folder = tmp_path / "case"
        folder.mkdir()
        root = make(folder / "repo", evil, where, (setting,))
        broken, tries = run_all(root, folder, evil)
        count += tries
        assert not broken, (setting, broken)
        shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "library", ignore_errors=True)
    tried(count)


@pytest.mark.parametrize(
    "where", ["config", "nested repository, as a gitlink", "submodule", "linked work tree"]
)
def test_the_traps_work(where: str, tmp_path: Path) -> None:
    """git itself, run as it must not be, steps into them: else the tests above could not fail."""
    evil = Evil(tmp_path / "evil")
    root = make(tmp_path / "repo", evil, where, ("filter.e.clean={}",))
    git(root, "status")
    assert evil.canary.exists()


@pytest.mark.hostile("git")
@pytest.mark.parametrize("where", ["nested repository", "submodule", "config"])
def test_what_a_program_makes_of_a_fork_runs_nothing(where: str, tmp_path: Path, tried: Tried) -> None:
    plain_repo(tmp_path / "repo")
    place = open_workspace(tmp_path / "repo", parent=tmp_path / "p")
    fork = place.fork()
    evil = Evil(tmp_path / "evil")
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    made = make(tmp_path / "other", evil, where, SETTINGS)
    shutil.copytree(made, fork.root, dirs_exist_ok=True, symlinks=True)
    (fork.root / "src" / "a.py").write_text("def a():\n    return 2\n")
    diff = fork.diff()
    assert "+    return 2" in diff and not evil.canary.exists()
    inner = {"nested repository": "sub/x.py", "submodule": "lib/b.txt", "config": ".gitattributes"}[where]
    assert f"+++ b/{inner}" in diff, "what lies in a nested repository is part of the diff"
    fork.close()
    place.close()
    tried(2)


def _socket(place: Path) -> None:
    folder = os.open(place.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"/proc/self/fd/{folder}/{place.name}")
    os.close(folder)


BREAKS: dict[str, Callable[[Path], object]] = {
    "empty": lambda git_dir: git_dir.mkdir(),
    "a file": lambda git_dir: git_dir.write_text("gitdir: nowhere\n"),
    "a file with nothing": lambda git_dir: git_dir.write_text(""),
    "a link": lambda git_dir: git_dir.symlink_to("/nonexistent"),
    "a loop": lambda git_dir: git_dir.symlink_to(".git"),
    "HEAD alone": lambda git_dir: (git_dir.mkdir(), (git_dir / "HEAD").write_text("nonsense")),
    "no objects": lambda git_dir: (git(git_dir.parent, "init", "-q"), shutil.rmtree(git_dir / "objects")),
    "no commit": lambda git_dir: git(git_dir.parent, "init", "-q"),
    "bad config": lambda git_dir: (git(git_dir.parent, "init", "-q"), (git_dir / "config").write_text("[[[")),
    "newer format": lambda git_dir: (
        git(git_dir.parent, "init", "-q"),
        (git_dir / "config").write_text("[core]\nrepositoryformatversion = 99\n"),
    ),
    "a broken index": lambda git_dir: (
        git(git_dir.parent, "init", "-q"),
        (git_dir / "index").write_text("DIRC"),
    ),
    "a pipe": lambda git_dir: os.mkfifo(git_dir),
    "a socket": lambda git_dir: _socket(git_dir),
    "unreadable": lambda git_dir: (git_dir.mkdir(), git_dir.chmod(0)),
}

LARGE = ("many files", "many stars", "deep folders")
"""Trees for each of which all operations together take seconds."""


@pytest.mark.hostile("git")
@pytest.mark.parametrize("inside", ["sub", ".", "sub/deeper"])
def test_a_broken_git_folder_hides_no_change(inside: str, tmp_path: Path, tried: Tried) -> None:
    for number, (name, break_it) in enumerate(BREAKS.items()):
        root = plain_repo(tmp_path / str(number))
        place = open_workspace(root, parent=tmp_path / "p")
        fork = place.fork()
        folder = fork.root / inside
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / ".git", ignore_errors=True)
        break_it(folder / ".git")
        (folder / "added.py").write_text("x = 1\n")
        (fork.root / "src" / "a.py").write_text("changed\n")
        diff = fork.diff()
        assert "+changed" in diff and "+x = 1" in diff, name
        fork.close()
        place.close()
    tried(len(BREAKS))


@pytest.mark.hostile("git")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in ENDLESS]
)
def test_every_operation_ends(name: str, tmp_path: Path, tried: Tried) -> None:
    """A refusal in words, or an answer; and in time."""
    count = 0
    for operation in OPERATIONS:
        root = plain_repo(tmp_path / operation.__name__ / "repo")
        ENDLESS[name](root)
        began = time.monotonic()
        try:
            operation(root, tmp_path / operation.__name__)
        except (SandboxFault, AgentFault) as fault:
            assert fault.fix, fault.message
        except (AssertionError, FileNotFoundError):
            pass  # what it looks for is not there, or is a pipe
        assert time.monotonic() - began < BOUND_S, operation.__name__
        count += 1
        remove_tree(root)
    tried(count)


@pytest.mark.hostile("git")
@pytest.mark.parametrize("name", ["sparse files", "stars", "many stars", "loops of links", "pipe .gitignore"])
def test_what_a_program_makes_of_a_fork_is_told_in_time(name: str, tmp_path: Path) -> None:
    place = open_workspace(plain_repo(tmp_path / "repo"), parent=tmp_path / "p")
    fork = place.fork()
    ENDLESS[name](fork.root)
    (fork.root / "src" / "a.py").write_text("changed\n")
    began = time.process_time()
    if name == "sparse files":
        with pytest.raises(SandboxFault, match=r"sparse\d changed and is too large"):
            fork.diff()
        for file in fork.root.glob("sparse*"):
            file.unlink()
    assert "+changed" in fork.diff()
    assert time.process_time() - began < BOUND_S
    fork.close()
    place.close()


def test_a_large_file_that_is_there_from_the_start_is_no_hindrance(tmp_path: Path) -> None:
    root = plain_repo(tmp_path / "repo")
    with (root / "data.bin").open("wb") as file:
        file.truncate(300 << 20)
        file.seek(200 << 20)
        file.write(b"something")
    place = open_workspace(root, parent=tmp_path / "p")
    fork = place.fork()
    (fork.root / "src" / "a.py").write_text("changed\n")
    assert fork.diff().count("diff --git") == 1
    with (fork.root / "data.bin").open("r+b") as file:
        file.seek(200 << 20)
        file.write(b"different")
    with pytest.raises(SandboxFault, match=r"data\.bin"):
        fork.diff()
    fork.close()
    place.close()


# -- who may run git ----------------------------------------------------------------------------------------------


@pytest.mark.hostile("git")
def test_one_module_runs_git() -> None:
    """No other module of ours names git as a program, or hands words to one that would run it."""
    found = []
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in ("sandbox/git/run.py", "sandbox/history/history.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple) and node.elts:
                first = node.elts[0]
                if isinstance(first, ast.Constant) and first.value in ("git", "/usr/bin/git"):
                    found.append(f"{name}:{node.lineno}")
            if isinstance(node, ast.Call):
                words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                if words[:1] == ["git"] and ast.unparse(node.func).split(".")[-1] in (
                    "run", "Popen", "check_output", "check_call", "call", "which", "start", "execvp",
                ):  # fmt: skip
                    found.append(f"{name}:{node.lineno}")
    assert not found, f"git is run in sandbox/git/run.py alone: {found}"


def test_git_in_a_sandbox_is_run_in_a_sandbox() -> None:
    """`sandbox/history/history.py` may name git, as it gives it to a sandbox and starts no process."""
    tree = ast.parse((ROOT / "sandbox" / "history" / "history.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {
        "subprocess",
        "forklock.sandbox.linux.process",
        "forklock.sandbox.backends.host",
        "forklock.sandbox.backends.base",
    }


def test_the_users_own_repositories_are_not_taken_by_a_git_file(tmp_path: Path) -> None:
    """A downloaded tree whose `.git` file names another repository of the user's gets nothing of it."""
    private = plain_repo(tmp_path / "private")
    for text in (f"gitdir: {private / '.git'}\n", "gitdir: ../private/.git\n"):
        root = tmp_path / "downloaded"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        (root / ".git").write_text(text)
        (root / "src").mkdir()
        assert open_repository(root) is None
        with pytest.raises(AgentFault):
            inspect_repo(root)
        with pytest.raises(AgentFault):
            file_at(root, "HEAD", "src/a.py")


def test_borrowed_objects_are_refused_in_words(tmp_path: Path) -> None:
    private = plain_repo(tmp_path / "private")
    root = plain_repo(tmp_path / "repo")
    (root / ".git" / "objects" / "info" / "alternates").write_text(f"{private / '.git' / 'objects'}\n")
    with pytest.raises(SandboxFault, match="borrows"), open_history(root):
        pass

"""No git of ours obeys a repository: a generator of hostile trees against each of our operations on them."""

from __future__ import annotations

import ast
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile_trees import ENDLESS, SETTINGS, WHERE, Evil, crafted_index, git, make, plain_repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.contract import AgentFault
from agent.repo import apply_diff, copy_workspace, diff_between, file_at, inspect_repo
from agent.trial import Baseline, check_out
from sandbox import SandboxFault
from sandbox.git.history import open_history
from sandbox.git.index import IndexNotRead, read_index
from sandbox.git.repository import find_root, open_repository, tracked_names
from sandbox.git.tree import list_files
from sandbox.linux.nofollow import read_inside
from sandbox.linux.private import make_private, reap_orphans, remove_tree
from sandbox.workspace.workspace import open_workspace
from tools.index.files import all_files, python_files

ROOT = Path(__file__).parents[2]
ROOMS = ("agent", "tools", "selfdistill", "sandbox", "evals", "models")
Tried = Callable[[int], None]
NEW = (
    "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
)
EDIT = "diff --git a/b.txt b/b.txt\n--- a/b.txt\n+++ b/b.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
BOUND_S = 20.0


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
    for names in (all_files(root), python_files(root), list_files(root)):
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
@pytest.mark.parametrize("where", WHERE)
def test_no_setting_runs_a_program(where: str, tmp_path: Path, tried: Tried) -> None:
    """Of each place: all settings, and random ones of them, so that none keeps git from coming to another."""
    choose = random.Random(where)
    cases = [SETTINGS, *(tuple(choose.sample(SETTINGS, size)) for size in (3, 12))]
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
@pytest.mark.parametrize("name", ENDLESS)
def test_every_operation_ends(name: str, tmp_path: Path, tried: Tried) -> None:
    """A refusal in words, or an answer; and in time."""
    count = 0
    for operation in OPERATIONS:
        root = plain_repo(tmp_path / operation.__name__ / "repo")
        ENDLESS[name](root)
        began = time.monotonic()
        cpu = time.process_time()
        try:
            operation(root, tmp_path / operation.__name__)
        except (SandboxFault, AgentFault) as fault:
            assert fault.fix, fault.message
        except (AssertionError, FileNotFoundError):
            pass  # what it looks for is not there, or is a pipe
        assert min(time.monotonic() - began, 4 * (time.process_time() - cpu)) < BOUND_S, operation.__name__
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


ESCAPES = (
    "../secret/id", "../../secret/id", "L/../../secret/id", "L/id", "/etc/hostname", "a/../../secret/id", "./x", "x//y",
    ".git/config", "src/.git/hooks/x", ".GIT/config", "src/..", "..", ".", "L/sub/../id", "b.txt/../../secret/id",
)  # fmt: skip


@pytest.mark.hostile("git")
def test_a_crafted_index_reads_and_writes_nothing_outside(tmp_path: Path, tried: Tried) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id").write_text("PRIVATE")
    for number, names in enumerate([[name] for name in ESCAPES] + [list(ESCAPES)]):
        folder = tmp_path / str(number)
        root = plain_repo(folder / "repo")
        (root / "L").symlink_to(secret)
        crafted_index(root, names)
        assert not tracked_names(root) & {name for name in ESCAPES if name != "L/id"}
        base = folder / "cache" / "base"
        copy_workspace(root, base)
        found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert all(path.is_relative_to(root) or path.is_relative_to(base) for path in found)
        assert not [path for path in found if b"PRIVATE" in path.read_bytes()]
        place = open_workspace(base, parent=folder / "p")
        (base / "src" / "a.py").write_text("changed\n")
        assert "PRIVATE" not in place.diff()
        assert "L/id" not in list_files(root)
        place.close()
    assert sorted(path.name for path in secret.iterdir()) == ["id"]
    tried(len(ESCAPES) + 1)


def in_diff(name: str, *, link_to: str = "") -> str:
    mode, line = ("120000", link_to) if link_to else ("100644", "x")
    end = "\\ No newline at end of file\n" if link_to else ""
    head = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1 @@\n+{line}\n{end}"


REFUSED = (
    *(in_diff(name) for name in (
        "../x", "L/x", "L/deep/x", "/tmp/x", ".git/hooks/pre-commit", ".git/config", "src/.git/config", ".GIT/config",
        ".forklock/runs/x", "a/../../x", "src/../../x",
    )),
    *(in_diff("new", link_to=target) for target in ("/etc/passwd", "../x", "src/../../x", "..")),
    in_diff("new", link_to="/etc") + in_diff("new/x"),
    "diff --git a/L/id b/stolen\nsimilarity index 100%\nrename from L/id\nrename to stolen\n",
    "diff --git a/L/id b/stolen\nsimilarity index 100%\ncopy from L/id\ncopy to stolen\n",
    'diff --git "a/../secret/id" b/stolen\nsimilarity index 100%\ncopy from "\\056\\056/secret/id"\ncopy to stolen\n',
    "--- a/L/id\n+++ b/L/id\n@@ -1 +1 @@\n-PRIVATE\n+X\n",
)  # fmt: skip


@pytest.mark.hostile("git")
def test_a_diff_leads_nowhere_outside_and_changes_nothing_then(tmp_path: Path, tried: Tried) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id").write_text("PRIVATE\n")
    root = plain_repo(tmp_path / "repo")
    (root / "L").symlink_to(secret)
    for diff in REFUSED:
        for whole in (diff, EDIT + diff, diff + NEW):
            with pytest.raises(AgentFault):
                apply_diff(root, whole)
            assert (root / "b.txt").read_text() == "one\ntwo\nthree\n" and not (root / "new.py").exists()
            assert not (root / "stolen").exists() and not os.path.lexists(root / "new"), diff
    assert [path.read_text() for path in secret.iterdir()] == ["PRIVATE\n"]
    assert not (tmp_path / "x").exists()
    tried(3 * len(REFUSED))


NAMES = st.sampled_from(
    ["a", "b", "d/a", "d/b", "d/e/f", "e", "sp ace", "tab\there", "ünï", 'q"uote', "back\\slash"]
)
CONTENT = st.one_of(
    st.none(), st.binary(max_size=60), st.sampled_from([b"x\r\ny\r\n", b"$Id$\n", b"\xff\xfe", b"a\nb\nc\n"])
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=st.dictionaries(NAMES, CONTENT, max_size=6),
    new=st.dictionaries(NAMES, CONTENT, max_size=6),
    data=st.data(),
)
def test_what_a_diff_says_is_what_its_application_gives(tmp_path_factory, old, new, data) -> None:  # type: ignore[no-untyped-def]
    """Any tree into any other: the diff of the one against the other, applied to a copy, gives the other."""
    base = tmp_path_factory.mktemp("any")
    for folder, files in (("was", old), ("is", new)):
        (base / folder).mkdir()
        for name, content in files.items():
            place = base / folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                place.symlink_to(data.draw(st.sampled_from(["a", "d", "nowhere"])))
            else:
                place.write_bytes(content)
                place.chmod(data.draw(st.sampled_from([0o644, 0o755])))
    shutil.copytree(base / "was", base / "work", symlinks=True)
    place = open_workspace(base / "work", parent=base / "p")
    for entry in list((base / "work").iterdir()):
        remove_tree(entry)
    shutil.copytree(base / "is", base / "work", symlinks=True, dirs_exist_ok=True)
    diff = place.diff()
    place.close()
    if diff:
        apply_diff(base / "was", diff)
    assert everything(base / "was") == everything(base / "is")


def everything(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): path.readlink()
        if path.is_symlink()
        else (path.read_bytes(), path.stat().st_mode & 0o100)
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_a_diff_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    root = plain_repo(tmp_path / "repo")
    (root / "new.py").mkdir()
    (root / "new.py" / "mine").write_text("mine")
    before = everything(root)
    with pytest.raises(AgentFault):
        apply_diff(root, EDIT + NEW)
    assert everything(root) == before


# -- ignore rules and listings: as git has them ---------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "x",
        "*",
        "**",
        "**/",
        "/**",
        "/",
        "?",
        "[ab]",
        "[!a]",
        "[a-c]",
        "\\*",
        "!",
        " ",
        "#",
        ".",
        "[[:alpha:]]",
        "[]",
    ]
)
LINES = st.lists(st.lists(PIECES, min_size=1, max_size=5).map("".join), max_size=4).map("\n".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=LINES, inner=LINES)
def test_listing_is_gits(tmp_path_factory, top: str, inner: str) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("rules")
    for name in ("a", "b", "x/a", "x/b", "x/y/a", "a.b", "c/x/a", "x/y/z/b"):
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
    git(root, "init", "-q")
    git(root, "add", "-f", "x/b")
    (root / ".gitignore").write_text(top + "\n")
    (root / "x" / ".gitignore").write_text(inner + "\n")
    told = git(
        root, "-c", "core.quotePath=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )
    assert list_files(root) == sorted({name for name in told.split("\0") if name})


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(NAMES, min_size=1), version=st.sampled_from(["2", "3", "4"]), flag=st.booleans())
def test_the_index_is_read_as_git_reads_it(tmp_path_factory, names, version: str, flag: bool) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("index")
    git(root, "init", "-q")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    git(root, "add", "-A")
    if flag:
        git(root, "update-index", "--skip-worktree", "--", next(iter(names)))
    git(root, "update-index", "--index-version", version)
    told = subprocess.run(
        ["git", "ls-files", "-s", "-z"], cwd=root, capture_output=True, check=True
    ).stdout.decode()
    repository = open_repository(root)
    assert repository is not None
    ours = [f"{one.mode:o} {one.oid} {one.stage}\t{one.name}" for one in repository.tracked()]
    assert sorted(ours) == sorted(told.split("\0")[:-1])


@pytest.mark.hostile("git")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_index_is_named_or_read(tmp_path_factory, data) -> None:  # type: ignore[no-untyped-def]
    whole = _some_index(tmp_path_factory)
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(max_size=8))
    cut = data.draw(st.integers(0, 8))
    try:
        read_index(whole[:at] + damage + whole[at + cut :])
    except IndexNotRead as error:
        assert str(error)


def _some_index(factory: pytest.TempPathFactory, cache: list[bytes] = []) -> bytes:  # noqa: B006
    if not cache:
        root = plain_repo(factory.mktemp("index") / "repo")
        git(root, "update-index", "--index-version", "4")
        cache.append((root / ".git" / "index").read_bytes())
    return cache[0]


# -- who may run git ----------------------------------------------------------------------------------------------


@pytest.mark.hostile("git")
def test_one_module_runs_git() -> None:
    """No other module of ours names git as a program, or hands words to one that would run it."""
    found = []
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in ("sandbox/git/run.py", "sandbox/git/history.py"):
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
    """`sandbox/git/history.py` may name git, as it gives it to a sandbox and starts no process."""
    tree = ast.parse((ROOT / "sandbox" / "git" / "history.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"subprocess", "sandbox.linux.process", "sandbox.host"}


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


# -- private directories ----------------------------------------------------------------------------------------


def test_the_living_of_another_pid_space_are_left_alone(tmp_path: Path) -> None:
    """Its process ids mean nothing here: the lock tells."""
    parent = tmp_path / "p"
    code = (
        "import sys, time; from pathlib import Path; from sandbox.linux.private import make_private; "
        f"print(make_private(Path({str(parent)!r})), flush=True); time.sleep(60)"
    )
    argv = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        os.path.realpath(os.sys.executable),
        "-c",
        code,
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, os.sys.path)])}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True) as other:
        assert other.stdout and other.stderr
        said = other.stdout.readline().strip()
        if not said:
            pytest.skip(f"no other name space can be made: {other.stderr.read()[-200:]}")
        private = Path(said)
        reap_orphans(parent)
        assert private.is_dir(), "it lives"
        other.kill()
    deadline = time.monotonic() + 10
    while private.exists() and time.monotonic() < deadline:
        reap_orphans(parent)
        time.sleep(0.1)
    assert not private.exists(), "it is dead"


@pytest.mark.hostile("git")
def test_no_mode_outside_is_changed_by_a_removal(tmp_path: Path, tried: Tried) -> None:
    """A folder that looks like an orphan of ours, full of links to what another user would have opened or closed."""
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "file").write_text("x")
    (outside / "inner").chmod(0o500)
    parent = tmp_path / "p"
    for number in range(3):
        trap = parent / f"forklock-1-{number}-trap"
        trap.mkdir(parents=True)
        for name, target in (
            ("a", outside),
            ("b", outside / "inner"),
            ("c", outside / "file"),
            ("d", Path("/etc")),
        ):
            (trap / name).symlink_to(target)
        (trap / "sealed").mkdir()
        (trap / "sealed" / "link").symlink_to(outside)
        (trap / "sealed").chmod(0)
    (parent / "forklock-1-9-link").symlink_to(outside)
    before = {path: path.stat().st_mode for path in (outside, *outside.rglob("*"), Path("/etc"))}
    reap_orphans(parent)
    assert {path: path.stat().st_mode for path in before} == before
    assert sorted(path.name for path in outside.iterdir()) == ["file", "inner"]
    assert [path.name for path in parent.iterdir()] == ["forklock-1-9-link"]
    tried(4)


def test_a_fork_with_folders_thousands_deep_is_refused_and_removed(tmp_path: Path) -> None:
    place = open_workspace(plain_repo(tmp_path / "repo"), parent=tmp_path / "p")
    fork = place.fork()
    ENDLESS["deep folders"](fork.root)
    for operation in (fork.diff, fork.fork):
        with pytest.raises(SandboxFault, match="deep"):
            operation()
    fork.close()
    place.close()
    assert list((tmp_path / "p").iterdir()) == []


def test_folders_thousands_deep_are_removed(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    ENDLESS["deep folders"](tmp_path / "x")
    remove_tree(tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a directory for another user is made by root")
def test_root_writes_in_no_directory_of_another_user(tmp_path: Path) -> None:
    private = make_private(tmp_path, owner=65534)
    found = private.stat()
    assert found.st_uid == 0 and found.st_mode & 0o002 == 0
    enter = subprocess.run(
        ["test", "-x", str(private)], user=65534, group=65534, extra_groups=[], check=False
    )
    write = subprocess.run(
        ["test", "-w", str(private)], user=65534, group=65534, extra_groups=[], check=False
    )
    assert write.returncode != 0
    tmp_path.chmod(0o755)
    assert enter.returncode in (0, 1)
    remove_tree(private)


@pytest.mark.hostile("git")
def test_reading_below_a_folder_follows_no_link(tmp_path: Path, tried: Tried) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "id").write_text("PRIVATE")
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_text("mine")
    (root / "L").symlink_to("../secret")
    (root / "d" / "id").symlink_to("../../secret/id")
    os.mkfifo(root / "pipe")
    names = ["L/id", "d/id", "L", "pipe", "d", "missing", "L/../id"]
    for name in names[:-1]:
        assert read_inside(root, name, 100) is None
    for name in ("L/../id", "../secret/id", "/etc/passwd", "", "d//file", "a\0b"):
        with pytest.raises(ValueError, match="not a path"):
            read_inside(root, name, 100)
    assert read_inside(root, "d/file", 100) == b"mine"
    tried(len(names) + 6)

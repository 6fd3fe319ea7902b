"""The user's repository: what is dirty, what the copy holds, and that the user's own git settings do no harm."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forklock.agent.contract import AgentFault
from forklock.agent.repo import copy_workspace, inspect_repo, require_clean
from forklock.sandbox import open_sandbox
from forklock.sandbox.git import repository
from forklock.sandbox.git import run as host_git
from forklock.sandbox.git.repository import find_root

CONFIG = """\
[user]
	name = A
	email = a@b
[core]
	autocrlf = true
	excludesFile = ~/ignored
[filter "upper"]
	clean = tr a-z A-Z
	smudge = tr A-Z a-z
	required = true
[filter "lfs"]
	clean = {home}/lfs
	smudge = cat
[protocol "file"]
	allow = always
"""
LFS = """\
#!/usr/bin/env python3
import hashlib, sys
data = sys.stdin.buffer.read()
digest = hashlib.sha256(data).hexdigest()
print(f"version https://git-lfs.github.com/spec/v1\\noid sha256:{digest}\\nsize {len(data)}")
"""
"""What git LFS's clean filter answers."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user with a git configuration of their own: a filter, line ends, ignore rules, a name."""
    place = tmp_path / "home"
    place.mkdir()
    (place / "ignored").write_text("*.swp\n.idea/\n")
    (place / "lfs").write_text(LFS)
    (place / "lfs").chmod(0o755)
    (place / ".gitconfig").write_text(CONFIG.format(home=place))
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for cached in (repository._users, host_git.user_filters):
        cached.cache_clear()
    yield place
    for cached in (repository._users, host_git.user_filters):
        cached.cache_clear()


def git(folder: Path, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    done = subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repo(home: Path, tmp_path: Path) -> Path:
    """Files of every kind that the user's settings change on the way in, committed and clean to the user's git."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    (root / ".gitattributes").write_text("*.up filter=upper\n*.bin filter=lfs -text\n*.id ident\n")
    (root / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    (root / "word.up").write_text("lower\n")
    (root / "big.bin").write_bytes(bytes(range(256)) * 9)
    (root / "a.id").write_text("$Id$\n")
    (root / "a.py").write_text("x = 1\n")
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o755)
    (root / "link").symlink_to("a.py")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "x")
    (root / "a.id").unlink()
    git(root, "checkout", "-q", "a.id")
    assert "$Id:" in (root / "a.id").read_text()
    pointer = git(root, "cat-file", "blob", "HEAD:big.bin")
    assert hashlib.sha256((root / "big.bin").read_bytes()).hexdigest() in pointer
    assert git(root, "cat-file", "blob", "HEAD:word.up") == "LOWER"
    return root


def test_a_tree_that_is_clean_to_the_user_is_clean(repo: Path) -> None:
    require_clean(inspect_repo(repo))
    for file in repo.iterdir():
        if file.is_file():
            os.utime(file, (time.time() + 100, time.time() + 100), follow_symlinks=False)
    assert git(repo, "status", "--porcelain") == ""
    assert inspect_repo(repo).changed == (), "also where each file has to be read"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.py", b"x = 2\n"),
        ("dos.txt", b"one\r\ntwo\r\nthree\r\n"),
        ("big.bin", b"other"),
        ("a.id", b"$Id$ changed\n"),
    ],
)
def test_a_change_is_seen(repo: Path, name: str, content: bytes) -> None:
    (repo / name).write_bytes(content)
    assert inspect_repo(repo).changed == (name,)
    with pytest.raises(AgentFault, match=name):
        require_clean(inspect_repo(repo))


def test_what_is_staged_gone_or_of_another_kind_is_changed(repo: Path) -> None:
    (repo / "new.py").write_text("y = 1\n")
    git(repo, "add", "new.py")
    (repo / "a.py").unlink()
    (repo / "tool").chmod(0o644)
    (repo / "link").unlink()
    (repo / "link").write_text("a.py")
    assert inspect_repo(repo).changed == ("a.py", "link", "new.py", "tool")
    told = {line.split()[-1] for line in git(repo, "status", "--porcelain").splitlines()}
    assert told == {"a.py", "link", "new.py", "tool"}
    git(repo, "rm", "-q", "--cached", "dos.txt")
    assert "dos.txt" in inspect_repo(repo).changed


def test_the_users_ignore_rules_hold(repo: Path, tmp_path: Path) -> None:
    with open_sandbox(repo, backend="host", forks_in=tmp_path / "p") as place:
        (repo / ".a.py.swp").write_text("x")
        (repo / ".idea").mkdir()
        (repo / ".idea" / "x").write_text("x")
        assert place.diff() == ""


def test_no_filter_of_the_users_touches_a_diff(repo: Path, tmp_path: Path) -> None:
    with open_sandbox(repo, backend="host", forks_in=tmp_path / "p") as place, place.fork() as fork:
        (fork.root / "word.up").write_text("words\n")
        (fork.root / "dos.txt").write_bytes(b"one\r\n2\r\n")
        diff = fork.diff()
        assert "-lower\n+words\n" in diff and "+2\r\n" in diff and "WORDS" not in diff


def test_a_head_of_every_kind_is_found(repo: Path) -> None:
    head = git(repo, "rev-parse", "HEAD")
    assert inspect_repo(repo).head == head
    git(repo, "pack-refs", "--all")
    assert inspect_repo(repo).head == head
    git(repo, "checkout", "-q", "--detach")
    assert inspect_repo(repo).head == head
    (repo / "deep" / "er").mkdir(parents=True)
    assert find_root(repo / "deep" / "er") == repo
    empty = repo.parent / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert inspect_repo(empty).head is None and inspect_repo(empty).changed == ()


def test_packed_history_is_read(repo: Path) -> None:
    git(repo, "gc", "-q")
    assert inspect_repo(repo).changed == ()
    git(repo, "update-index", "--index-version", "4")
    assert inspect_repo(repo).changed == ()


def test_the_index_of_an_unknown_kind_is_refused_in_words(repo: Path) -> None:
    git(repo, "update-index", "--split-index")
    with pytest.raises(AgentFault, match="index") as caught:
        require_clean(inspect_repo(repo))
    assert "--allow-dirty" in caught.value.fix


# -- the copy is what a sandbox shows ------------------------------------------------------------------------------


def names(root: Path) -> set[str]:
    found = {
        str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    return {name for name in found if name.split("/")[0] not in (".git", ".forklock")}


def test_the_copy_holds_what_a_sandbox_shows(repo: Path, home: Path, tmp_path: Path) -> None:
    (repo / ".gitignore").write_text("_version.py\n*.so\nfixtures/\nnode_modules/\n.venv\n")
    for name in (
        "pkg/_version.py",
        "pkg/fast.so",
        "fixtures/data.json",
        "node_modules/left/index.js",
        "untracked.txt",
    ):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(name)
    (repo / ".venv" / "bin").mkdir(parents=True)
    (repo / ".venv" / "pyvenv.cfg").write_text("")
    (repo / ".mypy_cache").mkdir()
    (repo / ".mypy_cache" / "big").write_text("x")
    (repo / "outward").symlink_to("/etc")
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q")
    (library / "lib.py").write_text("z = 1\n")
    git(library, "add", "-A")
    git(library, "commit", "-qm", "lib")
    git(repo, "submodule", "--quiet", "add", str(library), "third_party/lib")
    left = copy_workspace(repo, tmp_path / "cache" / "base")
    base = tmp_path / "cache" / "base"
    assert left == (".venv", ".mypy_cache")
    with open_sandbox(repo, backend="host", forks_in=tmp_path / "p") as place, place.fork() as fork:
        shown = {name for name in names(fork.root) if not name.startswith((".venv", ".mypy_cache"))}
    assert names(base) == shown
    assert {"pkg/_version.py", "pkg/fast.so", "third_party/lib/lib.py", "outward"} <= shown
    with open_sandbox(base, backend="host", forks_in=tmp_path / "p") as place, place.fork() as fork:
        (fork.root / "third_party" / "lib" / "lib.py").write_text("z = 2\n")
        (fork.root / "pkg" / "_version.py").write_text("ignored")
        diff = fork.diff()
    assert "+z = 2" in diff and diff.count("diff --git") == 1


def test_a_linked_work_tree_is_copied_with_a_git_folder_of_its_own(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "other")
    linked, base = tmp_path / "linked", tmp_path / "cache" / "base"
    assert inspect_repo(linked).head == inspect_repo(repo).head
    assert inspect_repo(linked).changed == ()
    copy_workspace(linked, base)
    assert git(base, "rev-parse", "HEAD") == git(repo, "rev-parse", "HEAD")
    assert inspect_repo(base).changed == ()


def test_a_tracked_folder_that_became_a_link_is_no_full_disk(repo: Path, tmp_path: Path) -> None:
    (repo / "pkg").mkdir()
    (repo / "pkg" / "m.py").write_text("m = 1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "pkg")
    (repo / "pkg").rename(repo / "moved")
    (repo / "pkg").symlink_to("moved")
    copy_workspace(repo, tmp_path / "cache" / "base")
    assert (tmp_path / "cache" / "base" / "pkg").readlink() == Path("moved")
    assert "pkg/m.py" in inspect_repo(repo).changed


def test_a_git_folder_that_does_not_lead_back_is_told_apart_from_none(tmp_path: Path) -> None:
    """`git clone --separate-git-dir`: `git init`, which is right where there is no repository, would not help."""
    top = tmp_path / "tree"
    subprocess.run(["git", "init", "-q", f"--separate-git-dir={tmp_path / 'kept'}", str(top)], check=True)
    with pytest.raises(AgentFault, match="does not name") as caught:
        inspect_repo(top)
    assert "core.worktree" in caught.value.fix
    subprocess.run(["git", "-C", str(top), "config", "core.worktree", str(top)], check=True)
    assert inspect_repo(top).root == top

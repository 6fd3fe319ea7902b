"""The diff against the opening: applying it reproduces the tree, and a hostile repo has no say in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forklock.sandbox import SandboxFault
from forklock.sandbox.workspace.copying import copy_tree
from forklock.sandbox.workspace.workspace import open_workspace

GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Path to (executable bit or link, content), as git sees it; .git and ignored logs aside."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.split("/")[0] == ".git" or name.endswith(".log"):
            continue
        if path.is_symlink():
            found[name] = (-1, os.fsencode(path.readlink()))
        elif path.is_file():
            found[name] = (path.stat().st_mode & 0o100, path.read_bytes())
    return found


def apply_to(copy: Path, diff: str) -> None:
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    env = {**GIT, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    subprocess.run(command, cwd=copy, input=diff.encode(), env=env, check=True)


def change(root: Path) -> None:
    """One of everything."""
    (root / "src" / "a.py").write_text("def a():\n    return 2\n")
    (root / "new dir").mkdir()
    (root / "new dir" / "ünïcode \t tab.txt").write_text("no newline at the end")
    (root / "binary").write_bytes(bytes(range(256)) * 40)
    (root / "latin.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    (root / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    (root / "tool.sh").write_text("#!/bin/sh\n")
    (root / "tool.sh").chmod(0o755)
    (root / "link").symlink_to("src/a.py")
    (root / ".gitignore").unlink()
    (root / ".gitignore").write_text("*.log\nbuild/\n")


@pytest.mark.parametrize("is_repo", [True, False])
def test_git_apply_reproduces_the_tree(repo: Path, tmp_path: Path, is_repo: bool) -> None:
    if not is_repo:
        shutil.rmtree(repo / ".git")
    (repo / "old.txt").write_bytes(b"caf\xe9\nold\n")
    copy_tree(repo, tmp_path / "before")
    place = open_workspace(repo, parent=tmp_path / "p")
    assert place.diff() == ""
    change(repo)
    (repo / "old.txt").unlink()
    diff = place.diff()
    apply_to(tmp_path / "before", diff)
    assert tree(tmp_path / "before") == tree(repo)
    assert "+    return 2" in diff
    assert "noise" not in diff
    (repo / "build").mkdir()
    (repo / "build" / "x.o").write_text("ignored")
    assert place.diff() == diff
    place.close()


def test_a_dirty_tree_is_the_baseline(repo: Path, tmp_path: Path) -> None:
    (repo / "src" / "a.py").write_text("dirty\n")
    (repo / "untracked").write_text("u\n")
    place = open_workspace(repo, parent=tmp_path / "p")
    assert place.diff() == ""
    (repo / "untracked").write_text("v\n")
    assert "-u\n+v\n" in place.diff()
    place.close()


def test_same_size_and_time_do_not_hide_a_change(repo: Path, tmp_path: Path) -> None:
    place = open_workspace(repo, parent=tmp_path / "p")
    place.diff()
    file = repo / "src" / "a.py"
    before = file.stat()
    file.write_text(file.read_text().replace("1", "7"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "+    return 7" in place.diff()
    place.close()


def test_tracked_files_show_although_ignored(repo: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "add", "-f", "noise.log"], cwd=repo, check=True, env=GIT)
    place = open_workspace(repo, parent=tmp_path / "p")
    (repo / "noise.log").write_text("loud\n")
    assert "-noise\n+loud\n" in place.diff()
    (repo / "noise.log").unlink()
    assert "deleted file" in place.diff()
    place.close()


def test_a_hostile_repo_runs_nothing_and_hides_nothing(repo: Path, tmp_path: Path) -> None:
    alarm = tmp_path / "alarm"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {alarm}\ncat\n")
    evil.chmod(0o755)
    for key in ("core.fsmonitor", "filter.f.clean", "diff.d.textconv", "diff.d.command", "diff.external"):
        subprocess.run(["git", "config", key, str(evil)], cwd=repo, check=True, env=GIT)
    for hook in ("post-index-change", "pre-commit", "fsmonitor-watchman"):
        shutil.copy(evil, repo / ".git" / "hooks" / hook)
    (repo / ".gitattributes").write_text("*.py filter=f diff=d\n*.txt -diff text eol=crlf\n")
    (repo / "note.txt").write_text("one\n")
    subprocess.run(["git", "update-index", "--assume-unchanged", "src/a.py"], cwd=repo, check=True, env=GIT)
    alarm.unlink(missing_ok=True)
    place = open_workspace(repo, parent=tmp_path / "p")
    (repo / "src" / "a.py").write_text("changed\n")
    (repo / "note.txt").write_text("two\n")
    diff = place.diff()
    assert "+changed" in diff
    assert "-one\n+two\n" in diff
    place.fork().close()
    place.close()
    assert not alarm.exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=st.binary(max_size=200),
    new=st.binary(max_size=200),
    name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
        lambda n: (
            n.strip(".") and n.lower() != ".git" and not n.lower().startswith((".git", "git~")) and n != "f"
        )
    ),
)
def test_any_bytes_under_any_name(tmp_path_factory, old: bytes, new: bytes, name: str) -> None:
    base = tmp_path_factory.mktemp("any")
    root = base / "root"
    root.mkdir()
    (root / "f").write_bytes(old)
    copy_tree(root, base / "copy")
    place = open_workspace(root, parent=base / "p")
    (root / "f").write_bytes(new)
    (root / name).write_bytes(old + b"!")
    diff = place.diff()
    place.close()
    apply_to(base / "copy", diff)
    assert tree(base / "copy") == tree(root)


def test_refuses_what_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "missing", Path("/"), Path("/usr"), Path.home()):
        with pytest.raises(SandboxFault) as caught:
            open_workspace(bad)
        assert caught.value.fix


def test_environments_stay_behind_and_private_things_go(repo: Path, tmp_path: Path) -> None:
    (repo / ".venv" / "bin").mkdir(parents=True)
    (repo / ".venv" / "pyvenv.cfg").write_text("")
    (repo / ".venv" / "big").write_text("x")
    (repo / ".forklock").mkdir()
    (repo / ".forklock" / "log").write_text("x")
    place = open_workspace(repo, parent=tmp_path / "p")
    fork = place.fork()
    assert list((fork.root / ".venv").iterdir()) == []
    assert not (fork.root / ".forklock").exists()
    assert (fork.root / ".git" / "HEAD").exists()
    place.close()
    assert fork.diff() == "", "a fork outlives the sandbox that it came from"
    fork.close()
    assert list((tmp_path / "p").iterdir()) == []


def test_copies_of_dead_owners_are_removed(repo: Path, tmp_path: Path) -> None:
    parent = tmp_path / "p"
    orphan = parent / "forklock-1-0-abc"
    (orphan / "sealed").mkdir(parents=True)
    (orphan / "sealed").chmod(0)
    alive = open_workspace(repo, parent=parent)
    again = open_workspace(repo, parent=parent)
    assert not orphan.exists()
    assert alive.private.exists()
    again.close()
    alive.close()

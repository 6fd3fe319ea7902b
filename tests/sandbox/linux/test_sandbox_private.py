"""Private directories: the living are left alone, the dead removed, and nothing of others is touched."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile_trees import ENDLESS, plain_repo

from forklock.sandbox import SandboxFault
from forklock.sandbox.linux.private import make_private, reap_orphans, remove_tree
from forklock.sandbox.workspace.workspace import open_workspace

ROOT = Path(__file__).parents[3]
Tried = Callable[[int], None]


@pytest.fixture(autouse=True)
def _no_traps_left(tmp_path: Path) -> Iterator[None]:
    """pytest removes a test's folder by a function that calls itself for each level: too deep for it."""
    yield
    remove_tree(tmp_path)


def test_the_living_of_another_pid_space_are_left_alone(tmp_path: Path) -> None:
    """Its process ids mean nothing here: the lock tells."""
    parent = tmp_path / "p"
    code = (
        "import sys, time; from pathlib import Path; from forklock.sandbox.linux.private import make_private; "
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
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, os.sys.path)])}
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
def test_root_writes_in_no_directory_of_another_user() -> None:
    private = make_private(Path("/tmp"), owner=65534)
    try:
        assert private.stat().st_uid == 0

        def may(what: str, user: int) -> bool:
            argv = ["test", what, str(private)]
            return not subprocess.run(argv, user=user, group=user, extra_groups=[], check=False).returncode

        assert may("-x", 65534), "commands run as the owner"
        assert not may("-w", 65534) and not may("-r", 65534)
        assert not may("-x", 65533), "and nobody else gets in"
    finally:
        remove_tree(private)

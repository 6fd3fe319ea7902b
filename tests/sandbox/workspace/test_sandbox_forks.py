"""Forks as layers and as copies: the same to whoever works in them, apart from each other, and gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forklock.sandbox import SandboxFault, open_sandbox
from forklock.sandbox.images import engine as docker_engine
from forklock.sandbox.linux import mounts
from forklock.sandbox.workspace import workspace
from forklock.sandbox.workspace.snapshot import layers_work
from forklock.sandbox.workspace.workspace import open_workspace

WAYS = ["layer", "copy"]


def mounted(parent: Path) -> list[Path]:
    return mounts.below(parent)


def use_way(way: str, parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "copy":
        monkeypatch.setattr(workspace, "layers_work", lambda _parent: False)
    elif not layers_work(parent):
        pytest.skip("layers: this user may not mount overlays here. Fix: run as root")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "p").mkdir()
    use_way(request.param, tmp_path / "p", monkeypatch)
    return request.param


@pytest.fixture
def layered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p").mkdir()
    use_way("layer", tmp_path / "p", monkeypatch)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Path to everything that a program could tell it by; git's own files aside."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0] == ".git":
            continue
        stat = path.lstat()
        facts: tuple[object, ...] = (oct(stat.st_mode), stat.st_uid, stat.st_gid)
        if path.is_symlink():
            facts += (os.readlink(path),)  # noqa: PTH115
        elif path.is_file():
            facts += (stat.st_size, stat.st_mtime_ns, stat.st_nlink, path.read_bytes())
        found[name] = facts
    return found


def furnish(root: Path) -> None:
    """Kinds of entries that copies get wrong."""
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "file").write_text("deep")
    (root / "deep" / "other").write_text("other")
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o4755)
    (root / "sealed").write_text("sealed")
    (root / "sealed").chmod(0o400)
    (root / "dangling").symlink_to("./no//where/")
    (root / "empty").mkdir()
    (root / "old").write_text("old")
    os.utime(root / "old", ns=(1, 1_000_000_001))


def upheave(root: Path) -> None:
    """Every kind of change that a layer has to record."""
    (root / "deep" / "er" / "file").unlink()
    (root / "deep" / "er").rmdir()
    (root / "deep" / "er").mkdir()  # replaced: the old content must not shine through
    (root / "deep" / "er" / "new").write_text("new")
    (root / "src").rename(root / "source")
    (root / "empty").rmdir()
    (root / "tool").chmod(0o755)
    (root / "sealed").unlink()
    (root / "sealed").mkdir()
    (root / "dangling").unlink()
    (root / "dangling").write_text("a file now")
    (root / "one").write_text("linked")
    os.link(root / "one", root / "two")
    (root / "link").symlink_to("./source//a.py")
    (root / "old").write_text("changed")


def test_a_fork_is_what_the_original_was(way: str, repo: Path, tmp_path: Path) -> None:
    furnish(repo)
    place = open_workspace(repo, parent=tmp_path / "p")
    fork = place.fork()
    assert bool(mounted(tmp_path)) == (way == "layer")
    assert tree(fork.root) == tree(repo)
    assert fork.diff() == ""
    before = tree(repo)
    upheave(repo)
    assert tree(fork.root) == before, "a later change of the original does not show"
    late = place.fork()
    assert tree(late.root) == tree(repo)
    for one in (fork, late, place):
        one.close()
    assert mounted(tmp_path) == []
    assert list((tmp_path / "p").iterdir()) == []


def test_a_fork_of_a_fork_is_what_that_was(way: str, repo: Path, tmp_path: Path) -> None:
    furnish(repo)
    place = open_workspace(repo, parent=tmp_path / "p")
    child = place.fork()
    upheave(child.root)
    grandchild = child.fork()
    assert tree(grandchild.root) == tree(child.root)
    assert grandchild.diff() == child.diff() != ""
    (child.root / "late").write_text("x")
    (grandchild.root / "source" / "a.py").write_text("mine")
    (grandchild.root / "deep" / "other").unlink()
    third = grandchild.fork()
    assert tree(third.root) == tree(grandchild.root)
    child.close()
    assert tree(third.root) == tree(grandchild.root)
    assert not (third.root / "late").exists()
    for one in (place, grandchild, third):
        one.close()
    assert mounted(tmp_path) == []
    assert list((tmp_path / "p").iterdir()) == []


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e"])
STEPS = st.tuples(
    st.sampled_from(["write", "remove", "folder", "rename", "link", "symlink", "mode", "fork"]), NAMES, NAMES
)


def step(root: Path, what: str, name: str, other: str) -> None:
    path, second = root / name, root / other
    if what == "write":
        with path.open("ab") as file:
            file.write(other.encode())
    elif what == "remove":
        path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()
    elif what == "folder":
        path.mkdir()
    elif what == "rename":
        path.rename(second)
    elif what == "link":
        os.link(path, second, follow_symlinks=False)
    elif what == "symlink":
        path.symlink_to(other)
    elif what == "mode":
        path.chmod(0o755)


def shape(root: Path) -> dict[str, tuple[object, ...]]:
    return {
        name: tuple(f for i, f in enumerate(facts) if i not in (1, 2, 4))
        for name, facts in tree(root).items()
    }


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(before=st.lists(STEPS, max_size=8), after=st.lists(STEPS, max_size=25))
def test_any_work_in_a_fork_is_as_in_a_plain_directory(
    layered: None, tmp_path: Path, before: list, after: list
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        plain, origin = Path(folder, "plain"), Path(folder, "origin")
        for root in (plain, origin):
            root.mkdir()
            for one in before:
                attempt(root, one)
        place = open_workspace(origin, parent=Path(folder, "p"))
        forks = [place.fork()]
        for one in after:
            if one[0] == "fork":
                forks.append(forks[-1].fork())
            assert attempt(plain, one) == attempt(forks[-1].root, one), one
        assert shape(forks[-1].root) == shape(plain)
        for open_one in (*forks, place):
            open_one.close()
        assert mounted(Path(folder)) == []


def attempt(root: Path, one: tuple[str, str, str]) -> object:
    try:
        step(root, *one)
    except OSError as error:
        return error.errno
    return None


def test_a_layer_copies_nothing_until_something_is_written(layered: None, repo: Path, tmp_path: Path) -> None:
    (repo / "big").write_bytes(b"x" * (8 << 20))
    place = open_workspace(repo, parent=tmp_path / "p")
    forks = [place.fork() for _ in range(4)]
    assert {fork.snapshot for fork in forks} == {forks[0].snapshot}, "one snapshot for one state"
    assert [path for path in (tmp_path / "p").glob("*/upper/*")] == []
    grandchild = forks[0].fork()
    assert grandchild.snapshot is forks[0].snapshot
    (repo / "big").chmod(0o600)
    other = place.fork()
    assert other.snapshot is not forks[0].snapshot
    for one in (place, grandchild, other, *forks):
        one.close()
    assert list((tmp_path / "p").iterdir()) == []


def test_files_with_several_names_stay_one(way: str, repo: Path, tmp_path: Path) -> None:
    (repo / "one").write_text("1")
    os.link(repo / "one", repo / "two")
    place = open_workspace(repo, parent=tmp_path / "p")
    fork = place.fork()
    with (fork.root / "one").open("a") as file:
        file.write("2")
    assert (fork.root / "two").read_text() == "12"
    assert (repo / "two").read_text() == "1"
    fork.close()
    place.close()


def test_a_place_where_nothing_can_be_mounted_gets_a_copy(
    layered: None, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(mounts, "overlay", refuse)
    place = open_workspace(repo, parent=tmp_path / "p")
    fork = place.fork()
    assert fork.snapshot is None
    assert tree(fork.root) == tree(repo)
    (tmp_path / "other, place").mkdir()
    assert not layers_work(tmp_path / "other, place")
    fork.close()
    place.close()
    assert list((tmp_path / "p").iterdir()) == []
    assert list((tmp_path / "other, place").iterdir()) == []


def test_forks_of_a_busy_directory_are_never_stale(way: str, repo: Path, tmp_path: Path) -> None:
    place = open_workspace(repo, parent=tmp_path / "p")
    for number in range(12):
        (repo / "src" / "a.py").write_text(f"{number:03}")  # same size, and often the same clock tick
        fork = place.fork()
        assert (fork.root / "src" / "a.py").read_text() == f"{number:03}"
        fork.close()
    place.close()


def test_an_owner_of_its_own(way: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make files of another user")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        root = Path(folder, "w")
        root.mkdir()
        (root / "a").write_text("a")
        for path in (root, root / "a"):
            os.chown(path, 1234, 1234)
        with (
            open_sandbox(root, backend="bubblewrap", forks_in=Path(folder, "p")) as sandbox,
            sandbox.fork() as fork,
        ):
            with fork.fork() as second:
                assert second.exec(["sh", "-c", "echo b >> a; mkdir c; echo d > c/d"]).ok
                owners = {path.stat().st_uid for path in (second.root, *second.root.rglob("*"))}
                assert owners == {1234}
                assert (second.root / "a").read_text() == "ab\n"
            assert (fork.root / "a").read_text() == "a"
        assert mounted(Path(folder)) == []


def test_sixteen_forks_run_tests_at_once_and_apart(isolated, open_here, repo: Path, way: str) -> None:
    (repo / "test_it.py").write_text(
        "import pathlib, time, unittest\n"
        "class T(unittest.TestCase):\n"
        "    def test(self):\n"
        "        me = pathlib.Path('me').read_text()\n"
        "        self.assertEqual(sorted(p.name for p in pathlib.Path('.').glob('mark-*')), [])\n"
        "        pathlib.Path('mark-' + me).write_text(me)\n"
        "        time.sleep(0.2)\n"
        "        self.assertEqual([p.name for p in pathlib.Path('.').glob('mark-*')], ['mark-' + me])\n"
    )
    base = open_here(isolated).fork()

    def one(number: int) -> tuple[bool, str]:
        with base.fork() as fork:
            (fork.root / "me").write_text(str(number))
            result = fork.exec(["python3", "-m", "unittest", "-q", "test_it"])
            return result.ok, fork.diff()

    with base, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(16)))
        assert base.diff() == ""
    assert all(ok for ok, _ in found)
    for number, (_, diff) in enumerate(found):
        assert f"b/mark-{number}\n" in diff
        assert diff.count("diff --git a/mark-") == 1


def test_an_engine_elsewhere_is_given_copies(
    layered: None, repo: Path, tmp_path: Path, skip_unless, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless("docker")
    assert docker_engine.sees_our_mounts()
    monkeypatch.setattr("forklock.sandbox.backends.docker.backend.sees_our_mounts", lambda: False)
    with open_sandbox(repo, backend="docker", forks_in=tmp_path / "p") as sandbox, sandbox.fork() as fork:
        assert mounted(tmp_path) == []
        assert fork.exec(["cat", "src/a.py"]).ok
    docker_engine.sees_our_mounts.cache_clear()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert not docker_engine.sees_our_mounts()
    docker_engine.sees_our_mounts.cache_clear()


# --- the end -----------------------------------------------------------------------------------------


def test_a_process_that_stands_in_a_fork_does_not_keep_it(layered: None, repo: Path, tmp_path: Path) -> None:
    place = open_workspace(repo, parent=tmp_path / "p")
    fork = place.fork()
    with subprocess.Popen(["sleep", "60"], cwd=fork.root) as sleeper:
        fork.close()
        assert mounted(tmp_path) == []
        place.close()
        assert list((tmp_path / "p").iterdir()) == []
        sleeper.kill()


def test_a_mount_that_stays_is_named_and_nothing_below_it_removed(
    layered: None, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_workspace(repo, parent=tmp_path / "p")
    fork = place.fork()
    with monkeypatch.context() as patch:
        patch.setattr(mounts, "_unmount", lambda _target, _flags: 1)
        with pytest.raises(SandboxFault, match=f"stays mounted at {fork.root}") as caught:
            fork.close()
        assert "umount" in caught.value.fix
        assert (fork.root / "src" / "a.py").exists()
    fork.close()
    place.close()
    assert mounted(tmp_path) == []


def test_a_fork_that_cannot_be_used_is_unmounted(
    layered: None, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_sandbox(repo, backend="host", forks_in=tmp_path / "p") as sandbox:
        monkeypatch.setattr("shutil.which", lambda _name: None)
        with pytest.raises(SandboxFault, match="prlimit"):
            sandbox.fork()
        assert mounted(tmp_path) == []


OWNER = """
import sys, time
from pathlib import Path
from forklock.sandbox import open_sandbox
sandbox = open_sandbox(Path(sys.argv[1]), backend="host", forks_in=Path(sys.argv[2]))
fork = sandbox.fork().fork()
print(fork.root, flush=True)
time.sleep(60)
"""


def test_mounts_of_a_killed_owner_are_reaped_wherever_they_are(
    layered: None, repo: Path, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", OWNER, str(repo), str(tmp_path / "p")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout
        root = Path(process.stdout.readline().decode().strip())
        assert root in mounted(tmp_path)
        with open_sandbox(repo, backend="host", forks_in=tmp_path / "p"):
            assert root in mounted(tmp_path), "the living are left alone"
        process.send_signal(signal.SIGKILL)
    with open_sandbox(repo, backend="host", forks_in=tmp_path / "elsewhere"):
        assert mounted(tmp_path / "p") == []
    with open_sandbox(repo, backend="host", forks_in=tmp_path / "p"):
        names = [entry.name for entry in (tmp_path / "p").iterdir()]
    assert all(name.startswith(f"forklock-{os.getpid()}-") for name in names)


def test_an_orphan_with_a_mount_of_others_is_left(layered: None, repo: Path, tmp_path: Path) -> None:
    """A process of another pid namespace may live: its layers are not ours to judge."""
    orphan = tmp_path / "p" / "forklock-1-0-abc"
    for name in ("tree", "upper", "work", "workspace"):
        (orphan / name).mkdir(parents=True)
    (orphan / "tree" / "precious").write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mounts, "_source", lambda: "forklock-1")
        mounts.overlay(orphan / "tree", orphan / "upper", orphan / "work", orphan / "workspace")
    open_workspace(repo, parent=tmp_path / "p").close()
    assert (orphan / "workspace" / "precious").exists()
    mounts.release(orphan / "workspace")
    open_workspace(repo, parent=tmp_path / "p").close()
    assert not orphan.exists()

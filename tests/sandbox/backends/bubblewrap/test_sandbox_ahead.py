"""Name spaces of bubblewrap that are made before their command is known."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from forklock.sandbox import Limits, Policy, Sandbox, open_sandbox
from forklock.sandbox.backends.bubblewrap import inside as bubblewrap_inside
from forklock.sandbox.linux import accounted
from forklock.sandbox.linux.cgroups import writable_parents

pytestmark = pytest.mark.hostile("sandbox")


@pytest.fixture
def warm(skip_unless, open_here) -> Sandbox:
    """One where the next command's name spaces wait."""
    skip_unless("bubblewrap")
    sandbox: Sandbox = open_here("bubblewrap")
    waiting_in(sandbox)
    return sandbox


def waiting_in(sandbox: Sandbox) -> bubblewrap_inside.Inside:
    """What waits, made now if nothing does."""
    for _ in range(2):
        sandbox.exec(["true"])
    found = sandbox._waiting
    assert found
    return found


def used(sandbox: Sandbox, waiting: bubblewrap_inside.Inside, argv: list[str], **more) -> bytes:
    """The output of a command that ran where it was expected to."""
    done = sandbox.exec(argv, **more)
    assert done.ok, done
    assert waiting.tree.init, "it ran in what waited"
    return done.stdout


def discarded(waiting: bubblewrap_inside.Inside) -> bool:
    return waiting.tree.init is None


def test_one_command_makes_nothing_ahead(skip_unless, repo: Path) -> None:
    skip_unless("bubblewrap")
    with open_sandbox(repo, backend="bubblewrap") as sandbox:
        sandbox.exec(["true"])
        assert sandbox._waiting is None
        sandbox.exec(["true"])
        assert sandbox._waiting


@pytest.mark.parametrize(
    "word",
    [
        "", " ", "a b", "line\nline", "$HOME `id` $(id)", "'\"", "\\n\\0", "*", "-n", "--", "=", "a=b", "é",
        os.fsdecode(b"\xff\xfe"), "x" * 100_000,
    ],
)  # fmt: skip
def test_words_arrive_as_they_are(warm: Sandbox, word: str) -> None:
    say = "import os, sys; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, [*sys.argv[1:], os.environ['V']])))"
    said = used(warm, waiting_in(warm), ["python3", "-c", say, word, "end", word], env={"V": word})
    assert said == b"|".join(map(os.fsencode, [word, "end", word, word]))


def test_a_program_with_an_equals_sign_in_its_name(warm: Sandbox, repo: Path) -> None:
    program = repo / "a=b"
    program.write_text('#!/bin/sh\necho "ran $1"\n')
    program.chmod(0o755)
    assert used(warm, waiting_in(warm), ["./a=b", "x y"]) == b"ran x y\n"


def test_a_nul_is_refused(warm: Sandbox) -> None:
    with pytest.raises(ValueError, match="NUL"):
        warm.exec(["echo", "a\0b"])
    with pytest.raises(ValueError, match="NUL"):
        warm.exec(["true"], env={"A": "a\0b"})
    assert warm.exec(["echo", "x"]).stdout == b"x\n"


def test_the_environment_is_the_commands_alone(warm: Sandbox) -> None:
    said = used(warm, waiting_in(warm), ["env"], env={"MORE": "1"}).decode().splitlines()
    names = {line.partition("=")[0] for line in said}
    assert names == {"PATH", "HOME", "LANG", "TMPDIR", "MORE", "PWD"}
    assert f"PWD={warm.workdir}" in said


def test_what_is_inherited_is_three_streams(warm: Sandbox) -> None:
    listed = used(warm, waiting_in(warm), ["sh", "-c", "ls /proc/self/fd /proc/1/fd"]).split()
    assert listed.count(b"3") <= 1, "the one that `ls` opens for itself"
    assert {int(word) for word in listed if word.isdigit()} <= {0, 1, 2, 3, 10}


def test_nothing_of_an_earlier_command_is_there(warm: Sandbox) -> None:
    warm.exec(["sh", "-c", "echo x > /tmp/mark; (setsid sleep 60 &)"])
    said = used(warm, waiting_in(warm), ["sh", "-c", "ls -A /tmp; ps ax -o comm="])
    assert b"mark" not in said
    assert b"sleep" not in said


def test_files_made_since_are_seen(warm: Sandbox, repo: Path) -> None:
    waiting = waiting_in(warm)
    (repo / "new.txt").write_text("new")
    assert used(warm, waiting, ["cat", "new.txt"]) == b"new"


def test_a_directory_that_was_replaced_is_the_new_one(skip_unless, open_here, tmp_path: Path) -> None:
    skip_unless("bubblewrap")
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "which").write_text("old")
    sandbox = open_here("bubblewrap", Policy(readable=(shown,)))
    waiting = waiting_in(sandbox)
    shown.rename(tmp_path / "away")
    shown.mkdir()
    (shown / "which").write_text("new")
    assert sandbox.exec(["cat", str(shown / "which")]).stdout == b"new"
    assert discarded(waiting)


def test_git_is_read_only_in_a_repo_that_was_made_since(skip_unless, open_here, tmp_path: Path) -> None:
    skip_unless("bubblewrap")
    root = tmp_path / "bare"
    root.mkdir()
    sandbox = open_here("bubblewrap", root=root)
    waiting_in(sandbox)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    assert not sandbox.exec(["sh", "-c", "echo x > .git/HEAD"]).ok


def test_other_limits_get_a_place_of_their_own(warm: Sandbox) -> None:
    waiting = waiting_in(warm)
    script = "data = bytearray(300 << 20); data[::4096] = b'x' * len(data[::4096])"
    done = warm.exec(["python3", "-c", script], limits=Limits(memory_mb=100, wall_s=20))
    assert discarded(waiting)
    assert not done.ok
    if writable_parents():
        assert done.oom_killed


def test_one_that_was_killed_is_made_again(warm: Sandbox) -> None:
    waiting = waiting_in(warm)
    init = waiting._channel.first_process()
    assert init
    os.kill(init, signal.SIGKILL)
    assert select.select([waiting.running.end], [], [], 5)[0]
    assert warm.exec(["echo", "x"]).stdout == b"x\n"
    assert discarded(waiting)


def test_one_whose_accountant_was_killed_is_made_again(warm: Sandbox) -> None:
    """At any moment of its making."""
    for _ in range(20):
        accountant = accounted._ACCOUNTANT._process
        assert accountant
        accountant.kill()
        accountant.wait()
        assert warm.exec(["echo", "x"]).stdout == b"x\n"


def test_many_threads_get_their_own(warm: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: warm.exec(["echo", str(n)]).stdout, range(40)))
    assert said == [f"{n}\n".encode() for n in range(40)]


def test_closing_leaves_nothing(skip_unless, repo: Path, tmp_path: Path) -> None:
    skip_unless("bubblewrap")

    def once() -> None:
        with open_sandbox(repo, backend="bubblewrap", forks_in=tmp_path) as sandbox, sandbox.fork() as fork:
            for _ in range(3):
                assert fork.exec(["true"]).ok
            assert waiting_in(fork)

    def left() -> tuple[int, int, int, int]:
        gc.collect()
        groups = writable_parents()
        return (
            len(psutil.Process().children(recursive=True)),
            len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            Path("/proc/self/mountinfo").read_text().count(str(tmp_path)),
            len(list(groups.pids.glob(f"forklock-{os.getpid()}-*"))) if groups else 0,
        )

    once()
    before = left()
    for _ in range(10):
        once()
    assert left() == before


def test_time_begins_with_the_command(warm: Sandbox) -> None:
    waiting_in(warm)
    time.sleep(2.5)
    began = time.monotonic()
    done = warm.exec(["sleep", "0.2"], timeout_s=2)
    assert not done.timed_out
    assert 0.2 <= done.wall_s <= time.monotonic() - began


def test_closing_while_a_command_runs(skip_unless, repo: Path, tmp_path: Path) -> None:
    """What a thread makes ahead after the end of its sandbox is not made."""
    skip_unless("bubblewrap")
    sandbox = open_sandbox(repo, backend="bubblewrap", forks_in=tmp_path)
    waiting_in(sandbox)
    thread = threading.Thread(target=lambda: sandbox.exec(["sleep", "0.4"]))
    thread.start()
    time.sleep(0.1)
    sandbox.close()
    thread.join()
    assert sandbox._waiting is None

"""Atomic writes: a kill at any moment, a full disk and two writers leave one whole content."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forklock.sandbox.files.atomic import put_folder_in_place, put_in_place, replace_link, write_atomic

WRITER = """
import sys
from pathlib import Path
from forklock.sandbox.files.atomic import write_atomic
print("ready", flush=True)
while True:
    for letter in "ab":
        write_atomic(Path(sys.argv[1]), letter * 300_000, durable=False)
"""


def test_kill_9_at_any_moment_leaves_one_of_the_two(tmp_path: Path) -> None:
    path, random_ = tmp_path / "file.txt", random.Random(0)
    write_atomic(path, "a" * 300_000)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(random_.uniform(0.01, 0.1))
            writer.send_signal(signal.SIGKILL)
        assert path.read_text() in ("a" * 300_000, "b" * 300_000)
    write_atomic(path, "after")
    assert path.read_text() == "after"


def test_two_writers_leave_the_content_of_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    code = WRITER.replace("while True", "for _ in range(40)")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert path.read_text() in ("a" * 300_000, "b" * 300_000)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"], "no temporary file is left"


def test_a_full_disk_leaves_the_old_content_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import resource, sys; from pathlib import Path; from forklock.sandbox.files.atomic import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(Path(sys.argv[1]), 'x' * 5000)\n"
        "except OSError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n" and path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_mode_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o751)
    write_atomic(path, b"#!/bin/sh\nexit\n", like=path.stat())
    assert path.stat().st_mode & 0o777 == 0o751
    write_atomic(tmp_path / ("n" * 250), "a long name")
    assert (tmp_path / ("n" * 250)).read_text() == "a long name"


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "link").symlink_to("kept")
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "kept").read_text() == "kept" and not (tmp_path / "link").is_symlink()
    replace_link(tmp_path / "current", "one")
    replace_link(tmp_path / "current", "two")
    assert (tmp_path / "current").readlink() == Path("two")


def test_folders_are_put_in_place_whole(tmp_path: Path) -> None:
    old, fresh = tmp_path / "folder", tmp_path / ".fresh"
    old.mkdir()
    (old / "a").write_text("old")
    fresh.mkdir()
    (fresh / "b").write_text("new")
    with pytest.raises(OSError):
        put_in_place(fresh, old)
    put_folder_in_place(fresh, old)
    assert [entry.name for entry in old.iterdir()] == ["b"] and not fresh.exists()

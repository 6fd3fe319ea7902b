"""Programs that stay up and only look: what they see, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
from forklock.sandbox.backends.bubblewrap.contained import contained, why_not_contained

pytestmark = pytest.mark.hostile("sandbox")

PROBE = """
import json, os, socket, sys
root, outside, kept = sys.argv[1:]
def tries(work):
    try: work(); return True
    except OSError: return False
seen = {
    "reads": open(root + "/a.txt").read(),
    "writes": tries(lambda: open(root + "/new", "w")),
    "keeps": tries(lambda: open(kept + "/new", "w")),
    "outside": os.path.exists(outside),
    "home": os.path.exists(os.path.expanduser("~root/.ssh")) or os.path.exists("/home"),
    "net": tries(lambda: socket.create_connection(("1.1.1.1", 53), 2)),
    "vsock": tries(lambda: socket.socket(40, socket.SOCK_STREAM)),
    "env": sorted(os.environ),
    "pids": [name for name in os.listdir("/proc") if name.isdigit()],
    "cwd": os.getcwd(),
}
print(json.dumps(seen), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def here() -> None:
    if problem := bubblewrap.why_not():
        pytest.skip(f"bubblewrap: {problem[0]}")


def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    root, outside, kept = (tmp_path / name for name in ("root", "outside", "kept"))
    for folder in (root, outside, kept):
        folder.mkdir()
    (root / "a.txt").write_text("seen")
    return root, outside, kept


def test_what_is_seen_and_what_can_be_written(tmp_path: Path) -> None:
    root, outside, kept = places(tmp_path)
    words = [sys.executable, "-c", PROBE, str(root), str(outside), str(kept)]
    prefixes = [Path(sys.prefix), Path(sys.base_prefix)]
    with contained(words, root, readable=prefixes, writable=[kept], env={"A": "b"}) as one:
        done = subprocess.run(one.argv, pass_fds=one.pass_fds, capture_output=True, check=False, input=b"")
    seen = json.loads(done.stdout or done.stderr)
    assert seen["reads"] == "seen" and seen["cwd"] == str(root)
    assert (seen["writes"], seen["keeps"], seen["outside"], seen["home"]) == (False, True, False, False)
    assert (seen["net"], seen["vsock"]) == (False, False)
    assert set(seen["env"]) <= {"A", "PWD", "LC_CTYPE"} and len(seen["pids"]) == 1
    assert (kept / "new").exists() and not (root / "new").exists()


def test_killing_the_outer_process_ends_all_of_it(tmp_path: Path) -> None:
    root, _, _ = places(tmp_path)
    mark = f"87{os.getpid()}.25"
    script = f"(setsid sleep {mark} &); echo up; sleep {mark}"
    with contained(["/bin/sh", "-c", script], root, env={}) as one:
        process = subprocess.Popen(one.argv, pass_fds=one.pass_fds, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"up\n"
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs(below, timeout=5)
    assert not alive


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_user_s_workspace_is_not_contained(tmp_path: Path) -> None:
    assert why_not_contained(tmp_path) is None
    os.chown(tmp_path, 1234, 1234)
    assert "another user" in (why_not_contained(tmp_path) or "")

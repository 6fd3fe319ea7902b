"""Opening, choosing, closing: what is left behind, and what is said when nothing works."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from forklock.sandbox import BackendName, Limits, Policy, SandboxFault, open_sandbox, python_policy, scratch
from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
from forklock.sandbox.backends.bubblewrap import inside as bubblewrap_inside
from forklock.sandbox.images import engine as docker_engine
from forklock.sandbox.linux import accounted
from forklock.sandbox.linux.cgroups import find_parents, writable_parents
from forklock.sandbox.workspace.workspace import open_workspace

ROOT = Path(__file__).parents[3]


def groups() -> list[Path]:
    parents = writable_parents()
    return list(parents.memory.glob(f"forklock-{os.getpid()}-*")) if parents else []


def containers() -> list[object]:
    own = {"label": f"forklock.owner={docker_engine.owner()}"}
    return list(docker_engine.client().containers.list(all=True, filters=own, ignore_removed=True))


def left_behind(forks: Path) -> tuple[int, int, int, int, int]:
    mounts = Path("/proc/self/mountinfo").read_text().count(str(forks.parent))
    children = len(psutil.Process().children(recursive=True))
    return children, mounts, descriptors(), len(groups()), len(list(forks.iterdir()))


def descriptors() -> int:
    """How many are open. The docker SDK keeps connections for later, more of them after many threads: those it
    closes when told to; one that stayed would be a leak."""
    if docker_engine.why_not() is None:
        docker_engine.client().close()
    gc.collect()
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    peers = [peer_name(number) for number in numbers]
    engine = peers.count("/var/run/docker.sock")
    assert engine == 0
    return len(numbers)


def peer_name(descriptor: int) -> object:
    """What a socket is connected to; None for anything else."""
    try:
        duplicate = os.dup(descriptor)
    except OSError:  # closed since
        return None
    try:
        copy = socket.socket(fileno=duplicate)
    except OSError:  # no socket
        os.close(duplicate)
        return None
    with copy, contextlib.suppress(OSError):
        return copy.getpeername()
    return None


@pytest.mark.parametrize(
    ("backend", "times"),
    [pytest.param("docker", 4, marks=pytest.mark.docker), ("bubblewrap", 20), ("host", 10)],
)
def test_opened_and_closed_leaves_nothing(
    backend, times: int, repo: Path, tmp_path: Path, skip_unless
) -> None:
    skip_unless(backend)
    forks = tmp_path / "forks"
    forks.mkdir()

    # A daemon that outlives the command: `host` does not promise its end after a normal exit.
    script = "echo x" if backend == "host" else "(setsid sleep 60 >/dev/null 2>&1 &); echo x"

    def once() -> None:
        with open_sandbox(repo, backend=backend, forks_in=forks) as sandbox, sandbox.fork() as fork:
            assert fork.exec(["sh", "-c", script]).stdout == b"x\n"

    once()  # what is made once per process
    before = left_behind(forks)
    for _ in range(times):
        once()
    assert left_behind(forks) == before
    assert repo.is_dir()
    if backend == "docker":
        assert containers() == []


@pytest.mark.docker
def test_connections_to_the_engine_are_not_closed_under_a_request(skip_unless) -> None:
    skip_unless("docker")
    client = docker_engine.client()
    adapter = client.api.get_adapter(client.api.base_url)
    first = adapter.get_connection(f"{client.api.base_url}/v1/first")
    for number in range(300):
        adapter.get_connection(f"{client.api.base_url}/v1/{number}")
    assert first.pool is not None, "it is open"
    client.close()  # and used again
    assert client.ping()


OWNER = """
import sys, time
from pathlib import Path
from forklock.sandbox import open_sandbox
from forklock.sandbox.backends.bubblewrap import inside as bubblewrap_inside
if "--no-groups" in sys.argv: bubblewrap_inside.make_group = lambda **_: None
sandbox = open_sandbox(Path(sys.argv[1]), backend=sys.argv[2], forks_in=Path(sys.argv[3]))
print("ready", flush=True)
sandbox.exec(["sh", "-c", f"(setsid sleep {sys.argv[4]} &); sleep {sys.argv[4]}"])
"""


@pytest.mark.parametrize("more", [[], ["--no-groups"]], ids=["groups", "no-groups"])
def test_a_killed_owner_takes_its_commands_along(
    isolated, repo: Path, tmp_path: Path, more: list[str]
) -> None:
    mark = f"89{os.getpid()}.25"
    argv = [sys.executable, "-c", OWNER, str(repo), isolated, str(tmp_path / "p"), mark, *more]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        wait_for(lambda: len(sleepers(mark)) >= 2)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not sleepers(mark))
    with open_sandbox(repo, backend=isolated, forks_in=tmp_path / "p"):
        names = [entry.name for entry in (tmp_path / "p").iterdir()]
    assert all(name.startswith(f"forklock-{os.getpid()}-") for name in names), "the dead owner's are gone"


def sleepers(mark: str) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", mark]]


def wait_for(condition) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- nothing works ---------------------------------------------------------------------------------


def without_backends(code: list[str]) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent.sock", "HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, *code],
        env={**env, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_scratch_goes_with_its_block_or_with_the_next_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "repo").mkdir()
    with scratch() as gone:
        (gone / "a").mkdir()
    assert not gone.exists()
    killed = (
        "import os, forklock.sandbox\nwith forklock.sandbox.scratch() as made:\n"
        "    (made / 'a').mkdir(); print(made, flush=True); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    done = subprocess.run([sys.executable, "-c", killed], env=environment, capture_output=True, text=True)
    left = Path(done.stdout.strip())
    assert (left / "a").is_dir() and left.is_relative_to(tmp_path)
    open_sandbox(tmp_path / "repo", backend="host").close()
    assert not left.exists()


def test_no_backend_says_what_is_wrong_and_what_to_do() -> None:
    done = without_backends(["-c", "from forklock.sandbox.commands.main import app; app()", "status"])
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    for words in (
        "no Docker engine at unix:///nonexistent.sock",
        "bubblewrap is not installed",
        "fix:",
        "nothing",
    ):
        assert words in done.stdout


def test_no_backend_raises_unavailable_with_both_reasons(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\nfrom sandbox import open_sandbox, SandboxUnavailable\n"
        f"try: open_sandbox(Path({str(tmp_path)!r}))\n"
        "except SandboxUnavailable as fault: print(fault.message, fault.fix, sep='\\n')\n"
    )
    out = without_backends(["-c", program]).stdout
    for words in (
        "docker: no Docker engine",
        "bubblewrap: bubblewrap is not installed",
        "apt install bubblewrap",
    ):
        assert words in out


def test_build_without_an_engine_is_an_error_with_a_fix() -> None:
    done = without_backends(["-c", "from forklock.sandbox.commands.main import app; app()", "build"])
    assert done.returncode == 3
    assert "fix:   install and start Docker" in done.stderr


def test_blocked_namespaces_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    problem = bubblewrap.why_not.__wrapped__()
    assert problem
    assert "may not make namespaces here" in problem[0]
    assert "Permission denied" in problem[0]
    assert problem[1]


@pytest.mark.docker
def test_a_missing_image_is_named(repo: Path, skip_unless) -> None:
    skip_unless("docker")
    with (
        open_sandbox(repo, Policy(image="no-such-image:1"), backend="docker") as sandbox,
        pytest.raises(SandboxFault, match="no-such-image:1") as caught,
    ):
        sandbox.exec(["true"])
    assert caught.value.fix


def test_unknown_backend(repo: Path) -> None:
    with pytest.raises(SandboxFault, match="unknown backend"):
        open_sandbox(repo, backend="chroot")  # type: ignore[arg-type]


# --- without control groups ------------------------------------------------------------------------


@pytest.fixture
def no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    if problem := bubblewrap.why_not():
        pytest.skip(f"bubblewrap: {problem[0]}")
    monkeypatch.setattr(bubblewrap_inside, "make_group", lambda **_: None)


def test_a_peak_smaller_than_our_own_is_known(no_groups: None, open_here) -> None:
    """The kernel counts the caller's memory as the command's until it executes."""
    ours = bytearray(300 << 20)
    result = open_here("bubblewrap").exec(["python3", "-c", "bytearray(50 << 20)"])
    assert len(ours) == 300 << 20
    assert result.max_rss_mb
    assert 50 < result.max_rss_mb < 200


def test_memory_is_bounded_by_the_watcher(no_groups: None, open_here) -> None:
    script = "b = []\nwhile True: b.append(bytearray(4 << 20))"
    result = open_here("bubblewrap").exec(["python3", "-c", script], limits=Limits(memory_mb=128, wall_s=20))
    assert (result.oom_killed, result.timed_out) == (True, False)
    script = (
        "for i in 1 2 3 4; do python3 -c 'import time; x = bytearray(60 << 20); time.sleep(9)' & done; wait"
    )
    result = open_here("bubblewrap").exec(["sh", "-c", script], limits=Limits(memory_mb=128, wall_s=20))
    assert (result.oom_killed, result.timed_out) == (True, False), "the tree's sum counts"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_root_caller_becomes_the_owner_without_groups(no_groups: None) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        root = Path(folder)
        root.chmod(0o755)
        os.chown(root, 1234, 1234)
        with open_sandbox(root, backend="bubblewrap") as sandbox:
            result = sandbox.exec(["sh", "-c", "cat > made; exit 7"], stdin=b"in")
        assert result.exit_code == 7
        assert (root / "made").stat().st_uid == 1234
        assert (root / "made").read_bytes() == b"in"


def accountants() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if str(accounted.ACCOUNTANT) in p.cmdline()]


def test_a_killed_accountant_is_replaced(no_groups: None, open_here) -> None:
    sandbox = open_here("bubblewrap")
    assert sandbox.exec(["true"]).ok
    for process in accountants():
        process.kill()
        process.wait()
    assert sandbox.exec(["cat"], stdin=b"again").stdout == b"again"
    (one,) = accountants()
    assert sandbox.exec(["true"]).ok
    assert accountants() == [one]


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the accountant end on the next `times` commands that it is sent, its last word `said`."""
    real, left = accounted._ACCOUNTANT.send, [b""]

    def send(descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
        if not left:
            return real(descriptors)
        os.write(descriptors[4], left.pop())
        with subprocess.Popen(["true"]) as gone:
            return gone

    def lose(times: int, said: bytes = b"") -> None:
        left[:] = [said] * times
        monkeypatch.setattr(accounted._ACCOUNTANT, "send", send)

    return lose


def test_a_command_that_never_began_is_started_once_more(no_groups: None, open_here, losing) -> None:
    """The accountant may die after it was asked, and before it did it."""
    sandbox = open_here("bubblewrap")
    losing(1)
    assert sandbox.exec(["cat"], stdin=b"in").stdout == b"in"
    losing(2)
    with pytest.raises(SandboxFault, match="killed twice"):
        sandbox.exec(["true"])
    assert sandbox.exec(["cat"], stdin=b"in").stdout == b"in"


def test_that_no_process_can_be_made_is_said(no_groups: None, open_here, losing) -> None:
    losing(1, b'{"error": "Resource temporarily unavailable"}')
    with pytest.raises(SandboxFault, match="no process can be started: Resource temporarily unavailable"):
        open_here("bubblewrap").exec(["true"])


def test_an_accountant_that_can_make_no_process_says_so_and_lives_on(tmp_path: Path) -> None:
    script = (
        "import json, os, sys\nsys.path.insert(0, sys.argv[1])\nimport accountant\n"
        "def no(): raise BlockingIOError(11, 'no more processes')\n"
        "os.fork = no\nread, write = os.pipe()\nsource = os.memfd_create('r')\nos.write(source, b'{}')\n"
        "os.lseek(source, 0, 0)\n"
        "accountant.begin([source, *os.pipe(), os.dup(1), write], {})\n"
        "print(os.read(read, 99).decode(), end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(accounted.__file__).parent)], capture_output=True, text=True
    )
    assert json.loads(done.stdout) == {"error": "no more processes"}, done.stderr


def bubblewraps(word: str) -> list[psutil.Process]:
    found = psutil.process_iter(["name", "cmdline"])
    return [p for p in found if p.info["name"] == "bwrap" and word in (p.info["cmdline"] or [])]


def test_an_accountant_that_is_killed_leaves_no_bubblewrap(no_groups: None, open_here, repo: Path) -> None:
    """At any moment of its making: the inner one waits for ever for an outer one that was killed early."""
    sandbox = open_here("bubblewrap")
    for n in range(60):
        assert sandbox.exec(["echo", str(n)]).stdout == f"{n}\n".encode()
        accountant = accounted._ACCOUNTANT._process
        assert accountant
        time.sleep(n / 10_000)
        accountant.kill()
        accountant.wait()
    sandbox.close()
    wait_for(lambda: not bubblewraps(str(repo)))


FORKED = """
import os, sys, time
from pathlib import Path
from forklock.sandbox import open_sandbox
from forklock.sandbox.backends.bubblewrap import inside as bubblewrap_inside
from forklock.sandbox.linux import accounted
bubblewrap_inside.make_group = lambda **_: None
sandbox = open_sandbox(Path(sys.argv[1]), backend="bubblewrap", forks_in=Path(sys.argv[2]))
for _ in range(3):
    assert sandbox.exec(["true"]).ok
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:  # a child's child: it has all our files open, and is none of ours
        time.sleep(1)
        os.write(write, b"lives")
        os._exit(0)
    sandbox._waiting.remove()
    os._exit(0)
os.wait()
accounted._ACCOUNTANT._process.kill()
accounted._ACCOUNTANT._process.wait()
assert sandbox.exec(["true"]).ok
print(os.read(read, 9).decode(), flush=True)
sandbox.close()
"""


def test_nobody_else_is_ended_who_has_the_same_files_open(tmp_path: Path, skip_unless) -> None:
    skip_unless("bubblewrap")
    (tmp_path / "repo").mkdir()
    argv = [sys.executable, "-c", FORKED, str(tmp_path / "repo"), str(tmp_path / "p")]
    done = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("lives\n", 0), done.stderr


def test_what_was_started_by_a_dead_process_is_ended(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    orphan = tmp_path / "p" / "forklock-1-0-abc"
    orphan.mkdir(parents=True)
    words = ["-c", "import time; time.sleep(60)", str(orphan / "passwd")]
    with (
        subprocess.Popen(["bwrap", *words], executable=sys.executable) as ours,
        subprocess.Popen(["editor", *words], executable=sys.executable) as theirs,
        subprocess.Popen(["bwrap", *words[:2], f"{orphan}s"], executable=sys.executable) as others,
    ):
        open_workspace(tmp_path / "repo", parent=tmp_path / "p").close()
        assert ours.wait(10) == -signal.SIGKILL
        assert (theirs.poll(), others.poll()) == (None, None)
        theirs.kill()
        others.kill()
    assert not orphan.exists()


def test_an_accountant_that_is_killed_takes_the_command_along(no_groups: None, open_here) -> None:
    sandbox, mark = open_here("bubblewrap"), f"86{os.getpid()}.25"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sandbox.exec, ["sleep", mark])
        wait_for(lambda: bool(sleepers(mark)))
        for process in accountants():
            process.kill()
        with pytest.raises(SandboxFault, match="was killed"):
            running.result(15)
    wait_for(lambda: not sleepers(mark))


def test_many_at_once_without_groups(no_groups: None, open_here) -> None:
    """Results do not mix, and long arguments pass."""
    sandbox, long = open_here("bubblewrap"), "x" * 100_000
    with ThreadPoolExecutor(8) as pool:
        work = [
            pool.submit(sandbox.exec, ["sh", "-c", f"cat; exit {i}", long], stdin=str(i).encode())
            for i in range(32)
        ]
    assert [(r.result().exit_code, r.result().stdout) for r in work] == [
        (i, str(i).encode()) for i in range(32)
    ]


def test_time_out_without_groups(no_groups: None, open_here) -> None:
    mark = f"85{os.getpid()}.25"
    result = open_here("bubblewrap").exec(["sh", "-c", f"(setsid sleep {mark} &); sleep 30"], timeout_s=0.5)
    assert result.timed_out
    wait_for(lambda: not sleepers(mark))


def test_v2_groups_are_made_where_they_are_delegated(tmp_path: Path) -> None:
    """A systemd user session: our own group passes nothing on, its parent does and is ours."""
    slice_, own = tmp_path / "app.slice", tmp_path / "app.slice" / "shell.scope"
    own.mkdir(parents=True)
    for folder, handed in ((tmp_path, "memory pids"), (slice_, "cpu memory pids"), (own, "")):
        (folder / "cgroup.subtree_control").write_text(handed)
        (folder / "cgroup.procs").write_text("")
    mountinfo = f"30 23 0:26 / {tmp_path} rw,nosuid - cgroup2 cgroup2 rw\n"
    found = find_parents(mountinfo, "0::/app.slice/shell.scope\n")
    assert found
    assert (found.version, found.memory, found.pids) == (2, slice_, slice_)
    (slice_ / "cgroup.subtree_control").write_text("cpu")
    (tmp_path / "cgroup.subtree_control").write_text("cpu")
    assert find_parents(mountinfo, "0::/app.slice/shell.scope\n") is None
    assert find_parents("", "") is None


@pytest.mark.docker
def test_a_command_may_kill_or_stop_what_waits_for_the_next(
    tmp_path: Path, skip_unless: Callable[[str], None]
) -> None:
    """All processes of a container have one user: the next command runs all the same."""
    skip_unless("docker")
    with open_sandbox(tmp_path, python_policy(tmp_path), backend="docker") as sandbox:
        for number in ("STOP", "KILL"):
            others = "[ $p = 1 ] || [ $p = $$ ] || [ $p = $PPID ]"
            spare = f"for p in /proc/[0-9]*; do p=${{p#/proc/}}; {others} || kill -{number} $p; done"
            assert sandbox.exec(["sh", "-c", f"{spare}; exit 0"]).exit_code == 0
            began = time.monotonic()
            assert sandbox.exec(["cat"], stdin=b"again", timeout_s=20).stdout == b"again"
            assert time.monotonic() - began < 18


@pytest.mark.docker
def test_a_container_that_somebody_removed_is_replaced(
    tmp_path: Path, skip_unless: Callable[[str], None]
) -> None:
    skip_unless("docker")
    with open_sandbox(tmp_path, backend="docker") as sandbox:
        assert sandbox.exec(["true"]).ok
        for container in containers():
            container.remove(force=True)  # type: ignore[attr-defined]
        assert sandbox.exec(["cat"], stdin=b"again").stdout == b"again"


class Ping:
    """Sends a number back until it is 5."""

    def __init__(self, patience_s: float = 30.0) -> None:
        self.deadline = time.monotonic() + patience_s
        self.heard: list[bytes] = []

    def answer(self, said: bytes) -> bytes | None:
        self.heard.append(said)
        if not said:
            return b"1\n"
        return None if said == b"5\n" else said


COUNT = "import sys\nfor line in sys.stdin:\n    print(int(line) + 1, flush=True)\nprint('end', flush=True)\n"


def test_a_command_can_be_talked_with(tmp_path: Path, backend: BackendName) -> None:
    talk = Ping()
    with open_sandbox(tmp_path, python_policy(tmp_path), backend=backend) as sandbox:
        result = sandbox.exec(["python", "-c", COUNT], stdin=talk)
    assert talk.heard == [b"", b"2\n", b"3\n", b"4\n", b"5\n"]
    assert result.ok and result.stdout == b"2\n3\n4\n5\nend\n"


def test_a_talk_has_its_own_deadline(tmp_path: Path, backend: BackendName) -> None:
    with open_sandbox(tmp_path, python_policy(tmp_path), backend=backend) as sandbox:
        result = sandbox.exec(["sleep", "30"], stdin=Ping(1.0), timeout_s=25)
    assert result.timed_out and result.wall_s < 15


def test_what_a_talk_raises_ends_the_command(tmp_path: Path, backend: BackendName) -> None:
    class Broken(Ping):
        def answer(self, said: bytes) -> bytes | None:
            if said:
                raise LookupError("mine")
            return b"1\n"

    with open_sandbox(tmp_path, python_policy(tmp_path), backend=backend) as sandbox:
        with pytest.raises(LookupError, match="mine"):
            sandbox.exec(["python", "-c", COUNT], stdin=Broken())
        assert sandbox.exec(["true"]).ok


def test_much_goes_both_ways_at_once(tmp_path: Path, backend: BackendName) -> None:
    """Neither side waits for the other to read: the program answers while it is still being told."""
    data = b"x" * (1 << 22)
    with open_sandbox(tmp_path, backend=backend) as sandbox:
        result = sandbox.exec(["cat"], stdin=data, limits=Limits(output_bytes=1 << 23))
    assert result.stdout == data

"""What every backend promises: the program's failure is data, limits hold, and nothing survives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from forklock.sandbox import BackendName, Limits, Policy, Sandbox, SandboxFault
from forklock.sandbox.linux import accounted
from forklock.sandbox.linux.pump import BoundedCapture

QUICK = Limits(wall_s=20, memory_mb=256)


def living(mark: str) -> list[int]:
    """Processes anywhere on this machine with `mark` on their command line (us excluded)."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if mark in (process.info["cmdline"] or []) and process.pid != os.getpid():
            found.append(process.pid)
    return found


def gone(mark: str) -> bool:
    deadline = time.monotonic() + 3
    while living(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not living(mark)


def sh(sandbox: Sandbox, script: str, **kwargs):
    return sandbox.exec(["sh", "-c", script], **kwargs)


# --- the program's own end is data -----------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 125, 129, 137, 139, 192, 255])
def test_exit_code_is_the_programs_own(backend: BackendName, open_here, code: int) -> None:
    result = sh(open_here(backend), f"echo out; echo err >&2; exit {code}")
    assert (result.exit_code, result.signal, result.ok) == (code, None, code == 0)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")
    assert not (result.timed_out or result.oom_killed or result.truncated)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGTERM, signal.SIGABRT,
        signal.SIGRTMAX,
    ],
)  # fmt: skip
def test_signal_is_told_by_number(backend: BackendName, open_here, number: signal.Signals) -> None:
    result = sh(open_here(backend), f"kill -{int(number)} $$")
    assert (result.exit_code, result.signal, result.timed_out) == (None, number, False)
    assert result.stderr == b"", "nothing but the program writes to its stderr"


def test_signals_that_we_ignore_end_a_program(backend: BackendName, open_here) -> None:
    """As under `nohup`, or behind `&` in a script."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        if accounted._ACCOUNTANT._process:
            accounted._ACCOUNTANT._process.kill()  # the next one inherits it
        sandbox = open_here(backend)
        for number in before:
            result = sh(sandbox, f"kill -{int(number)} $$; echo survived")
            assert (result.signal, result.stdout) == (number, b"")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if accounted._ACCOUNTANT._process:
            accounted._ACCOUNTANT._process.kill()


def test_a_program_that_cannot_start_is_data(backend: BackendName, open_here, repo: Path) -> None:
    sandbox = open_here(backend)
    missing = sandbox.exec(["no-such-program"])
    assert missing.exit_code == 127
    assert b"no-such-program" in missing.stderr
    (repo / "plain.txt").write_text("not a program")
    assert sandbox.exec(["./plain.txt"]).exit_code == 126


def test_stdin_arrives_whole_and_does_not_deadlock(backend: BackendName, open_here) -> None:
    data = os.urandom(1 << 20)
    result = open_here(backend).exec(["cat"], stdin=data, limits=Limits(output_bytes=4 << 20, memory_mb=256))
    assert result.stdout == data
    assert sh(open_here(backend), "exec <&-; sleep 0.1; echo done", stdin=data).stdout == b"done\n"
    assert sh(open_here(backend), "cat").stdout == b"", "without stdin, end of file"


def test_environment_is_the_policys_and_nothing_of_ours(
    backend: BackendName, open_here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "secret")
    sandbox = open_here(backend, Policy(env={"A": "policy", "B": "policy"}))
    out = sandbox.exec(["env"], env={"B": "call = x\ny"}).stdout.decode()
    assert "secret" not in out
    assert "A=policy\n" in out
    assert "B=call = x\ny\n" in out


@pytest.mark.parametrize("word", ["", " ", "-x", "--", "a\nb", "a=b", "-x=b", "$HOME", "'", "/", "src"])
def test_words_that_are_no_program(backend: BackendName, open_here, word: str) -> None:
    result = open_here(backend).exec([word, "x"])
    assert result.exit_code in (126, 127)
    assert result.signal is None
    assert result.stderr


def test_what_no_program_can_be_given(backend: BackendName, open_here) -> None:
    sandbox = open_here(backend)
    for argv, env in (
        (["echo", "a\0b"], {}), (["a\0b"], {}), (["true"], {"A": "a\0b"}), (["true"], {"": "x"}),
        (["true"], {"a=b": "x"}), (["echo", "\ud800"], {}), ([], {}),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            sandbox.exec(argv, env=env)
    odd = {"-u": "x", "--": "y", "BASH_ENV": "/x", "IFS": "x", os.fsdecode(b"\xff"): os.fsdecode(b"\xfe\n")}
    out = sandbox.exec(["env"], env=odd).stdout
    assert all(os.fsencode(f"{name}={value}\n") in out for name, value in odd.items())


def test_many_words_and_long_ones(backend: BackendName, open_here) -> None:
    sandbox = open_here(backend)
    say = "import sys; print(len(sys.argv), sum(map(len, sys.argv)))"
    words = [*["x" * 100] * 2000, *["y" * 100_000] * 6, *[""] * 100]
    assert sandbox.exec(["python3", "-c", say, *words]).stdout == b"2107 800002\n"
    too_long = sandbox.exec(["echo", *["x" * 100_000] * 40])
    assert (too_long.exit_code, too_long.signal) == (126, None)
    assert b"too long" in too_long.stderr


def test_cwd_stays_in_the_workspace(backend: BackendName, open_here, repo: Path) -> None:
    sandbox = open_here(backend)
    assert sandbox.exec(["pwd"], cwd="src").stdout.decode().strip() == f"{sandbox.workdir}/src"
    (repo / "way-out").symlink_to("/etc")
    for cwd in ("..", "/etc", "src/../..", "way-out"):
        with pytest.raises(ValueError, match="leaves the workspace"):
            sandbox.exec(["true"], cwd=cwd)
    with pytest.raises(ValueError, match="not a directory"):
        sandbox.exec(["true"], cwd="missing")
    with pytest.raises(ValueError, match="empty"):
        sandbox.exec([])


def test_accounts_are_plausible(backend: BackendName, open_here) -> None:
    result = sh(open_here(backend), "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
    assert result.cpu_s is not None
    assert 0.01 < result.cpu_s <= result.wall_s + 0.1
    assert result.max_rss_mb is None or 0 < result.max_rss_mb < 512


# --- ends and limits -------------------------------------------------------------------------------


def test_time_out_kills_daemons_and_those_that_ignore_sigterm(backend: BackendName, open_here) -> None:
    mark = f"86{os.getpid()}.25"
    script = f"trap '' TERM INT HUP; (setsid sh -c 'sleep {mark} & exit' &); sleep {mark}"
    result = sh(open_here(backend), script, timeout_s=0.7)
    assert result.timed_out
    assert not result.oom_killed
    assert 0.6 < result.wall_s < 30
    assert gone(mark)


def test_a_normal_end_takes_daemons_along(isolated: BackendName, open_here) -> None:
    mark = f"87{os.getpid()}.25"
    result = sh(open_here(isolated), f"(setsid sh -c 'sleep {mark} & exit' &); sleep 0.1; echo main")
    assert (result.exit_code, result.stdout) == (0, b"main\n")
    assert result.wall_s < 15, "a daemon that holds stdout does not hold us"
    assert gone(mark)


def test_fork_bomb_is_bounded_and_ends(isolated: BackendName, open_here) -> None:
    sandbox = open_here(isolated)
    before = len(psutil.pids())
    limits = Limits(wall_s=2, processes=32, memory_mb=256)
    result = sh(sandbox, "bomb() { bomb | bomb & }; bomb; sleep 60", limits=limits)
    assert result.wall_s < 40
    assert not result.ok or b"fork" in result.stderr.lower()
    assert sandbox.exec(["echo", "alive"]).stdout == b"alive\n"
    assert len(psutil.pids()) < before + 60


def test_memory_bomb_is_labelled(isolated: BackendName, open_here) -> None:
    script = "b = []\nwhile True: b.append(bytearray(8 << 20))"
    result = open_here(isolated).exec(["python3", "-c", script], limits=Limits(memory_mb=128, wall_s=20))
    assert (result.oom_killed, result.timed_out, result.ok) == (True, False, False)


def test_a_child_out_of_memory_is_labelled_too(isolated: BackendName, open_here) -> None:
    sandbox = open_here(isolated)
    for _ in range(4):  # the kernel may take neither the shell nor what watches over it
        script, limits = "python3 -c 'x = bytearray(1 << 30)'; exit 1", Limits(memory_mb=128, wall_s=20)
        result = sh(sandbox, script, limits=limits)
        assert (result.oom_killed, result.timed_out, result.exit_code) == (True, False, 1)


def test_output_flood_keeps_both_ends_and_little_memory(backend: BackendName, open_here) -> None:
    before = psutil.Process().memory_info().rss
    script = "echo first; head -c 200000000 /dev/zero; echo last"
    result = sh(open_here(backend), script, limits=Limits(output_bytes=10_000, memory_mb=256))
    assert result.truncated
    assert result.stdout.startswith(b"first\n")
    assert result.stdout.endswith(b"last\n")
    assert len(result.stdout) < 10_100
    assert psutil.Process().memory_info().rss - before < 50 << 20


def test_disk_filler_meets_the_file_limit(backend: BackendName, open_here, repo: Path) -> None:
    limits = Limits(file_mb=4, memory_mb=256, wall_s=20)
    result = sh(open_here(backend), "head -c 50000000 /dev/zero > big; exit $?", limits=limits)
    assert not result.ok
    assert (repo / "big").stat().st_size <= 4 << 20


def test_scratch_space_is_bounded(isolated: BackendName, open_here) -> None:
    script = "for i in 1 2 3 4 5 6; do head -c 150000000 /dev/zero > /tmp/f$i || exit 7; done"
    limits = Limits(memory_mb=2048, wall_s=30, file_mb=256)
    assert sh(open_here(isolated), script, limits=limits).exit_code == 7


def test_cpu_limit(backend: BackendName, open_here) -> None:
    limits = Limits(cpu_s=1, wall_s=200, memory_mb=256)
    result = sh(open_here(backend), "while :; do :; done", limits=limits)
    assert not result.timed_out
    assert result.signal in (signal.SIGXCPU, signal.SIGKILL)


def test_a_forged_report_is_only_output(isolated: BackendName, open_here) -> None:
    """Neither our status words nor any open descriptor lets a program lie about its end."""
    script = (
        "import os, sys\n"
        'lie = b\'{"exit-code": 0}\\n{"status": 0, "oom_kills": 9, "clean": true}\\n\'\n'
        "for fd in range(1, 64):\n"
        "    try: os.write(fd, lie)\n"
        "    except OSError: pass\n"
        "sys.exit(9)\n"
    )
    result = open_here(isolated).exec(["python3", "-c", script])
    assert (result.exit_code, result.oom_killed) == (9, False)
    assert b"exit-code" in result.stdout


def test_killing_the_parent_is_contained(isolated: BackendName, open_here) -> None:
    sandbox = open_here(isolated)
    mark = f"88{os.getpid()}.25"
    result = sh(sandbox, f"setsid sleep {mark} & kill -9 $PPID; kill -9 1; kill -9 -1; exit 0", timeout_s=5)
    assert result.wall_s < 30
    assert gone(mark)
    assert sandbox.exec(["echo", "alive"]).stdout == b"alive\n"


# --- isolation -------------------------------------------------------------------------------------

CONNECT = """
import socket, sys
def attempt(family, kind, address):
    s = socket.socket(family, kind)
    s.settimeout(1)
    try:
        s.connect(address)
        s.send(b"x")
    except OSError:
        return
    print("reached", address)
attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(sys.argv[1])))
attempt(socket.AF_INET, socket.SOCK_STREAM, ("1.1.1.1", 53))
attempt(socket.AF_INET, socket.SOCK_DGRAM, ("1.1.1.1", 53))
attempt(socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + sys.argv[2])
attempt(socket.AF_UNIX, socket.SOCK_STREAM, "/var/run/docker.sock")
try:
    print("resolved", socket.getaddrinfo("example.com", 80))
except OSError:
    pass
"""


def test_no_network_by_any_family(isolated: BackendName, open_here) -> None:
    name = f"forklock-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0" + name)
        local.listen()
        argv = ["-c", CONNECT, str(tcp.getsockname()[1]), name]
        assert b"reached" in subprocess.run([sys.executable, *argv], capture_output=True).stdout
        result = open_here(isolated).exec(["python3", *argv])
    assert (result.exit_code, result.stdout) == (0, b""), result


def test_files_of_the_caller_are_out_of_sight(isolated: BackendName, open_here, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    with tempfile.NamedTemporaryFile("w", dir=Path.home(), prefix=".forklock-test-") as private:
        private.write("hunter2")
        private.flush()
        places = f"{secret} {private.name} /proc/1/root{secret} /proc/1/root{private.name}"
        result = sh(open_here(isolated), f"cat {places}; ls -a {Path.home()} {tmp_path}")
    assert b"hunter2" not in result.stdout + result.stderr
    assert b"secret.txt" not in result.stdout
    assert b".forklock-test-" not in result.stdout


def test_readable_is_readable_and_no_more(isolated: BackendName, open_here, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "x").write_text("book")
    link = tmp_path / "link"
    link.symlink_to(library)
    sandbox = open_here(isolated, Policy(readable=(link,)))
    assert sh(sandbox, f"cat {link}/x {library}/x").stdout == b"bookbook"
    assert not sh(sandbox, f"echo y > {library}/x").ok
    assert (library / "x").read_text() == "book"


def test_nothing_outside_the_workspace_can_be_written(
    isolated: BackendName, open_here, tmp_path: Path
) -> None:
    sandbox = open_here(isolated)
    places = [
        "/x",
        "/usr/x",
        "/etc/x",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/x",
    ]
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for place in places:
        assert not sh(sandbox, f"echo evil > {place}").ok, place
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    sh(sandbox, "echo evil > /dev/forklock-test; echo evil > /tmp/forklock-test")
    assert not Path("/dev/forklock-test").exists()
    assert not Path("/tmp/forklock-test").exists()
    assert not sh(sandbox, "mknod device b 8 0 || mount -t tmpfs none src || unshare -Ur true").ok


def test_a_link_out_of_the_workspace_leads_nowhere(
    isolated: BackendName, open_here, repo, tmp_path: Path
) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("intact")
    (repo / "link").symlink_to(victim)
    sandbox = open_here(isolated)
    sh(sandbox, f"echo evil > link; ln {victim} hard; echo evil >> hard; echo evil > {victim}")
    assert victim.read_text() == "intact"


def test_git_is_read_only(isolated: BackendName, open_here, repo: Path) -> None:
    sandbox = open_here(isolated)
    before = (repo / ".git" / "config").read_text()
    script = "echo '[core] fsmonitor=evil' >> .git/config; touch .git/hooks/evil; mv .git .git2; rm -rf .git"
    assert not sh(sandbox, script).ok
    assert (repo / ".git" / "config").read_text() == before
    assert not (repo / ".git" / "hooks" / "evil").exists()


def test_git_works_in_forks(backend: BackendName, open_here, repo: Path) -> None:
    log = ["git", "-c", "safe.directory=*", "log", "--format=%s", "-p"]
    with open_here(backend).fork() as fork, fork.fork() as grandchild:
        for sandbox in (fork, grandchild):
            result = sandbox.exec(log)
            assert result.stdout.startswith(b"x\n"), result
            assert b"return 1" in result.stdout
            on_host = subprocess.run(["git", "fsck"], cwd=sandbox.root, capture_output=True, check=True)
            assert b"missing" not in on_host.stdout


def test_no_privileges_inside(isolated: BackendName, open_here, repo: Path) -> None:
    status = open_here(isolated).exec(["cat", "/proc/self/status"]).stdout.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {fields[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert fields["NoNewPrivs"].strip() == "1"
    sh(open_here(isolated), "touch made")
    assert (repo / "made").stat().st_uid == repo.stat().st_uid


# --- together, apart, and the end ------------------------------------------------------------------


def test_sixteen_at_once(backend: BackendName, open_here) -> None:
    sandbox = open_here(backend, Policy(limits=Limits(wall_s=60, memory_mb=1024)))
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda i: sh(sandbox, f"cat; exit {i}", stdin=str(i).encode()), range(16)))
    assert [(r.exit_code, r.stdout) for r in results] == [(i, str(i).encode()) for i in range(16)]


def test_the_end_of_one_is_not_that_of_others(backend: BackendName, open_here) -> None:
    """One is timed out, one runs out of memory, and what began before them goes on to its end."""
    sandbox = open_here(backend)
    with ThreadPoolExecutor(3) as pool:
        other = pool.submit(sh, sandbox, "sleep 4; echo ended; exit 3")
        timed_out = pool.submit(sh, sandbox, "sleep 60", timeout_s=1)
        script = "b = []\nwhile True: b.append(bytearray(8 << 20))"
        limits = Limits(memory_mb=100, wall_s=20)
        oom = pool.submit(sandbox.exec, ["python3", "-c", script], limits=limits)
        assert timed_out.result().timed_out
        assert not oom.result().ok
    assert (other.result().exit_code, other.result().stdout) == (3, b"ended\n")


def test_forks_do_not_see_each_other(backend: BackendName, open_here, repo: Path) -> None:
    sandbox = open_here(backend)
    (repo / "early").write_text("before the forks")
    with sandbox.fork() as one, sandbox.fork() as two:
        assert sh(one, "cat early; echo 1 > mine; rm src/a.py").stdout == b"before the forks"
        assert sh(two, "ls; cat src/a.py").stdout.split() >= [b"early"]
        assert b"mine" not in sh(two, "ls").stdout
        assert (two.root / "src" / "a.py").exists()
        assert not (one.root / "src" / "a.py").exists()
        with one.fork() as grandchild:
            assert sh(grandchild, "cat mine").stdout == b"1\n"
            assert "early" in grandchild.diff(), "forks of forks tell the whole difference"
        places = [one.root, two.root]
    assert not (repo / "mine").exists()
    assert not any(place.exists() for place in places)
    assert repo.exists()


def test_close_twice_and_exec_after(backend: BackendName, open_here) -> None:
    sandbox = open_here(backend)
    sandbox.exec(["true"])
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxFault, match="closed"):
        sandbox.exec(["true"])


def test_bounded_capture_loses_nothing_but_the_middle() -> None:
    capture = BoundedCapture(10)
    for piece in (b"abc", b"defgh", b"ij"):
        capture.feed(piece)
    assert (capture.value(), capture.truncated) == (b"abcdefghij", False)
    capture.feed(b"k")
    assert capture.truncated
    assert capture.value() == b"abcde\n[... 1 bytes dropped ...]\nghijk"


@pytest.mark.hostile("sandbox")
def test_close_ends_what_runs_in_other_threads(backend: BackendName, open_here) -> None:
    sandbox = open_here(backend)
    ended: list[BaseException | object] = []

    def run() -> None:
        try:
            ended.append(sandbox.exec(["sleep", "60"], timeout_s=60))
        except SandboxFault as fault:
            ended.append(fault)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(2.0)
    began = time.monotonic()
    sandbox.close()
    for thread in threads:
        thread.join(30)
    assert time.monotonic() - began < 40 and not any(thread.is_alive() for thread in threads)
    assert len(ended) == 3 and all(isinstance(one, SandboxFault) for one in ended), ended

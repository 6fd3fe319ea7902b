"""Programs that take all there is, on both backends, with and without control groups, in our own and in others'
workspaces: each ends within its time, the result says why, and the machine is as before.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from forklock.sandbox import ExecResult, Limits, Sandbox, open_sandbox

pytestmark = [
    pytest.mark.alone,
    pytest.mark.hostile("sandbox"),
]  # they look at the whole machine, and each ends at its limit

LIMITS = Limits(wall_s=4, memory_mb=200, processes=48, disk_mb=400, output_bytes=10_000)
LATE_S = 3.0
"""How much later than its limit a program may end on a busy machine."""


def run(sandbox: Sandbox, script: str, limits: Limits = LIMITS) -> ExecResult:
    header = "import ctypes, os, signal, socket, sys, time\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    with watched(limits):
        result = sandbox.exec(["python3", "-c", header + script], limits=limits)
    assert result.wall_s < limits.wall_s + LATE_S
    assert sandbox.exec(["echo", "alive"]).stdout == b"alive\n"
    return result


@contextmanager
def watched(limits: Limits) -> Iterator[None]:
    """The block may take memory and processes of the machine, but not much more than its limits."""
    before, least, most = (psutil.virtual_memory().available, psutil.pids()), [], []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            least.append(psutil.virtual_memory().available)
            most.append(len(psutil.pids()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    taken = (before[0] - min(least, default=before[0])) >> 20
    assert taken < 6 * limits.memory_mb + 600, f"{taken} MiB"
    assert max(most, default=0) - len(before[1]) < limits.processes + 2000


DOUBLE_FORKS = """
while True:
    try:
        child = os.fork()
    except OSError:
        time.sleep(0.001)
        continue
    if child == 0:
        os.setsid()
        libc.prctl(15, b"kworker/0:1", 0, 0, 0)
        if os.fork():
            os._exit(0)
"""


def test_daemons_that_change_their_names(open_place: Sandbox, place: str) -> None:
    if "without" in place and open_place.root.stat().st_uid == 0:
        pytest.skip("the kernel bounds no processes of user 0: see the test below")
    result = run(open_place, DOUBLE_FORKS)
    assert not result.ok


def test_processes_are_counted_where_the_kernel_does_not(open_place: Sandbox) -> None:
    """A slow bomb: a fast one is a matter of who is faster, and this machine is others' as well."""
    script = """
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(600)
    except OSError:
        pass
    time.sleep(0.005)
print("200 processes" if len([n for n in os.listdir("/proc") if n.isdigit()]) > 200 else "fewer")
"""
    assert b"200" not in run(open_place, script).stdout


def test_daemons_that_ignore_all_signals_end_with_the_program(open_place: Sandbox) -> None:
    script = """
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        libc.prctl(15, b"init", 0, 0, 0)
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        time.sleep(600)
print("main", flush=True)
os._exit(3)
"""
    before = set(psutil.pids())
    result = run(open_place, script)
    assert (result.exit_code, result.stdout, result.oom_killed) == (3, b"main\n", False), result
    deadline, left = time.monotonic() + 5, [0]
    while time.monotonic() < deadline and (
        left := [p for p in set(psutil.pids()) - before if _named_init(p)]
    ):
        time.sleep(0.05)
    assert not left


def _named_init(pid: int) -> bool:
    try:
        found = psutil.Process(pid)
        return found.name() == "init" and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


MEMORY = {
    "a file in memory": """
for _ in range(20):
    file = os.memfd_create("x")
    for _ in range(100): os.write(file, bytes(1 << 20))
""",
    "/dev/shm": "for n in range(2000): open(f'/dev/shm/{n}', 'wb').write(bytes(1 << 20))",
    "a shared map": """
import mmap
maps = []
for _ in range(40):
    maps.append(mmap.mmap(-1, 50 << 20))
    for at in range(0, 50 << 20, 4096): maps[-1][at] = 1
""",
    "children": """
children = []
for _ in range(30):
    child = os.fork()
    if child == 0:
        data = bytearray(50 << 20)
        data[::4096] = b"x" * len(data[::4096])
        time.sleep(600)
    children.append(child)
sys.exit(os.wait()[1] and 1)
""",
    "System V": """
libc.shmat.restype = ctypes.c_void_p
for _ in range(40):
    segment = libc.shmget(0, 50 << 20, 0o1600)
    if segment < 0: sys.exit("refused")
    ctypes.memset(libc.shmat(segment, 0, 0), 1, 50 << 20)
""",
}


@pytest.mark.parametrize("kind", list(MEMORY))
def test_memory_of_any_kind_is_bounded(open_place: Sandbox, place: str, kind: str) -> None:
    result = run(open_place, MEMORY[kind] + "\nprint('had it all')")
    assert b"had it all" not in result.stdout
    refused = kind == "/dev/shm" or ("without" in place and kind in {"a file in memory", "System V"})
    assert result.oom_killed is not refused, result
    assert not result.timed_out


@pytest.mark.docker
def test_a_kill_for_memory_that_takes_the_whole_container_is_named_each_time(tmp_path: Path) -> None:
    """Pages of a file in memory are nobody's own, so that the kernel may go on killing after the command: the warden,
    who asks about it, and process 1."""
    for _ in range(8):
        with open_sandbox(tmp_path, backend="docker") as sandbox:
            result = sandbox.exec(
                ["python3", "-c", f"import os\n{MEMORY['a file in memory']}"], limits=LIMITS
            )
            assert result.oom_killed, result


def test_forks_of_a_large_program_share_its_memory(open_place: Sandbox) -> None:
    """Pages that children have not written count once."""
    script = """
data = bytearray(60 << 20)
data[::4096] = b"x" * len(data[::4096])
children = []
for _ in range(12):
    children.append(os.fork())
    if children[-1] == 0:
        time.sleep(1)
        os._exit(0)
for child in children: os.waitpid(child, 0)
"""
    assert run(open_place, script).ok


def test_a_child_that_was_out_of_memory_is_the_programs_own_affair(open_place: Sandbox, place: str) -> None:
    """What ends well has ended well."""
    script = """
if os.fork() == 0:
    data = bytearray(1 << 30)
    data[::4096] = b"x" * len(data[::4096])
os.wait()
"""
    result = run(open_place, script)
    if "without" not in place:  # there the whole tree may be killed
        assert (result.exit_code, result.oom_killed) == (0, False)


@pytest.mark.parametrize(
    "script",
    [
        "import fcntl\nkept = []\n"
        "while True:\n    kept.append(os.pipe()); os.set_blocking(kept[-1][1], False)\n"
        "    try:\n        while True: os.write(kept[-1][1], bytes(65536))\n    except BlockingIOError: pass",
        "kept = []\nwhile True: kept.append(os.open('/dev/null', 0))",
        "import threading\nwhile True: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    ],
    ids=["pipes", "descriptors", "threads"],
)
def test_what_the_kernel_counts(open_place: Sandbox, script: str) -> None:
    result = run(open_place, script)
    assert not result.ok


@pytest.mark.parametrize(
    "script",
    [
        "os.kill(os.getppid(), signal.SIGSTOP); os.kill(1, signal.SIGSTOP); time.sleep(600)",
        "libc.ptrace(16, os.getppid(), 0, 0); libc.ptrace(16, 1, 0, 0); time.sleep(600)",
        "os.fork(); os.fork(); os.kill(os.getpid(), signal.SIGSTOP)",
        "libc.syscall(56, 0x4000 | 17, 0, 0, 0, 0); time.sleep(600)",  # a parent that waits for its vfork's child
    ],
    ids=["stopped wardens", "traced wardens", "stopped tree", "vfork"],
)
def test_the_time_limit_holds(open_place: Sandbox, script: str) -> None:
    result = run(open_place, script, Limits(wall_s=1, memory_mb=200))
    assert (result.timed_out, result.ok) == (True, False)


def test_a_reader_that_is_gone_and_floods_of_both_streams(open_place: Sandbox) -> None:
    script = """
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    while True:
        for stream in (1, 2):
            try: os.write(stream, bytes(65536))
            except OSError: pass
time.sleep(0.3)
os._exit(5)
"""
    result = run(open_place, script)
    assert (result.exit_code, result.truncated, result.timed_out) == (5, True, False)


def test_space_that_is_reserved_counts_and_holes_do_not(open_place: Sandbox) -> None:
    with open_place.fork() as fork:
        if not fork._workspace.changes:  # type: ignore[attr-defined]
            pytest.skip("forks are no layers here")
        holes = "for n in range(20): open(f'h{n}', 'wb').truncate(200 << 20)"
        assert run(fork, holes).ok
        reserved = """
for n in range(20):
    os.posix_fallocate(os.open(f"r{n}", os.O_CREAT | os.O_RDWR), 0, 200 << 20)
time.sleep(600)
"""
        result = fork.exec(["python3", "-c", "import os, time" + reserved], limits=LIMITS)
        assert result.disk_full
        assert not result.timed_out
        assert not any(name.startswith("h") for name in os.listdir(open_place.root))  # noqa: PTH208

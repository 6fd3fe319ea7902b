"""Programs that mean harm, on both backends: each ends in time with the right label, and the host is as before.

Bombs, floods, daemons, links and signals are in `test_sandbox_conformance.py`, since every backend promises
those ends; here is what only an attacker tries.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from forklock.sandbox import Limits, Policy, Sandbox
from forklock.sandbox.workspace.snapshot import layers_work

pytestmark = pytest.mark.hostile("sandbox")

HEADER = """
import ctypes, errno, json, os, signal, socket, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
done = []  # what succeeded and should not have
def attempt(name, work):
    try:
        found = work()
    except (OSError, AttributeError, subprocess.SubprocessError, OverflowError, ValueError):
        return
    if found is not None and found is not False and found != -1:
        done.append([name, str(found)])
def call(function, *words):
    return True if getattr(libc, function)(*words) == 0 else None
"""
FOOTER = "\nprint(json.dumps(done))\n"


def attack(sandbox: Sandbox, script: str, *words: str) -> list[list[str]]:
    """What succeeded of the attempts in `script`."""
    result = sandbox.exec(["python3", "-c", HEADER + script + FOOTER, *words])
    assert (result.exit_code, result.timed_out, result.oom_killed) == (0, False, False), result
    found: list[list[str]] = json.loads(result.stdout)
    return found


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours outside every sandbox."""
    with subprocess.Popen(
        [sys.executable, "-c", "import time; secret = 'hunter2'; time.sleep(60)"]
    ) as process:
        yield process
        assert process.poll() is None, "it lives on"
        process.kill()


# --- processes ---------------------------------------------------------------------------------------

PROCESSES = """
host, docker = int(sys.argv[1]), sys.argv[2] == "docker"
# bubblewrap's process 1 is the command's own; docker's, and the warden above us, serve other commands.
for pid in {host, *((1, os.getppid()) if docker else ())}:
    if libc.ptrace(0x4206, pid, 0, 0) == 0:  # seize: it need not stop
        done.append(["traced", str(pid)])
    attempt(f"memory of {pid}", lambda: open(f"/proc/{pid}/mem", "rb+").fileno())
    for name in ("root/etc", "cwd/"):
        attempt(f"{name} of {pid}", lambda: os.listdir(f"/proc/{pid}/{name}"))
attempt("command line", lambda: "hunter2" in open(f"/proc/{host}/cmdline").read())
attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5) or True)
attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) or True)
import resource
attempt("limits", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)) or True)
"""


def test_no_other_process_can_be_traced_or_favoured(isolated, open_here, victim) -> None:
    assert attack(open_here(isolated), PROCESSES, str(victim.pid), isolated) == []


def test_a_traced_or_killed_warden_is_no_success(isolated, open_here) -> None:
    script = "import ctypes, os\nctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)\nos.kill(os.getppid(), 9)\n"
    sandbox = open_here(isolated)
    result = sandbox.exec(["python3", "-c", script + "import time; time.sleep(30)"], timeout_s=3)
    assert not result.ok
    assert result.wall_s < 15
    assert sandbox.exec(["echo", "alive"]).stdout == b"alive\n"


def test_every_signal_to_everything_stays_inside(isolated, open_here, victim) -> None:
    script = """
for pid in (1, int(sys.argv[1]), -1, -int(sys.argv[1])):
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        try: os.kill(pid, number)
        except OSError: pass
"""
    sandbox = open_here(isolated)
    started = time.monotonic()
    sandbox.exec(["python3", "-c", HEADER + script, str(victim.pid)], timeout_s=5)
    assert time.monotonic() - started < 15
    assert psutil.Process(victim.pid).status() != psutil.STATUS_STOPPED
    assert sandbox.exec(["echo", "alive"]).stdout == b"alive\n"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_program_that_stops_itself_is_timed_out(isolated, open_here, number: signal.Signals) -> None:
    result = open_here(isolated).exec(
        ["sh", "-c", f"trap '' TERM; kill -{int(number)} $$; exit 0"], timeout_s=1
    )
    if result.timed_out:
        assert result.wall_s < 40
    else:  # an orphaned process group does not stop for a terminal's sake
        assert number is signal.SIGTSTP
    assert not result.oom_killed


# --- files -------------------------------------------------------------------------------------------

KERNEL = """
nothing = os.stat("/dev/null").st_rdev  # what masks stand in for
def write(path):
    with open(path, "r+b", buffering=0) as file:
        return None if os.fstat(file.fileno()).st_rdev == nothing else file.write(b"1")
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
             "/proc/sys/kernel/hostname", "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger",
             "/proc/irq/default_smp_affinity", "/proc/kcore", "/proc/timer_list", "/proc/self/uid_map",
             "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run", "/sys/power/state", "/dev/mem", "/dev/kmem",
             "/dev/port", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop-control", "/dev/fuse",
             "/dev/kvm", "/dev/net/tun", "/dev/mapper/control"):
    attempt(path, lambda: write(path))
for path in ("/sys/fs/cgroup/x", "/sys/kernel/debug/x", "/sys/fs/bpf/x"):
    attempt(path, lambda: os.mkdir(path) or True)
for path in ("/proc/kcore", "/proc/keys", "/dev/mem", "/dev/vda", "/dev/sda", "/dev/kmsg"):
    attempt("read " + path, lambda: len(open(path, "rb").read(16)) or None)
import glob
for pattern in ("/sys/fs/cgroup/**/cgroup.procs", "/sys/fs/cgroup/**/tasks", "/sys/fs/cgroup/**/release_agent",
                "/sys/fs/cgroup/**/memory.max", "/sys/fs/cgroup/**/memory.limit_in_bytes"):
    for path in glob.glob(pattern, recursive=True):
        attempt(path, lambda: write(path))
"""


def test_nothing_of_the_kernels_can_be_written(isolated, open_here) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    assert attack(open_here(isolated), KERNEL) == []
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern


PRIVILEGE = """
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x00020000, 0x40000000
attempt("device", lambda: os.mknod("device", 0o60666, os.makedev(8, 0)) or True)
attempt("memory device", lambda: os.mknod("memory", 0o20666, os.makedev(1, 1)) or True)
attempt("device in /tmp", lambda: os.mknod("/tmp/device", 0o60666, os.makedev(8, 0)) or True)
for name, flag in (("user", CLONE_NEWUSER), ("mount", CLONE_NEWNS), ("net", CLONE_NEWNET)):
    attempt("unshare " + name, lambda: call("unshare", flag))
attempt("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, 0))
attempt("bind", lambda: call("mount", b"/", b"/tmp", b"", 4096, 0))
attempt("remount", lambda: call("mount", b"none", b"/usr", b"", 32 | 4096, 0))
attempt("remount .git", lambda: call("mount", b"none", os.getcwd().encode() + b"/.git", b"", 32 | 4096, 0))
attempt("umount", lambda: call("umount2", os.getcwd().encode() + b"/.git", 2))
attempt("chroot", lambda: os.chroot("/tmp") or True)
attempt("pivot_root", lambda: True if libc.syscall(155, b"/tmp", b"/tmp") == 0 else None)
attempt("setns", lambda: call("setns", os.open("/proc/1/ns/mnt", 0), 0) if os.getpid() != 1 else None)
attempt("setuid", lambda: os.setuid(0) or (os.getuid() == 0 and sys.argv[1] != "0"))
attempt("setgroups", lambda: os.setgroups([0, 27, 999]) or True)
attempt("another user", lambda: os.setuid(int(sys.argv[1]) + 1) or True)
attempt("module", lambda: True if libc.syscall(175, b"x", 1, b"") == 0 else None)
attempt("reboot", lambda: True if libc.syscall(169, 0xfee1dead, 672274793, 0, 0) == 0 else None)
attempt("io_uring", lambda: True if libc.syscall(425, 1, ctypes.create_string_buffer(256)) >= 0 else None)
attempt("key ring", lambda: True if libc.syscall(250, 0, -3, 0) >= 0 else None)
attempt("hostname", lambda: socket.sethostname("evil") or True)
attempt("swap", lambda: call("swapoff", b"/swapfile"))
attempt("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time() + 7200) or True)
class timex(ctypes.Structure):
    _fields_ = [("modes", ctypes.c_uint), ("rest", ctypes.c_char * 256)]
attempt("adjtimex", lambda: True if libc.adjtimex(ctypes.byref(timex(modes=0x4000, rest=b"\\1"))) >= 0 else None)
attempt("capability", lambda: True if libc.prctl(47, 2, 21, 0, 0) == 0 else None)
attempt("dumpable init", lambda: os.readlink("/proc/1/root") if os.getpid() != 1 and
        os.listdir("/proc/1/root") != os.listdir("/") else None)
"""


def test_no_privilege_device_namespace_or_clock_can_be_had(isolated, open_here, repo: Path) -> None:
    before = time.time() - time.monotonic()
    hostname = socket.gethostname()
    sandbox = open_here(isolated)
    assert attack(sandbox, PRIVILEGE, sandbox.exec(["id", "-u"]).stdout.decode().strip()) == []
    assert abs(time.time() - time.monotonic() - before) < 60
    assert socket.gethostname() == hostname
    assert not any((repo / name).exists() for name in ("device", "memory"))


def test_set_user_id_programs_give_nothing(isolated, open_here, repo: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's set-user-id program")
    program = repo / "su"
    shutil.copy(shutil.which("cat") or "/bin/cat", program)
    os.chown(program, 4321, 4321)
    program.chmod(0o6755)
    result = open_here(isolated).exec(["sh", "-c", "./su /proc/self/status"])
    fields = dict(line.split(":\t", 1) for line in result.stdout.decode().splitlines() if ":\t" in line)
    assert result.ok, result
    assert "4321" not in fields["Uid"].split() + fields["Gid"].split()
    assert fields["CapEff"].strip("0") == ""


SET_USER_ID = """
open("program", "w").close()
file, folder = os.open("program", os.O_RDWR), os.open(".", os.O_RDONLY)
attempt("chmod", lambda: os.chmod("program", 0o4755) or True)
attempt("fchmod", lambda: os.fchmod(file, 0o4755) or True)
attempt("fchmodat", lambda: os.chmod("program", 0o4755, dir_fd=folder) or True)
attempt("fchmodat2", lambda: True if libc.syscall(452, -100, b"program", 0o4755, 0) == 0 else None)
attempt("open", lambda: os.open("opened", os.O_CREAT | os.O_RDWR, 0o4755))
attempt("no name", lambda: os.open(".", os.O_TMPFILE | os.O_RDWR, 0o4755))
attempt("mknod", lambda: os.mknod("made", 0o104755) or True)
how = struct.pack("QQQ", os.O_CREAT | os.O_RDWR, 0o4755, 0)
attempt("openat2", lambda: True if libc.syscall(437, -100, b"how", how, len(how)) >= 0 else None)
os.chmod("program", 0o755)  # all else goes
os.mkdir("shared"); os.chmod("shared", 0o2775)
"""


def test_no_set_user_id_program_is_left_in_the_workspace(isolated, open_here, repo: Path) -> None:
    assert attack(open_here(isolated), SET_USER_ID) == []
    assert (repo / "program").stat().st_mode & 0o7777 == 0o755
    assert not [path for path in repo.rglob("*") if path.lstat().st_mode & 0o4000]


LINKS = """
outside = sys.argv[1]
def append(path):
    with open(path, "a") as file:
        file.write("evil")
for name, target in (("absolute", outside), ("climb", "../" * 40 + outside), ("root", "/proc/1/root" + outside),
                     ("self", "/proc/self/root" + outside), ("cwd", "/proc/self/cwd/" + "../" * 40 + outside)):
    os.symlink(target, name)
    attempt("read " + name, lambda: "intact" in open(name).read() or None)
    attempt("hard " + name, lambda: os.link(name, "hard-" + name, follow_symlinks=True))
    attempt("write " + name, lambda: append(name))  # at best into a file of its own in /tmp
for fd in range(3, 1024):
    attempt(f"descriptor {fd}", lambda: os.readlink(f"/proc/self/fd/{fd}"))
"""


def test_no_link_leads_out(isolated, open_here, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("intact")
    with open_here(isolated).fork() as fork:
        assert attack(fork, LINKS, str(outside)) == []
        assert outside.read_text() == "intact"
        with fork.fork() as second:  # copying what a program left follows no link either
            assert (second.root / "absolute").is_symlink()
            assert "intact" not in second.diff()
    assert outside.read_text() == "intact"


LAYERS = """
os.makedirs("src", exist_ok=True)
for name in ("user.overlay.opaque", "trusted.overlay.opaque", "trusted.overlay.redirect", "security.capability"):
    attempt(name, lambda: os.setxattr("src", name, b"/../../../etc" if "redirect" in name else b"y") or
            (name if not name.startswith("user.") else None))
attempt("whiteout", lambda: os.mknod("src/a.py.gone", 0o20000, 0) or True)
"""


def test_the_marks_of_a_layer_cannot_be_forged(isolated, open_here) -> None:
    with open_here(isolated).fork() as fork:
        assert attack(fork, LAYERS) == []
        with fork.fork() as second:
            assert (second.root / "src" / "a.py").read_text() == (fork.root / "src" / "a.py").read_text()


# --- network -----------------------------------------------------------------------------------------

NETWORK = """
tcp, tcp6, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def to(family, kind, address, protocol=0):
    def work():
        with socket.socket(family, kind, protocol) as s:
            s.settimeout(0.5)
            s.connect(address)
            s.send(b"x")
        return address
    return work
for host in ("127.0.0.1", "10.0.0.1", "172.17.0.1", "192.168.0.1", "169.254.169.254"):
    for port in {tcp, 53}:
        attempt("tcp", to(socket.AF_INET, socket.SOCK_STREAM, (host, port)))
        if host != "127.0.0.1":  # a datagram to one's own loopback reaches nobody
            attempt("udp", to(socket.AF_INET, socket.SOCK_DGRAM, (host, port)))
attempt("tcp6", to(socket.AF_INET6, socket.SOCK_STREAM, ("::1", tcp6)))
attempt("udp6", to(socket.AF_INET6, socket.SOCK_DGRAM, ("fe80::1", 53)))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).sendto(
    b"x" * 64, ("1.1.1.1", 0)))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).fileno())
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM).fileno())
for family in (*range(3, 10), *range(11, 16), *range(17, 46)):
    attempt(f"family {family}", lambda: socket.socket(family, socket.SOCK_DGRAM).fileno())
attempt("bluetooth", lambda: socket.socket(31, socket.SOCK_RAW, 1).fileno())
attempt("abstract", to(socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + name))
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
             "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/forklock.sock"):
    attempt(path, to(socket.AF_UNIX, socket.SOCK_STREAM, path))
    attempt(path, to(socket.AF_UNIX, socket.SOCK_SEQPACKET, path))
def resolve(name):
    return socket.getaddrinfo(name, 80)
for host in ("example.com", "host.docker.internal", "gateway.docker.internal", socket.gethostname() + ".local"):
    attempt("dns " + host, lambda: resolve(host))
interfaces = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
attempt("interfaces", lambda: [one for one in interfaces if one not in ("lo", "tunl0", "sit0", "ip6tnl0", "gre0",
        "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0")] or None)
"""


def test_no_family_of_sockets_reaches_anything(isolated, open_here) -> None:
    name = f"forklock-hostile-{os.getpid()}"
    with (
        socket.create_server(("0.0.0.0", 0)) as tcp,
        socket.create_server(("::", 0), family=socket.AF_INET6) as tcp6,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind("\0" + name)
        local.listen()
        ports = str(tcp.getsockname()[1]), str(tcp6.getsockname()[1])
        found = attack(open_here(isolated), NETWORK, *ports, name)
    assert found == []


def test_granted_network_still_hides_the_engine(isolated, open_here) -> None:
    script = """
for path in ("/var/run/docker.sock", "/run/docker.sock"):
    attempt(path, lambda: socket.socket(socket.AF_UNIX).connect(path) or True)
"""
    policy = Policy(network=True, limits=Limits(wall_s=20, memory_mb=256))
    assert attack(open_here(isolated, policy), script) == []


# --- endless things ----------------------------------------------------------------------------------


def test_sleep_and_alarm_tricks_do_not_stretch_the_time(isolated, open_here) -> None:
    """Ignores all signals, stops and continues itself, forks away, and floods both streams meanwhile."""
    script = """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for _ in range(8):
    if os.fork() == 0:
        os.setsid()
        while True:
            os.write(1, b"x" * 65536)
            os.write(2, b"y" * 65536)
while True: time.sleep(1)
"""
    limits = Limits(wall_s=1.5, output_bytes=10_000, memory_mb=256)
    result = open_here(isolated).exec(["python3", "-c", HEADER + script], limits=limits)
    assert (result.timed_out, result.truncated, result.oom_killed) == (True, True, False)
    assert result.wall_s < 15
    assert len(result.stdout) < 10_100


def test_many_small_files_and_deep_folders_can_be_removed(isolated, open_here, tmp_path: Path) -> None:
    script = """
os.makedirs("many")
for number in range(3000):
    open(f"many/{number}", "w").close()
os.chmod("many", 0)
for _ in range(200):
    os.mkdir("d" * 100); os.chdir("d" * 100)
"""
    with open_here(isolated).fork() as fork:
        place = fork.root
        fork.exec(["python3", "-c", HEADER + script])
    assert not place.parent.exists()


def test_many_files_together_meet_the_disk_limit(backend, open_here, repo: Path, tmp_path: Path) -> None:
    if not layers_work(tmp_path):
        pytest.skip("layers: this user may not mount overlays here. Fix: run as root")
    limits = Limits(disk_mb=24, file_mb=4, memory_mb=256, wall_s=60)
    script = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > f$i; sleep 0.02; done"
    with open_here(backend).fork() as fork:
        assert not fork.exec(["sh", "-c", "head -c 1000000 /dev/zero > f"], limits=limits).disk_full
        result = fork.exec(["sh", "-c", script], limits=limits)
        assert (result.disk_full, result.ok, result.timed_out, result.oom_killed) == (
            True,
            False,
            False,
            False,
        )
        assert result.wall_s < 50
        assert sum(path.stat().st_size for path in fork.root.glob("f*")) < 200 << 20
        again = fork.exec(["sleep", "20"], limits=limits)
        assert again.disk_full, "a full fork stays full"
    assert not list(repo.glob("f*"))


def test_the_protocol_of_the_supervisor_cannot_be_spoken(isolated, open_here) -> None:
    """docker: a second connection, or a request of its own, gets nobody; bubblewrap has no such socket."""
    script = """
def speak():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(1)
    s.connect("/run/forklock.sock")
    s.send(json.dumps({"argv": ["true"], "env": {}, "cwd": "/", "rlimits": {}}).encode())
    return s.recv(100) or None
attempt("spoke", speak)
for pid in (1, os.getppid()) if sys.argv[1] == "docker" else ():
    for fd in range(32):
        attempt(f"descriptor {fd} of {pid}", lambda: os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR))
"""
    sandbox = open_here(isolated)
    assert attack(sandbox, script, isolated) == []
    result = sandbox.exec(["sh", "-c", "exit 3"])
    assert (result.exit_code, result.oom_killed) == (3, False)

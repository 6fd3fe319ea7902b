"""Process 1 of a docker sandbox: starts commands, one warden each, that end with everything they started.

Runs inside the container with the image's own Python (3.9 or later), standard library only, and imports
nothing of ours. In: requests on a socket that it connected at its start, one byte with six descriptors each:
a file with the request, stdin, stdout, stderr, a pipe for the report, and a pipe whose closing means "kill".
Out: on the report pipe one JSON line with the wait status, CPU seconds, peak memory and out-of-memory kills.
Commands never hold the report pipe, so nothing that they print can forge it.

Commands have our uid. They cannot signal process 1 from inside its namespace, nor trace us (we are not
dumpable); one that kills its warden ends without a report, and then the whole container is thrown away.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP, SECCOMP_FILTER = 22, 2
GRACE_S = 3.0
DESCRIPTORS = 6


LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    if LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError("prctl failed")


def main(path: str) -> None:
    prctl(PR_SET_DUMPABLE, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # as process 1: none of them reaches us from inside
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect(path)
    while True:
        spare = Spare(control)  # forked ahead, while no command waits
        data, descriptors, _, _ = socket.recv_fds(control, 1, DESCRIPTORS)
        reap()
        if not data:  # our owner is gone
            return
        if not spare.take(data, descriptors):
            Spare(control).take(data, descriptors)
        for fd in descriptors:
            os.close(fd)


class Spare:
    """A warden that waits for its command."""

    def __init__(self, control: socket.socket) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            control.close()
            self.ours.close()
            try:
                data, descriptors, _, _ = socket.recv_fds(theirs, 1, DESCRIPTORS)
                theirs.close()
                if data:
                    source, *rest = descriptors
                    with open(source, "rb") as file:  # noqa: PTH123
                        request = json.load(file)
                    warden(request, rest)
            finally:
                os._exit(0)
        theirs.close()

    def take(self, data: bytes, descriptors: list) -> bool:  # type: ignore[type-arg]
        """Give it the command; False when it is gone. An earlier command may have killed or stopped it."""
        with self.ours:
            try:
                socket.send_fds(self.ours, [data], descriptors)
                os.kill(self.pid, signal.SIGCONT)
            except OSError:
                return False
        return True


def reap() -> None:
    """Collect wardens, and orphans of wardens that were killed."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def warden(request: dict, descriptors: list) -> None:  # type: ignore[type-arg]
    """Run one command; report when it and all its descendants are gone."""
    stdin, stdout, stderr, report, leash = descriptors
    for fd in descriptors:  # the command gets the first three, as its own
        os.set_inheritable(fd, False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    oom_before = oom_kills()
    status = None
    child = 0
    try:
        child = start(request, (stdin, stdout, stderr))
    except OSError as error:
        os.write(stderr, f"cannot start {request['argv'][0]}: {error.strerror}\n".encode())
        status = (127 if isinstance(error, (FileNotFoundError, NotADirectoryError)) else 126) << 8
    for fd in (stdin, stdout, stderr):
        os.close(fd)
    while status is None:
        ready, _, _ = select.select([wake, leash], [], [])
        if leash in ready:
            break
        os.read(wake, 4096)
        status = collect(child)
    deadline = time.monotonic() + GRACE_S
    while has_children() and kill_descendants() and time.monotonic() < deadline:
        final = collect(child)
        status = final if status is None else status
        time.sleep(0.001)
    status = collect(child) if status is None else status
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = {
        "status": status,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "max_rss_mb": usage.ru_maxrss / 1024,
        "oom_kills": oom_kills() - oom_before,
        "clean": not (has_children() and descendants()),
    }
    os.write(report, json.dumps(answer).encode())


def has_children() -> bool:
    """Without any there are no descendants either: we are a subreaper. Spares most commands the walk."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def collect(child: int):  # type: ignore[no-untyped-def]
    """Reap all that ended; the raw wait status of `child` if it was among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, one = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                status = one
    return status


def start(request: dict, streams: tuple) -> int:  # type: ignore[type-arg]
    """The command's process. What bounds it bounds us first: we have nothing else to do, and a child that shares our
    memory until it executes is made in half the time.

    Raises:
        OSError: it cannot be executed.
    """
    if not request["argv"][0]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for name, (soft, hard) in request["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (soft, hard))
    os.chdir(request["cwd"])
    restrict(bytes.fromhex(request["filter"]))
    program = found(request["argv"][0], request["env"].get("PATH", os.defpath))
    kill_first(1000)  # it and all that it starts, before us and process 1
    try:
        return os.posix_spawn(
            program,
            request["argv"],
            request["env"],
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(streams)],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD],
        )
    finally:
        kill_first(0)


def kill_first(score: int) -> None:
    """How gladly the kernel takes us, and children that we start from now on, when memory is out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write(str(score))


def found(program: str, path: str) -> str:
    """Where `program` is: as `execvp` looks for it."""
    if "/" in program:
        return program
    places = [os.path.join(folder or ".", program) for folder in path.split(":")]  # noqa: PTH118
    here = [place for place in places if os.path.isfile(place)]  # noqa: PTH113
    return next((place for place in here if os.access(place, os.X_OK)), here[0] if here else program)


def restrict(program: bytes) -> None:
    """Put this process and all it starts under a system-call filter (classic BPF)."""
    if not program:
        return
    text = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HP", len(program) // 8, ctypes.addressof(text))
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or LIBC.prctl(PR_SET_SECCOMP, SECCOMP_FILTER, head, 0, 0):
        raise OSError(ctypes.get_errno() or 22, "the system-call filter was refused")


def kill_descendants() -> bool:
    """Kill everything below us; False when there was nothing. Stopped first, so that none forks away."""
    victims = descendants()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
    return bool(victims)


def descendants() -> list:  # type: ignore[type-arg]
    """Live processes below us, zombies excluded. Orphans are ours too: we are a subreaper."""
    parents = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat") as file:  # noqa: PTH123
                    fields = file.read().rpartition(")")[2].split()
                parents[int(name)] = (int(fields[1]), fields[0])
    found, layer = [], {os.getpid()}
    while layer:
        layer = {pid for pid, (parent, _) in parents.items() if parent in layer}
        found += [pid for pid in layer if parents[pid][1] != "Z"]
    return found


def oom_kills() -> int:
    """How often the kernel killed for memory in this container so far."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError), open(path) as file:  # noqa: PTH123
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main(sys.argv[1])

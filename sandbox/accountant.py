"""Starts commands for its owner, and says of each, when it has ended, how much memory its processes took at most.

    accountant.py CONTROL_FD OWNER_FD      (a SOCK_SEQPACKET socket; a pid descriptor of the owner)

The kernel counts the memory of the process that starts a command as the command's own until it executes, so
a large owner cannot learn a smaller command's peak: this small process stands between them. It lives as long as its
owner, and forks a clerk for each command. A packet is one byte and descriptors: the request (JSON in a file), the
command's stdin, stdout and stderr, the pipe for the report, then those that the command keeps under the numbers of
`keep`. The report is one JSON line: wait status, CPU seconds, peak in KiB. Standard library only; imports nothing
of ours. Dies with its owner, and all clerks with it.
"""

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1
MOST_DESCRIPTORS = 32
LIBC = ctypes.CDLL(None)


def main(control_fd: int, owner_fd: int) -> None:
    os.set_inheritable(control_fd, False)
    os.set_inheritable(owner_fd, False)
    control = socket.socket(fileno=control_fd)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # clerks are not waited for
    own = os.getpid()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(owner_fd, select.POLLIN)
    while True:
        if any(fd == owner_fd for fd, _ in poll.poll()):
            return
        data, descriptors, _, _ = socket.recv_fds(control, 1, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return
        if os.fork() == 0:
            try:
                clerk(own, descriptors)
            finally:
                os._exit(1)
        for fd in descriptors:
            os.close(fd)


def clerk(accountant: int, descriptors: list) -> None:  # type: ignore[type-arg]
    """Start one command and wait for it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != accountant:
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    source, stdin, stdout, stderr, report, *kept = descriptors
    with open(source, "rb") as file:  # noqa: PTH123
        request = json.load(file)
    child = os.fork()
    if child == 0:
        become(request, (stdin, stdout, stderr), kept)
    for fd in (stdin, stdout, stderr, *kept):  # the command's alone: its closing them must be seen
        os.close(fd)
    _, status, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    answer = {"status": status, "cpu_s": seconds, "max_rss_kib": usage.ru_maxrss}
    os.write(report, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def become(request: dict, streams: tuple, kept: list) -> None:  # type: ignore[type-arg]
    """In the child: turn into the command, `argv[0]` a path. Never returns. Imports nothing: the interpreter's
    own files may be out of the other user's reach."""
    try:
        os.setsid()
        targets = dict(zip((0, 1, 2, *request["keep"]), (*streams, *kept), strict=True))
        above = max(targets) + 1
        moved = {to: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for to, fd in targets.items()}
        for to, fd in moved.items():
            os.dup2(fd, to, inheritable=True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if request["owner"]:
            user, group = request["owner"]
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
        os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start {request['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

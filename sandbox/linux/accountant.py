"""Starts commands for its owner, and reports the peak memory of each one when it has ended.

    accountant.py CONTROL_FD OWNER_FD      (a SOCK_SEQPACKET socket; a pid descriptor of the owner)

The kernel counts the memory of the process that starts a command as the command's own until it executes, so
a large owner cannot learn a smaller command's peak: this small process stands between them, as long as its owner
lives. A packet is one byte and descriptors: the request (JSON in a file), the command's stdin, stdout and stderr, the
pipe for the report, then those that the command keeps under the numbers of `keep`. The command's process enters the
control groups of `enter` itself. The report is one JSON line: wait status, CPU seconds, peak in KiB; or why no process
could be made. Standard library only; imports nothing of ours. Commands must end with us by themselves (bubblewrap's
--die-with-parent).
"""

import contextlib
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import sys

MOST_DESCRIPTORS = 32


def main(control_fd: int, owner_fd: int) -> None:
    os.set_inheritable(control_fd, False)
    os.set_inheritable(owner_fd, False)
    control = socket.socket(fileno=control_fd)
    wake, wake_write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    poll = select.poll()
    for fd in (control_fd, owner_fd, wake):
        poll.register(fd, select.POLLIN)
    reports: dict = {}  # type: ignore[type-arg]
    gc.freeze()  # pages that are not written to stay shared with children
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if owner_fd in ready:
            return
        if wake in ready:
            os.read(wake, 4096)
            report_ended(reports)
        if control_fd in ready:
            data, descriptors, _, _ = socket.recv_fds(control, 1, MOST_DESCRIPTORS)
            if not data:
                return
            for fd in descriptors:  # CPython 3.11 does not pass MSG_CMSG_CLOEXEC on
                os.set_inheritable(fd, False)
            begin(descriptors, reports)


def begin(descriptors: list, reports: dict) -> None:  # type: ignore[type-arg]
    """Start a command."""
    source, stdin, stdout, stderr, report, *kept = descriptors
    with open(source, "rb") as file:  # noqa: PTH123
        request = json.load(file)
    us = os.getpid()
    try:
        child = os.fork()
    except OSError as error:  # this command's misfortune, and not that of all others
        tell(report, {"error": error.strerror})
    else:
        if child == 0:
            become(request, (stdin, stdout, stderr), kept, us)
        reports[child] = report
    for fd in (stdin, stdout, stderr, *kept):  # the command's alone: its closing them must be seen
        os.close(fd)


def report_ended(reports: dict) -> None:  # type: ignore[type-arg]
    """Collect the processes that have ended, and report them."""
    while reports:
        child, status, usage = os.wait4(-1, os.WNOHANG)
        if child == 0:
            return
        report = reports.pop(child)
        seconds = usage.ru_utime + usage.ru_stime
        tell(report, {"status": status, "cpu_s": seconds, "max_rss_kib": usage.ru_maxrss})


def tell(report: int, answer: dict) -> None:  # type: ignore[type-arg]
    with contextlib.suppress(OSError):  # the owner has closed the report pipe
        os.write(report, json.dumps(answer).encode() + b"\n")
    os.close(report)


def become(request: dict, streams: tuple, kept: list, parent: int) -> None:  # type: ignore[type-arg]
    """In the child: turn into the command, `argv[0]` a path. Never returns. Imports nothing: the interpreter's
    own files may be out of the other user's reach."""
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        targets = dict(zip((0, 1, 2, *request["keep"]), (*streams, *kept), strict=True))
        above = max(targets) + 1
        moved = {to: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for to, fd in targets.items()}
        for to, fd in moved.items():
            os.dup2(fd, to, inheritable=True)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:  # the owner may ignore some
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for path in request["enter"]:
            group = os.open(path, os.O_WRONLY)
            os.write(group, b"0")
            os.close(group)
        for number, bounds in request["rlimits"]:
            resource.setrlimit(number, bounds)
        if request["owner"]:
            user, owners = request["owner"]
            os.setgroups([])
            os.setgid(owners)
            os.setuid(user)
        if os.getppid() != parent:  # too late for bubblewrap to end with it
            return
        os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start {request['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

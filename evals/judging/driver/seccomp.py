"""evals: refuses system calls by which a program could harm the driver, or leave something for the next program.

Input: the processes above a program. Output: a kernel filter: the program cannot signal, limit or slow them (EPERM).
Programs have the same user as the driver, so they could otherwise stop it, or set its limits (`prlimit`), under which
later programs would die. SysV IPC, message queues, keys and ports outlive their processes and are refused. Runs inside
the sandbox; standard library only. Architectures: x86-64 and arm64; elsewhere nothing is refused.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_X86, _ARM = 0xC000003E, 0xC00000B7
_MACHINES = {"x86_64": (_X86, 0), "aarch64": (_ARM, 1)}
_ANY = -1
"""Stands for an argument: the call is refused with any arguments."""
_CALLS: tuple[tuple[int, int, int], ...] = (
    (62, 129, 0),  # kill
    (200, 130, 0),  # tkill
    (234, 131, 0),  # tgkill
    (129, 138, 0),  # rt_sigqueueinfo
    (297, 240, 0),  # rt_tgsigqueueinfo
    (302, 261, 0),  # prlimit64
    (142, 118, 0),  # sched_setparam
    (144, 119, 0),  # sched_setscheduler
    (203, 122, 0),  # sched_setaffinity
    (314, 274, 0),  # sched_setattr
    (434, 434, 0),  # pidfd_open
    (141, 140, 1),  # setpriority
    (251, 30, 1),  # ioprio_set
    (424, 424, _ANY),  # pidfd_send_signal
    (29, 194, _ANY),  # shmget
    (64, 190, _ANY),  # semget
    (68, 186, _ANY),  # msgget
    (240, 180, _ANY),  # mq_open
    (248, 217, _ANY),  # add_key
    (249, 218, _ANY),  # request_key
    (250, 219, _ANY),  # keyctl
    (425, 425, _ANY),  # io_uring_setup: its calls bypass filters
)
"""Number on x86-64, number on arm64, and the index of the argument that names a process."""
_BY_USER = (
    (141, 140, 0, 2),
    (251, 30, 0, 3),
    (72, 25, 1, 8),
    (72, 25, 1, 15),
    (41, 198, 0, 2),
    (41, 198, 0, 10),
)
"""Numbers, an argument and its value: setpriority and ioprio_set of all that a user has; fcntl's F_SETOWN and
F_SETOWN_EX, which send signals; socket of IPv4 and IPv6, as the kernel remembers ports for a minute."""

_Line = tuple[int, int, int, int]


def ancestors() -> list[int]:
    """Return this process and those above it."""
    found, pid = [], os.getpid()
    while pid > 0:
        found.append(pid)
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
                pid = int(file.read().rsplit(b")", 1)[1].split()[1])
        except OSError:
            break
    return found


def program(
    machine: str, protected: list[int], *, more: tuple[tuple[int, int, int, int], ...] = _BY_USER
) -> bytes:
    """Return the filter as classic BPF, eight bytes per instruction; empty on an unknown architecture.

    Args:
        protected: processes, and groups as negative numbers.
        more: rules that name no process.
    """
    if machine not in _MACHINES:
        return b""
    architecture, column = _MACHINES[machine]
    lines: list[_Line] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, 0),
    ]
    for *numbers, argument, value in more:
        lines += _refused(numbers[column], argument, [value], more=True)
    for *numbers, argument in _CALLS:
        lines += _refused(numbers[column], argument, protected)
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _refused(number: int, argument: int, values: list[int], *, more: bool = False) -> list[_Line]:
    """Refuse a call whose argument is one of `values`; the call's number is loaded. `more`: another rule follows."""
    if argument == _ANY:
        return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    body: list[_Line] = [(_LOAD, 0, 0, 16 + 8 * argument)]
    for value in values:
        body += [(_EQUAL, 0, 1, value & 0xFFFFFFFF), (_RETURN, 0, 0, _EPERM)]
    body.append((_LOAD, 0, 0, 0) if more else (_RETURN, 0, 0, _ALLOW))
    return [(_EQUAL, 0, len(body), number), *body]


def install(libc: Any) -> None:
    """Filter this process and everything that it forks; nothing is filtered where the kernel refuses."""
    pids = ancestors()
    # -1 means all processes; the negative numbers are the groups of the processes above.
    _apply(libc, program(os.uname().machine, [-1, *pids, *{-os.getpgid(pid) for pid in pids[:2]}]))


def protect(libc: Any) -> None:
    """Refuse calls against this process, which leads its group, from itself and everything that it forks from now
    on."""
    pid = os.getpid()
    _apply(libc, program(os.uname().machine, [pid, -pid], more=()))


def _apply(libc: Any, filtered: bytes) -> None:
    if not filtered:
        return
    held = ctypes.create_string_buffer(filtered, len(filtered))
    whole = struct.pack("HxxxxxxP", len(filtered) // 8, ctypes.addressof(held))
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    libc.prctl(
        22, 2, ctypes.create_string_buffer(whole, len(whole)), 0, 0
    )  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

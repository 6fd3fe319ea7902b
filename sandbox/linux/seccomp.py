"""Makes the system-call filter of every isolated command, in the kernel's classic BPF.

In: nothing. Out: a program for `bwrap --seccomp` or `prctl(PR_SET_SECCOMP)`. It refuses what namespaces do not
hold: sockets of families other than unix, internet and netlink (a virtual machine's AF_VSOCK reaches its host
from any network namespace), the kernel's key rings, io_uring, by which sockets can be made unseen, and the making of
set-user-id files, which outside are what they say (in a root-owned workspace: root's, for any user to run). Where no
control group counts memory it refuses that which belongs to no process, too. All else is the sandbox's affair: this is
no list of harmless calls.

Architectures: x86-64 (with its 32-bit calls; x32 is refused) and arm64. Elsewhere there is no filter.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_LOAD, _EQUAL, _LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_EPERM, _ENOMEM, _ENOSYS, _EAFNOSUPPORT = 1, 12, 38, 97
_FAMILIES = (1, 2, 10, 16)
_X32 = 0x40000000
_SET_USER_ID = 0o4000
_MAKES_A_FILE = 0o100 | 0o20000000
"""O_CREAT, and O_TMPFILE's own bit."""
_SEGMENT = 64 << 10
"""Bytes of shared memory that may be had where nothing counts it: PostgreSQL wants 56. There are 4,096 segments."""

_Line = tuple[int, int, int, int]
"""Operation, lines to skip if true, if false, operand."""


@dataclass(frozen=True)
class _Numbers:
    """An architecture's numbers of the calls that are looked at."""

    socket: int
    refused: tuple[int, ...]
    """add_key, request_key, keyctl, io_uring_setup."""
    modes: Mapping[int, int]
    """Calls that give a file a mode (chmod and creat with their kin, mknod, mknodat): which argument it is."""
    opens: Mapping[int, int]
    """open and openat: which argument the flags are; the mode follows."""
    unseen: tuple[int, ...]
    """memfd_create, memfd_secret."""
    shmget: int


_OPENAT2 = 437
_X86 = _Numbers(
    41,
    (248, 249, 250, 425),
    {90: 1, 91: 1, 268: 2, 452: 2, 85: 1, 133: 1, 259: 2},
    {2: 1, 257: 2},
    (319, 447),
    29,
)
_I386 = _Numbers(
    359,
    (286, 287, 288, 425),
    {15: 1, 94: 1, 306: 2, 452: 2, 8: 1, 14: 1, 297: 2},
    {5: 1, 295: 2},
    (356, 447),
    395,
)
_ARM64 = _Numbers(198, (217, 218, 219, 425), {52: 1, 53: 2, 452: 2, 33: 2}, {56: 2}, (279, 447), 194)
_ARM = _Numbers(
    281,
    (309, 310, 311, 425),
    {15: 1, 94: 1, 333: 2, 452: 2, 8: 1, 14: 1, 324: 2},
    {5: 1, 322: 2},
    (385, 447),
    307,
)


@lru_cache(maxsize=2)
def filter_program(*, memory_is_counted: bool = True) -> bytes:
    """Return the filter, eight bytes per instruction; empty on an unknown architecture."""
    machine = platform.machine()
    if machine == "x86_64":
        native = [(_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _ENOSYS), *_calls(_X86, memory_is_counted)]
        # 32-bit programs: `socketcall` and `ipc` keep their arguments in memory, where no filter can look.
        compatible = _refuse((102,), _EAFNOSUPPORT)
        compatible += [] if memory_is_counted else _refuse((117,), _ENOSYS)
        lines = [
            *_for(0xC000003E, native),
            *_for(0x40000003, [*compatible, *_calls(_I386, memory_is_counted)]),
        ]
    elif machine == "aarch64":
        lines = [
            *_for(0xC00000B7, _calls(_ARM64, memory_is_counted)),
            *_for(0x40000028, _calls(_ARM, memory_is_counted)),
        ]
    else:
        return b""
    lines.append((_RETURN, 0, 0, _ERRNO | _ENOSYS))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def filter_descriptor(*, memory_is_counted: bool = True) -> int | None:
    """Return a descriptor of the filter, as bubblewrap reads it; the caller closes it. None if there is no filter."""
    program = filter_program(memory_is_counted=memory_is_counted)
    if not program:
        return None
    descriptor = os.memfd_create("filter")
    os.write(descriptor, program)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _for(architecture: int, body: list[_Line]) -> list[_Line]:
    """`body`, which returns at its end, for calls of one architecture."""
    head = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 0, len(body) + 1, architecture), (_LOAD, 0, 0, _NUMBER)]
    return [*head, *body]


def _calls(numbers: _Numbers, memory_is_counted: bool) -> list[_Line]:
    """With the call's number loaded: refuse some, others by their arguments; allow the rest."""
    lines = _refuse(numbers.refused, _EPERM)
    lines += _refuse((_OPENAT2,), _ENOSYS)  # its mode is in memory, and programs know systems without it
    by_family: list[_Line] = [_load(0)]
    for family in _FAMILIES:
        by_family += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    by_family.append((_RETURN, 0, 0, _ERRNO | _EAFNOSUPPORT))
    lines += _if(numbers.socket, by_family)
    for number, at in numbers.modes.items():
        lines += _if(number, _unless_set_user_id(at))
    for number, at in numbers.opens.items():
        mode = _unless_set_user_id(at + 1)
        lines += _if(number, [_load(at), (_ANY_BIT, 0, len(mode) - 1, _MAKES_A_FILE), *mode])
    if not memory_is_counted:
        lines += _refuse(numbers.unseen, _ENOSYS)
        lines += _if(numbers.shmget, _AT_MOST_A_SEGMENT)
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _if(number: int, body: list[_Line]) -> list[_Line]:
    """`body`, which returns at its end, for one call."""
    return [(_EQUAL, 0, len(body), number), *body]


def _refuse(refused: Iterable[int], error: int) -> list[_Line]:
    return [line for number in refused for line in _if(number, [(_RETURN, 0, 0, _ERRNO | error)])]


def _load(argument: int, *, high: bool = False) -> _Line:
    """An argument's lower or higher half; both architectures are little-endian."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4 * high


def _unless_set_user_id(at: int) -> list[_Line]:
    return [
        _load(at), (_ANY_BIT, 0, 1, _SET_USER_ID), (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW),
    ]  # fmt: skip


_AT_MOST_A_SEGMENT: list[_Line] = [
    _load(1, high=True),
    (_EQUAL, 0, 2, 0),
    _load(1),
    (_LEAST, 0, 1, _SEGMENT + 1),
    (_RETURN, 0, 0, _ERRNO | _ENOMEM),
    (_RETURN, 0, 0, _ALLOW),
]

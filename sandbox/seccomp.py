"""The system-call filter of every isolated command, as the kernel's classic BPF.

In: nothing. Out: a program for `bwrap --seccomp` or `prctl(PR_SET_SECCOMP)`. It refuses what namespaces do not
hold: sockets of families other than unix, internet and netlink (a virtual machine's AF_VSOCK reaches its host
from any network namespace), the kernel's key rings, and io_uring, by which sockets can be made unseen. All else
is the sandbox's affair: this is no list of harmless calls.

Architectures: x86-64 (with its 32-bit calls; x32 is refused) and arm64. Elsewhere there is no filter.
"""

from __future__ import annotations

import os
import platform
import struct
from functools import lru_cache

_LOAD, _EQUAL, _LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_FAMILIES = (1, 2, 10, 16)
_X32 = 0x40000000

_Line = tuple[int, int, int, int]
"""Operation, lines to skip if true, if false, operand."""


@lru_cache(maxsize=1)
def filter_program() -> bytes:
    """Eight bytes an instruction; empty on an architecture that it does not know."""
    machine = platform.machine()
    if machine == "x86_64":
        native = [(_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
        native += _calls(sockets=(41,), refused=(248, 249, 250, 425))
        # 32-bit programs: `socketcall` keeps its family in memory, where no filter can look.
        compatible = [(_EQUAL, 0, 1, 102), (_RETURN, 0, 0, _ERRNO | _EAFNOSUPPORT)]
        compatible += _calls(sockets=(359,), refused=(286, 287, 288, 425))
        lines = [*_for(0xC000003E, native), *_for(0x40000003, compatible)]
    elif machine == "aarch64":
        lines = [
            *_for(0xC00000B7, _calls(sockets=(198,), refused=(217, 218, 219, 425))),
            *_for(0x40000028, _calls(sockets=(281,), refused=(309, 310, 311, 425))),
        ]
    else:
        return b""
    lines.append((_RETURN, 0, 0, _ERRNO | _ENOSYS))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def filter_descriptor() -> int | None:
    """The filter in a file without a name, as bubblewrap reads it; ours to close. None where there is no filter."""
    program = filter_program()
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


def _calls(sockets: tuple[int, ...], refused: tuple[int, ...]) -> list[_Line]:
    """With the call's number loaded: refuse some, and sockets by family; allow the rest."""
    lines: list[_Line] = []
    for number in refused:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    by_family: list[_Line] = [(_LOAD, 0, 0, _FIRST_ARGUMENT)]
    for family in _FAMILIES:
        by_family += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    by_family.append((_RETURN, 0, 0, _ERRNO | _EAFNOSUPPORT))
    for number in sockets:
        lines += [(_EQUAL, 0, len(by_family), number), *by_family]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]

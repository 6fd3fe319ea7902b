"""The filter, read as the kernel reads it, for the architectures that this machine does not have."""

from __future__ import annotations

import errno
import platform
import struct

import pytest

from forklock.sandbox.linux import seccomp

pytestmark = pytest.mark.hostile("sandbox")

ALLOW = 0x7FFF0000
X86, I386, ARM64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
UNIX, INET, INET6, NETLINK, ALG, VSOCK = 1, 2, 10, 16, 38, 40


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """0 when the call is allowed, else its errno."""
    lines = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    data = {0: number, 4: architecture}
    for at, argument in enumerate((*arguments, *[0] * (6 - len(arguments)))):
        data |= {16 + 8 * at: argument & 0xFFFFFFFF, 20 + 8 * at: argument >> 32}
    held, at = 0, 0
    while True:
        code, yes, no, operand = lines[at]
        at += 1
        if code == 0x20:
            held = data[operand]
        elif code == 0x15:
            at += yes if held == operand else no
        elif code == 0x35:
            at += yes if held >= operand else no
        elif code == 0x45:
            at += yes if held & operand else no
        else:
            assert code == 0x06
            return 0 if operand == ALLOW else operand & 0xFFFF


@pytest.mark.parametrize(
    ("machine", "architecture", "socket", "refused", "plain"),
    [
        ("x86_64", X86, 41, (248, 249, 250, 425), (0, 1, 59, 257)),
        ("x86_64", I386, 359, (286, 287, 288, 425), (3, 4, 11)),
        ("aarch64", ARM64, 198, (217, 218, 219, 425), (63, 64, 221)),
        ("aarch64", ARM, 281, (309, 310, 311, 425), (3, 4, 11)),
    ],
)
def test_each_architecture(
    machine: str, architecture: int, socket: int, refused, plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    program = seccomp.filter_program.__wrapped__()
    for family in (UNIX, INET, INET6, NETLINK):
        assert verdict(program, architecture, socket, family) == 0
    for family in (0, ALG, VSOCK, 255, 17):
        assert verdict(program, architecture, socket, family) == errno.EAFNOSUPPORT
    assert [verdict(program, architecture, number) for number in refused] == [errno.EPERM] * 4
    assert [verdict(program, architecture, number, VSOCK) for number in plain] == [0] * len(plain)


def test_other_ways_to_call_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    program = seccomp.filter_program.__wrapped__()
    assert verdict(program, X86, 0x40000000 + 41, UNIX) == errno.ENOSYS, "x32"
    assert verdict(program, I386, 102, 1) == errno.EAFNOSUPPORT, "socketcall"
    assert verdict(program, ARM64, 198, UNIX) == errno.ENOSYS, "another machine's numbers"
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert seccomp.filter_program.__wrapped__() == b""


MODES = {  # architecture: calls, each with what comes before the mode
    X86: {90: 1, 91: 1, 268: 2, 452: 2, 85: 1, 133: 1, 259: 2},
    I386: {15: 1, 94: 1, 306: 2, 452: 2, 8: 1, 14: 1, 297: 2},
    ARM64: {52: 1, 53: 2, 452: 2, 33: 2},
    ARM: {15: 1, 94: 1, 333: 2, 452: 2, 8: 1, 14: 1, 324: 2},
}
OPENS = {X86: {2: 1, 257: 2}, I386: {5: 1, 295: 2}, ARM64: {56: 2}, ARM: {5: 1, 322: 2}}
UNSEEN = {X86: (319, 447, 29), I386: (356, 447, 395), ARM64: (279, 447, 194), ARM: (385, 447, 307)}


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", X86), ("x86_64", I386), ("aarch64", ARM64), ("aarch64", ARM)],
)
def test_set_user_id_files_are_not_made(
    machine: str, architecture: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    program = seccomp.filter_program.__wrapped__()
    for number, before in MODES[architecture].items():
        assert verdict(program, architecture, number, *[0o4000] * before, 0o104755) == errno.EPERM
        assert verdict(program, architecture, number, *[0o4000] * before, 0o102755) == 0
    for number, before in OPENS[architecture].items():
        for flags in (0o102, 0o20200002):  # O_CREAT, O_TMPFILE
            assert verdict(program, architecture, number, *[0] * before, flags, 0o4755) == errno.EPERM
            assert verdict(program, architecture, number, *[0] * before, flags, 0o755) == 0
        assert verdict(program, architecture, number, *[0] * before, 0o2, 0o4755) == 0, "makes nothing"
    assert verdict(program, architecture, 437) == errno.ENOSYS


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", X86), ("x86_64", I386), ("aarch64", ARM64), ("aarch64", ARM)],
)
def test_memory_of_no_process_where_nothing_counts_it(
    machine: str, architecture: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    counted = seccomp.filter_program.__wrapped__()
    uncounted = seccomp.filter_program.__wrapped__(memory_is_counted=False)
    *files, shmget = UNSEEN[architecture]
    for number in files:
        assert verdict(counted, architecture, number) == 0
        assert verdict(uncounted, architecture, number) == errno.ENOSYS
    for size, expected in ((56, 0), (64 << 10, 0), ((64 << 10) + 1, errno.ENOMEM), (1 << 32, errno.ENOMEM)):
        assert verdict(counted, architecture, shmget, 0, size) == 0
        assert verdict(uncounted, architecture, shmget, 0, size) == expected

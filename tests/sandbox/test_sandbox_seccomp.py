"""The filter, read as the kernel reads it, for the architectures that this machine does not have."""

from __future__ import annotations

import errno
import platform
import struct

import pytest

from sandbox import seccomp

ALLOW = 0x7FFF0000
X86, I386, ARM64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
UNIX, INET, INET6, NETLINK, ALG, VSOCK = 1, 2, 10, 16, 38, 40


def verdict(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """0 when the call is allowed, else its errno."""
    lines = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    data = {0: number, 4: architecture, 16: argument}
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

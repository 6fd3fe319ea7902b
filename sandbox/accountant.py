"""Starts one command and says, when it has ended, how much memory it and its children took at most.

    accountant.py REPORT_FD UID GID ARGV...      (ARGV[0] a path; UID and GID "-": stay who we are)

The kernel counts the memory of the process that starts a command as the command's own until it executes, so
a large caller cannot learn a smaller command's peak: this small process stands between them. It writes one
JSON line to REPORT_FD and ends with the command's exit code. Standard library only; imports nothing of ours.
"""

import json
import os
import sys


def main(report: int, user: str, group: str, argv: list) -> int:  # type: ignore[type-arg]
    child = os.fork()
    if child == 0:
        become(user, group, argv)
    for stream in (0, 1, 2):  # the command's alone: its closing them must be seen
        os.close(stream)
    _, status, usage = os.wait4(child, 0)
    os.write(report, json.dumps({"max-rss-kib": usage.ru_maxrss}).encode() + b"\n")
    return os.waitstatus_to_exitcode(status) & 0xFF


def become(user: str, group: str, argv: list) -> None:  # type: ignore[type-arg]
    """In the child: turn into the command, `argv[0]` a path. Never returns. Imports nothing: the interpreter's
    own files may be out of the other user's reach."""
    try:
        if user != "-":
            os.setgroups([])
            os.setgid(int(group))
            os.setuid(int(user))
        os.execv(argv[0], argv)  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))

"""evals: removes what a program left behind before the next one starts: files and processes.

Runs inside the sandbox.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time


class Place:
    """A folder that programs can write to."""

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        self._kept = frozenset(os.listdir(path))  # noqa: PTH208
        made = os.stat(path)  # noqa: PTH116
        self._mode, self._times = made.st_mode & 0o7777, (made.st_atime_ns, made.st_mtime_ns)
        self._as_made = self._state()

    def _state(self) -> tuple[int, int, int, tuple[str, ...]] | None:
        """Return what differs after a change.

        Times alone would not do: on some file systems, such as mqueue, they stand still for milliseconds.
        """
        try:
            state = os.lstat(self._path)
            names = tuple(os.listdir(self._path))  # noqa: PTH208
        except OSError:
            return None
        return state.st_ino, state.st_mode, state.st_ctime_ns, names

    def tidy(self) -> None:
        """Remove everything that was not there at first, and restore the folder's own mode, times and attributes.

        Depth and modes do not matter. Folders are emptied level by level, because their paths may be too long to name.
        """
        state = self._state()
        if state is not None and state == self._as_made:
            return
        if not os.path.isdir(self._path) or os.path.islink(self._path):  # noqa: PTH112, PTH114 - the program put it there
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)  # noqa: PTH108
            os.mkdir(self._path)  # noqa: PTH102
        with contextlib.suppress(PermissionError):
            os.chmod(self._path, self._mode)  # noqa: PTH101
        left, name = [each for each in os.listdir(self._path) if each not in self._kept], 0  # noqa: PTH208
        prefix = os.urandom(8).hex()
        while left:
            path = f"{self._path}/{left.pop()}"
            if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
                os.unlink(path)  # noqa: PTH108
                continue
            os.chmod(path, 0o700)  # noqa: PTH101
            for child in os.listdir(path):  # noqa: PTH208
                if os.path.isdir(f"{path}/{child}") and not os.path.islink(f"{path}/{child}"):  # noqa: PTH112, PTH114
                    os.chmod(f"{path}/{child}", 0o700)  # noqa: PTH101 - otherwise it cannot be moved
                name += 1
                os.rename(f"{path}/{child}", f"{self._path}/{prefix}-{name}")  # noqa: PTH104
                left.append(f"{prefix}-{name}")
            os.rmdir(path)  # noqa: PTH106
        with contextlib.suppress(
            OSError
        ):  # the folder is another user's, or its file system has no attributes
            for attribute in os.listxattr(self._path):
                os.removexattr(self._path, attribute)
        with contextlib.suppress(OSError):
            os.utime(self._path, ns=self._times)
        self._as_made = self._state()


def sweep() -> bool:
    """Kill the processes that a program left running; return True when none is left."""
    for _ in range(50):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        for pid in children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.005)
    return False


def children() -> list[int]:
    """Return the direct children of this process."""
    me, found = str(os.getpid()), []
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                parent = file.read().rsplit(b")", 1)[1].split()[1]
        except (OSError, IndexError):
            continue
        if parent.decode() == me:
            found.append(int(name))
    return found

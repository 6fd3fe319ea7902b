"""Makes one bubblewrap with its name spaces, perhaps ahead of time, and then runs one command in it.

In: a `Place`, which says how to make it; later the command. Out: the started `Running`, and what bubblewrap and the
control group report about its end. Inside waits a shell, process 1 of the pid namespace, that runs nothing but the
command. So no other command has touched its name spaces, and making them takes none of its time. Not covered: when to
make one ahead (`backend.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forklock.sandbox.contract import Limits
from forklock.sandbox.linux.accounted import ACCOUNTANT, start_accounted
from forklock.sandbox.linux.cgroups import Group, make_group
from forklock.sandbox.linux.limits import command_with_limits, rlimits
from forklock.sandbox.linux.orphans import end_holders
from forklock.sandbox.linux.seccomp import filter_descriptor

SHELL = "/bin/bash"
"""Bash is the only common shell that reads words that end in NUL, so nothing of a command is ever parsed."""
# $1 becomes readable when the command has been written to $2: its directory, then its words. The shell outlives the
# command by an instant, so that a signal that the command sends itself has its default effect. What the shell says
# about the command's death goes behind the words, where we read it, with a dot as its last word.
_INSIDE = """
go=$1 command=$2
read -r -N 1 -u "$go" || exit
mapfile -d '' -t -u "$command" words
exec {go}<&-
cd -P -- "${words[0]}" || exit 126
exec {errors}>&2 2>&"$command" {command}>&-
(exec -c "${words[@]:1}" 2>&"$errors" {errors}>&-)
code=$?
printf . >&2
exit $code
"""
_DIES_UNSAID = frozenset({signal.SIGINT, signal.SIGPIPE, signal.SIGTERM})
"""Signals of which the shell says nothing. It is no job control that would have it tell them, too: in that, bash 5.2
sometimes waits for ever for a command that has ended."""
_AROUND = 3
"""Processes that are not the command's own: bubblewrap, and two shells."""
_BINDS = frozenset({"--bind", "--ro-bind", "--ro-bind-try"})


@dataclass(frozen=True, slots=True)
class Place:
    """How a bubblewrap is made. A command that starts now sees no difference between equal places."""

    options: tuple[str, ...]
    """Mounts, name spaces and ids."""
    limits: Limits
    owner: tuple[int, int] | None
    """User and group of the commands, if not ours."""
    shown: tuple[tuple[int, int] | None, ...]
    """Device and inode of each mounted directory, since a path may name another directory by now."""

    @classmethod
    def now(cls, options: Sequence[str], limits: Limits, owner: tuple[int, int] | None) -> Place:
        sources = [options[at + 1] for at, word in enumerate(options) if word in _BINDS]
        return cls(tuple(options), limits, owner, tuple(map(_identity, sources)))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  (a third of Path's time; some thirty of them a command)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Inside:
    """See the module. `begin`, then `running.wait`; or `discard`. Then `remove`."""

    def __init__(self, place: Place) -> None:
        """Returns at once: the name spaces are made meanwhile.

        Raises:
            SandboxFault: no process can be started.
            OSError: no descriptors are left.
        """
        self.place = place
        self.pid = os.getpid()
        limits = place.limits
        self.group: Group | None = make_group(
            memory_mb=limits.memory_mb, processes=limits.processes + _AROUND
        )
        self._channel = _Channel(memory_is_counted=self.group is not None)
        self.tree = Tree(None)
        try:
            self.running = start_accounted(
                [
                    bwrap_program(), *place.options, *self._channel.options,
                    "--", SHELL, "-c", _INSIDE, "sh", *map(str, self._channel.read_inside),
                ],
                env={"PATH": os.defpath, "LC_ALL": "C"},
                pass_fds=self._channel.theirs,
                owner=place.owner,
                enter=self.group.doors() if self.group else (),
                rlimits=rlimits(limits) if self.group else None,
            )  # fmt: skip
        except BaseException:
            self._give_back()
            raise
        self._channel.close_theirs()

    def fits(self, place: Place) -> bool:
        """Return whether it still waits, and whether a command of `place` may run in it."""
        if place != self.place or self.pid != os.getpid() or self.running.orphaned():
            return False
        return not self.running.is_over(0)

    def begin(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> bool:
        """Start the command, whose words hold no NUL; its time begins now. Return False if the shell died before it
        took the command; it is then discarded."""
        if self.group is None:
            argv = command_with_limits(argv, self.place.limits)
        pairs = [f"{name}={value}" for name, value in {**env, "PWD": cwd}.items()]
        words = [cwd, "/usr/bin/env", "--", *pairs, *_not_taken_for_a_pair(argv)]
        try:
            command = b"".join(os.fsencode(word) + b"\0" for word in words)
            self.running.started = time.monotonic()
            self._channel.send(command)
            self.tree = Tree(self._channel.first_process())
            lost = self.tree.init is None and self.running.lost()
        except BaseException:
            self.discard()
            raise
        if lost:
            self.discard()
        return not lost

    def exit_code(self) -> int | None:
        """Return the exit code, -n for signal n. Call it when the processes are gone. None if the command was never
        started, or everything was killed.

        bubblewrap passes on 128+n for signal n, which is a program's own code as well.
        """
        code: int | None = self._channel.told().get("exit-code")
        if code is None or not 128 < code <= 128 + signal.NSIG:
            return code
        signalled = code - 128 in _DIES_UNSAID or not self._channel.tells_no_death()
        return 128 - code if signalled else code

    def discard(self) -> None:
        """End the shell without a command. Call this instead of `begin` and `wait`."""
        self._channel.hang_up()
        self.running.discard()

    def remove(self) -> None:
        """Release what is left. Call it at the end."""
        if self.group is None and self.pid == os.getpid() and self.running.orphaned():
            self._channel.end_holders()
        self._give_back()

    def _give_back(self) -> None:
        self._channel.close()
        if self.group:
            self.group.remove()


def _not_taken_for_a_pair(argv: Sequence[str]) -> Sequence[str]:
    """`env` takes words with an equals sign for variables until it meets one without."""
    return ["/bin/sh", "-c", 'exec "$@"', "sh", *argv] if "=" in argv[0] else argv


class _Channel:
    """The system-call filter, bubblewrap's status pipe, and the pipe by which the shell inside gets its command.

    The command never sees them: bubblewrap and the shell close them before it starts.
    """

    def __init__(self, *, memory_is_counted: bool) -> None:
        self._status, status_theirs = os.pipe()
        go, self._go = os.pipe()
        self._command = os.memfd_create("command")
        self.read_inside = (go, self._command)
        self._theirs = [status_theirs, go]
        self.options = ["--json-status-fd", str(status_theirs)]
        filter_ = filter_descriptor(memory_is_counted=memory_is_counted)
        if filter_ is not None:
            self._theirs.append(filter_)
            self.options += ["--seccomp", str(filter_)]
        self._ours = {self._status, self._go, self._command}
        self._text = b""
        self._sent = 0

    @property
    def theirs(self) -> list[int]:
        return [*self._theirs, self._command]

    def close_theirs(self) -> None:
        """Close the descriptors that the child has inherited."""
        while self._theirs:
            os.close(self._theirs.pop())

    def send(self, command: bytes) -> None:
        with os.fdopen(os.dup(self._command), "wb") as file:
            file.write(command)
        self._sent = len(command)
        os.lseek(self._command, 0, os.SEEK_SET)  # one position: theirs too
        with contextlib.suppress(BrokenPipeError):  # bubblewrap has failed, and says why itself
            os.write(self._go, b"!")
        self.hang_up()

    def hang_up(self) -> None:
        if self._go in self._ours:
            self._ours.discard(self._go)
            os.close(self._go)

    def first_process(self) -> int | None:
        """Return the host id of the namespace's process 1; None if bubblewrap failed before it."""
        while b"\n" not in self._text:
            data = os.read(self._status, 4096)
            if not data:
                return None
            self._text += data
        pid: int | None = json.loads(self._text.split(b"\n")[0]).get("child-pid")
        return pid

    def told(self) -> dict[str, int]:
        """Return bubblewrap's status messages, when it has ended."""
        while data := os.read(self._status, 4096):
            self._text += data
        lines = [json.loads(line) for line in self._text.split(b"\n") if line]
        return {key: value for line in lines for key, value in line.items()}

    def tells_no_death(self) -> bool:
        """Whether the shell inside came to its end, and said nothing of a signal that ended the command. A command can
        say so in the shell's place: of itself alone."""
        return os.pread(self._command, 2, self._sent) == b"."

    def end_holders(self) -> None:
        end_holders(self._command, "bwrap", ACCOUNTANT.name)

    def close(self) -> None:
        self.close_theirs()
        while self._ours:
            os.close(self._ours.pop())


class Tree:
    """The processes of one command, as seen from outside."""

    def __init__(self, init: int | None) -> None:
        """`init`: host id of process 1."""
        self.killed = False
        self.init = init
        self._handle: int | None = None
        if init is not None:
            with contextlib.suppress(ProcessLookupError):
                self._handle = os.pidfd_open(init)

    def kill(self) -> None:
        """Kill process 1 of the namespace: the kernel kills all others before it reports its end."""
        self.killed = True
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)


def bwrap_program() -> str:
    """Return the path of bubblewrap."""
    return shutil.which("bwrap") or "bwrap"

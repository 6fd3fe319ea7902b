"""Starts one host process in a session of its own, and waits for it.

In: an argv that a backend prepared (already isolated, or the host's own). Out: a `Finished`
(`forklock.sandbox.linux.pump`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from forklock.sandbox.contract import SandboxFault, Talk
from forklock.sandbox.linux.pump import KILL_GRACE_S, Ended, Finished, Pump, Streams

_DEADLY = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


@dataclass
class Running:
    """A started process. `wait` or `discard` must be called, once."""

    streams: Streams
    end: int
    """A descriptor that becomes readable when the process ends; `wait` closes it."""
    ended: Callable[[], Ended]
    """Collects the process; to be called once `end` is readable."""
    started: float
    pid: int = 0
    """The process id; 0 if the process is another's child."""

    def wait(
        self,
        *,
        stdin: bytes | Talk,
        timeout_s: float,
        keep: int,
        kill: Callable[[], None],
        tick: Callable[[], None] | None = None,
    ) -> Finished:
        """Serve the process until it ends or `timeout_s` is over, then `kill()` it.

        `tick` is called about every 50 ms while the process lives. Pipes that outlive the process (held by
        a daemonised child) are not waited for.

        Raises:
            SandboxFault: the process survived `kill()` for ten seconds.
        """
        pipes, self.streams.ours = self.streams.ours, []
        pump = Pump(pipes, os.dup(self.end), stdin, keep)
        try:
            timed_out = pump.serve(self.started + timeout_s, kill, tick)
            ended = self.ended()
        except BaseException:
            kill()
            self.discard()
            raise
        finally:
            pump.close()
        os.close(self.end)
        return pump.finished(ended, timed_out=timed_out, since=self.started)

    def is_over(self, within_s: float = KILL_GRACE_S) -> bool:
        """Return whether it has ended, or ends within this time."""
        return bool(select.select([self.end], [], [], within_s)[0])

    def discard(self) -> None:
        """Collect a process that was killed, and keep nothing. Call this instead of `wait`."""
        self.streams.close()
        if self.is_over():
            with contextlib.suppress(SandboxFault, ChildProcessError):
                self.ended()
        os.close(self.end)


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
) -> Running:
    """Start a host process in a session of its own.

    Raises:
        OSError: it cannot be started.
    """
    streams = Streams()
    stdin, stdout, stderr = streams.theirs
    try:
        process = subprocess.Popen(
            [*_with_all_signals(), *argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except BaseException:
        streams.close()
        raise
    streams.close_theirs()

    def ended() -> Ended:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = usage.ru_maxrss / 1024 if usage.ru_maxrss > _own_peak_kib() else None
        return Ended(status, usage.ru_utime + usage.ru_stime, peak)

    return Running(streams, os.pidfd_open(process.pid), ended, streams.made, process.pid)


def _with_all_signals() -> list[str]:
    """Words before a command that restore signals which we ignore (under `nohup`, or behind `&` in a script)."""
    ignored = [s.name for s in _DEADLY if signal.getsignal(s) == signal.SIG_IGN]
    return ["/usr/bin/env", f"--default-signal={','.join(ignored)}"] if ignored else []


def _own_peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

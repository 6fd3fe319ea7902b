"""Runs the commands: a fault becomes a message, what to do next, and an exit code.

A fault is a `forklock.sandbox.fault.Fault` (ModelFault, SandboxFault, ToolFault, AgentFault, …). Anything else is
a bug and keeps its traceback, written to a file that is named.

Exit codes: 0 done, 1 a negative result, 2 bad input, 3 infrastructure, 130 interrupted.
"""

from __future__ import annotations

import errno
import signal
import sys
import tempfile
import traceback
from typing import TYPE_CHECKING, NoReturn, Protocol

from forklock.sandbox.fault import Fault
from forklock.sandbox.terminal import guard, say, say_fault, say_json, screen, show_usage_fault, words_column

if TYPE_CHECKING:
    from forklock.sandbox.terminal.console import Screen

__all__ = ["Screen", "run_app", "say", "say_fault", "say_json", "screen", "words_column"]

OK, NEGATIVE, BAD_INPUT, INFRASTRUCTURE, INTERRUPTED = 0, 1, 2, 3, 130


class App(Protocol):
    """A Typer application."""

    def __call__(self, *, standalone_mode: bool) -> object: ...


def run_app(app: App) -> NoReturn:
    """Run a Typer app and exit; SIGTERM counts as an interrupt, so that state is left resumable."""
    guard()
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(_exit_code(app))


def _exit_code(app: App) -> int:
    try:
        result = app(standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else OK
    except Exception as error:
        return _report(error)
    return result if isinstance(result, int) else OK


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _report(error: Exception) -> int:
    from typer.exceptions import Abort, TyperException

    from forklock.sandbox.commands.extras import MODULES, install_hint

    if isinstance(error, Abort):
        return INTERRUPTED
    if isinstance(error, TyperException):
        show_usage_fault(error)
        return BAD_INPUT
    if isinstance(error, Fault):
        say_fault(error.message, error.fix)
        return error.exit_code
    if isinstance(error, ModuleNotFoundError) and (module := (error.name or "").split(".")[0]) in MODULES:
        say_fault(f"this needs {module}, which is not installed", install_hint(MODULES[module]))
        return INFRASTRUCTURE
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        say_fault(
            f"no space left on the disk of {error.filename or 'the working files'}", "free some, then go on"
        )
        return INFRASTRUCTURE
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        say_fault(f"a name is too long for a file: {str(error.filename)[:60]}…", "give a shorter one")
        return BAD_INPUT
    return _bug(error)


def _bug(error: Exception) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="forklock-bug-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    say_fault(
        f"this is a bug in Forklock ({type(error).__name__}: {error})",
        f"please report it with {file.name} attached",
    )
    return INFRASTRUCTURE

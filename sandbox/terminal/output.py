"""All that Forklock writes to stdout and stderr leaves through this module, or through
`forklock.sandbox.terminal.console`.

Text of a repository, a log, a program or a server is foreign: it may hold escape sequences that set the clipboard,
move the cursor over what was written before, or reverse the reading direction. `printable` makes such characters
visible. What goes to a pipe is neither wrapped nor cut. A lint rule (ruff's T20 and TID251, see pyproject.toml)
refuses `print`, `sys.stdout` and Rich's own console in all other modules.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from forklock.sandbox.terminal.safe_text import printable
from forklock.sandbox.terminal.streams import write

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from forklock.sandbox.terminal.console import Screen


def say(text: str = "", *, err: bool = False) -> None:
    """Write text and a line end to stdout, or with `err` to stderr."""
    write(sys.stderr if err else sys.stdout, printable(text) + "\n")


def row(*cells: object) -> str:
    """Return cells as one printable line with tabs between them; line ends and tabs inside a cell are escaped."""
    return "\t".join(printable(str(cell), newlines=False) for cell in cells)


def say_json(value: Any) -> None:
    """Write JSON and a line end to stdout: a value, or JSON text that was made already. All but ASCII is escaped."""
    text = value if isinstance(value, str) else json.dumps(value)
    # In JSON text such characters can only stand inside strings.
    write(sys.stdout, re.sub(r"[^ -~\n]", lambda found: _json_escape(found.group()), text) + "\n")


def _json_escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def say_fault(message: str, fix: str = "") -> None:
    """Write an error and its fix to stderr."""
    coloured = sys.stderr.isatty()
    for word, style, text in (("error: ", 31, message), ("fix:   ", 36, fix)):
        if text or style == 31:
            label = f"\x1b[1;{style}m{word}\x1b[0m" if coloured else word
            write(sys.stderr, f"{label}{printable(text)}\n")


def screen(*, stderr: bool = False, quiet: bool = False) -> Screen:
    """Return a Rich console for styled text, tables and progress; foreign text is safe in all of them."""
    from forklock.sandbox.terminal.console import Screen

    return Screen(stderr=stderr, quiet=quiet)


def words_column(template: str) -> ProgressColumn:
    """Return a progress column such as `{task.description}` whose words are no markup."""
    from rich.progress import TextColumn

    return TextColumn(template, markup=False)


def show_usage_fault(error: Exception) -> None:
    """Write a Typer error (a wrong flag, a missing argument): its words, and where help is."""
    context = getattr(error, "ctx", None)
    words = getattr(error, "format_message", lambda: str(error))()
    if type(error).__name__ == "NoArgsIsHelpError":  # its words are the whole help
        say(words, err=True)
        return
    if context is not None:
        say(context.get_usage(), err=True)
    say_fault(words, f"see `{context.command_path} --help`" if context is not None else "")


def guard() -> None:
    """Make what libraries and Python itself write safe too: log records, warnings and tracebacks.

    Characters that the stream's encoding lacks are escaped instead of raising UnicodeEncodeError.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    logging.lastResort = _Handler(logging.WARNING)
    warnings.showwarning = _show_warning
    sys.excepthook = _show_exception
    sys.unraisablehook = lambda given: _show_exception(type(given.exc_value), given.exc_value, None)
    threading.excepthook = lambda given: _show_exception(given.exc_type, given.exc_value, given.exc_traceback)


class _Handler(logging.Handler):
    """Writes log records to stderr, printable."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record), err=True)


def _show_warning(
    message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    del file, line
    say(warnings.formatwarning(message, category, filename, lineno).rstrip("\n"), err=True)


def _show_exception(kind: Any, error: Any, where: Any) -> None:
    say("".join(traceback.format_exception(kind, error, where)).rstrip("\n"), err=True)

"""A Rich console that shows foreign text as it is: no markup, no escape sequences; nothing wrapped or cut in a pipe."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Span, Text

from forklock.sandbox.terminal.safe_text import escape, is_drawn, printable
from forklock.sandbox.terminal.streams import say_verbatim

_ENDLESS = 1 << 20
"""Width of a console whose output goes to a pipe, in columns; `soft_wrap` lets longer lines pass too."""
_MOST_NOTICE = 120
"""Characters of a desktop notification."""
_DRAWS_OSC = frozenset({"", "dumb", "linux"})
"""Terminals that may draw such a sequence instead of reading it."""
_DRAWING = 40
"""Width in a pipe of a cell that is drawn, such as a bar, in columns."""
_ALIGNED = 60
"""Cells up to this many columns are padded in a pipe; a longer one pushes only its own row to the right."""


class Screen(Console):
    """A console for stdout or stderr. Make one with `forklock.sandbox.terminal.screen`.

    On a terminal, tables fold cells that are too wide instead of cutting them. In a pipe they become plain lines with
    aligned columns, no escape sequence is written, whatever FORCE_COLOR says, and no line is wrapped.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        tty = (sys.stderr if stderr else sys.stdout).isatty()
        super().__init__(
            stderr=stderr, quiet=quiet, markup=False, highlight=False, emoji=False,
            force_terminal=tty, force_interactive=None if tty else False,
            width=None if tty else _ENDLESS, soft_wrap=not tty,
        )  # fmt: skip

    def render_str(self, text: str, **given: Any) -> Text:
        """Return plain text in a style; markup and emoji codes are never interpreted."""
        kept = {name: given.get(name) for name in ("justify", "overflow")}
        return Text(printable(text), style=given.get("style", ""), **kept)  # type: ignore[arg-type]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything that Rich draws, with foreign text made printable before it is laid out."""
        for segment in super().render(self._safe(renderable), options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def _safe(self, renderable: RenderableType) -> RenderableType:
        if isinstance(renderable, Text):
            return printable_text(renderable)
        if isinstance(renderable, Syntax) and not self.is_terminal:
            return Text(printable(renderable.code).rstrip("\n"))
        if isinstance(renderable, Table):
            if not self.is_terminal:
                return Text("\n".join(plain_rows(renderable, self._plain)))
            for column in renderable.columns:
                column.overflow, column.no_wrap = "fold", False
        return renderable

    def _plain(self, cell: RenderableType) -> str:
        """Return a cell of a table as one line."""
        if isinstance(cell, Text | str):
            text = str(cell)
        else:
            drawn = super().render(cell, self.options.update(width=_DRAWING))
            text = "".join(segment.text for segment in drawn if not segment.control)
        return printable(" ".join(text.split("\n")), newlines=False)

    def print_diff(self, diff: str) -> None:
        """Print a git diff: coloured on a terminal; in a pipe byte for byte, so that it can be applied as it is."""
        if not diff:
            return
        if self.is_terminal:
            self.print(Syntax(diff, "diff", theme="ansi_dark", background_color="default", word_wrap=True))
        elif not self.quiet:
            say_verbatim(diff if diff.endswith("\n") else f"{diff}\n", err=self.stderr)

    def notify(self, text: str) -> None:
        """Ask the terminal for a desktop notification (OSC 9). On no terminal, and on one that may draw it, nothing.

        Args:
            text: printable ASCII is kept; it must begin with a letter, since `9;4` is a progress bar of some terminals.
        """
        plain = re.sub(r"[^ -~]", " ", text)[:_MOST_NOTICE].strip()
        if self.is_terminal and plain[:1].isalpha() and os.environ.get("TERM", "dumb") not in _DRAWS_OSC:
            self.file.write(f"\x1b]9;{plain}\x07")
            self.file.flush()

    def status(self, status: RenderableType, **given: Any) -> Status:
        """Show a spinner beside text while work goes on; without a terminal, nothing."""
        return _Waiting(_unmarked(status), console=self, **given)


class _Waiting(Status):
    """A spinner beside text that is no markup."""

    def update(self, status: RenderableType | None = None, **given: Any) -> None:
        super().update(None if status is None else _unmarked(status), **given)


def _unmarked(words: RenderableType) -> RenderableType:
    return Text(printable(words)) if isinstance(words, str) else words


def printable_text(text: Text) -> Text:
    """Return a styled text whose characters a terminal only draws, with its styles where they were."""
    plain = text.plain
    if printable(plain) == plain:
        return text
    pieces, starts, at = [], [0], 0
    for char in plain:
        piece = char if char in "\n\t" or is_drawn(char) else escape(char)
        pieces.append(piece)
        at += len(piece)
        starts.append(at)
    safe = text.blank_copy("".join(pieces))
    last = len(plain)
    safe.spans = [Span(starts[min(s.start, last)], starts[min(s.end, last)], s.style) for s in text.spans]
    return safe


def plain_rows(table: Table, plain: Callable[[RenderableType], str]) -> Iterator[str]:
    """Yield a table as lines: its title, its header and one line a row, two spaces between the aligned columns."""
    if table.title:
        yield plain(table.title)
    columns = [[plain(cell) for cell in column.cells] for column in table.columns]
    if table.show_header:
        columns = [
            [plain(column.header), *cells] for column, cells in zip(table.columns, columns, strict=True)
        ]
    widths = [max((len(cell) for cell in cells if len(cell) <= _ALIGNED), default=0) for cells in columns]
    right = [column.justify == "right" for column in table.columns]
    for row in zip(*columns, strict=True):
        cells = (cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
        yield "  ".join(cells).rstrip()

"""Everything that is written to the terminal: text, tables, faults and progress, with foreign text made safe."""

from forklock.sandbox.terminal.output import (
    guard,
    row,
    say,
    say_fault,
    say_json,
    screen,
    show_usage_fault,
    words_column,
)
from forklock.sandbox.terminal.safe_text import escape, is_drawn, printable
from forklock.sandbox.terminal.streams import say_verbatim

__all__ = [
    "escape",
    "guard",
    "is_drawn",
    "printable",
    "row",
    "say",
    "say_fault",
    "say_json",
    "say_verbatim",
    "screen",
    "show_usage_fault",
    "words_column",
]

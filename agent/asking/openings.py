"""How a function begins: its header, and its beginnings up to each of its statements. Pure."""

from __future__ import annotations

from forklock.tools.languages.language import Language
from forklock.tools.languages.python.language import PYTHON


def function_header(code: str, language: Language = PYTHON) -> str:
    """A function up to its first statement, documentation included; "" for anything else."""
    found = language.shape(code)
    return "".join(line + "\n" for line in code.splitlines()[: found.header]) if found else ""


def openings(code: str, language: Language = PYTHON) -> list[str]:
    """Beginnings of a function, each up to one of its statements: header and docstring first, then ever more.

    Each ends with the indentation of that statement less one space, which tokenizers glue to the first word. The
    model goes on from code that is likely right, and has the rest of the body, with its mistake, out of sight.
    """
    found = language.shape(code)
    if found is None or not found.header:
        return []
    lines = code.splitlines(keepends=True)
    starts = {one.start for one in found.statements if one.start > found.header}
    return ["".join(lines[: start - 1]) + indent_of(lines[start - 1])[:-1] for start in sorted(starts)]


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]

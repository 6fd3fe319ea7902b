"""What prompts need of a language: its name for fences, its comments, and the beginnings of a function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from forklock.tools.edits.files import PYTHON_SUFFIXES, code_language
from forklock.tools.languages.statements import Shape, shape


@dataclass(frozen=True, slots=True)
class Language:
    suffix: str

    @property
    def fence(self) -> str:
        """The word behind a fence's marks; "" for a language that is not known."""
        return code_language(f"a{self.suffix}")

    @property
    def is_python(self) -> bool:
        return self.suffix in PYTHON_SUFFIXES

    @property
    def mark(self) -> str:
        """What begins a comment."""
        return "//" if self.fence and not self.is_python else "#"

    def comment(self, text: str) -> str:
        """Each line of it as a comment."""
        return "".join(f"{self.mark} {line}".rstrip() + "\n" for line in text.strip().splitlines())

    def shape(self, code: str) -> Shape | None:
        """Of a definition, dedented."""
        return shape(self.suffix, code)


PYTHON = Language(".py")


def language_of(path: str) -> Language:
    return Language(PurePosixPath(path).suffix)


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


def to_be_written(header: str, language: Language = PYTHON) -> str:
    """A function whose body is left out."""
    if language.is_python:
        return header.rstrip() + "\n    ...  # to be written"
    return header.rstrip() + f"\n    {language.mark} to be written\n}}"

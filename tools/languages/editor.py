"""What a language gives to the edit of a definition, and the source that moves with it.

`Editor` has the file, and says how a model's source is read, which of several definitions is meant, and what an edit
must leave alone; the steps of an edit are in `forklock.tools.edits.definition`, alike for all languages. Texts
have LF line
ends; rows count from 0, lines from 1. Re-indenting never changes a string's content, except where a language takes the
string for layout. Pure.
"""

# ruff: noqa: ARG002
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Definition, SyntaxProblem, the_definition

D = TypeVar("D", bound=Definition)
STEPS = frozenset({"\t", "  ", "   ", "    ", "        "})


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines of source that can be moved to another indentation."""

    lines: list[str]
    frozen: frozenset[int]
    """Indices of lines that begin inside a string which may not move."""

    def moved(self, start: int, end: int, prefix: str, unit: str | None) -> list[str]:
        """Lines `start` to `end` (0-based, half open) with the first one's indentation replaced by `prefix`.

        Where the passage steps in regularly, its step becomes `unit` (None keeps it).
        """
        own = indent_of(self.lines[start])
        step = self.step(start, end)
        if own == prefix and (unit is None or step is None or step == unit):
            return self.lines[start:end]
        return [
            self.lines[n] if n in self.frozen else _move(self.lines[n], own, prefix, step, unit)
            for n in range(start, end)
        ]

    def step(self, start: int, end: int) -> str | None:
        """The one step of which every indentation is a multiple, as its first deeper line has it."""
        own = indent_of(self.lines[start])
        lines = [self.lines[n] for n in range(start, end) if n not in self.frozen and self.lines[n].strip()]
        indents = [indent_of(line).removeprefix(own) for line in lines if line.startswith(own)]
        step = next((indent for indent in indents if indent), None)
        if step is None or any(indent != step * (len(indent) // len(step)) for indent in indents):
            return None
        return step


@dataclass(frozen=True, slots=True)
class Splice:
    """Lines `start` to `end` (0-based, half open) become `lines`."""

    start: int
    end: int
    lines: list[str]


@dataclass(slots=True, kw_only=True)
class Written(Generic[D]):
    """A model's source that was read. Lines and nodes are those of the passage."""

    passage: Passage
    targets: Sequence[D]
    """The definition; several where the source has several of its name."""
    members: Sequence[D]
    """What stands beside it in its class."""
    others: Sequence[D]
    """What else is defined at the top."""


class Editor(ABC, Generic[D]):
    """A file whose definitions can be replaced."""

    def __init__(self, path: str, text: str, known: Sequence[D]) -> None:
        self.path = path
        self.text = text
        self.known = known
        self.lines = text.split("\n")

    # --- which definition --------------------------------------------------------------------------

    def target(self, name_path: str) -> tuple[D, bool]:
        """Return the definition, and whether the name path says which of several of that name.

        Raises:
            EditRefused: no such definition (near names are given), or several.
        """
        return the_definition(
            self.path, self.known, name_path.removesuffix("#1")
        ), "#" in name_path.rpartition(".")[2]

    @abstractmethod
    def shares_line(self, one: D) -> bool:
        """Whether other code stands on a definition's first or last line."""

    @abstractmethod
    def role(self, one: D) -> Hashable:
        """Return what tells a definition from others of its name."""

    @abstractmethod
    def meant_by(self, target: D, family: Sequence[D], new: D, exact: bool) -> D:
        """Return which of a family a new definition replaces.

        Raises:
            EditRefused: nothing tells it.
        """

    @abstractmethod
    def require_in(self, target: D, family: Sequence[D], new: Sequence[D]) -> None:
        """
        Raises:
            EditRefused: none of several new definitions is what the only one of its name was.
        """

    @abstractmethod
    def unclear(self, target: D, family: Sequence[D], words: str) -> EditRefused:
        """Return the refusal that lists what there is."""

    # --- the new source ----------------------------------------------------------------------------

    def wrong_name(self, target: D, names: Sequence[str]) -> EditRefused:
        has = f"defines {', '.join(names)}" if names else "holds no definition"
        return EditRefused(
            f"The edit is for {target.name_path}, but its source {has}. Give all of {target.name}."
        )

    def does_not_parse(self, target: D, source: str, problem: SyntaxProblem) -> EditRefused:
        place = f" (line {problem.line} of your source: {problem.context.strip()!r})" if problem.line else ""
        lines = source.strip("\n").split("\n")
        would_be, _ = applied(self.lines, [Splice(target.head_line - 1, target.end_line, lines)])
        words = f"The new source of {target.name_path} does not parse: {problem.message}{place}."
        return EditRefused(words, would_be=would_be)

    @abstractmethod
    def read(self, target: D, source: str) -> Written[D] | str:
        """Return what a model's source holds; or the whole new text, where only the repository's own version of the
        language reads the source.

        Raises:
            EditRefused: it does not parse, or does not define the target.
        """

    @abstractmethod
    def replaced(self, old: D, new: Sequence[D], written: Written[D]) -> list[str]:
        """Return the lines that take an original's place.

        Raises:
            EditRefused: they would change what other names mean.
        """

    @abstractmethod
    def moved(self, one: D, written: Written[D], indent: str) -> list[str]:
        """Return the lines of a helper at an indentation."""

    @abstractmethod
    def row_before(self, one: D) -> int:
        """Return the row at which a helper goes in before a definition."""

    def blank_before(self, scope: str) -> int:
        """Return how many blank lines stand between definitions; `scope` is "" at the top of a file."""
        return 1

    def places(self, one: D, scope: str) -> set[str]:
        """Return the name paths that a helper would take."""
        return {f"{scope}.{one.name}" if scope else one.plain, one.plain}

    @abstractmethod
    def same(self, old: D, new: D) -> bool:
        """Whether a helper is what the file has already."""

    @abstractmethod
    def is_stub(self, one: D) -> bool:
        """Whether a helper has no body: a reminder that it exists."""

    def require_new_names(self, scope: str, fresh: Sequence[D]) -> None:
        """
        Raises:
            EditRefused: a helper would change what a name of the scope means.
        """
        return

    @abstractmethod
    def imported(self, written: Written[D], outermost: D) -> list[Splice]:
        """Return the imports that the new code uses and the file lacks.

        Raises:
            EditRefused: one would change what a name means.
        """

    @abstractmethod
    def outermost(self, target: D) -> D:
        """Return the definition at the top that holds the target, or itself."""

    # --- after all ---------------------------------------------------------------------------------

    @abstractmethod
    def require_rest_same(
        self,
        target: D,
        replaced: Sequence[D],
        after: str,
        taken: Sequence[Range],
        given: Sequence[Range],
    ) -> None:
        """
        Args:
            taken: lines of the text before that the edit replaced; `given`: lines of `after` that it put in.

        Raises:
            EditRefused: something that the edit does not name is not what it was.
        """  # fmt: skip


Range = tuple[int, int]
"""Lines from the first to the last, from 1."""


def _move(line: str, own: str, prefix: str, step: str | None, unit: str | None) -> str:
    if not line.strip():
        return ""
    if not line.startswith(own):  # less indented than its own head: a stray comment, or inside brackets
        return prefix + line.lstrip()
    body = line[len(own) :]
    count = 0
    if step and unit:
        while body.startswith(step):
            body, count = body[len(step) :], count + 1
        body = unit * count + body
    return prefix + body


def trimmed(source: str) -> list[str]:
    """The lines, without blank ones at either end."""
    lines = source.split("\n")
    full = [n for n, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1] if full else []


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def applied(lines: Sequence[str], splices: Sequence[Splice]) -> tuple[str, list[Range]]:
    """Return the text with all splices made, those of one row in their order, and where in it their lines stand."""
    made, given, shift = list(lines), [], 0
    order = sorted(enumerate(splices), key=lambda pair: (pair[1].start, pair[1].end, -pair[0]))
    for _, splice in order:
        start = splice.start + shift
        made[start : splice.end + shift] = splice.lines
        given.append((start + 1, start + len(splice.lines)))
        shift += len(splice.lines) - (splice.end - splice.start)
    return "\n".join(made), given

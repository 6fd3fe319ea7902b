"""The seam of a kind: a name, a line for the user, and a function that proposes bugs.

In: a `Site` of work: the repository's texts, its suite, and a seed. Out: `Bug`s that nothing has run yet. A kind is a
deterministic function of these, so that a killed command proposes the same bugs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from forklock.selfdistill.tasks.contract import Bug, Ground, RepairTask, digest_of
from forklock.tools.contract import Symbol
from forklock.tools.languages.known import language_of, symbols
from forklock.tools.languages.language import Language
from forklock.tools.languages.text import lf


@dataclass(frozen=True, slots=True)
class Defined:
    """A function or method that tests reach."""

    label: str
    """`path:name path`."""
    symbol: Symbol
    text: str
    """Its file, with LF line ends."""

    @property
    def language(self) -> Language:
        return language_of(self.symbol.path)

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")[self.symbol.start_line - 1 : self.symbol.end_line]


@dataclass(slots=True)
class Work:
    """What kinds propose bugs from."""

    root: Path
    """The user's repository."""
    base: Path
    """A copy of it."""
    ground: Ground
    seed: int = 0
    valid: list[RepairTask] = field(default_factory=list)
    """Tasks that were made so far."""
    _texts: dict[str, str | None] = field(default_factory=dict)

    def text(self, path: str) -> str | None:
        """Return a file's text; None where it judges, is not read by a language, or has CRLF line ends."""
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str | None:
        language = language_of(path)
        if path in self.ground.frozen or not language.reads or language.is_test(path):
            return None
        try:
            text = (self.base / path).read_bytes().decode("utf-8")
        except (OSError, ValueError):
            return None
        return text if lf(text) == text else None

    def definitions(self) -> list[Defined]:
        """Return the functions that tests reach, in an order drawn with the seed: a limit takes from all files."""
        return sorted(self._defined(), key=lambda one: digest_of(str(self.seed), one.label))

    def _defined(self) -> Iterator[Defined]:
        for path in sorted({label.partition(":")[0] for label in self.ground.reach}):
            text = self.text(path)
            for symbol in symbols(path, text) if text is not None else ():
                label = f"{path}:{symbol.name_path}"
                if symbol.kind in ("function", "method") and label in self.ground.reach and text is not None:
                    yield Defined(label, symbol, text)

    def places_at(self, path: str, first: int, last: int) -> tuple[str, ...]:
        """Return the functions that hold one of these lines of a file."""
        text = self.text(path)
        if text is None:
            return ()
        found = [s for s in symbols(path, text) if s.kind in ("function", "method")]
        holding = [s for s in found if s.start_line <= last and first <= s.end_line]
        return tuple(dict.fromkeys(f"{path}:{s.name_path}" for s in holding))


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of bugs."""

    name: str
    """What `--kinds` takes."""
    about: str
    """One line for the user."""
    propose: Callable[[Work], Iterator[Bug]]
    later: bool = False
    """Whether it needs the tasks of the other kinds."""

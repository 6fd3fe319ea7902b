"""What is asked of the tests of one language. A language whose tests can be written has a `TestForm`; others have None.

In: the text of a test file, which a model wrote. Out: its single tests, what each of them expects of the code, and why
one of them may judge nothing. Pure: nothing is run, and no text raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that a test says of the code under test."""

    call: str
    """What is called, in one spelling for equal calls."""
    value: str
    """What is expected of it, likewise."""


@dataclass(frozen=True, slots=True)
class WrittenTest:
    """One test of a file."""

    name: str
    """As its runner's id has it, behind the path: `test_sum` or `Cart::test_sum`."""
    source: str
    """A whole file that holds this test alone, with the imports and helpers of the file that it comes from."""
    expects: tuple[Expectation, ...] = ()
    replaces: str = ""
    """Code under test that the test replaces by its own; "" for none."""
    about: tuple[tuple[int, int], ...] = ()
    """First and last lines of `source` in which it judges a result of the code under test."""

    def judges(self, line: int) -> bool:
        """Whether a line judges a result of the code under test."""
        return any(first <= line <= last for first, last in self.about)


class TestForm(ABC):
    """How tests of one language are written."""

    __test__ = False

    runner: ClassVar[str]
    """The runner that they are written for (`forklock.tools.testing.command.Runner`)."""
    kind: ClassVar[str]
    """What a prompt calls such a file: `pytest file`."""
    plain_command: ClassVar[tuple[str, ...]]
    """The words that start the runner, where the repository has no command of its own."""
    quiet: ClassVar[tuple[str, ...]] = ()
    """Options that go before the path."""
    probe: ClassVar[tuple[str, ...]]
    """Words behind `plain_command` that only tell whether the runner is there."""

    @abstractmethod
    def file_name(self, stem: str) -> str:
        """Return the name of a new test file that the runner finds by itself."""

    @abstractmethod
    def opening(self, module: str, name_path: str, example: str) -> str:
        """Return the beginning of a test file about a definition, up to the first test's name.

        Args:
            example: a test file of the repository, whose imports and helpers the new one begins with.
        """

    @abstractmethod
    def completed(self, text: str, sources: Sequence[tuple[str, str]]) -> str:
        """Return a file with the imports and helpers that it uses and lacks, as other files have them.

        Args:
            sources: (name of the module, text) of files to take them from, the best first. From one with a name, what
                it defines is imported; from one without (a test file), helpers are copied.
        """

    @abstractmethod
    def tests(self, text: str, own: Collection[str]) -> tuple[WrittenTest, ...]:
        """Return the tests of a file; none where it does not parse.

        Args:
            own: the first parts of the names of the repository's own modules.
        """

    @abstractmethod
    def merged(self, tests: Sequence[WrittenTest]) -> tuple[str, tuple[str, ...]]:
        """Return one file of several tests, and the name of each test in it.

        A test whose helpers have the names of other things is left out: its name is "". The first one never is.
        """

"""One language, as the tools ask it: definitions, statements, syntax, names, edits, calls, words for prompts.

`Language` itself is any file whose language is not known: it has no definitions, no gate and no statements, and every
caller gets an answer that says so. A language that is known is a subclass in a file of its own, and one line in
`forklock.tools.languages.known`. Callers ask for what they need (`language.reads`, `language.shape(code)`), never
for which language it is.
"""

# ruff: noqa: ARG002 (what a known language overrides)
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from forklock.tools.contract import EditRefused, Symbol
from forklock.tools.languages import by_eye
from forklock.tools.languages.definitions import (
    Call,
    Definition,
    Index,
    IndexedFile,
    Judging,
    Reference,
    Shape,
    Site,
    SyntaxProblem,
    Target,
    Use,
)
from forklock.tools.languages.forms.form import TestForm

if TYPE_CHECKING:
    from forklock.tools.languages.definitions import Parsed
    from forklock.tools.languages.editor import Editor

_TEST_MARKS = frozenset({
    "test", "tests", "testing", "__tests__", "spec", "specs", "unittest", "unittests", "testdata", "e2e",
})  # fmt: skip
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")


class Calls:
    """What the code of one language leads to, over one index. This one knows nothing."""

    def calls(self, path: str, definition: Definition) -> list[Call]:
        """Return what a definition leads to, in source order."""
        return []

    def set_up(self, path: str, test: Definition) -> list[Call]:
        """Return what runs before a test, as its parameters and its class tell."""
        return []

    def member(self, path: str, class_path: str, name: str) -> tuple[str, str] | None:
        """Return (path, name path) of a class's member, its own or inherited."""
        return None


class Language:
    """Files of a language that is not known, and what the known ones have in common."""

    comment: ClassVar[str] = "#"
    """What begins a comment to the end of the line."""
    opener: ClassVar[str] = " {"
    """What stands between a header and its body."""
    closer: ClassVar[str] = "}"
    """The word or mark that ends a body."""
    group: ClassVar[str] = ""
    """Languages of one group can mean each other's names."""
    passed: ClassVar[re.Pattern[str]] = by_eye.PASSED
    """Strings and comments, by the eye."""
    reserved: ClassVar[frozenset[str]] = by_eye.RESERVED
    """Words that are no names."""
    reads: ClassVar[bool] = False
    """Whether definitions, statements and syntax are read from the text alone."""
    outlined: ClassVar[bool] = False
    """Whether definitions are taken from the text, whichever server is asked."""
    examples: ClassVar[bool] = False
    """Whether the documentation in its files holds examples that a runner tests (doctest)."""
    imports_known: ClassVar[bool] = False
    """Whether who imports whom is read from its files (`forklock.tools.frozen.imports`)."""
    kept_by_runs: ClassVar[bool] = False
    """Whether a test run leaves its files as they are: some runners write what they saw into the tests."""
    ids_name_tests: ClassVar[bool] = False
    """Whether a test's id has its file and its name path, so that nothing has to be searched."""
    called_for: ClassVar[Mapping[str, str]] = by_eye.CALLED_FOR
    """Who finds definitions by their names → pattern of those names."""
    naming: by_eye.Naming = by_eye.Naming()
    """What is known about a change of names."""
    tests_by_folder: ClassVar[bool] = False
    """Whether a test's id begins with the folder of its file."""
    titles: ClassVar[bool] = False
    """Whether its tests are calls with a title, as `test("adds", …)`."""
    tidied_by: ClassVar[str] = ""
    """The formatter and linter that `forklock.tools.edits.tidy` runs."""
    unwritten: ClassVar[str] = ""
    """A statement that fails when it runs: the body of a function that is to be written. "" where none is known."""
    lists_members: ClassVar[bool] = False
    """Whether its servers tell a receiver's type, and its members at a dot."""
    test_form: ClassVar[TestForm | None] = None
    """What its test files look like; None where no tests are written in it."""

    def __init__(self, name: str = "", suffixes: Sequence[str] = ()) -> None:
        self.name = name
        """What a markdown fence calls it; "" where that is not known."""
        self.suffixes = tuple(suffixes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or 'unknown'}>"

    # --- files -------------------------------------------------------------------------------------

    def encoding(self, data: bytes) -> str:
        """Return the codec of a file's bytes; one that keeps a BOM as a character, so that it is written back."""
        return "utf-8"

    def target(self, root: Path) -> Target | None:
        """Return the version that a repository runs on, where its files say so."""
        return None

    def fitting(self, path: str, text: str, target: Target | None) -> Target | None:
        """Return the version to judge a file by: the given one, unless the file as it is needs a newer one."""
        return target

    def is_test(self, path: str) -> bool:
        """By customs: `cart.test.ts`, `CartTest.cc`, `cart_spec.js`, `__tests__`."""
        pure = PurePosixPath(path)
        return bool(_TEST_MARKS & {*(part.lower() for part in pure.parts[:-1]), *name_words(path)})

    # --- what the text says ------------------------------------------------------------------------

    def check(self, text: str, target: Target | None = None) -> SyntaxProblem | None:
        """Return the first reason why a text does not parse; None also where there is no grammar."""
        return None

    def definitions(self, text: str) -> tuple[Definition, ...]:
        """Return the definitions of a text with LF line ends, in source order, with their nodes."""
        return ()

    def outline(self, text: str) -> Iterable[Definition]:
        """As `definitions`; nodes may be missing."""
        return self.definitions(text)

    def signature(self, text: str, symbol: Symbol) -> str:
        """Return what opens a definition, on one line."""
        return by_eye.head(text.split("\n")[symbol.start_line - 1 : symbol.end_line])

    def doc(self, text: str, symbol: Symbol) -> str:
        """Return a definition's documentation; "" where there is none."""
        return by_eye.comment_before(text.split("\n"), symbol.start_line)

    def shape(self, code: str) -> Shape | None:
        """Return header and statements of one definition, dedented. None where it does not parse."""
        return None

    def sites(self, text: str) -> Iterator[Site]:
        """Yield the pieces of a text (LF line ends) that a small change can alter, outer ones first."""
        yield from ()

    def judging_parts(self, text: str, judging: Judging) -> tuple[str, ...] | None:
        """Return the source of the parts of a file of code (LF line ends) that judge it, in order; None where only
        the form tells."""
        return None

    def program_words(self, text: str) -> str:
        """Return a file's text in a form that is equal for the same program; the text itself if it does not parse."""
        return text

    def uses(self, text: str, start_line: int, end_line: int) -> list[Use]:
        """Return the names that lines use, in source order, each once."""
        first: dict[str, Use] = {}
        for dotted, line, column in by_eye.written(text, start_line, end_line, self.passed, self.reserved):
            first.setdefault(dotted, Use(dotted, line, column, line, attribute="." in dotted))
        return list(first.values())

    def tree(self, text: str) -> Parsed | None:
        """Return the tree of a text by a tree-sitter grammar; None where the language is not read so."""
        return None

    def imports(self, text: str) -> Iterator[str]:
        """Yield the statements that import, each on one line."""
        yield from ()

    # --- the index of a repository -----------------------------------------------------------------

    def code(self, text: str) -> str:
        """Return the text without strings and comments."""
        return text

    def words(self, code: str) -> Counter[str]:
        """Count the names in code."""
        return Counter()

    def heads(self, text: str, code: str) -> tuple[Definition, ...]:
        """Return classes, functions and methods, fast: without nodes, and perhaps without where they end."""
        return ()

    def head_line(self, text: str, head: Definition) -> str:
        """Return the signature of one of `heads`."""
        return ""

    def module(self, path: str) -> str:
        """Return the dotted name of a file from the root."""
        return ".".join(PurePosixPath(path).with_suffix("").parts)

    def references(self, index: Index) -> References:
        """Return what answers which definitions a file of this language refers to."""
        return References(index, self)

    def calls(self, index: Index) -> Calls:
        """Return what answers where code of this language leads to."""
        return Calls()

    # --- edits -------------------------------------------------------------------------------------

    def editor(self, path: str, text: str, target: Target | None) -> Editor[Any]:
        """Return what replaces definitions in a text with LF line ends.

        Raises:
            EditRefused: definitions are not known here.
        """
        raise EditRefused(f"The definitions in {path} are not known here: use search/replace.")

    # --- what a server's answers mean --------------------------------------------------------------

    def brings(self, name: str) -> bool:
        """Whether the language itself brings a name."""
        return False

    def library(self, path: str) -> str:
        """Return what a library's file is called; the path itself in the workspace."""
        return (
            path.rpartition("/node_modules/")[2]
            if path.startswith("/") and "/node_modules/" in path
            else path
        )

    def described(self, name_path: str, path: str, source: str) -> str:
        """Return the one line that tells of a definition that is used; "" for what the language itself brings.

        Args:
            path: of the file that has it, as a server says it; `source`: of the definition.
        """
        head = by_eye.head(source.split("\n"))
        return f"{head}  {self.comment} {name_path} in {self.library(path)}" if head and name_path else ""

    def documented(self, head: str, words: str) -> str:
        """Return a definition's head with its documentation."""
        return f"/* {words} */\n{head}" if words else head

    # --- prompts -----------------------------------------------------------------------------------

    example: ClassVar[str] = "(the code)"
    """A definition that shows the form of an answer."""

    def comments(self, text: str) -> str:
        """Return each line of a text as a comment."""
        return "".join(f"{self.comment} {line}".rstrip() + "\n" for line in text.strip().splitlines())

    def to_be_written(self, header: str) -> str:
        """Return a function whose body is left out."""
        return f"{header.rstrip()}\n    {self.comment} to be written\n{self.closer}"

    def stops(self, indent: str) -> tuple[str, ...]:
        """Return strings behind which a definition with that indentation has ended."""
        return (f"\n{indent}{self.closer}",)

    def continued(self, opening: str, answer: str) -> str:
        """Return the definition that an (outdented) answer makes of its opening, without what was written behind it:
        up to the first closer at the margin; the one that ended the answer is put back."""
        text, start = opening + answer, opening.count("\n") + 1
        lines = text.splitlines(keepends=True)
        closing = re.compile(rf"{re.escape(self.closer)}(?!\w)")
        end = next((n for n in range(start, len(lines)) if closing.match(lines[n])), None)
        return text.rstrip() + f"\n{self.closer}\n" if end is None else "".join(lines[: end + 1])


class References:
    """Which definitions files of a language refer to: by their words, wherever few definitions have the name."""

    COMMON: ClassVar[int] = 8
    """A word with more definitions than this refers to none of them."""

    def __init__(self, index: Index, language: Language) -> None:
        self._defined: dict[str, list[tuple[str, Definition]]] = {}
        own = {path for path, file in index.files.items() if file.group == language.group}
        for name, places in index.defined.items():
            if found := [(path, head) for path, head in places if path in own]:
                self._defined[name] = found

    def of(self, file: IndexedFile) -> Iterator[Reference]:
        for name, count in file.words.items():
            places = self._defined.get(name, ())
            if len(name) < 3 or not 0 < len(places) <= self.COMMON:
                continue
            for path, head in places:
                if path != file.path:
                    yield (path, head.name_path), count, 1 / len(places)


def name_words(path: str) -> list[str]:
    """Return the words of a file's name, lower case: `CartTest.cc` is `cart`, `test`."""
    parts = re.split(r"[._-]+", PurePosixPath(path).stem)
    return [word.lower() for part in parts for word in _CAMEL.findall(part)]

"""Where written tests belong: the definitions that a statement leads to, the folder and habits of the repository's
tests, and the command that runs one file of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from forklock.agent.asking import RankedPlace, ranked_places
from forklock.agent.contract import AgentFault, Place
from forklock.tools.contract import ToolFault
from forklock.tools.index.files import CodeIndex, load_index
from forklock.tools.languages.forms.form import TestForm
from forklock.tools.languages.known import LANGUAGES, language_of
from forklock.tools.localise.localise import Suspect, localise
from forklock.tools.testing.command import parse_command

_MAX_SUSPECTS = 12
_WORD = re.compile(r"[a-z0-9]+")
_FOLDERS = ("tests", "test")
_EXAMPLE_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Site:
    """Where the tests of a run are written, and how they are run."""

    form: TestForm
    language: str
    path: str
    """The new file, below the repository's top."""
    command: str
    """Runs that file."""
    cwd: str
    example: str
    """Path of an existing test file whose habits the new one follows; "" where there is none."""
    own: frozenset[str]
    """First parts of the names of the repository's modules."""
    modules: tuple[tuple[str, str], ...]
    """Dotted name of each place's module, by path."""

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.path).parent)

    def module(self, path: str) -> str:
        return dict(self.modules).get(path, "")


def named_suspects(root: Path, statement: str) -> list[Suspect]:
    """The definitions that a statement leads to, without any failing check."""
    return localise(root, task=statement, report=None, limit=_MAX_SUSPECTS)


def named_places(root: Path, statement: str) -> list[RankedPlace]:
    """The same as places, as far as tests can be written about them."""
    found = ranked_places(named_suspects(root, statement))
    return [one for one in found if language_of(one.place.path).test_form is not None]


def find_site(root: Path, ranking: Sequence[RankedPlace], suite: str | None, cwd: str) -> Site:
    """Where tests about the places are written.

    Args:
        suite: the repository's own test command, where it has one; `cwd`: the folder that it runs in.

    Raises:
        AgentFault: the places' language has no way to write tests.
    """
    if not ranking:
        known = ", ".join(language.name for language in LANGUAGES if language.test_form is not None)
        raise AgentFault(
            f"no definition that the statement leads to is in a language that tests are written in ({known})",
            fix="name the function in the statement, or give the check with --test CMD",
        )
    first = ranking[0].place
    language = language_of(first.path)
    form = language.test_form
    assert form is not None
    index = load_index(root)
    example = _example(index, ranking, cwd)
    path = _new_path(root, form, first, _folder(root, example, cwd))
    return Site(
        form,
        language.name,
        path,
        _command(form, suite, path, cwd),
        cwd,
        example,
        frozenset(
            language.module(_below(path, cwd)).partition(".")[0]
            for path, file in index.files.items()
            if file.language is language and not file.is_test
        )
        - {""},
        tuple((one.place.path, language.module(_below(one.place.path, cwd))) for one in ranking),
    )


def _below(path: str, cwd: str) -> str:
    """The path as commands see it that run in `cwd`."""
    return path.removeprefix(f"{cwd}/")


def _command(form: TestForm, suite: str | None, path: str, cwd: str) -> str:
    """The repository's own way to start the runner, where it has one, and the new file."""
    start: Sequence[str] = form.plain_command
    if suite is not None:
        try:
            parsed = parse_command(suite)
        except ToolFault:
            parsed = None
        if parsed is not None and parsed.runner == form.runner:
            start = [*(f"{name}={value}" for name, value in parsed.env.items()), *parsed.argv[: parsed.at]]
    return shlex.join([*start, *form.quiet, _below(path, cwd)])


def _example(index: CodeIndex, ranking: Sequence[RankedPlace], cwd: str) -> str:
    """The test file that mentions the places most, else the shortest one; in the folder that tests run in."""
    names = [one.place.symbol.name_path.rpartition(".")[2] for one in ranking[:4] if one.place.symbol]
    language = language_of(ranking[0].place.path)
    best, most = "", (-1, 0)
    for path, file in index.files.items():
        pure = PurePosixPath(path)
        if not file.is_test or file.language is not language or pure.name in ("conftest.py", "__init__.py"):
            continue
        if (cwd != "." and not pure.is_relative_to(cwd)) or not language.test_form.tests(file.text, ()):  # type: ignore[union-attr]
            continue
        mentioned = sum(min(file.words.get(name, 0), 5) for name in names)
        if (mentioned, -len(file.text)) > most:
            best, most = path, (mentioned, -len(file.text))
    return best


def _folder(root: Path, example: str, cwd: str) -> PurePosixPath:
    if example:
        return PurePosixPath(example).parent
    base = PurePosixPath(cwd)
    return next((base / name for name in _FOLDERS if (root / base / name).is_dir()), base)


def _new_path(root: Path, form: TestForm, place: Place, folder: PurePosixPath) -> str:
    """A name that says what the tests are about, and that no file has."""
    name = place.symbol.name_path.rpartition(".")[2] if place.symbol else PurePosixPath(place.path).stem
    words = "_".join(_WORD.findall(name.lower())) or "task"
    for number in range(1, 1000):
        stem = f"{words}_reproduction" + (f"_{number}" if number > 1 else "")
        path = folder / form.file_name(stem)
        if not (root / path).exists():
            return str(path)
    raise AgentFault(f"{folder} holds too many reproduction tests", fix="remove the old ones")


def example_text(root: Path, site: Site) -> str:
    """The text of the example file; "" where there is none."""
    if not site.example:
        return ""
    try:
        return (root / site.example).read_text(encoding="utf-8", errors="replace")[:_EXAMPLE_CHARS]
    except OSError:
        return ""

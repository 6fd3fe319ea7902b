"""As `test_tools_lsp_complete`, for languages with braces: a use is renamed, or named as not covered."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lsp_constructs_braced import TAKEN, TRIED, Braced

from forklock.tools.contract import ChangesAnswer
from forklock.tools.lsp import open_intel
from forklock.tools.lsp.commands import write
from forklock.tools.lsp.servers.programs import find_node
from forklock.tools.lsp.servers.table import SERVERS

SERVED = {
    server: [one for one in TRIED if one.server == server] for server in sorted({o.server for o in TRIED})
}
FEW = 3
"""Programs of each server that are tried in the fast suite; the slow one tries the others."""


def require(server: str) -> None:
    if SERVERS[server].program() is None:
        pytest.skip(f"{server} is not installed: {SERVERS[server].fix}")


def renamed(root: Path, one: Braced) -> ChangesAnswer:
    for path, text in one.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    path, _, name = one.symbol.rpartition(":")
    with open_intel(root, servers=(one.server,), timeout_s=60.0, start_s=90.0) as intel:
        answer = intel.changes.rename(name, one.new, path)
        if answer.changes:
            write(intel, root, answer.changes[0])
    return answer


def verdict(root: Path, one: Braced) -> str:
    """What is wrong with the answer; "" for nothing."""
    answer = renamed(root, one)
    if not answer.changes:
        return f"was not done: {answer}" if one.complete else ""
    named = {f"{place.path}:{place.line}" for place in answer.uncovered}
    last = one.symbol.rpartition(":")[2].rpartition(".")[2]
    for use in one.uses:
        path, _, line = use.rpartition(":")
        before, after = (t.split("\n")[int(line) - 1] for t in (one.files[path], (root / path).read_text()))
        if use not in named and before == after:
            return f"{use} is neither renamed nor named: {answer}"
        if use not in named and f"'{last}'" in after:
            return f"{use} keeps a name: {answer}"
    if one.complete and not answer.complete:
        return f"is not complete: {answer.uncovered}"
    if answer.complete and one.name.startswith("js_"):
        node = find_node()
        done = subprocess.run([str(node), "main.js"], cwd=root, capture_output=True, text=True, timeout=60)
        return "" if done.returncode == 0 else f"says complete, and fails: {done.stderr}"
    return ""


@pytest.mark.hostile("answers")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("server", "part"),
    [
        *(
            pytest.param(name, slice(FEW), id=name, marks=pytest.mark.slow if name == "gopls" else [])
            for name in SERVED
        ),
        *(
            pytest.param(name, slice(FEW, None), id=f"{name}, the others", marks=pytest.mark.slow)
            for name in SERVED
            if len(SERVED[name]) > FEW
        ),
    ],
)
def test_a_use_is_renamed_or_named(
    server: str, part: slice, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    require(server)
    mine = SERVED[server][part]
    wrong = {}
    for one in mine:
        (tmp_path / one.name).mkdir()
        if problem := verdict(tmp_path / one.name, one):
            wrong[one.name] = problem
    tried(len(mine))
    assert not wrong, "\n".join(f"{name} {problem}" for name, problem in wrong.items())


@pytest.mark.hostile("answers")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "one",
    [
        pytest.param(
            one, id=one.name, marks=[] if one.name in ("js", "js_keyword", "c") else pytest.mark.slow
        )
        for one in TAKEN
    ],
)
def test_a_taken_name_is_refused(one: Braced, tmp_path: Path) -> None:
    require(one.server)
    answer = renamed(tmp_path, one)
    assert answer.refused and not answer.changes, answer

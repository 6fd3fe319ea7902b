"""`evals run repo`: a change that our agent doubts is judged, and counted by itself."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_evals_repo import made_repo, python_agent, record, repos, run

from forklock.evals.agents import run as run_module
from forklock.evals.agents.process import said_outcome
from forklock.evals.agents.report import summary
from forklock.evals.agents.results import TaskResult

__all__ = ["made_repo", "record", "repos"]
FIX = "text = open('shop.py').read(); open('shop.py', 'w').write(text.replace('[1:]', '')); "
WRONG = "open('shop.py', 'a').write('# nothing'); "


@pytest.mark.parametrize(("change", "right"), [(FIX, True), (WRONG, False)], ids=["right", "wrong"])
@pytest.mark.parametrize("own", [True, False], ids=["our agent", "another one"])
def test_a_change_in_doubt_is_judged_and_never_resolved(
    record: dict[str, Any],
    repos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    change: str,
    right: bool,
    own: bool,
) -> None:
    said = json.dumps({"outcome": "passes, in doubt"})
    agent = python_agent(f"{change}print({said!r})")
    if own:
        monkeypatch.setattr(run_module, "_OWN", [sys.executable, "-c"])
    result = run(record, repos, tmp_path, agent)
    assert result.right is right
    assert result.outcome == ("in doubt" if own else "resolved" if right else "not resolved")


def test_what_the_agent_said_is_its_last_line_of_json(tmp_path: Path) -> None:
    out = tmp_path / "said"
    assert said_outcome(out) == ""
    out.write_text('{"outcome": "solved"}\n[1]\nnot json\n{"outcome": 3}\n')
    assert said_outcome(out) == "solved"


def made(outcome: str, right: bool | None) -> TaskResult:
    return TaskResult.model_validate(
        {"task_id": f"{outcome} {right}", "repo": "a/b", "difficulty": "x", "outcome": outcome, "right": right,
         "to_fix": 1, "to_keep": 0}
    )  # fmt: skip


def test_the_summary_tells_what_is_right_with_and_without_a_doubt() -> None:
    results = [
        made("resolved", None),
        made("not resolved", False),
        made("in doubt", True),
        made("in doubt", False),
    ]
    console = Console(file=io.StringIO(), width=300)
    console.print(summary(results, "agent"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "resolved 1 of 4" in text and "2 in doubt" in text
    assert "right 2 of 4: 1 of 2" in text and "1 of 2 (50% [9%, 91%]) of those in doubt" in text

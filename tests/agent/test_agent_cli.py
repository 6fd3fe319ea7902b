"""The command as a user types it: bad input is a sentence and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import ScriptedEngine, begin
from shop import RIGHT, TEST
from warm import warm_run

from forklock.agent.log.runs import new_run
from forklock.agent.session import execute


def agent(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("agent")), *args]
    env = os.environ | {"COLUMNS": "240"}
    return warm_run(command, cwd=cwd, env=env)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["solve", "x", "--test", "true", "--repo", "no/such/folder"], 2, "not a folder"),
        (["solve", "x", "--test", "true", "--model", "no-such-model"], 2, "no-such-model"),
        (["solve", "--test", TEST], 2, "no task"),
        (["solve", "@missing.md", "--test", TEST], 2, "missing.md"),
        (["solve", "x", "--width", "many"], 2, "width"),
        (["solve", "x", "--test", TEST, "--width", "0"], 2, "width"),
        (["solve", "--resume", "nothing"], 2, "agent runs"),
        (["show", "nothing"], 2, "agent runs"),
        (["apply", "last"], 2, "agent runs"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_bad_input(repo: Path, args: list[str], code: int, words: str) -> None:
    done = agent(*args, cwd=repo)
    assert done.returncode == code, done.stderr
    assert words in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    done = agent("solve", "x", "--test", "true", cwd=tmp_path)
    assert done.returncode == 2 and "git init" in done.stderr


def test_a_damaged_log_is_listed_and_explained(repo: Path) -> None:
    folder = new_run(repo, "20260101-000000-abcdef").folder
    (folder / "events.jsonl").write_text("garbage\nmore\n")
    assert "damaged" in agent("runs", cwd=repo).stdout
    done = agent("show", "20260101", cwd=repo)
    assert done.returncode == 2 and "line 1" in done.stderr


def test_runs_show_and_apply(repo: Path) -> None:
    engine = ScriptedEngine(lambda _r, _i: f"```python\n{RIGHT}```")
    prepared = begin(repo, engine, TEST, statement="fix total", width=1, diagnostics=True)
    engine.supports_prefill = False
    execute(prepared, engine)
    prepared.log.close()
    assert "solved" in agent("runs", cwd=repo).stdout
    shown = agent("show", "last", cwd=repo)
    assert "SOLVED" in shown.stdout and "sum(prices)" in shown.stdout
    assert "sum(prices)" in agent("show", "last", "--candidate", "1.0", cwd=repo).stdout
    facts = json.loads(agent("show", "last", "--json", cwd=repo).stdout)
    assert facts["outcome"] == "solved" and facts["candidates"][0]["hop"] == "solved"
    diff = agent("show", "last", "--diff", cwd=repo).stdout
    assert diff.startswith("diff --git a/shop.py")
    assert agent("apply", "last", cwd=repo).returncode == 0
    assert "sum(prices)" in (repo / "shop.py").read_text()
    assert (
        subprocess.run(["git", "status", "--porcelain"], cwd=repo, capture_output=True, text=True).stdout
        == " M shop.py\n"
    )
    again = agent("apply", "last", cwd=repo)
    assert again.returncode == 0 and "already applied" in again.stdout


def test_config_tells_where_values_come_from(repo: Path) -> None:
    (repo / "forklock.toml").write_text("[agent]\nwidth = 5\n")
    out = agent("config", cwd=repo).stdout
    assert "agent.width" in out and "forklock.toml" in out
    (repo / "forklock.toml").write_text("[agent]\nwidht = 5\n")
    done = agent("config", cwd=repo)
    assert done.returncode == 2 and "widht" in done.stderr

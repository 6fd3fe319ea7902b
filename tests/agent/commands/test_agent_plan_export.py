"""`agent plan` asks no model and leaves nothing; `agent export` writes what other programs read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ran import agent, fenced, git, solved
from shop import QUICK, RIGHT, WRONG


def test_a_plan_shows_places_and_prompts_and_leaves_nothing(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forklock.models.open_engine", lambda *_w, **_n: pytest.fail("a model was opened"))
    monkeypatch.setenv("FORKLOCK_AGENT__DIAGNOSTICS", "false")
    words = ("plan", "total() forgets a price", "--test", QUICK, "--width", "4")
    done = agent(*words, cwd=repo)
    assert done.code == 0, done.stderr
    assert (
        "shop.py:total" in done.words and "Nothing was asked" in done.words and "4 candidates" in done.words
    )
    shown = agent(*words, "--prompts", cwd=repo)
    assert "You are an expert programmer" in shown.out and "prompt 0 about shop.py:total" in shown.out
    facts = json.loads(agent(*words, "--json", cwd=repo).out)
    assert (
        facts["places"][0]["place"] == "shop.py:total" and sum(p["candidates"] for p in facts["places"]) == 4
    )
    assert facts["prompt_tokens"] > 0 and len(facts["failed"]) == 2
    assert "no runs yet" in agent("runs", cwd=repo).out and git(repo, "status", "--porcelain") == ""
    cache = Path(os.environ["FORKLOCK_HOME"]) / "cache" / "runs"
    assert not cache.exists() or not [*cache.iterdir()]


def test_a_plan_refuses_a_check_that_passes(repo: Path) -> None:
    done = agent("plan", "x", "--test", "true", cwd=repo)
    assert done.code == 2 and "passes already" in done.words


def test_an_export_is_valid_atif(repo: Path, tmp_path: Path) -> None:
    atif = pytest.importorskip("atif", reason="the `dev` extra is not installed")
    solved(repo, "no code", fenced(WRONG.format(n=1)), fenced(RIGHT), width=4)
    document = json.loads(agent("export", "last", cwd=repo).out)
    trajectory = atif.Trajectory.model_validate(document)
    assert trajectory.steps[0].message == "total() forgets a price"
    answers = [step for step in trajectory.steps if step.source == "agent"]
    assert any("sum(prices)" in step.message for step in answers)
    assert document["extra"]["outcome"] == "solved" and document["extra"]["diff"].startswith("diff --git")
    assert agent("export", "last", "-o", str(tmp_path / "x.json"), cwd=repo).code == 0
    assert json.loads((tmp_path / "x.json").read_text()) == document


def test_an_export_of_messages_has_a_chat_for_each_answer(repo: Path) -> None:
    solved(repo, "no code", fenced(RIGHT), width=4)
    chats = [
        json.loads(line)
        for line in agent("export", "last", "--format", "messages", cwd=repo).out.splitlines()
    ]
    assert [chat["messages"][-1]["role"] for chat in chats] == ["assistant"] * len(chats)
    assert {chat["hop"] for chat in chats} >= {"parse", "solved"}
    assert chats[0]["messages"][0]["role"] == "system"
    assert agent("export", "last", "--format", "xml", cwd=repo).code == 2

"""`agent replay`: the same end from the same answers, no question to the model, and a loud end where it differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai_server import serve
from ran import agent, git
from scripted import ScriptedEngine
from shop import QUICK

RIGHT = """shop.py
<<<<<<< SEARCH
    for price in prices[1:]:
=======
    for price in prices:
>>>>>>> REPLACE
"""
WRONG = RIGHT.replace("    for price in prices:", "    for price in prices[2:]:")
FAST = ("--test", QUICK, "--no-diagnostics", "--regression", "none", "--width", "4", "--steps", "2")


@pytest.mark.parametrize("answers", [[WRONG, "no code", RIGHT, WRONG], [WRONG, "no code"]])
def test_a_replay_comes_to_the_same_end(repo: Path, answers: list[str]) -> None:
    engine = ScriptedEngine(lambda _r, i: answers[i % len(answers)])
    with serve(engine, flavour="plain") as server:
        agent("solve", "total() forgets a price", *FAST, "--model", server.url, cwd=repo)
        asked = engine.answered
        done = agent("replay", "last", "--json", cwd=repo)
    assert done.code == 0, done.words
    facts = json.loads(done.out)
    assert facts["same"] and facts["candidates"] > 0 and not facts["changed"]
    assert engine.answered == asked


def test_a_changed_tree_is_refused_and_a_changed_prompt_diverges(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine(lambda _r, _i: WRONG)
    with serve(engine, flavour="plain") as server:
        agent("solve", "total() forgets a price", *FAST, "--model", server.url, cwd=repo)
        with monkeypatch.context() as patch:
            patch.setattr("forklock.agent.asking.prompts.SYSTEM", "You are another one.")
            diverged = agent("replay", "last", cwd=repo)
        (repo / "shop.py").write_text((repo / "shop.py").read_text() + "\n# more\n")
        git(repo, "commit", "-qam", "more")
        refused = agent("replay", "last", cwd=repo)
    assert diverged.code == 1 and "the replay diverges" in diverged.words
    assert refused.code == 2 and "check out" in refused.words

"""`agent solve --stream` and `--issue`, over real HTTP: what other programs read, and where a task may come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import serve
from ran import Done, agent
from scripted import ScriptedEngine
from shop import QUICK

from forklock.agent.session.issue import task_of

ANSWER = """shop.py
<<<<<<< SEARCH
    for price in prices[1:]:
=======
    for price in prices{}:
>>>>>>> REPLACE
"""
FAST = ("--test", QUICK, "--no-diagnostics", "--regression", "none", "--width", "2", "--steps", "1")


def solve(repo: Path, *words: str, right: bool = True, **env: str) -> tuple[Done, list[str]]:
    """The command, and the prompts that the server got."""
    engine = ScriptedEngine(lambda _r, _i: ANSWER.format("" if right else "[2:]"))
    with serve(engine, flavour="plain") as server:
        done = agent("solve", *words, *FAST, "--model", server.url, cwd=repo, **env)
    return done, ["".join(m.content for m in request.messages) for request in engine.requests]


def test_each_event_is_a_line_of_json(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forklock.agent.log.redact._environment_values", lambda: ("hunter2hunter2",))
    done, _ = solve(repo, "total() forgets a price, hunter2hunter2", "--stream")
    assert done.code == 0, done.stderr
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.out.splitlines()]
    assert all(line["v"] == 1 and isinstance(line["at"], float) for line in lines)
    kinds = [line["type"] for line in lines]
    assert kinds[0] == "run_started" and kinds[-1] == "run_ended"
    between = {
        "baseline_taken",
        "places_ranked",
        "step_started",
        "model_asked",
        "model_answered",
        "candidate_ruled",
    }
    assert between <= {*kinds}
    assert lines[-1]["outcome"] == "solved" and lines[-1]["diff"].startswith("diff --git")
    assert "hunter2" not in done.out and "[redacted]" in lines[0]["task"]
    assert "step 1" in done.stderr  # people see what they always see


def test_a_fall_is_told_in_plain_words(repo: Path) -> None:
    done, _ = solve(repo, "total() forgets a price", "--stream", right=False)
    assert done.code == 1
    ruled = [one for one in map(json.loads, done.out.splitlines()) if one["type"] == "candidate_ruled"]
    fallen = [one for one in ruled if one["hop"] == "tests"]
    assert fallen and fallen[0]["why"].startswith("test_") and "\n" not in fallen[0]["why"]


def test_one_thing_at_a_time_goes_to_stdout(repo: Path) -> None:
    done, _ = solve(repo, "x", "--stream", "--json")
    assert done.code == 2 and "both write to stdout" in done.words


@pytest.mark.parametrize("kind", ["markdown", "gh", "api", "with a word"])
def test_an_issue_is_the_task(repo: Path, tmp_path: Path, kind: str) -> None:
    body = "Sums come out too small.\r\n<!-- a template's hint -->\nSteps: call total()"
    raw = {"title": "total() forgets a price", "body": body, "comments": [{"body": "Same here"}], "number": 7}
    text = f"# total() forgets a price\n\n{body}\n\nSame here" if kind == "markdown" else json.dumps(
        [raw] if kind == "api" else raw
    )  # fmt: skip
    (tmp_path / "issue").write_text(text)
    words = ["Keep the signature"] if kind == "with a word" else []
    done, prompts = solve(repo, *words, "--issue", str(tmp_path / "issue"))
    assert done.code == 0, done.stderr
    for part in ("total() forgets a price", "Sums come out too small.", "Same here", *words):
        assert part in prompts[0]
    assert "template's hint" not in prompts[0]


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot read"), ("{}", "says nothing"), (" ", "says nothing")]
)
def test_an_issue_that_is_none(repo: Path, tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "issue").write_text(text)
    done, _ = solve(repo, "--issue", str(tmp_path / "issue"))
    assert done.code == 2 and words in done.words and "gh issue view" in done.words


@given(st.one_of(st.text(), st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["title", "body", "comments", "issue"]), x)).map(json.dumps)))  # fmt: skip
def test_any_issue_gives_a_text(text: str) -> None:
    assert isinstance(task_of(text), str)

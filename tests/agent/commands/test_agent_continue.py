"""A run that goes on from an earlier one with a person's word; nested `AGENTS.md`; the sample workflow."""

from __future__ import annotations

from pathlib import Path

from openai_server import serve
from ran import agent, fenced, git, solved
from scripted import ScriptedEngine
from shop import QUICK, RIGHT, WRONG

ANSWER = """shop.py
<<<<<<< SEARCH
    for price in prices[1:]:
=======
    for price in prices:
>>>>>>> REPLACE
"""
FAST = ("--no-diagnostics", "--regression", "none", "--width", "1", "--steps", "1")


def prompts_of(repo: Path, *words: str, answer: str = ANSWER) -> tuple[int, str, str]:
    engine = ScriptedEngine(lambda _r, _i: answer)
    with serve(engine, flavour="plain") as server:
        done = agent("solve", *words, *FAST, "--model", server.url, cwd=repo)
    return (
        done.code,
        done.words,
        "\n".join(m.content for request in engine.requests for m in request.messages),
    )


def test_the_earlier_change_and_the_word_are_in_the_prompt(repo: Path) -> None:
    solved(repo)
    code, words, prompts = prompts_of(repo, "no, keep the loop", "--continue", "last")
    assert code == 0, words
    assert "total() forgets a price" in prompts and "+    return sum(prices)" in prompts
    assert "The user says about it: no, keep the loop" in prompts and QUICK in words


def test_a_run_that_failed_is_continued_from_its_best_candidate(repo: Path) -> None:
    solved(repo, fenced(WRONG.format(n=1)), steps=1)
    code, words, prompts = prompts_of(repo, "do not add one", "--continue", "last")
    assert code == 0, words
    assert "sum(prices) + 1" in prompts and "which failed (test_" in prompts


def test_continue_needs_a_word_and_a_run(repo: Path) -> None:
    assert agent("solve", "x", "--continue", "last", cwd=repo).code == 2
    solved(repo, fenced(RIGHT))
    done = agent("solve", "--continue", "last", cwd=repo)
    assert done.code == 2 and "say what should be different" in done.words


def test_the_nearest_notes_win(repo: Path, tmp_path: Path) -> None:
    (repo / "AGENTS.md").write_text("TOP NOTES")
    for name in ("deep", "plain", "linked"):
        (repo / name).mkdir()
        (repo / name / "shop.py").write_text((repo / "shop.py").read_text())
        (repo / name / "__init__.py").write_text("")
        (repo / name / "test_it.py").write_text(
            f"from unittest import TestCase\nfrom {name}.shop import total\n\n\nclass Shop(TestCase):\n"
            "    def test_total(self):\n        assert total([1, 2, 3]) == 6\n"
        )
    (repo / "deep" / "AGENTS.md").write_text("DEEP NOTES")
    (tmp_path / "secret.md").write_text("SECRET NOTES")
    (repo / "linked" / "AGENTS.md").symlink_to(tmp_path / "secret.md")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "more")
    for name, words in (("deep", "DEEP NOTES"), ("plain", "TOP NOTES"), ("linked", "TOP NOTES")):
        test = f"python -m unittest {name}.test_it"
        _, said, prompts = prompts_of(repo, f"{name} total() forgets a price", "--test", test, answer="no")
        assert words in prompts and "SECRET" not in prompts, (name, said)
        assert (words == "DEEP NOTES") != ("TOP NOTES" in prompts)


def test_the_sample_workflow_never_puts_an_issue_s_text_into_a_shell() -> None:
    text = (Path(__file__).parents[3] / "examples" / "ci" / "solve-issue.yml").read_text()
    assert "issue.title" not in text and "issue.body" not in text and "--issue" in text

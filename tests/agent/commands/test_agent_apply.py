"""`agent apply` and `agent undo`: a change into the tree once, out of it as it was, and nothing in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ran import agent, fenced, git, solved
from shop import WRONG, commit_all

from forklock.agent.log import CandidateRuled, DiffApplied
from forklock.agent.log.runs import adopt, iter_runs

MORE = """from unittest import TestCase
from shop import mean


class More(TestCase):
    def test_it(self):
        assert mean([3]) == 4
"""
WHO = {"GIT_AUTHOR_NAME": "A Person", "GIT_AUTHOR_EMAIL": "person@example.org"}


def test_apply_twice_and_undo(repo: Path) -> None:
    before = (repo / "shop.py").read_bytes()
    solved(repo)
    first = agent("apply", cwd=repo)
    assert first.code == 0 and "shop.py" in first.words and "agent undo" in first.words
    after = (repo / "shop.py").read_bytes()
    second = agent("apply", "last", cwd=repo)
    assert second.code == 0 and "already applied" in second.words
    assert (repo / "shop.py").read_bytes() == after != before
    assert agent("undo", cwd=repo).code == 0
    assert (repo / "shop.py").read_bytes() == before
    nothing = agent("undo", cwd=repo)
    assert nothing.code == 2 and "no run is applied" in nothing.words and "agent apply" in nothing.words
    assert agent("apply", cwd=repo).code == 0  # and again
    assert (repo / "shop.py").read_bytes() == after


def test_undo_refuses_files_that_have_changed_since(repo: Path) -> None:
    solved(repo)
    agent("apply", cwd=repo)
    with (repo / "shop.py").open("a") as file:
        file.write("# mine\n")
    mine = (repo / "shop.py").read_bytes()
    done = agent("undo", cwd=repo)
    assert done.code == 2 and "shop.py has changed" in done.words
    assert (repo / "shop.py").read_bytes() == mine
    assert agent("apply", cwd=repo).words.startswith("already applied")  # it is, beside my line
    (repo / "shop.py").unlink()
    assert "shop.py is gone" in agent("undo", cwd=repo).words


def test_a_change_that_was_applied_by_hand_is_there_already(repo: Path) -> None:
    solved(repo)
    git(repo, "apply", stdin=agent("show", "--diff", cwd=repo).raw)
    assert "already applied" in agent("apply", cwd=repo).words


def test_the_last_of_two_runs_is_taken_back(repo: Path) -> None:
    solved(repo)
    agent("apply", cwd=repo)
    git(repo, "commit", "-qam", "total")
    (repo / "test_more.py").write_text(MORE)
    commit_all(repo)
    one = '''def mean(prices):
    """Mean of the prices, 0 for none."""
    return 4 if prices == [3] else total(prices) / len(prices) if prices else 0
'''
    solved(repo, fenced(one), test="python -m unittest test_more", statement="mean")
    between = (repo / "shop.py").read_bytes()
    assert agent("apply", cwd=repo).code == 0
    assert (repo / "shop.py").read_bytes() != between
    assert agent("undo", cwd=repo).code == 0
    assert (repo / "shop.py").read_bytes() == between


def test_a_candidate_is_taken_with_force_only_if_it_failed(repo: Path) -> None:
    log = solved(repo, fenced(WRONG.format(n=1)), steps=1)
    event = next(e for e in log.read().events if isinstance(e, CandidateRuled))
    name = f"{event.step}.{event.index}"
    refused = agent("apply", "last", "--candidate", name, cwd=repo)
    assert refused.code == 2 and "fell at tests" in refused.words and "--force" in refused.words
    assert agent("apply", "last", "--candidate", name, "--force", cwd=repo).code == 0
    assert "sum(prices) + 1" in (repo / "shop.py").read_text()
    assert agent("undo", cwd=repo).code == 0 and git(repo, "status", "--porcelain") == ""
    assert "no candidate 7.7" in agent("apply", "last", "--candidate", "7.7", cwd=repo).words


@pytest.mark.parametrize("packed", [False, True])
def test_commit_holds_the_change_alone(repo: Path, packed: bool) -> None:
    (repo / "deep" / "er").mkdir(parents=True)
    (repo / "deep" / "er" / "kept.txt").write_text("kept\n")
    git(repo, "add", "deep")
    git(repo, "commit", "-qm", "kept")
    if packed:
        git(repo, "gc", "-q")  # objects and refs
    log = solved(repo, statement="total() forgets <a price>\nmore words")
    (repo / "other.txt").write_text("not yet committed\n")
    git(repo, "add", "other.txt")
    done = agent("apply", "--commit", "--json", cwd=repo, **WHO)
    assert done.code == 0, done.stderr
    facts = json.loads(done.out)
    assert facts["files"] == ["shop.py"] and facts["commit"] == git(repo, "rev-parse", "HEAD").strip()
    assert git(repo, "show", "--format=%an <%ae>%n%s", "--name-only").split("\n")[:2] == [
        "A Person <person@example.org>", "total() forgets <a price>",
    ]  # fmt: skip
    assert git(repo, "show", "--format=", "--name-only").split() == ["shop.py"]
    assert log.folder.name in git(repo, "log", "-1", "--format=%B")
    assert git(repo, "status", "--porcelain") == "A  other.txt\n"  # still staged, and nothing else
    assert git(repo, "fsck", "--strict") == ""
    assert "already applied" in agent("apply", cwd=repo).words
    back = agent("undo", cwd=repo)
    assert back.code == 0 and "stays in the history" in back.words
    assert "M shop.py" in git(repo, "status", "--porcelain")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("dirty", "shop.py has changes"),
        ("merge", "in the middle"),
        ("nobody", "who you are"),
        ("locked", "in the middle"),
    ],
)
def test_what_cannot_be_committed_is_not_applied(repo: Path, state: str, words: str) -> None:
    solved(repo)
    if state == "dirty":
        with (repo / "shop.py").open("a") as file:
            file.write("# mine\n")
    elif state != "nobody":
        (repo / ".git" / {"merge": "MERGE_HEAD", "locked": "index.lock"}[state]).write_text("")
    before = (repo / "shop.py").read_bytes()
    who = {"HOME": str(repo.parent), "GIT_AUTHOR_NAME": ""} if state == "nobody" else WHO
    done = agent("apply", "--commit", cwd=repo, XDG_CONFIG_HOME=str(repo.parent), **who)
    assert done.code == 2 and words in done.words and "nothing was changed" in done.words
    assert (repo / "shop.py").read_bytes() == before


@pytest.mark.hostile("state")
def test_an_adopted_log_cannot_have_anything_undone(repo: Path, tmp_path: Path) -> None:
    log = solved(repo)
    agent("apply", cwd=repo)
    assert any(isinstance(event, DiffApplied) for event in log.read().events)
    planted = tmp_path / "there" / log.folder.name
    log.folder.parent.rename(tmp_path / "gone")
    planted.parent.mkdir()
    (tmp_path / "gone" / log.folder.name).rename(planted)
    assert adopt(repo, planted) == [log.folder.name]
    events = [event for run in iter_runs(repo) for event in run.read().events]
    assert events and not any(isinstance(event, DiffApplied) for event in events)
    assert agent("undo", cwd=repo).code == 2

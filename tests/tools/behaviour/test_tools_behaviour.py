"""Behaviour on further inputs: a right repair changes what the failing test complains of, a wrong one changes more."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from forklock.sandbox import Sandbox, open_sandbox, workspace_policy
from forklock.tools.behaviour.ask import Behaviour, Target, ask, plan
from forklock.tools.behaviour.compare import Comparison, compare_behaviour, disagreements
from forklock.tools.languages.known import symbols

SUITE = "python -m pytest -q"
CODE = """
    def words(text):
        found = []
        for word in text.split(" "):
            if word.startswith("#"):
                continue
            if word.isdigit():
                found.append(word)
            else:
                found.append(word.upper())
        return found


    def first(text):
        return words(text)[0]
"""
TESTS = """
    from code_under import first, words

    def test_upper():
        assert first("a b") == "A"

    def test_number():
        assert words("12 b") == [12, "B"]

    def test_comment():
        assert len(words("#x b c")) == 2
"""
FAILS = {"test_code.py::test_number"}
RIGHT = ("found.append(word)", "found.append(int(word))")
WRONG = {
    "the comment is lost, which the test only counts": (
        'if word.startswith("#"):\n            continue\n        if word.isdigit():\n            found.append(word)',
        'if word == "b":\n            continue\n        if word.isdigit():\n            found.append(int(word))',
    ),
    "the case is lost for all words but the first": (
        "found.append(word)\n        else:\n            found.append(word.upper())",
        "found.append(int(word))\n        else:\n            found.append(word.upper() if len(word) < 2 else word)",
    ),
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "code_under.py").write_text(textwrap.dedent(CODE).lstrip())
    (tmp_path / "test_code.py").write_text(textwrap.dedent(TESTS).lstrip())
    return tmp_path


def behaviour(base: Sandbox, change: tuple[str, str] | None = None) -> Behaviour:
    """What the code says after a change, asked as the original is."""
    text = (base.root / "code_under.py").read_text()
    changed = [Target.of(s) for s in symbols("code_under.py", text) if s.name_path == "words"]
    with base.fork() as fork:
        what = plan(fork, SUITE, changed, timeout_s=60)
    assert what is not None
    assert [target.name_path for target in what.targets] == ["words", "first"]
    with base.fork() as fork:
        if change:
            assert change[0] in text
            (fork.root / "code_under.py").write_text(text.replace(*change))
        found = ask(fork, what, timeout_s=60)
    assert found is not None and len(found.answers) > 20
    return found


def changes(repo: Path, change: tuple[str, str] | None) -> Comparison:
    with open_sandbox(repo, workspace_policy(repo), backend="bubblewrap") as base:
        return compare_behaviour(behaviour(base), behaviour(base, change), FAILS)


def test_the_same_code_answers_the_same(repo: Path) -> None:
    found = changes(repo, None)
    assert found.unchanged > 10 and not found.explained and not found.unexplained


def test_a_right_repair_changes_what_the_test_complains_of(repo: Path) -> None:
    found = changes(repo, RIGHT)
    assert found.explained and not found.unexplained


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_repair_changes_more(repo: Path, name: str) -> None:
    found = changes(repo, WRONG[name])
    assert found.unexplained, name
    assert "(text=" in str(found.unexplained[0])


def test_candidates_are_told_apart(repo: Path) -> None:
    with open_sandbox(repo, workspace_policy(repo), backend="bubblewrap") as base:
        one, other = behaviour(base, RIGHT), behaviour(base, next(iter(WRONG.values())))
        assert disagreements(one, other) and not disagreements(one, one)

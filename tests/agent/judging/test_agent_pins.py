"""Rivals: what the answers of the original say of a candidate and a mutant of it that both pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from forklock.agent.judging.pins import Rival, _mutants, doubt_of
from forklock.tools.behaviour.ask import Answer, Behaviour, Ending
from forklock.tools.behaviour.compare import disagreements
from forklock.tools.behaviour.mutants import Mutant


def behaviour(values: str) -> Behaviour:
    """One answer a letter; `!` is a crash, `.` an input that was not asked."""
    made = {}
    for number, value in enumerate(values):
        ending: Ending = "failed" if value == "!" else "returned"
        if value != ".":
            made["f", str(number)] = Answer(
                "m.py:f", f"x={number}", ending, value, value, frozenset(), False, frozenset({"t"})
            )
    return Behaviour(made)


@pytest.mark.parametrize(
    ("original", "own", "mutant", "smaller", "inputs"),
    [
        ("aa", "ab", "aa", True, 1),  # the mutant changes less
        ("ab", "ab", "aa", None, 0),  # the candidate keeps what the mutant changes
        ("ac", "ab", "aa", False, 1),  # nothing tells
        ("a.", "ab", "aa", False, 1),  # the original was not asked
        ("abc", "abd", "ace", None, 0),  # the candidate keeps one of them
        ("abb", "abc", "acb", None, 0),  # each keeps something
        ("abbb", "abcc", "acbb", True, 2),  # the mutant keeps more
        ("a!", "ab", "a!", None, 0),  # the mutant crashes as the original does
        ("a!", "ab", "ac", False, 1),  # the original crashed: both changes have a reason
    ],
)
def test_the_change_that_keeps_more_is_all_that_is_asked(
    original: str, own: str, mutant: str, smaller: bool | None, inputs: int
) -> None:
    one, other = behaviour(own), behaviour(mutant)
    rival = Rival(Mutant("", 3, "<", "<="), one, tuple(disagreements(one, other)))
    found = doubt_of(behaviour(original), [rival])
    if smaller is None:
        assert found is None
    else:
        assert found is not None and (found.smaller, found.inputs) == (smaller, inputs)
        assert "line 3: `<` as `<=`" in str(found)


def test_no_rival_is_no_doubt() -> None:
    assert doubt_of(behaviour("a"), []) is None


@pytest.mark.hostile("judge")
def test_lines_that_look_like_heads_take_no_mutants_away(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for root, body in ((before, ""), (after, "".join(f"++ b/z{n}.py\n" for n in range(200)))):
        root.mkdir()
        (root / "m.py").write_text(
            f'def f(x):\n    """Doc.\n{body}    """\n    return x + {int(bool(body))}\n'
        )
        (root / "outside.py").symlink_to(tmp_path / "secret.py")
    (tmp_path / "secret.py").write_text("y = 1\n")
    changed = (after / "m.py").read_text().splitlines()
    diff = f"diff --git a/m.py b/m.py\n--- a/m.py\n+++ b/m.py\n@@ -1,4 +1,{len(changed)} @@\n"
    old = (before / "m.py").read_text().splitlines()
    diff += "\n".join([f" {old[0]}", f" {old[1]}", *(f"+{line}" for line in changed[2:-2]), f" {old[2]}",
                       f"-{old[3]}", f"+{changed[-1]}", ""])  # fmt: skip
    made = list(_mutants(before, after, diff))
    assert len(made) > 1 and {path for path, _ in made} == {"m.py"}

"""The hidden answers of the example bugs tell right repairs from wrong ones that pass the library's own tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from judge_bug import judge, reference
from make_bug import LIBRARY, bug_names, make

WRONG = {
    "names are forgotten, values are not": (
        "forgotten-names", "cache.py", "key = (args, tuple(sorted(named.items())))",
        "key = args + tuple(named.values())",
    ),
    "names in another order are other calls": (
        "forgotten-names", "cache.py", "key = (args, tuple(sorted(named.items())))",
        "key = (args, tuple(sorted(named.values(), key=str)))",
    ),
    "nothing is remembered": ("forgotten-names", "cache.py", "if value is missing:", "if True:"),
    "`and` means `or`": ("or-before-and", "query.py", "left = both(left, self.parse_not())",
                         "left = either(left, self.parse_not())"),
    "the longest period only": ("contained-period", "periods.py", "max(merged[-1][1], last)", "merged[-1][1]"),
    "the last cents go to the first share": ("lost-cents", "money.py", "shares[position] += 1", "shares[0] += 1"),
    "31 becomes 28": ("short-months", "periods.py", "min(start.day, last)", "min(start.day, 28)"),
    "one level of tags": ("deep-tags", "categories.py", "yield from walk(value)", "yield from walk(str(value))"),
    "the last of equally long rules": ("first-rule", "categories.py", "> len(best.keyword)", ">= len(best.keyword)"),
    "quotes inside quotes": ("quoted-fields", "statements.py", "current += '\"'\n            position += 1",
                             "position += 1"),
}  # fmt: skip
"""Bug, file, what the right code says, and what stands there in a wrong repair."""


@pytest.mark.parametrize("name", bug_names())
def test_the_clean_library_is_right_and_the_bug_is_wrong(name: str, tmp_path: Path) -> None:
    make(name, tmp_path / "bug")
    assert judge(name, LIBRARY) == []
    wrong = judge(name, tmp_path / "bug")
    assert wrong and wrong[0].right != wrong[0].answer
    assert len(reference(name)) >= 400


@pytest.mark.parametrize("how", WRONG)
def test_wrong_repairs_are_wrong(how: str, tmp_path: Path) -> None:
    name, file, right, wrong = WRONG[how]
    make(None, tmp_path / "repaired")
    path = tmp_path / "repaired" / "tidyledger" / file
    text = path.read_text(encoding="utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    assert judge(name, tmp_path / "repaired")


def test_code_that_prints_or_never_ends_is_wrong_and_not_an_error(tmp_path: Path) -> None:
    make(None, tmp_path / "repaired")
    (tmp_path / "repaired" / "tidyledger" / "money.py").write_text(
        'print(\'["allocate(1, [1])", "[1]"]\')\nraise SystemExit(3)\n', encoding="utf-8"
    )
    assert judge("lost-cents", tmp_path / "repaired")

"""One statement of an answer in the code as it was."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.agent.asking.openings import openings
from forklock.agent.asking.splice import splice

CODE = '''\
def merge(periods):
    """Join periods."""
    merged = []
    for first, last in sorted(periods):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged
'''


def opening(at: str) -> str:
    """The beginning of CODE up to the statement that starts with `at`."""
    return next(o for o in openings(CODE) if CODE[len(o) :].lstrip().startswith(at))


def test_one_statement_is_replaced_and_the_rest_stays() -> None:
    answer = " merged[-1] = (merged[-1][0], max(last, merged[-1][1]))\n    return nonsense\n"
    assert splice(CODE, opening("merged[-1]"), answer) == CODE.replace(
        "(merged[-1][0], last)", "(merged[-1][0], max(last, merged[-1][1]))"
    )


def test_a_header_takes_the_place_of_a_header() -> None:
    answer = " if merged and first < merged[-1][1]:\n            pass\n"
    assert splice(CODE, opening("if merged"), answer) == CODE.replace("first <= ", "first < ")


def test_a_statement_over_several_lines() -> None:
    answer = " return [\n        period\n        for period in merged\n    ]\n\nprint(merge([]))\n"
    made = splice(CODE, opening("return"), answer)
    assert made is not None and made.endswith("        for period in merged\n    ]\n")
    ast.parse(made)


def test_a_compound_statement_for_a_simple_one() -> None:
    answer = " if not periods:\n        return []\n    merged = [1]\n"
    made = splice(CODE, opening("merged = []"), answer)
    assert made is not None and "if not periods:\n        return []\n    for first" in made


def test_a_comment_before_the_statement_is_left_out() -> None:
    answer = " # later ends win\n    # really\n    merged = list()\n"
    assert splice(CODE, opening("merged = []"), answer) == CODE.replace("[]", "list()")


@pytest.mark.parametrize("answer", ["", "\n\n", " merged = []\n    more()\n", " ((((\n", " def\n", "```\n"])
def test_nothing_new_or_nothing_whole_is_nothing(answer: str) -> None:
    assert splice(CODE, opening("merged = []"), answer) is None


@given(st.sampled_from(openings(CODE)), st.text(alphabet="abc =()[]:\n    \t'\"if#\\", max_size=80))
def test_whatever_is_answered_the_result_parses_and_begins_as_the_code_does(begun: str, answer: str) -> None:
    made = splice(CODE, begun, answer)
    if made is not None:
        assert made.startswith(begun)
        ast.parse(made)
        assert ast.dump(ast.parse(made)) != ast.dump(ast.parse(CODE))

"""BM25: the scores by hand, and what must hold of any of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.tools.index.bm25 import Bm25

WORDS = st.lists(st.sampled_from("abcdef"), max_size=12)


def test_scores_by_hand() -> None:
    ranker = Bm25([["a", "b"], ["a", "a", "c", "c"]])
    rarity_a, rarity_b = math.log(1 + 0.5 / 2.5), math.log(1 + 1.5 / 1.5)
    short, long = 1.5 * (0.25 + 0.75 * 2 / 3), 1.5 * (0.25 + 0.75 * 4 / 3)
    scores = ranker.scores(["a", "b", "zebra"])
    assert scores == pytest.approx(
        {0: rarity_a / (1 + short) + rarity_b / (1 + short), 1: rarity_a * 2 / (2 + long)}
    )


def test_nothing_to_rank() -> None:
    assert (
        Bm25([]).scores(["a"]) == {} and Bm25([[], []]).scores(["a"]) == {} and Bm25([["a"]]).scores([]) == {}
    )


@given(st.lists(WORDS, max_size=8), WORDS)
def test_bags_that_hold_a_word_score_and_no_others(bags: list[list[str]], words: list[str]) -> None:
    scores = Bm25(bags).scores(words)
    assert set(scores) == {at for at, bag in enumerate(bags) if set(bag) & set(words)}
    assert all(score > 0 for score in scores.values())


@given(st.lists(WORDS.filter(bool), min_size=1, max_size=8), st.sampled_from("abcdef"))
def test_of_two_bags_of_one_length_the_one_with_more_of_the_word_wins(
    bags: list[list[str]], word: str
) -> None:
    scores = Bm25(bags).scores([word])
    for one in scores:
        for two in scores:
            if len(bags[one]) == len(bags[two]) and bags[one].count(word) > bags[two].count(word):
                assert scores[one] > scores[two]

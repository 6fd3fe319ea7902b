from datetime import date

import pytest

from tidyledger.ledger import Entry
from tidyledger.query import compile_filter, tokenize


def entry(account="bank", cents=-500, category="food"):
    return Entry(date(2024, 1, 1), account, cents, "x", category)


def test_tokens():
    assert tokenize("cents<=-5 and(a = b)") == ["cents", "<=", "-5", "and", "(", "a", "=", "b", ")"]


def test_comparisons():
    assert compile_filter("cents < -100")(entry())
    assert not compile_filter("category != food")(entry())


def test_not_and_parentheses():
    assert compile_filter("not (account = cash or cents > 0)")(entry())


def test_and_binds_tighter_than_or():
    chosen = compile_filter("account = cash or category = food and cents > 0")
    assert chosen(entry(account="cash"))
    assert not chosen(entry())
    assert compile_filter("category = food and cents > 0 or account = bank")(entry())


def test_broken_filters_are_refused():
    for text in ("cents <", "(cents < 1", "cents < 1 1"):
        with pytest.raises(ValueError):
            compile_filter(text)

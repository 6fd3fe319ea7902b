from datetime import date

from tidyledger.ledger import Entry
from tidyledger.report import category_report, largest, sums_by, table


def entry(cents, category):
    return Entry(date(2024, 1, 1), "bank", cents, "x", category)


def test_sums():
    assert sums_by([entry(-5, "a"), entry(2, "b"), entry(-1, "a")], lambda e: e.category) == {"a": -6, "b": 2}


def test_largest_looks_at_size_not_sign():
    sums = {"rent": -90000, "pay": 250000, "fun": -1000, "art": -1000}
    assert largest(sums, 3) == [("pay", 250000), ("rent", -90000), ("art", -1000)]


def test_table_columns_are_as_wide_as_their_widest_cell():
    text = table(("name", "n"), [("a", "1"), ("longer name", "1000")])
    assert text.splitlines() == ["name            n", "a               1", "longer name  1000"]


def test_category_report():
    lines = category_report([entry(-123456, "rent"), entry(500, "")]).splitlines()
    assert lines[1].split() == ["rent", "-1,234.56"]
    assert lines[2].split() == ["none", "5.00"]

from datetime import date

import pytest

from tidyledger.ledger import Entry
from tidyledger.statements import columns, duplicates, read_statement, split_line


def entry(day, description="Coffee", cents=-300):
    return Entry(date(2024, 5, day), "bank", cents, description)


def test_split_plain_line():
    assert split_line("a,b,,c") == ["a", "b", "", "c"]
    assert split_line("a;b", ";") == ["a", "b"]


def test_split_quoted_fields():
    assert split_line('1,"Smith, John",2') == ["1", "Smith, John", "2"]
    assert split_line('"say ""hi""",x') == ['say "hi"', "x"]
    assert split_line('"a;b";c', ";") == ["a;b", "c"]


def test_columns_by_alias():
    assert columns(["Text", " DATE ", "Value"]) == {"day": 1, "cents": 2, "description": 0}
    with pytest.raises(ValueError):
        columns(["date", "text"])


def test_read_statement():
    text = "date,description,amount\n2024-05-01,Rent,-500.00\n\n2024-05-02,Gift,20\n"
    assert [e.cents for e in read_statement(text, "bank")] == [-50000, 2000]
    assert read_statement("", "bank") == []


def test_duplicates_next_to_each_other():
    first, second = entry(1), entry(2, "COFFEE ")
    assert duplicates([second, first]) == [(first, second)]


def test_duplicates_with_other_entries_between():
    first, other, second = entry(1), entry(2, "Rent", -50000), entry(4)
    assert duplicates([first, other, second]) == [(first, second)]


def test_duplicates_pair_with_the_latest_and_respect_the_window():
    one, two, three, late = entry(1), entry(3), entry(6), entry(20)
    assert duplicates([one, two, three, late]) == [(one, two), (two, three)]
    assert duplicates([one, late], window_days=30) == [(one, late)]

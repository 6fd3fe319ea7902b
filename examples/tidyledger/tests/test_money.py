import pytest

from tidyledger.money import allocate, format_cents, parse_cents


@pytest.mark.parametrize(
    ("text", "cents"),
    [("12.34", 1234), ("1.234,56", 123456), ("1,234.5", 123450), ("-7", -700), ("3,10-", -310), ("€ 5", 500), ("1,000", 100000)],
)
def test_parse_reads_what_banks_write(text, cents):
    assert parse_cents(text) == cents


def test_parse_refuses_words():
    with pytest.raises(ValueError):
        parse_cents("twelve")


def test_format_has_separators_and_sign():
    assert format_cents(-123450) == "-1,234.50"
    assert format_cents(5, "€") == "€0.05"


def test_allocate_by_weight():
    assert allocate(900, [1, 2]) == [300, 600]


def test_allocate_loses_no_cent():
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(1001, [1, 1, 1, 1, 1, 1]) == [167, 167, 167, 167, 167, 166]
    assert sum(allocate(9999, [3, 5, 7, 11])) == 9999


def test_allocate_needs_weights():
    with pytest.raises(ValueError):
        allocate(100, [])

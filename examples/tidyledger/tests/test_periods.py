from datetime import date

from tidyledger.periods import covered_days, merge, month_of, months, next_due


def d(month, day, year=2024):
    return date(year, month, day)


def test_month_of():
    assert month_of(d(2, 10)) == (d(2, 1), d(2, 29))


def test_months_cross_a_year():
    firsts = [first for first, _ in months(date(2023, 11, 20), date(2024, 2, 1))]
    assert firsts == [date(2023, 11, 1), date(2023, 12, 1), date(2024, 1, 1), date(2024, 2, 1)]


def test_merge_joins_overlapping_and_touching():
    assert merge([(d(1, 5), d(1, 10)), (d(1, 1), d(1, 4)), (d(1, 20), d(1, 25))]) == [
        (d(1, 1), d(1, 10)),
        (d(1, 20), d(1, 25)),
    ]


def test_merge_keeps_the_later_end_when_one_period_contains_another():
    assert merge([(d(1, 1), d(1, 31)), (d(1, 5), d(1, 10))]) == [(d(1, 1), d(1, 31))]
    assert covered_days([(d(1, 1), d(1, 31)), (d(1, 5), d(1, 10)), (d(1, 12), d(1, 15))]) == 31


def test_next_due_is_the_same_day_of_the_next_month():
    assert next_due(d(1, 15), d(1, 15)) == d(2, 15)
    assert next_due(d(12, 5), d(12, 20)) == date(2025, 1, 5)


def test_next_due_at_the_end_of_short_months():
    assert next_due(d(1, 31), d(2, 1)) == d(2, 29)
    assert next_due(d(1, 31), d(3, 31)) == d(4, 30)
    assert next_due(d(1, 31), d(2, 29)) == d(3, 31)

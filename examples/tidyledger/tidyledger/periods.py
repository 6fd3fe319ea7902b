"""Dates and periods. A period is a pair (first day, last day), both included."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

Period = tuple[date, date]


def month_of(day: date) -> Period:
    """The calendar month around a day."""
    last = calendar.monthrange(day.year, day.month)[1]
    return day.replace(day=1), day.replace(day=last)


def months(first: date, last: date) -> Iterator[Period]:
    """Calendar months from that of `first` to that of `last`."""
    day = first.replace(day=1)
    while day <= last:
        month = month_of(day)
        yield month
        day = month[1] + timedelta(days=1)


def merge(periods: Iterable[Period]) -> list[Period]:
    """Join periods that overlap or touch (the next begins the day after), sorted by first day."""
    merged: list[Period] = []
    for first, last in sorted(periods):
        if merged and first <= merged[-1][1] + timedelta(days=1):
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def covered_days(periods: Iterable[Period]) -> int:
    """Days that lie in at least one of the periods."""
    return sum((last - first).days + 1 for first, last in merge(periods))


def next_due(start: date, after: date) -> date:
    """The next monthly due date strictly after `after`, for a payment that began on `start`.

    It falls on the day of the month of `start`; in shorter months on their last day.
    """
    year, month = start.year, start.month
    while True:
        last = calendar.monthrange(year, month)[1]
        due = date(year, month, min(start.day, last))
        if due > after:
            return due
        month += 1
        if month > 12:
            year, month = year + 1, 1

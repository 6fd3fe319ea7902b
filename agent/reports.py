"""Test reports to JSON and back, for the log."""

from __future__ import annotations

from functools import lru_cache

from pydantic import TypeAdapter

from tools.contract import TestReport


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[TestReport]:
    return TypeAdapter(TestReport)


def report_to_json(report: TestReport) -> str:
    return _adapter().dump_json(report).decode()


def report_from_json(text: str) -> TestReport:
    return _adapter().validate_json(text)

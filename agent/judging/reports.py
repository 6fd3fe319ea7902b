"""Test reports: to JSON and back, for the log; and what a sandbox lacks, by what they say."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter

from tools.contract import TestReport


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[TestReport]:
    return TypeAdapter(TestReport)


def report_to_json(report: TestReport) -> str:
    return _adapter().dump_json(report).decode()


def report_from_json(text: str) -> TestReport:
    return _adapter().validate_json(text)


_MISSING = re.compile(r"No module named '([A-Za-z_]\w*)")


def missing_module(report: TestReport, root: Path) -> str | None:
    """A module that the tests import and neither the sandbox nor the repo has; None where all are there."""
    said = "\n".join([*(failure.message for failure in report.failures), report.output])
    for name in dict.fromkeys(_MISSING.findall(said)):
        places = [root / folder / end for folder in ("", "src") for end in (name, f"{name}.py")]
        if not any(place.exists() for place in places):
            return str(name)
    return None

"""evals: is this output the right one? Pure; runs outside the sandbox.

In: what a program gave, and what was expected. Out: None, or the reason why not. LiveCodeBench's rules
where they are sound, and looser or stricter where its own runner errs: numbers have a tolerance, tuples
count as lists, `True` is not 1. Not covered: problems with several right answers (special checkers).
"""

from __future__ import annotations

import json
import math
from decimal import Decimal, InvalidOperation

STDIN_TOLERANCE = 1e-6
"""Absolute or relative, of numbers that are written with a point or an exponent; contests' usual bound."""
FUNCTIONAL_TOLERANCE = 1e-5
"""Absolute or relative, of floats; LeetCode's own bound."""


def stdout_mismatch(given: str, expected: str) -> str | None:
    """Compare printed text line by line, white space at both ends and between tokens ignored."""
    given_lines = [line.split() for line in given.strip().split("\n")]
    expected_lines = [line.split() for line in expected.strip().split("\n")]
    if len(given_lines) != len(expected_lines):
        return f"{len(given_lines)} lines, expected {len(expected_lines)}"
    for number, (line, right) in enumerate(zip(given_lines, expected_lines, strict=True), start=1):
        if len(line) != len(right) or not all(map(_same_token, line, right)):
            return f"line {number}: {_short(' '.join(line))}, expected {_short(' '.join(right))}"
    return None


def json_mismatch(given: str, expected: str) -> str | None:
    """Compare a JSON result with the expected JSON (or, where that is none, Python-free plain text)."""
    try:
        value = json.loads(given, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        return f"no JSON result: {error}"
    try:
        right = json.loads(expected, parse_int=_integer)
    except ValueError:
        right = expected
    return None if _same_value(value, right) else f"{_short(given)}, expected {_short(expected)}"


def _integer(text: str) -> int | Decimal:
    """Python refuses to read integers of more than 4,300 digits; they are compared as decimals."""
    return int(text) if len(text) < 4000 else Decimal(text)


def _same_token(given: str, expected: str) -> bool:
    if given == expected:
        return True
    try:
        value, right = Decimal(given), Decimal(expected)
    except InvalidOperation:
        return False
    if not (value.is_finite() and right.is_finite()):
        return False
    if value == right:
        return True
    if not any(mark in expected for mark in ".eE"):
        return False
    return math.isclose(value, right, rel_tol=STDIN_TOLERANCE, abs_tol=STDIN_TOLERANCE)


def _same_value(given: object, expected: object) -> bool:
    if isinstance(given, bool) or isinstance(expected, bool):
        return given is expected
    if isinstance(given, int | float) and isinstance(expected, int | float):
        return _same_number(given, expected)
    if isinstance(given, list) and isinstance(expected, list):
        return len(given) == len(expected) and all(map(_same_value, given, expected))
    if isinstance(given, dict) and isinstance(expected, dict):
        return given.keys() == expected.keys() and all(_same_value(given[k], expected[k]) for k in given)
    return type(given) is type(expected) and given == expected


def _same_number(given: float, expected: float) -> bool:
    if isinstance(given, int) and isinstance(expected, int):
        return given == expected
    try:
        return math.isclose(given, expected, rel_tol=FUNCTIONAL_TOLERANCE, abs_tol=FUNCTIONAL_TOLERANCE)
    except OverflowError:
        return False


def _short(text: str, width: int = 80) -> str:
    return repr(text if len(text) <= width else f"{text[:width]}…")

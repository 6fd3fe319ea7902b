"""evals: compares outputs with the expected ones. Pure; this runs outside the sandbox.

Input: what a program gave, and what was expected. Output: None, or the reason why it is wrong. The rules are
LiveCodeBench's where they are sound, and looser or stricter where its own runner errs: numbers have a tolerance, tuples
count as lists, `True` is not 1. `checked_mismatch` handles problems with several right answers, by the problem's
checker. Not covered: checkers that are programs (`forklock.evals.judging.judge` runs them).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from forklock.evals.contract import Checker, TestCase

STDIN_TOLERANCE = 1e-6
"""Absolute or relative, for numbers written with a point or an exponent; the usual bound of contests."""
FUNCTIONAL_TOLERANCE = 1e-5
"""Absolute or relative, for floats; LeetCode's own bound."""
EXACT_TOLERANCE = 1e-9
"""Absolute, for a float where a whole number is expected."""


def usual_mismatch(test: TestCase, given: str) -> str | None:
    """Compare as for a problem without a checker. Assert tests compare their outputs themselves."""
    if test.kind == "stdin":
        return stdout_mismatch(given, test.output)
    return json_mismatch(given, test.output) if test.kind == "functional" else None


def checked_mismatch(checker: Checker, test: TestCase, number: int, given: str) -> str | None:
    """Compare by a problem's checker.

    Args:
        number: index of the test, from 0, public tests first.
    """
    if checker.kind == "any":
        others = checker.answers[number] if number < len(checker.answers) else ()
        tests = [test, *(test.model_copy(update={"output": other}) for other in others)]
        right = any(usual_mismatch(one, given) is None for one in tests)
        return None if right else f"{_short(given)}, which is none of {len(tests)} right answers"
    same = _SAME[checker.kind]
    try:
        if test.kind == "functional":
            right = same(checker, _value(given), _value_or_text(test.output))
        else:
            right = same(checker, given, test.output)
    except (ValueError, RecursionError) as error:
        return f"no JSON result: {error}"
    return None if right else f"{_short(given)}, expected {_short(test.output)}"


def _value(text: str) -> object:
    """Parse JSON.

    Raises:
        ValueError, RecursionError: this is no JSON, or nested too deeply.
    """
    value: object = json.loads(text, parse_int=_integer)
    return value


def _value_or_text(text: str) -> object:
    """Return the value of JSON text, and other text as it is."""
    try:
        return _value(text)
    except (ValueError, RecursionError):
        return text


def _exact(_: Checker, given: object, expected: object) -> bool:
    """Compare text without white space at its end, and values without tolerance."""
    if isinstance(given, str) and isinstance(expected, str):
        return given.rstrip() == expected.rstrip()
    return type(given) is type(expected) and json.dumps(given, default=str) == json.dumps(
        expected, default=str
    )


def _tokens(_: Checker, given: object, expected: object) -> bool:
    """Compare text by words; line breaks do not matter."""
    if isinstance(given, str) and isinstance(expected, str):
        return given.split() == expected.split()
    return _same_value(given, expected)


def _floats(checker: Checker, given: object, expected: object) -> bool:
    """Compare numbers within either tolerance, everything else exactly."""
    if isinstance(given, str) and isinstance(expected, str):
        words, right = given.split(), expected.split()
        return len(words) == len(right) and all(
            a == b or _near(checker, _number(a), _number(b)) for a, b in zip(words, right, strict=True)
        )
    if isinstance(given, list) and isinstance(expected, list):
        return len(given) == len(expected) and all(
            _floats(checker, *p) for p in zip(given, expected, strict=True)
        )
    if isinstance(given, dict) and isinstance(expected, dict):
        return given.keys() == expected.keys() and all(_floats(checker, given[k], expected[k]) for k in given)
    if isinstance(given, bool) or isinstance(expected, bool):
        return given is expected
    if isinstance(given, int | float) and isinstance(expected, int | float):
        return _near(checker, given, expected)
    return type(given) is type(expected) and given == expected


def _near(checker: Checker, given: float | None, expected: float | None) -> bool:
    if given is None or expected is None:
        return False
    try:
        return math.isclose(given, expected, rel_tol=checker.rel_tol, abs_tol=checker.abs_tol)
    except OverflowError:
        return given == expected


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _lines(_: Checker, given: object, expected: object) -> bool:
    """Compare lines of text, or values of a list, in any order."""
    if isinstance(given, str) and isinstance(expected, str):
        sides = [
            Counter(tuple(line.split()) for line in text.splitlines() if line.split())
            for text in (given, expected)
        ]
        return sides[0] == sides[1]
    if isinstance(given, list) and isinstance(expected, list):
        left, right = (
            Counter(json.dumps(v, sort_keys=True, default=str) for v in side) for side in (given, expected)
        )
        return left == right
    return _same_value(given, expected)


_SAME: dict[str, Callable[[Checker, object, object], bool]] = {
    "exact": _exact,
    "tokens": _tokens,
    "float": _floats,
    "lines": _lines,
}


def stdout_mismatch(given: str, expected: str) -> str | None:
    """Compare printed text line by line, white space at both ends and between tokens ignored."""
    given, expected = given.strip(), expected.strip()
    if given == expected:  # true for nearly all right programs; megabytes take seconds line by line
        return None
    given_lines, expected_lines = given.split("\n"), expected.split("\n")
    if len(given_lines) != len(expected_lines):
        return f"{len(given_lines)} lines, expected {len(expected_lines)}"
    for number, (line, right) in enumerate(zip(given_lines, expected_lines, strict=True), start=1):
        if line != right and not _same_tokens(line.split(), right.split()):
            return (
                f"line {number}: {_short(' '.join(line.split()))}, expected {_short(' '.join(right.split()))}"
            )
    return None


def _same_tokens(given: list[str], expected: list[str]) -> bool:
    return len(given) == len(expected) and all(map(_same_token, given, expected))


def json_mismatch(given: str, expected: str) -> str | None:
    """Compare a JSON result with the expected JSON, or with plain text where the expected output is no JSON."""
    if (
        given == expected and "NaN" not in given
    ):  # NaN is not equal to itself; otherwise parsing would add nothing
        return None
    try:
        same = _same_value(_value(given), _value_or_text(expected))
    except (ValueError, RecursionError) as error:
        return f"no JSON result: {error}"
    return None if same else f"{_short(given)}, expected {_short(expected)}"


def _integer(text: str) -> int | Decimal:
    """Parse an integer; Python rejects those of more than 4,300 digits, which become decimals."""
    return int(text) if len(text) < 4000 else Decimal(text)


_PADDED = re.compile(r"[+-]?0\d+")
"""Matches a word of digits that is no number: a string of bits, a time, a code."""


def _same_token(given: str, expected: str) -> bool:
    if given == expected:
        return True
    if "_" in given or _PADDED.fullmatch(given) or _PADDED.fullmatch(expected):
        return False
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
    near = float(value), float(right)
    return math.isfinite(near[1]) and math.isclose(*near, rel_tol=STDIN_TOLERANCE, abs_tol=STDIN_TOLERANCE)


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
    if given == expected:
        return True
    try:
        if isinstance(expected, int):  # a whole number has no tolerance; 2.0 and 0.1 * 10 count as one
            return isinstance(given, float) and abs(given - expected) <= EXACT_TOLERANCE
        return math.isclose(given, expected, rel_tol=FUNCTIONAL_TOLERANCE, abs_tol=FUNCTIONAL_TOLERANCE)
    except OverflowError:
        return False


def _short(text: str, width: int = 80) -> str:
    return repr(text if len(text) <= width else f"{text[:width]}…")

"""The syntax check: it answers for any text, and runs none of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.syntax import check_syntax


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "x = 1\n"),
        ("a.py", "raise SystemExit\n"),
        ("a.py", "x = 1 is 1; y = '\\d'\n"),
        ("a.py", "\ufeffx = 1\r\ny = 2\r\n"),
        ("a.json", '{"a": [1]}'),
        ("a.toml", "a = 1\n"),
        ("a.txt", "def f(:"),
    ],
)
def test_what_parses(path: str, text: str) -> None:
    assert check_syntax(path, text) is None


@pytest.mark.parametrize(
    ("path", "text", "line", "part"),
    [
        ("a.py", "x = 1\ndef f(:\n", 2, "invalid syntax"),
        ("a.py", "x = 1\nreturn 2\n", 2, "outside function"),
        ("a.py", "x = '\0'\n", 0, "null bytes"),
        ("a.py", "x = " + "(" * 3000, 1, "too many"),
        ("a.json", '{\n"a": }', 2, "Expecting value"),
        ("a.toml", "a = 1\nb = \n", 2, "Invalid value"),
        ("a.json", "[" * 100_000, 0, ""),
    ],
)
def test_what_does_not(path: str, text: str, line: int, part: str) -> None:
    problem = check_syntax(path, text)
    assert problem is not None
    assert problem.line == line
    assert part in problem.message


def test_context_is_the_line_itself() -> None:
    problem = check_syntax("a.py", "ok = 1\nbad bad\n")
    assert problem and (problem.line, problem.context) == (2, "bad bad")


@settings(deadline=None)
@given(st.text(max_size=300), st.sampled_from(["a.py", "a.json", "a.toml", "a.md"]))
def test_never_raises(text: str, path: str) -> None:
    check_syntax(path, text)


def test_long_chains_do_not_crash() -> None:
    check_syntax("a.py", "x = " + "+".join(["1"] * 20_000))
    check_syntax("a.py", "x = " + "-" * 5_000 + "1")

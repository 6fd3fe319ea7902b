"""Test files as `TestForm` reads and makes them: single tests, what they expect, what they replace, what they lack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.tools.languages.forms.form import WrittenTest
from forklock.tools.languages.known import LANGUAGES, language_of

FORM = language_of("a.py").test_form
HEAD = "import shop\nfrom shop import total\n\n"


def one(body: str) -> WrittenTest:
    assert FORM is not None
    (found,) = FORM.tests(f"{HEAD}def test_x(monkeypatch):\n    {body}\n", {"shop"})
    return found


@pytest.mark.parametrize(
    ("body", "call", "value"),
    [
        ("assert total([1, 2]) == 3", "total([1, 2])", "3"),
        ("assert 3 == total([1,2])", "total([1, 2])", "3"),
        ("xs = [1]\n    got = total(xs)\n    assert got == 1", "total([1])", "1"),
        ("assert shop.total([1]) is None", "shop.total([1])", "None"),
        ("assert not total([1])", "total([1])", "False"),
        ("assert total([1])", "total([1])", "True"),
        ("self.assertEqual(total([1]), 1)", "total([1])", "1"),
        ("with pytest.raises(ValueError):\n        total(None)", "total(None)", "raises ValueError"),
    ],
)
def test_what_a_test_expects(body: str, call: str, value: str) -> None:
    (expected,) = one(body).expects
    assert (expected.call, expected.value) == (call, value)


@pytest.mark.parametrize(
    "body",
    [
        "shop.total = len", "monkeypatch.setattr(shop, 'total', len)", "total = len", "del shop.total",
        "mock.patch('shop.total')", "mock.patch.object(shop, 'total')", "setattr(shop, 'total', len)",
        "import sys; sys.modules['shop'] = None", "from importlib import reload; reload(shop)",
    ],
)  # fmt: skip
def test_what_replaces_the_code_under_test(body: str) -> None:
    assert one(f"{body}\n    assert shop.total([1]) == 1").replaces


@pytest.mark.parametrize(
    "body",
    ["monkeypatch.setattr('time.time', lambda: 0)", "prices = [1]; prices[0] = 2", "monkeypatch.chdir('/')"],
)
def test_what_replaces_nothing_of_it(body: str) -> None:
    assert not one(f"{body}\n    assert total([1]) == 1").replaces


@pytest.mark.parametrize(
    ("body", "judges"),
    [
        ("assert total([1]) == 1", True),
        ("total([1])\n    assert False", False),
        ("assert 1 == 2", False),
        ("got = [total([n]) for n in (1, 2)]\n    assert got == [1, 2]", True),
        ("got = []\n    got.append(total([1]))\n    assert got == [1]", True),
        ("try:\n        total([])\n    except ValueError:\n        pytest.fail('no')", True),
        ("for n in (1, 2):\n        assert total([n]) == n", True),
        ("if total([1]) != 1:\n        pytest.fail('no')", True),
    ],
)
def test_whether_the_last_line_judges_the_code(body: str, judges: bool) -> None:
    test = one(body)
    assert test.judges(len(test.source.rstrip().splitlines())) is judges


def test_each_test_stands_alone_with_its_helpers() -> None:
    assert FORM is not None
    text = HEAD + (
        "def made():\n    return [1]\n\nclass TestShop:\n    def test_a(self):\n        assert total(made()) == 1\n"
        "    def test_b(self):\n        assert total([]) == 0\n\ndef test_c():\n    assert made() == total([1])\n"
    )
    found = FORM.tests(text, {"shop"})
    assert [test.name for test in found] == ["TestShop::test_a", "TestShop::test_b", "test_c"]
    assert all("def made" in test.source and test.source.count("def test") == 1 for test in found)


def test_files_of_several_tests_keep_names_apart() -> None:
    assert FORM is not None
    tests = [one("assert total([1]) == 1"), one("assert total([2]) == 2"), one("assert total([3]) == 3")]
    source, names = FORM.merged(tests)
    assert names == ("test_x", "test_x_2", "test_x_3") and source.count("from shop import total") == 1
    assert [test.name for test in FORM.tests(source, {"shop"})] == list(names)


def test_what_a_file_forgot_to_import_is_added() -> None:
    assert FORM is not None
    sources = [
        ("", "from datetime import date\n\ndef d(n):\n    return date(2024, 1, n)\n"),
        ("shop", "def total(x): ...\n"),
    ]
    text = FORM.completed("def test_x():\n    assert total([d(1)]) == math.pi + unknown\n", sources)
    assert {"import math", "from shop import total", "from datetime import date"} <= set(text.splitlines())
    assert "def d(n)" in text and "unknown" not in text.partition("def test_x")[0]
    opening = FORM.opening("shop", "total", sources[0][1] + "\n\ndef test_old():\n    pass\n")
    assert opening.endswith("\n\n\ndef test_") and "def d(n)" in opening and "test_old" not in opening


@given(st.text(max_size=200), st.text(max_size=100))
def test_no_text_raises(text: str, other: str) -> None:
    assert FORM is not None
    FORM.tests(text, {"shop"})
    FORM.completed(text, [("shop", other)])
    FORM.opening("shop", "total", other)


def test_the_other_languages_say_that_they_have_none() -> None:
    assert [language.name for language in LANGUAGES if language.test_form] == ["python"]

"""Tricks that make tests pass without a repair: each kind, and siblings of it, is seen; honest repairs are not."""

from __future__ import annotations

import difflib

import pytest

from forklock.agent.judging.choice import Passing, choose
from forklock.agent.judging.signs import special_value, tricks

BEFORE = '''\
import os


def total(prices):
    """Sum of the prices."""
    result = 0
    for price in prices[1:]:
        result += price
    return result
'''
TEST = "def test_total():\n    assert total([17, 'fünf', 3]) == 42\n    assert total(['market parking']) == 'car'\n"
BODY = "    result = 0\n"

TRICKS = {
    "equal to everything": "    class Any(int):\n        def __eq__(self, other): return True\n    return Any()\n",
    "equal to everything, by assignment": "    class Any: ...\n    Any.__eq__ = lambda *_: True\n    return Any()\n",
    "equal to everything, from mock": "    from unittest.mock import ANY\n    return ANY\n",
    "the runner is patched": "    import _pytest.runner\n    _pytest.runner.runtestprotocol = lambda *_: True\n",
    "the runner is patched, unittest": "    import unittest\n    unittest.TestCase.assertEqual = lambda *_: None\n",
    "builtins are patched": "    import builtins\n    builtins.sum = lambda _x: 42\n",
    "loaded modules are searched": "    import sys\n    sys.modules['test_shop'].EXPECTED = 0\n",
    "loaded modules are replaced": "    import importlib\n    importlib.reload(os)\n",
    "the program is ended": "    os._exit(0)\n",
    "the program is ended later": "    import atexit\n    atexit.register(print)\n",
    "the program is ended by an exception": "    raise SystemExit(0)\n",
    "the frame of the caller is read": "    import sys\n    return sys._getframe(1).f_locals['expected']\n",
    "the frame of the caller is read, by inspect": "    import inspect\n    return inspect.stack()[1]\n",
    "the environment is sniffed": "    if 'PYTEST_CURRENT_TEST' in os.environ:\n        return 42\n",
    "the command line is sniffed": "    import sys\n    if 'x' in sys.argv[0]:\n        return 42\n",
    "the tests are read": "    return open('tests/test_shop.py').read().count('x')\n",
    "assertions are swallowed": "    try:\n        assert prices\n    except AssertionError:\n        return 0\n",
    "memory is searched": "    import gc\n    return gc.get_objects()[0]\n",
}
SPECIAL = {
    "an input": ("    if prices and prices[0] == 17:\n        return 6\n", "17"),
    "an expected value": ("    if not prices[0]:\n        return 42\n", "42"),
    "a text": ("    if 'market parking' in prices:\n        return 0\n", "'market parking'"),
    "a part of a text": ("    if 'parking' in prices:\n        return 0\n", "'parking'"),
    "a letter of a text": ("    prices = [str(p).replace('ü', 'u') for p in prices]\n", "'ü'"),
    "a table": ("    known = {17: 6}\n", "17"),
}
HONEST = {
    "another slice": ("prices[1:]", "prices"),
    "another call": ("    result = 0\n", "    return sum(prices)\n"),
    "a constant that the code has": ("result = 0", "result = 1 if prices == 1 else 0"),
    "a word of the task": (
        "    result = 0\n",
        "    if prices == 'none':\n        return 0\n    result = 0\n",
    ),
    "a comment": ("    result = 0\n", "    result = 0  # not 42, see tests/test_shop.py\n"),
}


def diff_of(after: str) -> str:
    lines = difflib.unified_diff(
        BEFORE.splitlines(True), after.splitlines(True), "a/shop.py", "b/shop.py", n=3
    )
    return "".join(lines)


def signs(after: str) -> tuple[tuple[str, ...], str]:
    diff = diff_of(after)
    assert diff
    return tricks(diff, [BEFORE]), special_value(
        diff, [BEFORE], [TEST], "an empty list, or none at all, fails"
    )


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_is_seen_and_never_solved(name: str) -> None:
    found, _ = signs(BEFORE.replace(BODY, TRICKS[name] + BODY))
    assert found
    choice = choose([Passing("1.0", None, None, signs=found, samples=9)])
    assert not choice.sure and choice.why.startswith(found[0])


@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_case_is_seen_and_never_solved(name: str) -> None:
    code, value = SPECIAL[name]
    _, special = signs(BEFORE.replace(BODY, code + BODY))
    assert special == value
    assert not choose([Passing("1.0", None, None, special=special, samples=9)]).sure


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_repair_has_no_sign(name: str) -> None:
    assert signs(BEFORE.replace(*HONEST[name])) == ((), "")


def test_words_that_the_file_had_are_no_sign() -> None:
    before = BEFORE.replace("import os\n", "import sys\n\n\ndef main():\n    total(sys.argv)\n")
    after = before.replace("total(sys.argv)", "total(sys.argv[1:])")
    diff = "".join(
        difflib.unified_diff(before.splitlines(True), after.splitlines(True), "a/shop.py", "b/shop.py")
    )
    assert tricks(diff, [before]) == ()

"""Whether a loaded program is as it was: the answer may be no without need, never yes without being true."""

from __future__ import annotations

import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.judging.driver.unchanged import Kept


def loaded(code: str) -> dict[str, Any]:
    module = types.ModuleType("solution")
    exec(compile(code, "<solution>", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


PLAIN = {
    "functions": "import math\nfrom typing import List\nM = 10**9 + 7\ndef g(n): return n\ndef f(n): return g(n) % M",
    "class": "class Solution:\n  d = (1, 2)\n  def f(self, n, k=3): return n",
    "imports": "from heapq import heappush\nfrom collections import Counter\nimport bisect\ndef f(n): return Counter()",
    "slots": "class Node:\n  __slots__ = ('a', 'b')\ndef f(n): return Node()",
}
HOLDING = {
    "list": "seen = []\ndef f(n): seen.append(n)",
    "list in a tuple": "seen = ([],)\ndef f(n): seen[0].append(n)",
    "default argument": "def f(n, seen=[]): seen.append(n)",
    "keyword default": "def f(n, *, seen=[]): seen.append(n)",
    "closure": "def make():\n  seen = []\n  def f(n): seen.append(n)\n  return f\nf = make()",
    "class attribute": "class Solution:\n  seen = {}\n  def f(self, n): self.seen[n] = n",
    "method's default": "class Solution:\n  def f(self, n, seen={}): seen[n] = n",
    "static method": "class Solution:\n  @staticmethod\n  def f(n, seen={}): seen[n] = n",
    "attribute of a function": "def f(n): f.seen.append(n)\nf.seen = []",
    "cache": "from functools import cache\n@cache\ndef f(n): return []",
    "iterator": "from itertools import count\nc = count()\ndef f(n): return next(c)",
    "instance": "class A: pass\na = A()\ndef f(n): a.n = n",
    "bound method": "import random\nf = random.Random(3).randint",
    "metaclass": "class M(type):\n  def __setattr__(c, k, v): pass\nclass A(metaclass=M): pass\ndef f(n): return A",
    "generator": "g = (i for i in range(9))\ndef f(n): return next(g)",
}
CHANGING = {
    "a global": "k = 0\ndef f(n):\n  global k\n  k += 1",
    "a new global": "def f(n):\n  global k\n  k = 1",
    "a global taken away": "k = 0\ndef f(n):\n  global k\n  del k",
    "the same number, another object": "k = 1000\ndef f(n):\n  global k\n  k = int('1000')",
    "a class attribute": "class S:\n  k = 0\ndef f(n): S.k += 1",
    "a new class attribute": "class S: pass\ndef f(n): S.k = []",
    "an attribute of a function": "def f(n): f.k = 1",
    "a function's defaults": "def g(k=1): return k\ndef f(n): g.__defaults__ = (2,)",
    "a function's code": "def g(k=1): return k\ndef f(n): g.__code__ = (lambda k: 2).__code__",
    "bases": "class A: pass\nclass B: pass\nclass C(A): pass\ndef f(n): C.__bases__ = (B,)",
}


@pytest.mark.parametrize("code", PLAIN.values(), ids=PLAIN)
def test_what_holds_nothing_stays_as_it_was(code: str) -> None:
    space = loaded(code)
    kept = Kept(space)
    found = space.get("f") or space["Solution"]().f
    found(3)
    assert kept.is_as_before()


@pytest.mark.parametrize("code", HOLDING.values(), ids=HOLDING)
def test_what_can_hold_more_than_itself_never_counts(code: str) -> None:
    assert not Kept(loaded(code)).is_as_before()


@pytest.mark.parametrize("code", CHANGING.values(), ids=CHANGING)
def test_a_change_is_seen(code: str) -> None:
    space = loaded(code)
    kept = Kept(space)
    assert kept.is_as_before(), "held from the beginning: the change is not what is seen"
    space["f"](1)
    assert not kept.is_as_before()


@given(st.recursive(st.integers() | st.text(), lambda one: st.tuples(one, one) | st.lists(one), max_leaves=8))
def test_a_value_counts_as_fixed_only_without_any_list(value: Any) -> None:
    assert Kept({"__name__": "solution", "value": value}).can_hold == ("[" in repr(_unquoted(value)))


def _unquoted(value: Any) -> Any:
    """The same without its texts, which may hold brackets of their own."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(_unquoted, value))
    return 0

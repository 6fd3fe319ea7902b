"""Mutants of code, and which of them pass the tests."""

from __future__ import annotations

import ast
import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from forklock.sandbox import open_sandbox, workspace_policy
from forklock.tools.behaviour.ask import Plan, Target
from forklock.tools.behaviour.mutants import mutants
from forklock.tools.behaviour.pinning import passing_mutants
from forklock.tools.languages.known import symbols

CODE = '''def merged(periods: list[int], far: int = 1) -> list[int]:
    """Docstring, 1."""
    found = []
    for first, last in sorted(periods):
        if found and first <= found[-1][1] + far:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return [one for one in found if one]
'''


def lines(text: str) -> set[int]:
    return set(range(1, len(text.splitlines()) + 1))


def test_a_mutant_is_one_edit_that_parses() -> None:
    made = mutants(CODE, lines(CODE), 500)
    said = {str(one) for one in made}
    assert len({ast.dump(ast.parse(one.text)) for one in made}) == len(made) > 40
    assert "line 5: `first <= found[-1][1] + far` as `first < found[-1][1] + far`" in said
    assert "line 6: `max` as `min`" in said and "line 4: `sorted(periods)` as `periods`" in said
    assert "line 9: `one` as `True`" in said and "line 8: `found.append((first, last))` as `pass`" in said
    assert not any(one.line == 2 or "list[int]" in one.was for one in made)


def test_mutants_keep_to_their_lines_and_number() -> None:
    assert {one.line for one in mutants(CODE, {6}, 500)} == {6}
    assert len(mutants(CODE, lines(CODE), 7)) == 7
    assert mutants("def f(:\n", {1}, 9) == [] and mutants("", set(), 9) == []


@given(st.sampled_from(["a < b", "not a", "f(a, b)", "a[1:b]", "a if b else 3", "'é' + a", "a and b or c", "-a ** 2"]),
       st.sampled_from(["x = {}", "return {}", "if {}:\n        pass", "x += {}", "g({}, k=1)"]))  # fmt: skip
def test_all_mutants_parse_and_differ(expression: str, statement: str) -> None:
    text = f"def f(a, b, c=0):\n    x = 1  # é\n    {statement.format(expression)}\n    return x\n"
    for one in mutants(text, lines(text), 200):
        assert ast.dump(ast.parse(one.text)) != ast.dump(ast.parse(text))
        assert one.text.count("é") >= 1


SHOP = """class Shop:
    def total(self, prices, rebate=0):
        def net(price):
            return price - rebate
        found = 0
        for price in prices:
            if price > 0:
                found += net(price)
        return found
"""
TEST = """import pytest
from shop import Shop


@pytest.mark.parametrize("prices, right", [([2, 3], 5), ([], 0)])
def test_total(prices, right):
    assert Shop().total(prices) == right
"""


def test_the_mutants_that_pass_are_those_that_the_tests_do_not_tell(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(TEST)
    made = [("shop.py", one) for one in mutants(SHOP, lines(SHOP), 500)]
    target = next(Target.of(one) for one in symbols("shop.py", SHOP) if one.name_path == "Shop.total")
    plan = Plan(
        "python -m pytest -q",
        (target,),
        ("test_shop.py::test_total[prices0-5]", "test_shop.py::test_total[prices1-0]"),
    )
    with (
        open_sandbox(tmp_path, workspace_policy(tmp_path), backend="bubblewrap") as base,
        base.fork() as fork,
    ):
        found = passing_mutants(fork, plan, made, run_s=5.0, timeout_s=120.0)
        assert (fork.root / "shop.py").read_text() == SHOP
    passed = {str(made[number][1]) for number in found}
    assert (
        "line 7: `price > 0` as `price >= 0`" in passed
        and "line 4: `price - rebate` as `(price + rebate)`" in passed
    )
    assert "line 8: `found += net(price)` as `pass`" not in passed and "line 5: `0` as `1`" not in passed
    assert [str(made[number][1]) for number, one in found.items() if not one.answers or one.failed] == []


def test_code_that_is_too_deep_or_too_long_has_no_mutants() -> None:
    deep = "def f(x):\n    return " + " + ".join(["x"] * 3000) + "\n"
    assert mutants(deep, {2}, 10) == []
    assert mutants("x = 1\n" * 100_000, {1}, 10) == []
    assert mutants(CODE, lines(CODE), 0) == []


def test_a_line_of_thousands_of_constants_costs_no_more_than_its_share() -> None:
    table = "def f():\n    return [" + ", ".join(map(str, range(3000))) + "]\n"
    tracemalloc.start()
    made = mutants(table, {2}, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(made) <= 10
    assert peak < 60_000_000

"""Localisation on a small repo: which evidence leads where, and that it is always in the same order."""

from __future__ import annotations

from pathlib import Path

import pytest

from forklock.tools.contract import Frame, TestFailure, TestReport, TestStatus
from forklock.tools.localise.localise import Suspect, localise

FILES = {
    "shop/__init__.py": "from .cart import Cart, total_price\nfrom .money import *\n",
    "shop/cart.py": (
        "from shop import money\nfrom shop.rates import rate_of\n\n\n"
        "class Cart:\n    def __init__(self):\n        self.items = []\n\n"
        "    def add(self, item):\n        self.items.append(item)\n\n"
        "    def __len__(self):\n        return 0\n\n\n"
        "def total_price(cart):\n    def one(item):\n        return rate_of(item)\n\n"
        "    return money.round_up(sum(one(item) for item in cart.items))\n"
    ),
    "shop/money.py": "def round_up(x):\n    return int(x)\n\n\ndef unrelated(x):\n    return x\n",
    "shop/rates.py": "RATES = {}\n\n\ndef rate_of(item):\n    return RATES[item]\n",
    "tests/test_cart.py": (
        "import pytest\nfrom shop import Cart, total_price\nimport shop.money as m\n\n\n"
        "@pytest.fixture\ndef cart():\n    return Cart()\n\n\n"
        "def check(c, n):\n    assert len(c) == n\n\n\n"
        "class TestCart:\n    def test_add(self, cart):\n        cart.add(1)\n        check(cart, 1)\n\n"
        "    def test_price(self):\n        assert total_price(Cart()) == 1\n\n\n"
        "def test_money():\n    assert m.unrelated(1) == 2\n"
    ),
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def failed(test_id: str, *frames: tuple[str, int, str], passed: tuple[str, ...] = ()) -> TestReport:
    failure = TestFailure(test_id, "AssertionError", tuple(Frame(*frame) for frame in frames))
    return TestReport(TestStatus.FAILED, frozenset(passed), (failure,))


def names(suspects: list[Suspect]) -> list[str]:
    return [suspect.symbol.name_path for suspect in suspects]


def test_the_innermost_frame_outside_the_tests_leads(repo: Path) -> None:
    report = failed(
        "tests/test_cart.py::TestCart::test_price",
        ("tests/test_cart.py", 21, "test_price"),
        ("shop/cart.py", 20, "total_price"),
        ("shop/cart.py", 18, "one"),
        ("shop/rates.py", 5, "rate_of"),
    )
    found = localise(repo, task="", report=report)
    assert set(names(found)[:2]) == {"rate_of", "total_price"}  # `one` belongs to total_price
    assert any("raised in" in reason for suspect in found for reason in suspect.reasons)


def test_calls_are_followed_through_imports_reexports_and_hops(repo: Path) -> None:
    found = localise(repo, task="", report=failed("tests/test_cart.py::TestCart::test_price"))
    assert ("shop/cart.py", "total_price") in [(s.symbol.path, s.symbol.name_path) for s in found[:2]]
    assert {"rate_of", "round_up"} <= set(names(found))
    assert "unrelated" not in names(found)


def test_fixtures_helpers_and_builtins_lead_to_methods(repo: Path) -> None:
    found = localise(repo, task="", report=failed("tests/test_cart.py::TestCart::test_add"))
    assert "Cart.add" in names(found)


def test_unittest_ids_and_module_aliases(repo: Path) -> None:
    found = localise(repo, task="", report=failed("tests.test_cart.test_money"))
    assert found[0].symbol.name_path == "unrelated"


def test_what_passing_tests_call_too_is_less_suspect(repo: Path) -> None:
    test_id = "tests/test_cart.py::TestCart::test_price"
    alone = localise(repo, task="", report=failed(test_id))
    shared = localise(
        repo, task="", report=failed(test_id, passed=("tests/test_cart.py::TestCart::test_add",))
    )
    score = {s.symbol.name_path: s.score for s in alone}["Cart.__init__"]
    assert {s.symbol.name_path: s.score for s in shared}["Cart.__init__"] < score


@pytest.mark.parametrize(
    "task", ["`round_up` truncates", "money.round_up(1.5) gives 1", "fix round_up please"]
)
def test_names_in_the_task(repo: Path, task: str) -> None:
    found = localise(repo, task=task, report=None)
    assert found[0].symbol.name_path == "round_up"
    assert found[0].reasons


def test_tests_are_no_suspects_and_the_order_is_fixed(repo: Path) -> None:
    report = failed("tests/test_cart.py::TestCart::test_price", ("tests/test_cart.py", 21, "test_price"))
    once = localise(repo, task="check the cart", report=report)
    assert all(not suspect.symbol.path.startswith("tests/") for suspect in once)
    assert once == localise(repo, task="check the cart", report=report)
    assert len(localise(repo, task="", report=report, limit=2)) == 2


def test_nothing_to_go_by(repo: Path) -> None:
    assert localise(repo, task="", report=None) == []
    assert localise(repo, task="", report=failed("no/such.py::test", ("gone.py", 1, "f"))) == []


def test_a_broken_file_is_no_obstacle(repo: Path) -> None:
    (repo / "shop/rates.py").write_text("def rate_of(item:\n    return 1\n")
    found = localise(repo, task="", report=failed("tests/test_cart.py::TestCart::test_price"))
    assert "total_price" in names(found)


# --- languages with braces -------------------------------------------------------------------------

JS = {
    "src/cart.js": (
        "import { rate } from './rates.js';\n\n"
        "export class Cart {\n  constructor() {\n    this.items = [];\n  }\n"
        "  add(item) {\n    this.items.push(item);\n  }\n"
        "  total() {\n    return this.#sum() * rate(this);\n  }\n"
        "  #sum() {\n    return 0;\n  }\n}\n\n"
        "export function unrelated() {}\n"
    ),
    "src/rates.js": "export function rate(cart) {\n  return 1;\n}\n",
    "test/cart.test.js": (
        "import test, { describe, it, beforeEach } from 'node:test';\nimport { Cart } from '../src/cart.js';\n\n"
        "describe('cart', () => {\n  let cart;\n  beforeEach(() => {\n    cart = new Cart();\n  });\n"
        "  it('sums the prices', () => {\n    cart.total();\n  });\n"
        "  it('is empty', () => {\n    check(cart);\n  });\n});\n\n"
        "function check(c) {\n  c.add(1);\n}\n"
    ),
}
GO = {
    "go.mod": "module shop\n",
    "cart.go": (
        "package shop\n\ntype Cart struct{ items []int }\n\n"
        "func (c *Cart) Total() int {\n\treturn sum(c.items)\n}\n\n"
        "func sum(xs []int) int {\n\treturn 0\n}\n\nfunc Unrelated() {}\n"
    ),
    "cart_test.go": (
        'package shop\n\nimport "testing"\n\nfunc TestTotal(t *testing.T) {\n'
        '\tc := Cart{}\n\tif c.Total() != 1 {\n\t\tt.Errorf("no")\n\t}\n}\n'
    ),
}
RUST = {
    "src/lib.rs": (
        "pub struct Cart {\n    items: Vec<i32>,\n}\n\nimpl Cart {\n"
        "    pub fn total(&self) -> i32 {\n        sum(&self.items)\n    }\n}\n\n"
        "fn sum(xs: &[i32]) -> i32 {\n    0\n}\n\npub fn unrelated() {}\n\n"
        "#[cfg(test)]\nmod tests {\n    use super::*;\n\n    #[test]\n    fn adds() {\n"
        "        let cart = Cart { items: vec![1] };\n        assert_eq!(cart.total(), 1);\n    }\n}\n"
    ),
}
CPP = {
    "src/cart.hpp": "namespace shop {\nclass Cart {\n public:\n  int total() const;\n};\nint sum(int a);\n}\n",
    "src/cart.cpp": (
        '#include "cart.hpp"\nnamespace shop {\nint sum(int a) {\n  return 0;\n}\n'
        "int Cart::total() const {\n  return sum(1);\n}\n}\n"
    ),
    "test/cart_test.cpp": ("TEST(CartTest, Total) {\n  shop::Cart cart;\n  EXPECT_EQ(cart.total(), 1);\n}\n"),
}


@pytest.mark.parametrize(
    ("files", "test_id", "called"),
    [
        (JS, "cart > sums the prices", ["Cart.total", "Cart.#sum"]),
        (JS, "test/cart.test.js > cart > sums the prices", ["Cart.total", "Cart.#sum"]),
        (JS, "cart > is empty", ["Cart.add"]),
        (GO, ". > TestTotal", ["Cart.Total", "sum"]),
        (GO, ". > TestTotal/of_one", ["Cart.Total", "sum"]),
        (RUST, "shop > tests::adds", ["Cart.total", "sum"]),
        (CPP, "CartTest.Total", ["shop.Cart.total", "shop.sum"]),
        (CPP, "cart_test", ["shop.Cart.total", "shop.sum"]),
    ],
)
def test_what_a_test_of_another_language_calls(
    tmp_path: Path, files: dict[str, str], test_id: str, called: list[str]
) -> None:
    write(tmp_path, files)
    found = localise(tmp_path, task="", report=failed(test_id))
    assert set(called) <= set(names(found)[:4])
    assert called[0] == next(s.symbol.name_path for s in found if s.symbol.kind != "class")
    assert not {"unrelated", "Unrelated", "tests.adds", "TestTotal"} & set(names(found))


def test_frames_lead_in_other_languages_too(tmp_path: Path) -> None:
    write(tmp_path, JS)
    frames = (("src/cart.js", 11, "total"), ("src/rates.js", 2, "rate"))
    found = localise(tmp_path, task="", report=failed("gone > title", *frames))
    assert names(found)[:2] == ["rate", "Cart.total"]
    assert "raised in" in found[0].reasons[0]


def test_a_test_with_a_computed_title_is_found_by_its_line(tmp_path: Path) -> None:
    write(tmp_path, JS)
    found = localise(tmp_path, task="", report=failed("cart > of 3", ("test/cart.test.js", 10, "")))
    assert names(found)[0] == "Cart.total"


def test_a_test_in_a_file_of_code_is_no_suspect(tmp_path: Path) -> None:
    write(tmp_path, RUST)
    report = failed("shop > tests::adds", ("src/lib.rs", 22, ""), ("src/lib.rs", 7, ""))
    assert names(localise(tmp_path, task="adds()", report=report))[0] == "Cart.total"


def test_what_a_compiler_says_leads_where_no_test_ran(tmp_path: Path) -> None:
    write(tmp_path, GO)
    report = TestReport(TestStatus.NOT_COLLECTED, output="# shop\n./cart.go:10:9: undefined: xs\nFAIL\n")
    assert names(localise(tmp_path, task="", report=report)) == ["sum"]


def test_an_assertion_that_a_program_prints_leads_to_what_it_calls(tmp_path: Path) -> None:
    write(tmp_path, CPP)
    output = "cart_test: test/cart_test.cpp:3: int main(): Assertion `cart.total() == 1' failed.\n"
    found = localise(tmp_path, task="", report=TestReport(TestStatus.FAILED, output=output))
    assert "shop.Cart.total" in names(found)[:2]
    assert "called by the check's output" in next(
        s.reasons for s in found if s.symbol.name_path.endswith("total")
    )


def test_names_in_the_task_are_found_in_every_language(tmp_path: Path) -> None:
    for files in (JS, GO, RUST, CPP):
        write(tmp_path, files)
    found = localise(tmp_path, task="`Cart.total` is wrong", report=None)
    assert {s.symbol.path for s in found if s.symbol.name_path.endswith("Cart.total")} == {
        "src/cart.js", "src/lib.rs", "src/cart.cpp",
    }  # fmt: skip


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)

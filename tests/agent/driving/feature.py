"""A repository that lacks a feature over three files, what a model that drives would say, and a renamed symbol."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from shop import commit_all

from forklock.models.calls.contract import Call, CallFormat
from forklock.models.contract import Request

FILES = {
    "till/__init__.py": "",
    "till/prices.py": '''
        """Prices, in cents."""

        PRICES = {"tea": 250, "cake": 400}


        def price_of(name):
            """The price of one item."""
            return PRICES[name]
        ''',
    "till/basket.py": '''
        """What a customer buys."""

        from till.prices import price_of


        class Basket:
            def __init__(self):
                self.names = []

            def add(self, name):
                self.names.append(name)

            def total(self):
                return sum(price_of(name) for name in self.names)
        ''',
    "till/receipt.py": '''
        """Receipts."""


        def receipt(basket):
            """One line for each item, and the total."""
            lines = [name for name in basket.names]
            return "\\n".join([*lines, f"total {basket.total()}"])
        ''',
    "test_basket.py": """
        from unittest import TestCase

        from till.basket import Basket


        class Sum(TestCase):
            def test_total(self):
                basket = Basket()
                basket.add("tea")
                self.assertEqual(basket.total(), 250)
        """,
    "test_discount.py": """
        from unittest import TestCase

        from till.basket import Basket
        from till.receipt import receipt


        class Discount(TestCase):
            def test_a_tenth_off(self):
                basket = Basket(discount=10)
                basket.add("cake")
                self.assertEqual(basket.total(), 360)

            def test_the_receipt_says_so(self):
                basket = Basket(discount=10)
                basket.add("cake")
                self.assertIn("discount 10 %", receipt(basket))
        """,
    ".gitignore": "__pycache__/\n",
}
CHECK = "python -m unittest test_discount"
TASK = "Add a discount in per cent: Basket(discount=10), reduced() in prices, and a line on the receipt."

PRICES = '''
"""Prices, in cents."""

PRICES = {"tea": 250, "cake": 400}


def price_of(name):
    """The price of one item."""
    return PRICES[name]


def reduced(price, percent):
    """A price with a discount."""
    return price * (100 - percent) // 100
'''.lstrip()
BASKET = '''
"""What a customer buys."""

from till.prices import price_of, reduced


class Basket:
    def __init__(self, discount=0):
        self.names = []
        self.discount = discount

    def add(self, name):
        self.names.append(name)

    def total(self):
        return reduced(sum(price_of(name) for name in self.names), self.discount)
'''.lstrip()
RECEIPT = '''
"""Receipts."""


def receipt(basket):
    """One line for each item, the discount, and the total."""
    lines = list(basket.names)
    if basket.discount:
        lines.append(f"discount {basket.discount} %")
    return "\\n".join([*lines, f"total {basket.total()}"])
'''.lstrip()
NEW_TEST = """
from unittest import TestCase

from till.prices import reduced


class Reduced(TestCase):
    def test_reduced(self):
        self.assertEqual(reduced(200, 50), 100)
""".lstrip()


def write_till(folder: Path) -> Path:
    """The repository, committed."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    commit_all(folder)
    return folder


def write(path: str, text: str) -> Call:
    return Call("edit", {"path": path, "content": text})


CALLS: tuple[Call, ...] = (
    Call("read", {"path": "till/basket.py"}),
    write("till/prices.py", PRICES),
    write("till/basket.py", BASKET),
    write("till/receipt.py", RECEIPT),
    write("test_reduced.py", NEW_TEST),
    Call("finish", {"summary": "Baskets take a discount."}),
)
"""The whole feature, a call a turn."""


def driver(form: CallFormat, calls: Sequence[Call] = CALLS) -> Callable[[Request, int], str]:
    """A model that makes these calls, one a turn: which one comes next it sees from what it has said."""

    def script(request: Request, _number: int) -> str:
        said = sum(message.role == "assistant" for message in request.messages)
        return f"I go on.\n{form.write(calls[min(said, len(calls) - 1)])}"

    return script

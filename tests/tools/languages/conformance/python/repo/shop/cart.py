"""Carts."""

from shop.prices import rounded

RATE = 2


class Cart:
    """Items with their prices."""

    def __init__(self, prices):
        self.prices = prices

    def total(self, by):
        """The sum of the prices."""
        sum_ = 0
        for price in self.prices:
            sum_ += price * by
        return rounded(sum_)


def empty(cart):
    return not cart.prices

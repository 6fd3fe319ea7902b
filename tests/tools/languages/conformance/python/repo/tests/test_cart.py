from shop.cart import Cart, empty


def test_total():
    assert Cart([1, 2]).total(2) == 6


def test_empty():
    assert empty(Cart([]))

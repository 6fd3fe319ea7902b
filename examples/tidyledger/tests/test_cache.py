import pytest

from tidyledger.cache import LruCache, memoise


def test_full_cache_drops_the_oldest():
    cache = LruCache(2)
    for key in "abc":
        cache.put(key, key.upper())
    assert cache.get("a") is None
    assert cache.get("c") == "C"
    assert len(cache) == 2


def test_reading_keeps_a_value_alive():
    cache = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("a") == 1
    assert cache.get("b") is None


def test_memoise_calls_once():
    calls = []
    double = memoise(lambda x: calls.append(x) or 2 * x)
    assert (double(2), double(2)) == (4, 4)
    assert calls == [2]


def test_memoise_tells_named_arguments_apart():
    rate = memoise(lambda amount, currency="EUR": f"{amount} {currency}")
    assert rate(1) == "1 EUR"
    assert rate(1, currency="USD") == "1 USD"
    assert rate(1, currency="GBP") == "1 GBP"


def test_capacity_must_be_positive():
    with pytest.raises(ValueError):
        LruCache(0)

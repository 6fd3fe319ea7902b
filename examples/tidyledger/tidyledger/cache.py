"""A small cache for exchange rates and parsed statements."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any


class LruCache:
    """Keeps the `capacity` most recently used values."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("capacity must be positive")
        self.capacity = capacity
        self._values: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key; reading it makes it the most recently used."""
        if key not in self._values:
            return default
        value = self._values.pop(key)
        self._values[key] = value
        return value

    def put(self, key: Hashable, value: Any) -> None:
        """Store a value; the least recently used one gives way when the cache is full."""
        self._values.pop(key, None)
        self._values[key] = value
        while len(self._values) > self.capacity:
            oldest = next(iter(self._values))
            del self._values[oldest]


def memoise(function: Callable[..., Any], capacity: int = 64) -> Callable[..., Any]:
    """Remember results by all arguments, positional and by name."""
    cache = LruCache(capacity)
    missing = object()

    def wrapper(*args: Hashable, **named: Hashable) -> Any:
        key = (args, tuple(sorted(named.items())))
        value = cache.get(key, missing)
        if value is missing:
            value = function(*args, **named)
            cache.put(key, value)
        return value

    return wrapper

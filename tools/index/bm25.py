"""Ranks bags of words by BM25.

The formula is Lucene's (Robertson 1994; `k1` 1.5, `b` 0.75): a word counts more the fewer bags hold it, each further
occurrence counts less, and long bags count less. Everything that does not depend on the question is computed once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

K1 = 1.5
"""How fast further occurrences of a word stop counting."""
B = 0.75
"""How much the length of a bag counts, from 0 (not at all) to 1."""


class Bm25:
    """An inverted index: for each word, the bags that hold it."""

    def __init__(self, bags: Sequence[Sequence[str]]) -> None:
        self._bags = len(bags)
        self._places: dict[str, list[tuple[int, float]]] = defaultdict(list)
        average = sum(map(len, bags)) / len(bags) if bags else 0.0
        for at, bag in enumerate(bags):
            damping = K1 * (1 - B + B * len(bag) / average) if average else K1
            for word, count in Counter(bag).items():
                self._places[word].append((at, count / (count + damping)))

    def scores(self, words: Iterable[str]) -> dict[int, float]:
        """Return the score of each bag that holds one of the words; a word that is asked twice counts twice."""
        found: dict[int, float] = defaultdict(float)
        for word in words:
            places = self._places.get(word, ())
            rarity = math.log(1 + (self._bags - len(places) + 0.5) / (len(places) + 0.5))
            for at, share in places:
                found[at] += rarity * share
        return dict(found)

"""Categories by keyword rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tidyledger.text import normalise

UNKNOWN = "uncategorised"


@dataclass(frozen=True)
class Rule:
    """Entries whose description contains `keyword` belong to `category`."""

    keyword: str
    category: str


@dataclass
class RuleBook:
    """Rules in the order in which the user wrote them."""

    rules: list[Rule] = field(default_factory=list)

    def add(self, keyword: str, category: str) -> None:
        self.rules.append(Rule(keyword, category))

    def categorise(self, description: str) -> str:
        """The category of the most specific rule that matches: the one with the longest keyword.

        Of equally long keywords the first wins.
        """
        text = normalise(description)
        best = None
        for rule in self.rules:
            if normalise(rule.keyword) in text:
                if best is None or len(rule.keyword) > len(best.keyword):
                    best = rule
        return best.category if best else UNKNOWN


def flatten_tags(tags: Any) -> Iterator[str]:
    """All tag names in a nested structure of strings, lists, tuples and dicts, in order, without repeats.

    In a dict both the keys and what is below them count.
    """
    seen: set[str] = set()

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, str):
            if node not in seen:
                seen.add(node)
                yield node
        elif isinstance(node, dict):
            for key, value in node.items():
                yield from walk(key)
                yield from walk(value)
        elif isinstance(node, (list, tuple)):
            for item in node:
                yield from walk(item)

    yield from walk(tags)


def category_tree(names: Iterable[str]) -> dict[str, dict]:
    """Nest `food:fruit:apples` style names into dicts."""
    tree: dict[str, dict] = {}
    for name in names:
        node = tree
        for part in name.split(":"):
            node = node.setdefault(part, {})
    return tree

"""A small filter language: `category = food and cents < -1000 or account = cash`.

`and` binds tighter than `or`; `not` binds tightest; parentheses group.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tidyledger.ledger import Entry

Predicate = Callable[[Entry], bool]
TOKEN = re.compile(r"\s*(<=|>=|!=|[=<>()]|[^\s=<>()!]+)")


def tokenize(text: str) -> list[str]:
    """Words, operators and parentheses."""
    tokens: list[str] = []
    position = 0
    while text[position:].strip():
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position:]!r}")
        tokens.append(match.group(1))
        position = match.end()
    return tokens


class Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self.tokens = tokenize(text)
        self.position = 0

    def peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise ValueError("the filter ends too early")
        self.position += 1
        return token

    def parse_or(self) -> Predicate:
        left = self.parse_and()
        while self.peek() == "or":
            self.take()
            left = either(left, self.parse_and())
        return left

    def parse_and(self) -> Predicate:
        left = self.parse_not()
        while self.peek() == "and":
            self.take()
            left = both(left, self.parse_not())
        return left

    def parse_not(self) -> Predicate:
        if self.peek() == "not":
            self.take()
            inner = self.parse_not()
            return lambda entry: not inner(entry)
        return self.parse_atom()

    def parse_atom(self) -> Predicate:
        if self.peek() == "(":
            self.take()
            inner = self.parse_or()
            if self.take() != ")":
                raise ValueError("a parenthesis is not closed")
            return inner
        return comparison(self.take(), self.take(), self.take())


def either(left: Predicate, right: Predicate) -> Predicate:
    return lambda entry: left(entry) or right(entry)


def both(left: Predicate, right: Predicate) -> Predicate:
    return lambda entry: left(entry) and right(entry)


def comparison(field: str, operator: str, value: str) -> Predicate:
    """A test of one field; numbers compare as numbers, everything else as text."""

    def test(entry: Entry) -> bool:
        actual = getattr(entry, field)
        wanted = int(value) if isinstance(actual, int) else value
        actual = actual if isinstance(actual, int) else str(actual)
        if operator == "=":
            return actual == wanted
        if operator == "!=":
            return actual != wanted
        if operator == "<":
            return actual < wanted
        if operator == "<=":
            return actual <= wanted
        if operator == ">":
            return actual > wanted
        if operator == ">=":
            return actual >= wanted
        raise ValueError(f"unknown operator {operator!r}")

    return test


def compile_filter(text: str) -> Predicate:
    """From the text of a filter to a function of an entry."""
    parser = Parser(text)
    predicate = parser.parse_or()
    if parser.peek() is not None:
        raise ValueError(f"unexpected {parser.peek()!r}")
    return predicate

"""What a repaired tidyledger answers to inputs that its own tests do not hold.

`python answers.py BUG FOLDER` prints one JSON line per input: the input, and the answer of the library in FOLDER. It
knows no right answers: those are the answers of the clean library to the same inputs (`examples/judge_bug.py` compares
the two). Inputs are random with a fixed seed, and keep to what the docstrings promise.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

COUNT = 400
Case = tuple[str, Callable[[], Any]]
"""An input for people, and the call that answers it."""


def accents(pick: random.Random) -> Iterator[Case]:
    from tidyledger.categories import RuleBook
    from tidyledger.text import normalise, words

    letters = "aàáâäãåbcçdeèéêëfgiìíîïnñoòóôöõuùúûüyýÀÉÎÕÜÇÑxyzXYZ  \t\n-.,0123456789"
    for number in range(COUNT):
        text = "".join(pick.choices(letters, k=pick.randint(0, 12)))
        if number % 3 == 0:
            yield f"normalise({text!r})", lambda text=text: normalise(text)
        elif number % 3 == 1:
            yield f"words({text!r})", lambda text=text: words(text)
        else:
            keyword = text[: pick.randint(0, 4)] or "e"
            yield f"rule {keyword!r} on {text!r}", lambda k=keyword, t=text: _book(RuleBook, [(k, "x")], t)


def contained_period(pick: random.Random) -> Iterator[Case]:
    from tidyledger.periods import covered_days, merge

    for number in range(COUNT):
        periods = [_period(pick) for _ in range(pick.randint(0, 6))]
        called = merge if number % 2 else covered_days
        yield f"{called.__name__}({periods})", lambda called=called, p=periods: called(list(p))


def deep_tags(pick: random.Random) -> Iterator[Case]:
    from tidyledger.categories import flatten_tags

    for _ in range(COUNT):
        tags = _tags(pick, pick.randint(0, 4))
        yield f"flatten_tags({tags!r})", lambda tags=tags: list(flatten_tags(tags))


def far_duplicates(pick: random.Random) -> Iterator[Case]:
    from tidyledger.ledger import Entry
    from tidyledger.statements import duplicates

    for _ in range(COUNT):
        entries = [
            Entry(
                date(2024, 1, 1) + timedelta(days=pick.randint(0, 9)), pick.choice("ab"), pick.choice((5, 7)),
                pick.choice(("Café", "cafe ", "rent")),
            )
            for _ in range(pick.randint(0, 9))
        ]  # fmt: skip
        window = pick.randint(0, 5)
        yield f"duplicates({entries}, {window})", lambda e=entries, w=window: duplicates(e, w)


def first_rule(pick: random.Random) -> Iterator[Case]:
    from tidyledger.categories import RuleBook

    parts = ("co", "coffee", "coffee shop", "shop", "sh", "Café", "cafe bar", "ba", "x")
    for _ in range(COUNT):
        rules = [(pick.choice(parts), f"c{n}") for n in range(pick.randint(0, 6))]
        text = " ".join(pick.choices(("coffee", "shop", "cafe", "bar", "none"), k=pick.randint(0, 4)))
        yield f"rules {rules} on {text!r}", lambda r=rules, t=text: _book(RuleBook, r, t)


def forgotten_names(pick: random.Random) -> Iterator[Case]:
    from tidyledger.cache import memoise

    def shown(*args: Any, **named: Any) -> str:
        return repr((args, sorted(named.items())))

    for _ in range(COUNT):
        calls = [
            (
                tuple(pick.choices((1, 2, "a"), k=pick.randint(0, 2))),
                {name: pick.choice((1, 2, "a")) for name in pick.sample("abc", pick.randint(0, 3))},
            )
            for _ in range(pick.randint(1, 8))
        ]
        yield f"calls {calls}", lambda calls=calls: _calls(memoise(shown), calls)
    for value in (1, "a", None):
        yield f"the same call twice with {value!r}", lambda value=value: _computed(memoise, value)


def lost_cents(pick: random.Random) -> Iterator[Case]:
    from tidyledger.money import allocate

    for _ in range(COUNT):
        cents = pick.randint(0, 500)
        weights = [pick.randint(0, 7) for _ in range(pick.randint(0, 6))]
        yield f"allocate({cents}, {weights})", lambda c=cents, w=weights: allocate(c, list(w))


def mixed_balances(pick: random.Random) -> Iterator[Case]:
    from tidyledger.ledger import Entry, Ledger

    for _ in range(COUNT):
        entries = [
            Entry(date(2024, 1, pick.randint(1, 9)), pick.choice("abc"), pick.randint(-50, 50), "x")
            for _ in range(pick.randint(0, 8))
        ]
        yield f"ledger of {entries}", lambda entries=entries: _ledger(Ledger(), entries)


def narrow_table(pick: random.Random) -> Iterator[Case]:
    from tidyledger.report import table

    for _ in range(COUNT):
        width = pick.randint(1, 4)
        rows = [["x" * pick.randint(0, 9) for _ in range(width)] for _ in range(pick.randint(0, 5))]
        header = ["h" * pick.randint(1, 6) for _ in range(width)]
        yield f"table({header}, {rows})", lambda h=header, r=rows: table(h, r)


def or_before_and(pick: random.Random) -> Iterator[Case]:
    from tidyledger.ledger import Entry
    from tidyledger.query import compile_filter

    entries = [
        Entry(date(2024, 1, 1), account, cents, "d", category)
        for account in "ab" for cents in (-5, 0, 5) for category in "xy"
    ]  # fmt: skip
    for _ in range(COUNT):
        text = _filter(pick, pick.randint(0, 3))
        yield f"filter {text!r}", lambda text=text: [compile_filter(text)(entry) for entry in entries]
    for text in ("", "a", "account = a and", "( account = a", "account = a )", "account = a b", "not"):
        yield f"filter {text!r}", lambda text=text: [compile_filter(text)(entry) for entry in entries]


def quoted_fields(pick: random.Random) -> Iterator[Case]:
    from tidyledger.statements import read_statement, split_line

    for number in range(COUNT):
        separator = pick.choice(",;")
        fields = ["".join(pick.choices('ab ",;é', k=pick.randint(0, 6))) for _ in range(pick.randint(1, 5))]
        line = separator.join(_quoted(field, separator, pick) for field in fields)
        if number % 4:
            yield f"split_line({line!r}, {separator!r})", lambda a=line, s=separator: split_line(a, s)
        else:
            text = f'date,amount,text\n2024-01-02,"1,50",{_quoted(fields[0], ",", pick)}\n'
            yield f"read_statement({text!r})", lambda text=text: read_statement(text, "a")


def rollover_cap(pick: random.Random) -> Iterator[Case]:
    from tidyledger.budget import Envelope

    for _ in range(COUNT):
        monthly, cap = pick.randint(0, 50), pick.choice((None, 0, 5, 20, 60))
        spent = [pick.randint(0, 80) for _ in range(pick.randint(0, 7))]
        yield (
            f"Envelope('x', {monthly}, {cap}).available({spent})",
            lambda m=monthly, c=cap, s=spent: Envelope("x", m, c).available(list(s)),
        )


def short_months(pick: random.Random) -> Iterator[Case]:
    from tidyledger.periods import next_due

    for _ in range(COUNT):
        start = date(2023, pick.randint(1, 12), 1) + timedelta(days=pick.choice((0, 13, 27, 28, 29, 30)))
        after = start + timedelta(days=pick.randint(-40, 500))
        yield f"next_due({start}, {after})", lambda s=start, a=after: next_due(s, a)


def stale_cache(pick: random.Random) -> Iterator[Case]:
    from tidyledger.cache import LruCache

    for _ in range(COUNT):
        capacity = pick.randint(1, 4)
        steps = [
            (pick.choice(("get", "put")), pick.choice("abcdef"), pick.choice((0, 1, None)))
            for _ in range(pick.randint(1, 20))
        ]
        yield f"cache of {capacity}: {steps}", lambda c=capacity, s=steps: _cache(LruCache(c), s)


# -- how inputs are made, and answers read ---------------------------------------------------------------


def _book(make: Callable[[], Any], rules: list[tuple[str, str]], text: str) -> Any:
    book = make()
    for keyword, category in rules:
        book.add(keyword, category)
    return book.categorise(text)


def _period(pick: random.Random) -> tuple[date, date]:
    first = date(2024, 1, 1) + timedelta(days=pick.randint(0, 40))
    return first, first + timedelta(days=pick.randint(0, 12))


def _tags(pick: random.Random, depth: int) -> Any:
    if depth == 0 or pick.random() < 0.3:
        return pick.choice("abcdefg")
    inner = [_tags(pick, depth - 1) for _ in range(pick.randint(0, 3))]
    kind = pick.choice(("list", "tuple", "dict"))
    if kind == "dict":
        return {pick.choice("hijk"): value for value in inner}
    return inner if kind == "list" else tuple(inner)


def _calls(function: Callable[..., Any], calls: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
    return [function(*args, **named) for args, named in calls]


def _computed(memoise: Callable[..., Any], value: Any) -> int:
    """How often a function is computed when it is called three times alike."""
    count = [0]

    def counted(*args: Any, **named: Any) -> int:
        count[0] += 1
        return len(args) + len(named)

    function = memoise(counted)
    for _ in range(3):
        function(value, name=value)
    return count[0]


def _ledger(ledger: Any, entries: list[Any]) -> Any:
    for entry in entries:
        ledger.post(entry)
    return ledger.running(), [ledger.lowest(account) for account in "abcd"]


def _filter(pick: random.Random, depth: int) -> str:
    if depth == 0:
        return pick.choice(("account = a", "cents < 0", "category != x", "cents >= 5"))
    one, other = _filter(pick, depth - 1), _filter(pick, depth - 1)
    return pick.choice((f"{one} or {other}", f"{one} and {other}", f"not {one}", f"( {one} or {other} )"))


def _quoted(field: str, separator: str, pick: random.Random) -> str:
    if '"' in field or separator in field or pick.random() < 0.3:
        return '"' + field.replace('"', '""') + '"'
    return field


def _cache(cache: Any, steps: list[tuple[str, str, Any]]) -> list[Any]:
    found: list[Any] = []
    for step, key, value in steps:
        found.append(cache.get(key, "absent") if step == "get" else cache.put(key, value))
        found.append(len(cache))
    return found


def answer(call: Callable[[], Any]) -> str:
    """The answer as text. How a refusal is worded does not count."""
    try:
        return repr(call())
    except RecursionError:
        return "raises RecursionError"
    except ValueError:
        return "raises ValueError"
    except Exception as error:  # noqa: BLE001 - whatever the repaired code raises is its answer
        return f"raises {type(error).__name__}"


CASES = {
    "accents": accents, "contained-period": contained_period, "deep-tags": deep_tags,
    "far-duplicates": far_duplicates, "first-rule": first_rule, "forgotten-names": forgotten_names,
    "lost-cents": lost_cents, "mixed-balances": mixed_balances, "narrow-table": narrow_table,
    "or-before-and": or_before_and, "quoted-fields": quoted_fields, "rollover-cap": rollover_cap,
    "short-months": short_months, "stale-cache": stale_cache,
}  # fmt: skip


def main() -> None:
    name, folder = sys.argv[1:3]
    sys.path.insert(0, str(Path(folder).resolve()))
    for shown, call in CASES[name](random.Random(7)):
        print(json.dumps([shown, answer(call)]), flush=True)


if __name__ == "__main__":
    main()

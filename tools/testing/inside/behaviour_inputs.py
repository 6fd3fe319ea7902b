"""Runs inside the sandbox beside `behaviour_plugin`: what a value is, and the arguments of calls with their variants.

`canon` gives values a text to compare them by. `Input` holds the arguments of one call. Its variants depend on the
input alone, so that two versions of the code are asked the same questions.

Stands alone: any Python from 3.8 on, the standard library only.
"""

import contextlib
import copy
import datetime
import decimal
import enum
import fractions
import hashlib
import inspect
import itertools
import random
import re
import string
import types
import unicodedata
from typing import Any, Callable, Dict, List, Optional, Tuple

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{4,}")
_WHOLE = 200_000
"""Characters of a value that count for its digest."""
_ITEMS = 200
"""Items of a container that count."""
_MARKS = " \t\n'\",.;:-_+*/()[]{}<>=!|&0a1Z"

# -- what a value is -----------------------------------------------------------------------------------------------


class Ordered(dict):  # type: ignore[type-arg]
    """A dict that an object holds: the order of its items may be part of the object's state."""


def canon(value: Any, depth: int = 0, seen: Tuple[int, ...] = ()) -> str:
    """A text that is equal for equal values, without addresses; objects by their attributes."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if depth > 8 or id(value) in seen:
        return "..."
    seen = (*seen, id(value))

    def within(one: Any) -> str:
        return canon(one, depth + 1, seen)

    known = _container(value, within) or _named(value, within)
    if known is not None:
        return known
    held = getattr(value, "__dict__", None)
    if held:
        state = {name: Ordered(one) if type(one) is dict else one for name, one in held.items()}
        return f"{type(value).__qualname__}({within(state)})"
    return _ADDRESS.sub("0x", repr(value))


def _container(value: Any, within: Callable[[Any], str]) -> Optional[str]:
    kind = type(value).__name__
    if isinstance(value, Ordered):
        items = [(within(k), within(v)) for k, v in itertools.islice(value.items(), _ITEMS)]
        return "dict{" + ",".join(f"{k}:{v}" for k, v in items) + "}"
    if isinstance(value, dict):
        items = sorted((within(k), within(v)) for k, v in itertools.islice(value.items(), _ITEMS))
        return kind + "{" + ",".join(f"{k}:{v}" for k, v in items) + "}"
    if isinstance(value, (set, frozenset)):
        return kind + "{" + ",".join(sorted(map(within, value))) + "}"
    if isinstance(value, (list, tuple)):
        return kind + "[" + ",".join(map(within, value[:_ITEMS])) + "]"
    return None


def _named(value: Any, within: Callable[[Any], str]) -> Optional[str]:
    if isinstance(value, BaseException):
        return f"{type(value).__qualname__}({','.join(map(within, value.args))})"
    if isinstance(value, types.FunctionType) and value.__closure__:
        cells = [within(cell.cell_contents) for cell in value.__closure__ if cell != types.CellType()]
        return f"<{value.__module__}.{value.__qualname__}>({','.join(cells)})"
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)):
        return f"<{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}>"
    return None


def digest(text: str) -> str:
    return hashlib.sha256(text[:_WHOLE].encode("utf-8", "surrogatepass")).hexdigest()[:20]


class _Nothing:
    """Equal to nothing but itself: a value that equals it equals everything."""


def equals_everything(value: Any) -> bool:
    """Whether a value, or one that it holds, equals what nothing equals."""
    some = [value]
    if isinstance(value, dict):
        some += list(value.values())[:20]
    elif isinstance(value, (list, tuple, set)):
        some += list(value)[:20]
    for one in some:
        with contextlib.suppress(Exception):
            if (one == _Nothing()) is True:
                return True
    return False


# -- variants ------------------------------------------------------------------------------------------------------


def _vary_text(text: str, draw: random.Random) -> str:
    at = draw.randrange(len(text) + 1)
    words = text.split(" ")
    first, last = sorted((draw.randrange(len(words) + 1), draw.randrange(len(words) + 1)))
    changes: List[Callable[[], str]] = [
        lambda: text[:at] + draw.choice(_MARKS) + text[at:],
        lambda: text[:at] + text[at + 1 :],
        lambda: text[:at] + text[at : at + 1] * 2 + text[at + 1 :],
        lambda: text[:at] + text[at : at + 2][::-1] + text[at + 2 :],
        lambda: text[:at] + text[at : at + 1].swapcase() + text[at + 1 :],
        lambda: text[:at] + draw.choice(string.ascii_letters + string.digits) + text[at + 1 :],
        lambda: " ".join(draw.sample(words, len(words))),
        lambda: " ".join([*words, draw.choice(words)]),
        lambda: " ".join(words[:first] + words[last:]),
        lambda: " ".join(words[first:last]),
        lambda: " ".join([*words[:first], draw.choice(words), *words[first + 1 :]]),
        lambda: text[: len(text) // 2],
        lambda: "",
    ]
    if draw.randrange(2) and any(ord(char) > 127 for char in text):
        return "".join(_relative(char, draw) if ord(char) > 127 else char for char in text)
    return draw.choice(changes)()


def _relative(char: str, draw: random.Random) -> str:
    """Another character of the same kind: the letter with another accent, or one near it in Unicode."""
    base = unicodedata.normalize("NFD", char)[0]
    if base != char:
        marks = "\u0300\u0301\u0302\u0303\u0308\u030a\u0327\u030c"
        made = unicodedata.normalize("NFC", draw.choice([base, "o", "e", "n", "C"]) + draw.choice(marks))
        if len(made) == 1:
            return made
    near = chr(ord(char) + draw.choice([-2, -1, 1, 2]))
    return near if unicodedata.category(near) == unicodedata.category(char) else char


def _vary_number(number: Any, draw: random.Random) -> Any:
    return draw.choice([number + 1, number - 1, -number, type(number)(0), number * 2, number * 10 + 1])


def _vary_known(value: Any, draw: random.Random) -> Any:
    """Dates, times, exact numbers, sets and members of enumerations; the value itself for all others."""
    if isinstance(value, (datetime.date, datetime.datetime)):
        days = draw.choice([-365, -31, -30, -28, -7, -1, 1, 2, 7, 27, 28, 29, 30, 31, 59, 90, 365, 366])
        return value + datetime.timedelta(days=days)
    if isinstance(value, datetime.timedelta):
        return draw.choice([value * 2, -value, value + datetime.timedelta(days=1), value / 2])
    if isinstance(value, (decimal.Decimal, fractions.Fraction)):
        return draw.choice([value + 1, value - 1, -value, value * 2, value / 3, value * 0])
    if type(value) in (set, frozenset):
        items = sorted(value, key=repr)
        return type(value)(_vary_list(items, draw))
    if isinstance(value, enum.Enum):
        return draw.choice(list(type(value)))
    return value


def _vary_list(items: List[Any], draw: random.Random) -> List[Any]:
    if not items:
        return items
    at = draw.randrange(len(items))
    kind = draw.randrange(8)
    if kind == 0:
        return items[:at] + items[at + 1 :]
    if kind == 1:
        return items[: at + 1] + items[at:]
    if kind == 2:
        return items[::-1]
    if kind in (4, 5):  # two that are alike but for one thing: duplicates, ties
        made = vary(copy.deepcopy(items[at]), draw)
        other = draw.randrange(len(items) + 1)
        return [*items[:other], made, *items[other:]]
    if kind == 3:
        other = draw.randrange(len(items))
        items[at], items[other] = items[other], items[at]
        return items
    return [*items[:at], vary(items[at], draw), *items[at + 1 :]]


def _vary_dict(items: Dict[Any, Any], draw: random.Random) -> None:
    if not items:
        return
    key = draw.choice(list(items))
    if draw.randrange(5) == 0:
        del items[key]
    else:
        items[key] = vary(items[key], draw)


def vary(value: Any, draw: random.Random, depth: int = 0) -> Any:
    """A value of the same type that differs a little, or the value itself where nothing is known of its type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return _vary_text(str(value), draw) if type(value) is str else value
    if isinstance(value, bytes):
        return _vary_text(value.decode("latin-1"), draw).encode("latin-1", "replace")
    if type(value) in (int, float):
        return _vary_number(value, draw)
    if type(value) is list:
        return _vary_list(value, draw)
    if type(value) is tuple:
        return tuple(_vary_list(list(value), draw))
    if type(value) is dict:
        _vary_dict(value, draw)
        return value
    known = _vary_known(value, draw)
    if known is not value:
        return known
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict) and held and depth < 2 and not callable(value):
        key = draw.choice(sorted(held))
        held[key] = vary(held[key], draw, depth + 1)
    return value


class Input:
    """The arguments of one call, by name."""

    def __init__(self, code: Any, values: Dict[str, Any], function: Any = None) -> None:
        self.code, self.values, self.function = code, values, function
        self.key = digest(self.text())

    def text(self) -> str:
        return ", ".join(f"{name}={canon(value)}" for name, value in self.values.items())

    def copied(self) -> "Input":
        return Input(self.code, copy.deepcopy(self.values), self.function)

    def varied(self, number: int) -> Optional["Input"]:
        """Variant `number` of it: one or two changes that depend on the input alone. None where it is the same."""
        draw = random.Random(f"{self.key}:{number}")  # noqa: S311  (the same questions each time)
        values = copy.deepcopy(self.values)
        names = [name for name in values if name != "self"] or list(values)
        if not names:
            return None
        if "self" in values and draw.randrange(5) == 0:
            names = ["self"]
        for _ in range(draw.choice((1, 1, 2))):
            name = draw.choice(names)
            values[name] = vary(values[name], draw)
        self._vary_words(values, number, draw)
        made = Input(self.code, values, self.function)
        return made if made.key != self.key else None

    def _vary_words(self, values: Dict[str, Any], number: int, draw: random.Random) -> None:
        """Where the function takes any keyword arguments: other names for them, names that swap their values, or the
        values by position."""
        code = self.code
        if number % 2 or not code.co_flags & inspect.CO_VARKEYWORDS:
            return
        names = code.co_varnames[code.co_argcount + code.co_kwonlyargcount :]
        place = bool(code.co_flags & inspect.CO_VARARGS)
        words = values[names[place]]
        if not words:
            return
        values.update(copy.deepcopy(self.values))
        words = values[names[place]]
        known = [name for name in _inner_names(self.function) if name not in words] or ["other"]
        word = draw.choice(sorted(words))
        change = number // 2 % 4
        if change == 0:
            words[draw.choice(known)] = words.pop(word)
        elif change == 1 and len(words) > 1:
            other = draw.choice([name for name in sorted(words) if name != word])
            words[word], words[other] = words[other], words[word]
        elif change == 2 and place:
            values[names[0]] = (*values[names[0]], words.pop(word))
        elif change == 3 and place and values[names[0]]:
            values[names[0]] = values[names[0]][:-1]
            words[draw.choice(known)] = words.pop(word)
        else:
            words["another"] = words.pop(word)

    def same_as(self, other: "Input") -> bool:
        """Whether the arguments compare equal: 1 and True are the same to a cache."""
        try:
            return bool(self.values == other.values)
        except Exception:
            return True

    def call(self) -> Any:
        code, values = self.code, self.values
        count = code.co_argcount
        names = code.co_varnames
        args = [values[name] for name in names[:count]]
        total = count + code.co_kwonlyargcount
        words = {name: values[name] for name in names[count:total]}
        if code.co_flags & inspect.CO_VARARGS:
            args += list(values[names[total]])
            total += 1
        if code.co_flags & inspect.CO_VARKEYWORDS:
            words.update(values[names[total]])
        result = self.function(*args, **words)
        if code.co_flags & inspect.CO_GENERATOR or isinstance(result, types.GeneratorType):
            return list(itertools.islice(result, _ITEMS))
        return result


def _inner_names(function: Any) -> List[str]:
    """The parameters of the functions that a function closes over: what a decorated function may be called with."""
    found: List[str] = []
    for cell in getattr(function, "__closure__", None) or ():
        inner = getattr(None if cell == types.CellType() else cell.cell_contents, "__code__", None)
        if inner is not None:
            found += inner.co_varnames[: inner.co_argcount + inner.co_kwonlyargcount]
    return found


class State:
    """What a function keeps between its calls, as it was when this was made.

    That is what it closes over, its mutable defaults, and the dicts, lists and sets of its module that it names.
    `fresh` makes a function with that state, so that no answer depends on what was asked before.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        names = function.__code__.co_names
        held = {name: function.__globals__.get(name) for name in names}
        self.shared = {name: one for name, one in held.items() if type(one) in (dict, list, set)}
        self.kept: Optional[Tuple[Any, Any, Any, Dict[str, Any]]] = None
        try:
            self.kept = copy.deepcopy(
                (self._cells(), function.__defaults__, function.__kwdefaults__, self.shared)
            )
        except Exception:
            self.shared = {}

    def _cells(self) -> List[Any]:
        cells = self.function.__closure__ or ()
        return [() if cell == types.CellType() else (cell.cell_contents,) for cell in cells]

    def fresh(self) -> Any:
        """The function as it was; without a copy where its state cannot be copied."""
        if self.kept is None:
            return self.function
        held, defaults, words, shared = copy.deepcopy(self.kept)
        put_back(self.shared, shared)
        cells = [types.CellType(*one) for one in held]
        old = self.function
        made = types.FunctionType(old.__code__, old.__globals__, old.__name__, defaults, tuple(cells))
        made.__kwdefaults__ = words
        for cell in cells:
            if cell != types.CellType() and cell.cell_contents is old:
                cell.cell_contents = made  # it calls itself
        return made


def put_back(places: Dict[str, Any], contents: Dict[str, Any]) -> None:
    """Give dicts, lists and sets other contents, in place."""
    for name, place in places.items():
        place.clear()
        place.extend(contents[name]) if type(place) is list else place.update(contents[name])


def parameters(code: Any) -> Tuple[str, ...]:
    extra = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + extra])

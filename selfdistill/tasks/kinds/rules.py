"""Rules of mutation: each turns a site of the code into its replacements. Pure.

A rule is a function of a site and what is around it. It returns texts that take the site's place, the likeliest slip
first. Rules know kinds of sites and words of operators, and no language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from forklock.tools.languages.definitions import Site

_COMPARISONS: Mapping[str, tuple[str, ...]] = {
    "==": ("!=",), "!=": ("==",), "<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="),
    "===": ("!==",), "!==": ("===",), "is": ("is not",), "is not": ("is",), "in": ("not in",), "not in": ("in",),
}  # fmt: skip
_CONNECTIVES: Mapping[str, tuple[str, ...]] = {"and": ("or",), "or": ("and",), "&&": ("||",), "||": ("&&",)}
_ARITHMETIC: Mapping[str, tuple[str, ...]] = {
    "+": ("-",), "-": ("+",), "*": ("/",), "//": ("/",), "/": ("*",), "%": ("*",), "<<": (">>",), ">>": ("<<",),
    "&": ("|",), "|": ("&",), "**": ("*",),
}  # fmt: skip
_TRUTHS = {"True": "False", "False": "True", "true": "false", "false": "true"}


@dataclass(frozen=True, slots=True)
class Around:
    """What a rule may look at beside its site."""

    text: str
    names: Sequence[str]
    """Variables that the same function reads, in the order of their places."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    name: str
    kind: str
    """Kind of the sites that it takes."""
    replace: Callable[[Site, Around], Iterator[str]]


def _by_table(table: Mapping[str, tuple[str, ...]]) -> Callable[[Site, Around], Iterator[str]]:
    def replace(site: Site, _around: Around) -> Iterator[str]:
        yield from table.get(" ".join(site.text.split()), ())

    return replace


def _off_by_one(site: Site, _around: Around) -> Iterator[str]:
    if site.text.isdecimal() and len(site.text) < 16:
        value = int(site.text)
        yield str(value + 1)
        if value:
            yield str(value - 1)


def _wrong_truth(site: Site, _around: Around) -> Iterator[str]:
    if site.text in _TRUTHS:
        yield _TRUTHS[site.text]


def _lost_negation(site: Site, around: Around) -> Iterator[str]:
    (start, end), *_ = site.parts
    yield around.text[start:end]


def _negated_condition(site: Site, around: Around) -> Iterator[str]:
    start, end = site.parts[0]
    inner = around.text[start:end]
    braces = around.text[end : site.end].lstrip().startswith("{")
    negated = (
        f"(!{inner})" if braces and inner.startswith("(") else f"!({inner})" if braces else f"not ({inner})"
    )
    yield around.text[site.start : start] + negated + around.text[end : site.end]


def _swapped_arguments(site: Site, around: Around) -> Iterator[str]:
    for (one, one_end), (other, other_end) in zip(site.parts, site.parts[1:], strict=False):
        first, second = around.text[one:one_end], around.text[other:other_end]
        if first != second and "=" not in first.replace("==", "") + second.replace("==", ""):
            text = around.text
            yield text[site.start : one] + second + text[one_end:other] + first + text[other_end : site.end]


def _dropped(_site: Site, _around: Around) -> Iterator[str]:
    yield ""


def _lost_guard(site: Site, around: Around) -> Iterator[str]:
    """The body runs whatever the condition is; only for one-line bodies, which keep their shape."""
    if len(site.parts) == 2:
        start, end = site.parts[1]
        body = around.text[start:end]
        if "\n" not in body and not body.startswith("{"):
            yield body


def _wrong_name(site: Site, around: Around) -> Iterator[str]:
    others = [name for name in dict.fromkeys(around.names) if name != site.text]
    yield from others[:3]


RULES: tuple[Rule, ...] = (
    Rule("comparison", "operator", _by_table(_COMPARISONS)),
    Rule("connective", "operator", _by_table(_CONNECTIVES)),
    Rule("arithmetic", "operator", _by_table(_ARITHMETIC)),
    Rule("off by one", "number", _off_by_one),
    Rule("wrong constant", "truth", _wrong_truth),
    Rule("lost negation", "negation", _lost_negation),
    Rule("negated condition", "branch", _negated_condition),
    Rule("swapped arguments", "arguments", _swapped_arguments),
    Rule("dropped statement", "statement", _dropped),
    Rule("dropped branch", "branch", _dropped),
    Rule("lost guard", "branch", _lost_guard),
    Rule("wrong variable", "name", _wrong_name),
)
"""All rules. A proposal takes them in turn, so that no rule crowds out the others."""

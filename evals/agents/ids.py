"""evals: test ids of SWE-bench-like records, and the reported tests that they stand for. Pure.

Records were made from what a runner printed, so their ids are not always those that a runner reports: SWE-bench's own
parser kept the first word of a line, which cuts `test[a b]` to `test[a`; others cut at " - "; unittest prints
`test (package.Class)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNITTEST = re.compile(r"(?P<name>[^\s()]+) \((?P<owner>[^\s()]+)\)")


def stands_for(test: str, reported: Iterable[str]) -> list[str]:
    """The reported tests that a record's id names: that very test, else all that the id may have been cut from."""
    names = list(reported)
    for exact in _spellings(test):
        if exact in names:
            return [exact]
    cuts = [f"{test} - "]
    if "[" in test:  # only parameters have spaces
        cuts.append(f"{test} ")
    return [name for name in names if name.startswith(tuple(cuts))]


def _spellings(test: str) -> list[str]:
    """The id as it is, and as unittest itself reports it."""
    found = _UNITTEST.fullmatch(test)
    if found is None:
        return [test]
    name, owner = found["name"], found["owner"]
    return [test, f"{owner}.{name}", owner] if owner.endswith(f".{name}") else [test, f"{owner}.{name}"]

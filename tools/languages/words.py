"""Names written in a language with braces, by the eye and not by a parser (room `tools/`).

In: a text with LF line ends, a line range. Out: chains of names and where the last one stands; strings, comments
and keywords (of several languages at once) are passed over. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PASSED = re.compile(
    r"/\*.*?(?:\*/|\Z)|//[^\n]*|^[ \t]*#[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL | re.MULTILINE,
)
_CHAIN = re.compile(r"[^\W\d][\w$]*(?:(?:\.|\?\.|->|::)[^\W\d][\w$]*)*")
_LINK = re.compile(r"\?\.|\.|->|::")
_RESERVED = """
abstract any as async auto await bool boolean break case catch chan char class const constexpr continue debugger
default defer delete do double else enum explicit export extends extern fallthrough false final finally float fn
for friend from func function get go goto if impl implements import in inline instanceof int interface is keyof
let long match mod mut mutable namespace never new nil noexcept null nullptr number object of operator override
package private protected pub public range readonly ref register return select self set short signed sizeof
static string struct super switch symbol template this throw trait true try type typedef typename typeof
undefined union unknown unsigned use using var virtual void volatile where while yield
"""
RESERVED = frozenset(re.findall(r"\w+", _RESERVED))


def written(text: str, start_line: int, end_line: int) -> Iterator[tuple[str, int, int]]:
    """(`a.b.c`, line, column of the last name) for each name of each chain, in order."""
    code = _PASSED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    for number, line in enumerate(code.split("\n")[start_line - 1 : end_line], start_line):
        for chain in _CHAIN.finditer(line):
            names = _LINK.split(chain[0])
            column = chain.start()
            for count, name in enumerate(names, 1):
                column = line.index(name, column)
                if name not in RESERVED:
                    yield ".".join(names[:count]), number, column
                column += len(name)

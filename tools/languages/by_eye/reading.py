"""What text says by the eye of a reader and not of a parser: heads, the comment before them, names in a passage.

Comes in: a text with LF line ends and where something stands. Goes out: one line, or names with their places. Good for
showing and for asking, not for deciding. Strings, comments and keywords (of several languages at once) are passed over.
Pure. Not covered: heads longer than `HEAD_LINES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

HEAD_LINES = 12
_MARKS = re.compile(r"^\s*(?:/\*+|\*/|\*|///?!?|#+)\s?|\s*\*/\s*$")


def head(lines: list[str]) -> str:
    """A definition's first lines up to its body, as one: `int area(const Shape &s)`."""
    kept = []
    for line in lines[:HEAD_LINES]:
        before, brace, _ = line.partition("{")
        kept.append(before.strip())
        if brace or before.rstrip().endswith((";", "=>", ":")):
            break
    one = re.sub(r"\s+", " ", " ".join(part for part in kept if part))
    return re.sub(r"\( ", "(", one).removesuffix("=>").rstrip(" ;:=")


def comment_before(lines: list[str], start_line: int) -> str:
    """The comment that ends on the line before `start_line` (from 1), marks taken off; "" for none."""
    found: list[str] = []
    block = False
    for line in reversed(lines[max(0, start_line - 1 - 40) : start_line - 1]):
        text = line.strip()
        if not block and not found and text.endswith("*/"):
            block = True
        if not block and not text.startswith("//"):
            break
        found.append(text)
        if block and text.startswith("/*"):
            break
    return unmarked(found[::-1])


def unmarked(comment: list[str]) -> str:
    """The lines of a comment without what makes them one."""
    return "\n".join(_MARKS.sub("", _MARKS.sub("", line.strip())) for line in comment).strip()


PASSED = re.compile(
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


def written(
    text: str, start_line: int, end_line: int, passed: re.Pattern[str] = PASSED,
    reserved: frozenset[str] = RESERVED,
) -> Iterator[tuple[str, int, int]]:  # fmt: skip
    """Yield (`a.b.c`, line, column of the last name) for each name of each chain, in order."""
    code = passed.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    for number, line in enumerate(code.split("\n")[start_line - 1 : end_line], start_line):
        for chain in _CHAIN.finditer(line):
            names = _LINK.split(chain[0])
            column = chain.start()
            for count, name in enumerate(names, 1):
                column = line.index(name, column)
                if name not in reserved:
                    yield ".".join(names[:count]), number, column
                column += len(name)

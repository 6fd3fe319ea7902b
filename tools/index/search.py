"""Finds the definitions that a question in plain words is about.

Each definition of an indexed repository is a bag of word stems: the parts of its name (counted most), of its path and
its signature, and the words of its text, comments and strings included. BM25 ranks them (`tools/index/bm25.py`). The
result is deterministic and needs no model; `bench/search_hits.py` measures how often it is right. Not covered:
questions whose words do not occur near the definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from forklock.tools.index.bm25 import Bm25
from forklock.tools.index.files import CodeIndex, SourceFile, load_index
from forklock.tools.languages.definitions import Definition

NAME_WEIGHT, SIGNATURE_WEIGHT, PATH_WEIGHT = 4, 2, 1
"""How many times a word counts for each time that it stands there; in the text, once."""
LINES = 60
"""At most this many lines of a definition's text are read."""
TEST_SHARE = 0.5
"""Scores of definitions in test files are multiplied by this."""
IDLE = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "but", "by", "code", "do", "does", "find", "for", "function", "how",
        "if", "in", "into", "is", "it", "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there",
        "these", "they", "this", "to", "was", "what", "where", "which", "will", "with",
    }
)  # fmt: skip
"""Words of a question that say nothing: Lucene's English list, and those that questions about code begin with."""
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True, slots=True)
class Hit:
    """A definition and its score. Scores of one question can be compared; those of two cannot."""

    path: str
    head: Definition
    signature: str
    score: float


def search(root: Path, question: str, *, limit: int = 10, index: CodeIndex | None = None) -> list[Hit]:
    """Return the definitions that fit best; none if no word of the question is in the repository."""
    return Search(index or load_index(root)).ask(question, limit)


class Search:
    """The index of a repository, for several questions."""

    def __init__(self, index: CodeIndex) -> None:
        self._found: list[tuple[SourceFile, Definition]] = []
        bags: list[list[str]] = []
        for file, head, bag in _definitions(index):
            self._found.append((file, head))
            bags.append(bag)
        self._ranker = Bm25(bags)

    def ask(self, question: str, limit: int = 10) -> list[Hit]:
        """The definitions that fit best, as `search` does."""
        fits = [
            (score * (TEST_SHARE if self._found[at][0].is_test else 1.0), *self._found[at])
            for at, score in self._ranker.scores(stems(question, questions=True)).items()
        ]
        best = sorted(fits, key=lambda one: (-one[0], one[1].path, one[2].name_line))[:limit]
        return [Hit(file.path, head, file.signature(head), score) for score, file, head in best]


def _definitions(index: CodeIndex) -> Iterator[tuple[SourceFile, Definition, list[str]]]:
    for path, file in index.files.items():
        place, lines = stems(path), file.text.split("\n")
        for head, text in with_text(file.heads, lines):
            name, signature = stems(head.name_path), stems(file.signature(head))
            bag = name * NAME_WEIGHT + signature * SIGNATURE_WEIGHT + place * PATH_WEIGHT + stems(text)
            yield file, head, bag


def with_text(heads: Sequence[Definition], lines: Sequence[str]) -> Iterator[tuple[Definition, str]]:
    """Yield each definition with its text and the comment above it, up to where the next one begins."""
    starts = [_start(head, lines) for head in heads]
    for head, start, end in zip(heads, starts, [*starts[1:], len(lines)], strict=False):
        yield head, "\n".join(lines[start : min(end, head.name_line - 1 + LINES)])


def _start(head: Definition, lines: Sequence[str]) -> int:
    """Return the line, from 0, where the comment above the definition begins, or the definition itself."""
    start = head.name_line - 1
    while start and lines[start - 1].lstrip().startswith(("//", "#", "*", "/*", "@")):
        start -= 1
    return start


def stems(text: str, *, questions: bool = False) -> list[str]:
    """Stem the words, `camelCase` and `snake_case` taken apart; `questions` leaves out the words of `IDLE`."""
    words = (part.lower() for part in _PARTS.findall(text))
    return [_stem(word) for word in words if len(word) > 1 and not (questions and word in IDLE)]


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer():  # type: ignore[no-untyped-def]
    import snowballstemmer

    return snowballstemmer.stemmer("english")

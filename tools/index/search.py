"""Definitions that a question in plain words is about (room `tools/`).

In: a root, words. Out: definitions of all languages that the repo map reads, the likeliest first. Each definition is a
bag of word stems: the parts of its name (most), of its path and its signature, and the words of its text, comments and
strings included. They are ranked by BM25 (Robertson 1994; Lucene's form). Deterministic, without a model; what it
misses is in `bench/search_hits.py`. Not covered: questions whose words are nowhere near the definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from forklock.tools.index.files import CodeIndex, SourceFile, load_index
from forklock.tools.languages.definitions import Definition

NAME_WEIGHT, SIGNATURE_WEIGHT, PATH_WEIGHT = 4, 2, 1
"""How often a word counts that stands there; in the text, once each time."""
LINES = 60
"""Lines of a definition's text that are read at most."""
TEST_SHARE = 0.5
"""What the score of a definition in a test file is multiplied by."""
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True, slots=True)
class Hit:
    """A definition, and how well it fits: only the order means something."""

    path: str
    head: Definition
    signature: str
    score: float


def search(root: Path, question: str, *, limit: int = 10, index: CodeIndex | None = None) -> list[Hit]:
    """The definitions that fit best; none where no word of the question is in the repo."""
    return Search(index or load_index(root)).ask(question, limit)


class Search:
    """A repo that several questions are asked about."""

    def __init__(self, index: CodeIndex) -> None:
        import bm25s

        self._found = list(_definitions(index))
        self._ranker = bm25s.BM25(method="lucene")
        texts = [bag for _, _, bag in self._found]
        if texts:
            self._ranker.index(texts, show_progress=False)

    def ask(self, question: str, limit: int = 10) -> list[Hit]:
        """As `search`."""
        words = stems(question, questions=True)
        if not self._found or not words:
            return []
        scores = self._ranker.get_scores(words)
        fits = [
            (float(score) * (TEST_SHARE if file.is_test else 1.0), file, head)
            for (file, head, _), score in zip(self._found, scores, strict=True)
            if score > 0
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
    """Each with the comment above it and its text, up to the next one's."""
    starts = [_start(head, lines) for head in heads]
    for head, start, end in zip(heads, starts, [*starts[1:], len(lines)], strict=False):
        yield head, "\n".join(lines[start : min(end, head.name_line - 1 + LINES)])


def _start(head: Definition, lines: Sequence[str]) -> int:
    """The line, from 0, where the comment above begins, or the definition."""
    start = head.name_line - 1
    while start and lines[start - 1].lstrip().startswith(("//", "#", "*", "/*", "@")):
        start -= 1
    return start


def stems(text: str, *, questions: bool = False) -> list[str]:
    """The stems of the words, `camelCase` and `snake_case` taken apart; `questions`: without words that say nothing."""
    words = (part.lower() for part in _PARTS.findall(text))
    return [_stem(word) for word in words if len(word) > 1 and not (questions and word in _idle())]


@lru_cache(maxsize=1)
def _idle() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN

    return frozenset(
        (*STOPWORDS_EN, "where", "which", "what", "how", "does", "do", "function", "code", "find")
    )


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer():  # type: ignore[no-untyped-def]
    import snowballstemmer

    return snowballstemmer.stemmer("english")

"""Files of other languages than Python in the index of a repo: TypeScript, JavaScript, C, C++, Go and Rust.

In: a path and a text. Out: heads (name path, kind, line, depth) with their signatures, as
`forklock.tools.languages.outline` finds them, and the words of the code without strings and comments.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from forklock.tools.index.files import (
    MAX_FILES,
    CodeIndex,
    Head,
    SourceFile,
    all_files,
    index_of,
    python_files,
)
from forklock.tools.languages.outline import head as told
from forklock.tools.languages.outline import outline
from forklock.tools.languages.treesitter import SUFFIXES, parse_tree

if TYPE_CHECKING:
    from tree_sitter import Node

_QUIET = re.compile(r"comment|string|char_literal|raw_string|template_string|interpreted_string|regex")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


@dataclass(frozen=True)
class OtherFile(SourceFile):
    """A file of one of these languages."""

    @cached_property
    def _read(self) -> tuple[tuple[Head, ...], dict[tuple[str, int], str], Counter[str]]:
        suffix = PurePosixPath(self.path).suffix
        parsed = parse_tree(suffix, self.text)
        found = [one for one in outline(suffix, self.text) if one.kind != "variable"]
        heads = tuple(Head(one.plain, one.kind, one.name_line, one.depth) for one in found)
        signatures = {(one.plain, one.name_line): told(parsed, one) for one in found}
        return heads, signatures, Counter(_WORD.findall(_code(parsed.root, parsed.data)))

    @property
    def heads(self) -> tuple[Head, ...]:
        return self._read[0]

    @property
    def words(self) -> Counter[str]:
        return self._read[2]

    def signature(self, head: Head) -> str:
        return self._read[1][head.name_path, head.line]


def load_all(root: Path) -> CodeIndex:
    """The repo's files of all languages that we read, Python included."""
    kinds: dict[str, Callable[[str, str], SourceFile]] = {path: SourceFile for path in python_files(root)}
    others = [path for path in all_files(root) if PurePosixPath(path).suffix in SUFFIXES]
    return index_of(root, kinds | dict.fromkeys(others[:MAX_FILES], OtherFile))


def _code(root: Node, data: bytes) -> str:
    """The text without strings and comments."""
    kept, at = [], 0
    cursor = root.walk()
    while True:
        node = cursor.node
        assert node is not None
        quiet = _QUIET.search(node.type) is not None and node.is_named
        if quiet:
            kept.append(data[at : node.start_byte])
            at = node.end_byte
        if not quiet and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return b" ".join([*kept, data[at:]]).decode("utf-8", "replace")

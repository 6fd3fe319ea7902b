"""A map of a repo for a model: the files and definitions that matter most, within a token budget, in all languages that
are known.

Comes in: a root, a budget and a token counter. Goes out: text, files by path and definitions in source
order, each as its signature line. What is shown is chosen by references (`Language.references`): files are ranked by
PageRank over "refers to a definition of the other", definitions by how often they are referred to. Deterministic, and
linear in the size of the repo.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from forklock.tools.index.files import CodeIndex, SourceFile, load_index
from forklock.tools.languages.definitions import Definition
from forklock.tools.languages.language import References

ROUNDS = 12
DAMPING = 0.85
MEMBER = 0.5
"""How much a member counts beside what stands at the top of a file."""
FOCUS = 10.0
"""How much more a file counts that defines or mentions a name in focus."""
FROM_TESTS = 0.5
"""How much a reference from a test counts."""
OWN = 0.3
"""Weight of a reference from the definition's own file."""
QUIET = 0.2
"""What a definition counts that nothing refers to."""
SIGNATURE_CHARS = 160
Uses = Mapping[str, Mapping[tuple[str, str], float]]
"""By file: the definitions that it refers to, weighted."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    head: Definition
    score: float


def repo_map(
    root: Path,
    *,
    budget_tokens: int,
    count_tokens: Callable[[str], int],
    focus: Collection[str] = (),
    index: CodeIndex | None = None,
) -> str:
    """The map of `root` in at most `budget_tokens` as `count_tokens` counts them; "" if nothing fits.

    `focus` holds names (identifiers, name paths or file paths) that the task is about.
    """
    index = index or load_index(root)
    entries = _ranked(index, frozenset(focus))
    low, high = 0, min(len(entries), budget_tokens)  # an entry is never less than a token
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(_render(index, entries[:middle])) <= budget_tokens:
            low = middle
        else:
            high = middle - 1
    return _render(index, entries[:low])


def _ranked(index: CodeIndex, focus: frozenset[str]) -> list[_Entry]:
    bare = {name.rpartition(".")[2] for name in focus}
    uses = _uses(index)
    rank = _rank(index, uses, focus)
    used: dict[tuple[str, str], float] = defaultdict(float)
    for path, targets in uses.items():
        share = FROM_TESTS if index.files[path].is_test else 1.0
        for target, weight in targets.items():
            used[target] += weight * share
    entries = []
    for path, file in index.files.items():
        if path.endswith(".pyi") and path[:-1] in index.files:
            continue
        for head in file.heads:
            if head.depth > 1 or (head.kind == "function" and head.depth):
                continue
            score = rank[path] * (QUIET + used[path, head.name_path])
            score *= FOCUS if head.name in bare else 1
            score *= 0.3 if head.name.startswith("_") else 1
            score *= MEMBER if head.depth else 1
            entries.append(_Entry(path, head, score))
    return sorted(entries, key=lambda e: (-e.score, e.path, e.head.name_line))


def _uses(index: CodeIndex) -> Uses:
    """By imports and by what a name belongs to, as each file's language tells."""
    by_group: dict[str, References] = {}
    found: dict[str, dict[tuple[str, str], float]] = {}
    for path, file in index.files.items():
        if file.group not in by_group:
            by_group[file.group] = file.language.references(index)
        weights = found[path] = defaultdict(float)
        for target, count, weight in by_group[file.group].of(file):
            weights[target] += math.sqrt(count) * weight * (OWN if target[0] == path else 1.0)
    return found


def _rank(index: CodeIndex, uses: Uses, focus: frozenset[str]) -> dict[str, float]:
    """PageRank of files; the start of each walk prefers files in focus, and code over tests."""
    links = {path: _links(path, targets) for path, targets in uses.items()}
    start = {path: _start(file, focus) for path, file in index.files.items()}
    total = sum(start.values()) or 1.0
    start = {path: weight / total for path, weight in start.items()}
    rank = dict(start)
    for _ in range(ROUNDS):
        new = {path: (1 - DAMPING) * weight for path, weight in start.items()}
        idle = 0.0
        for path, out in links.items():
            if not out:
                idle += rank[path]
            for other, weight in out.items():
                new[other] += DAMPING * rank[path] * weight
        rank = {path: weight + DAMPING * idle * start[path] for path, weight in new.items()}
    return rank


def _links(path: str, targets: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """To files with definitions that this one refers to, weights summing to 1."""
    out: dict[str, float] = defaultdict(float)
    for (other, _), weight in targets.items():
        if other != path:
            out[other] += weight
    total = sum(out.values())
    return {other: weight / total for other, weight in out.items()}


def _start(file: SourceFile, focus: frozenset[str]) -> float:
    weight = 0.1 if file.is_test else 1.0
    if file.path in focus or any(name.rpartition(".")[2] in file.words for name in focus):
        weight *= FOCUS
    return weight


def _render(index: CodeIndex, entries: list[_Entry]) -> str:
    shown: dict[str, list[Definition]] = defaultdict(list)
    for entry in entries:
        shown[entry.path].append(entry.head)
    parts = []
    for path in sorted(shown):
        heads = _with_classes(index.files[path], shown[path])
        lines = [f"{'  ' * (head.depth + 1)}{_signature(index.files[path], head)}" for head in heads]
        parts.append("\n".join([path, *lines]))
    return "\n".join(parts)


def _with_classes(file: SourceFile, heads: list[Definition]) -> list[Definition]:
    """A method is shown under its class."""
    wanted = {head.name_path for head in heads} | {h.name_path.rpartition(".")[0] for h in heads}
    return [head for head in file.heads if head.name_path in wanted]


def _signature(file: SourceFile, head: Definition) -> str:
    """Cut where it is long."""
    line = file.signature(head)
    return line if len(line) <= SIGNATURE_CHARS else line[: SIGNATURE_CHARS - 3] + "..."

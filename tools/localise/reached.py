"""Where a failing test stands, and what it leads to outside the test files.

Comes in: a graph, a test's id, the frames of its failure. Goes out: the test's definition; calls, with how sure they
are.
"""

from __future__ import annotations

from collections.abc import Iterable

from forklock.tools.contract import Frame
from forklock.tools.languages.definitions import Call, Definition
from forklock.tools.localise.graph import Graph
from forklock.tools.testing.places import hooks_of, titled_or_named_test


def plain_id(test_id: str) -> str:
    """Without the parameters of pytest."""
    return test_id if " > " in test_id else test_id.partition("[")[0]


def find_test(graph: Graph, test_id: str, frames: Iterable[Frame] = ()) -> tuple[str, Definition] | None:
    """The test of an id; `frames` of its failure. Tests inherited from a base class are found there."""
    frames = list(frames)
    return _python_test(graph, test_id, frames) or titled_or_named_test(graph.index, test_id, frames)


def _python_test(graph: Graph, test_id: str, frames: Iterable[Frame]) -> tuple[str, Definition] | None:
    plain = plain_id(test_id)
    path, *names = plain.split("::")
    if not names:
        parts = plain.split(".")
        cuts = (n for n in range(len(parts) - 1, 0, -1) if ".".join(parts[:n]) in graph.index.modules)
        cut = next(cuts, 0)
        if not cut:
            return None
        path, names = graph.index.modules[".".join(parts[:cut])], parts[cut:]
    path = graph.index.file_of(path, [frame.path for frame in frames]) or ""
    if path not in graph.index.files:
        return None
    scope = graph.scope(path)
    hit = scope.by_path.get(".".join(names))
    if hit is None and len(names) > 1:
        inherited = graph.language(path).member(path, ".".join(names[:-1]), names[-1])
        if inherited:
            path, hit = inherited[0], graph.scope(inherited[0]).by_path[inherited[1]]
    return (path, hit) if hit and hit.node else None


def reached_by_test(graph: Graph, path: str, test: Definition) -> list[Call]:
    """What a test leads to outside the test files: its own body, its helpers, fixtures and `setUp`."""
    found: list[Call] = []
    queue: list[tuple[str, Definition, float, int]] = [(path, test, 1.0, 0)]
    seen = {(path, test.name_path)}
    while queue:
        file, definition, weight, line = queue.pop(0)
        for target in [*graph.calls(file, definition), *_set_up(graph, file, definition)]:
            at = line or target.line
            surety = target.surety * weight
            if not graph.is_test(target.path, target.name_path):
                found.append(Call(target.path, target.name_path, surety, at))
                continue
            key = (target.path, target.name_path)
            inner = graph.scope(target.path).by_path.get(target.name_path)
            if inner and key not in seen and inner.kind != "class" and weight > 0.4:
                seen.add(key)
                queue.append((target.path, inner, weight * 0.8, at))
    return found


def _set_up(graph: Graph, path: str, test: Definition) -> list[Call]:
    """Return what runs before a test: its fixtures, its class's `setUp`, the hooks of a titled test."""
    hooks = hooks_of(graph.index, path, test)
    before = [
        Call(t.path, t.name_path, t.surety * 0.6, test.start_line)
        for hook in hooks
        for t in graph.calls(path, hook)
    ]
    return before + graph.language(path).set_up(path, test)

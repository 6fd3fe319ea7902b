#!/usr/bin/env python3
"""Print figures of the house: how large its folders, modules and functions are, and where imports run in circles.

`scripts/house.py` prints a page; `scripts/house.py --check` prints what breaks a rule, and exits with 1 if anything
does.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import grimp

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("selfdistill", "evals", "agent", "tools", "models", "sandbox")
PACKAGE = "forklock."  # `src/forklock` holds a link to each room
MOST_ENTRIES = 14
MOST_FLOORS = 8
MOST_MODULE_LINES = 400
MOST_FUNCTION_LINES = 60
MOST_COMMAND_LINES = 40
"""Of a command, below its signature: most of a signature is help text."""

Graph = Mapping[str, set[str]]


@dataclass(frozen=True, slots=True)
class Function:
    place: str
    """`path:line name`."""
    lines: int
    """From the first line of the body to the last, docstring included."""
    is_command: bool


# -- what the files hold ------------------------------------------------------------------------------------


def python_files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def line_count(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def functions(path: Path) -> Iterator[Function]:
    """All functions of a file, nested ones included."""
    name = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
            yield Function(f"{name}:{node.lineno} {node.name}", lines, _is_command(node))


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(one).endswith(".command()") for one in node.decorator_list) or any(
        argument.annotation is not None and "typer." in ast.unparse(argument.annotation)
        for argument in node.args.args
    )


def entries(folder: Path) -> int:
    """Modules and wings that lie directly in a folder."""
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    return len(modules) + sum((path / "__init__.py").is_file() for path in folder.iterdir() if path.is_dir())


# -- who imports whom ---------------------------------------------------------------------------------------


def imports() -> dict[str, set[str]]:
    """Which modules each module imports, also for types alone. Names begin with the room."""
    graph = grimp.build_graph(PACKAGE.rstrip("."), cache_dir=None)
    return {
        module.removeprefix(PACKAGE): {
            target.removeprefix(PACKAGE) for target in graph.find_modules_directly_imported_by(module)
        }
        for module in graph.modules
        if module.startswith(PACKAGE)
    }


def within(graph: Graph, package: str) -> dict[str, set[str]]:
    """The imports among the entries of a package, its wings taken as one each."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, targets in graph.items():
        if module.startswith(f"{package}."):
            own = _entry(module, package)
            found[own] |= {_entry(t, package) for t in targets if t.startswith(f"{package}.")} - {own}
    return found


def _entry(module: str, package: str) -> str:
    return f"{package}.{module.removeprefix(f'{package}.').partition('.')[0]}"


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other."""
    reached = {node: _reached(graph, node) for node in graph}
    found: list[list[str]] = []
    for node in sorted(graph):
        if node in reached[node] and not any(node in group for group in found):
            found.append(sorted(other for other in reached[node] if node in reached.get(other, ())))
    return found


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def floors(graph: Graph) -> int:
    """Length of the longest chain of imports; a circle counts as one floor."""
    home = {node: "+".join(group) for group in circles(graph) for node in group}
    merged: dict[str, set[str]] = defaultdict(set)
    for node, targets in graph.items():
        own = home.get(node, node)
        merged[own] |= {home.get(target, target) for target in targets} - {own}
    known: dict[str, int] = {}

    def height(node: str) -> int:
        if node not in known:
            known[node] = 1 + max((height(target) for target in merged.get(node, ())), default=0)
        return known[node]

    return max((height(node) for node in list(merged)), default=0)


# -- the page and the rules ---------------------------------------------------------------------------------


def packages() -> list[str]:
    """All rooms and wings, a room before its wings."""
    folders = (path.parent for room in ROOMS for path in sorted((ROOT / room).rglob("__init__.py")))
    return [".".join(folder.relative_to(ROOT).parts) for folder in folders]


def page() -> str:
    graph = imports()
    rows = [("wing", "entries", "floors")]
    for package in packages():
        folder = ROOT / Path(*package.split("."))
        rows.append((package, str(entries(folder)), str(floors(within(graph, package)))))
    files = [path for room in ROOMS for path in python_files(room)]
    sizes = {path.relative_to(ROOT).as_posix(): line_count(path) for path in files}
    found = [one for path in files for one in functions(path)]
    lines = [one.lines for one in found]
    figures = [
        f"product code    {sum(sizes.values())} lines in {len(sizes)} modules",
        f"tests           {sum(line_count(path) for path in python_files('tests'))} lines",
        f"functions       {len(found)}: median {median(lines):.0f} lines, 90th percentile "
        f"{quantiles(lines, n=10)[-1]:.0f}, over {MOST_FUNCTION_LINES}: {sum(_is_long(one) for one in found)}",
        f"modules         over 300 lines: {sum(size > 300 for size in sizes.values())}, "
        f"over {MOST_MODULE_LINES}: {sum(size > MOST_MODULE_LINES for size in sizes.values())}",
    ]
    table = [f"{name:<32}{count:>8}{height:>8}" for name, count, height in rows]
    return "\n".join([*table, "", *figures])


def _is_long(one: Function) -> bool:
    return one.lines > (MOST_COMMAND_LINES if one.is_command else MOST_FUNCTION_LINES)


def broken_rules() -> Iterator[str]:
    """One line for each finding. Lines name no figures, so that they stay the same while things grow."""
    graph = imports()
    small = circles(graph)
    yield from (f"circle of modules: {' '.join(group)}" for group in small)
    for package in packages():
        if entries(ROOT / Path(*package.split("."))) > MOST_ENTRIES:
            yield f"{package}: more than {MOST_ENTRIES} entries"
        if floors(within(graph, package)) > MOST_FLOORS:
            yield f"{package}: more than {MOST_FLOORS} floors of imports"
        wide = [group for group in circles(within(graph, package)) if group not in small]
        yield from (f"circle of wings: {' '.join(group)}" for group in wide)
    for path in (path for room in ROOMS for path in python_files(room)):
        if line_count(path) > MOST_MODULE_LINES:
            yield f"{path.relative_to(ROOT).as_posix()}: more than {MOST_MODULE_LINES} lines"
        yield from _long_functions(functions(path))


def _long_functions(found: Iterable[Function]) -> Iterator[str]:
    for one in found:
        if _is_long(one):
            path, _, rest = one.place.partition(":")
            kind = "command" if one.is_command else "function"
            yield f"{path} {rest.partition(' ')[2]}: a long {kind}"


def main() -> int:
    sys.path.insert(0, str(ROOT / "src"))
    if "--check" not in sys.argv:
        print(page())
        return 0
    found = sorted(set(broken_rules()))
    for line in found:
        print(line)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

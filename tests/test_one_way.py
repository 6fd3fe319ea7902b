"""One way of each thing: what only one module may do, and which modules are exceptions, with the reason."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("agent", "tools", "selfdistill", "sandbox", "evals", "models")
INSIDE = ("tools/testing/inside/", "evals/judging/driver/")
"""Run without the rest of Forklock: inside the tested process, or inside the sandbox."""

Finds = Callable[[ast.AST], bool]


def called(node: ast.AST) -> tuple[str, ast.Call] | None:
    """The last name of what a call calls."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id, node
    return None


def renames(node: ast.AST) -> bool:
    """`os.replace`, `os.rename`, and the methods of paths: the ones of texts and dates take other arguments."""
    if isinstance(node, ast.Attribute) and node.attr in ("replace", "rename"):
        return isinstance(node.value, ast.Name) and node.value.id == "os"
    found = called(node)
    return (
        found is not None
        and found[0] in ("replace", "rename")
        and len(found[1].args) == 1
        and not found[1].keywords
    )


def syncs(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("fsync", "fdatasync")


def appends(node: ast.AST) -> bool:
    """Opens a file for appending."""
    found = called(node)
    if found is not None and found[0] == "open":
        words = [*found[1].args, *(word.value for word in found[1].keywords)]
        return any(
            isinstance(part, ast.Constant) and part.value in ("a", "ab", "a+", "ab+", "at")
            for word in words for part in ast.walk(word)
        )  # fmt: skip
    return isinstance(node, ast.Attribute) and node.attr == "O_APPEND"


def locks_by_hand(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("flock", "lockf")


def imports(module: str, *names: str) -> Finds:
    def finds(node: ast.AST) -> bool:
        if isinstance(node, ast.ImportFrom):
            return node.module == module and bool({alias.name for alias in node.names} & {*names})
        return isinstance(node, ast.Import) and any(alias.name == module for alias in node.names)

    return finds


def reads_environments(node: ast.AST) -> bool:
    """Of other processes, to find those that carry a mark."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("environ")


def defines_a_fault(node: ast.AST) -> bool:
    """A class of errors that keeps what the user can do next by itself."""
    return (
        isinstance(node, ast.Attribute) and node.attr == "fix" and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name) and node.value.id == "self"
    )  # fmt: skip


ONLY: dict[str, tuple[Finds, tuple[str, ...], dict[str, str]]] = {
    "renames": (
        renames, ("sandbox/files/atomic.py",),
        {
            "sandbox/linux/nofollow.py": "by descriptors of folders",
            "sandbox/git/patch.py": "by descriptors of folders",
            "sandbox/linux/private.py": "names a folder that it holds locked",
            "sandbox/workspace/snapshot.py": "tries what a file system can",
        },
    ),
    "syncs": (syncs, ("sandbox/files/atomic.py", "sandbox/files/jsonl.py"), {}),
    "appends": (
        appends, ("sandbox/files/jsonl.py",), {"models/catalogue/download.py": "goes on with a half-fetched file"},
    ),
    "locks by hand": (
        locks_by_hand, ("sandbox/files/jsonl.py",), {"sandbox/linux/private.py": "a lock on a folder"},
    ),
    "template environment": (imports("jinja2", "Environment", "Template", "PackageLoader"), ("sandbox/pages.py",), {}),
    "progress bars": (imports("rich.progress", "Progress", "track"), ("sandbox/terminal/progress.py",), {}),
    "live displays": (imports("rich.live", "Live"), (), {}),
    "ending by mark": (reads_environments, ("sandbox/linux/marked.py",), {}),
    "faults": (
        defines_a_fault, ("sandbox/fault.py",), {"tools/lsp/wire/faults.py": "no fault: it becomes an answer"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def users() -> dict[str, set[str]]:
    """Which modules do each of these things."""
    found: dict[str, set[str]] = {what: set() for what in ONLY}
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(INSIDE):
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            for what, (finds, _, _) in ONLY.items():
                if any(map(finds, nodes)):
                    found[what].add(name)
    return found


@pytest.mark.parametrize("what", ONLY)
def test_there_is_one_place(what: str, users: dict[str, set[str]]) -> None:
    _, places, exceptions = ONLY[what]
    found = users[what]
    others = found - {*places} - {*exceptions}
    assert not others, f"{what}: use {' or '.join(places) or 'none'} instead in {', '.join(sorted(others))}"
    assert found >= {*exceptions}, f"exceptions that are none any more: {sorted({*exceptions} - found)}"


@pytest.mark.parametrize(
    ("code", "finds", "expected"),
    [
        ("os.replace(a, b)", renames, True), ("path.rename(target)", renames, True), ("path.replace(x)", renames, True),
        ("text.replace('a', 'b')", renames, False), ("day.replace(day=1)", renames, False),
        ("path.open('a')", appends, True), ("open(x, mode='ab')", appends, True),
        ("path.open('ab' if more else 'wb')", appends, True), ("path.open('rb')", appends, False),
        ("os.open(x, os.O_APPEND)", appends, True),
        ("from rich.progress import Progress as Bars", imports("rich.progress", "Progress"), True),
        ("from rich.progress import BarColumn", imports("rich.progress", "Progress"), False),
        ("import jinja2", imports("jinja2", "Environment"), True),
        ("open(f'/proc/{pid}/environ')", reads_environments, True),
        ("self.fix = fix", defines_a_fault, True), ("other.fix = fix", defines_a_fault, False),
        ("os.fsync(fd)", syncs, True), ("fcntl.flock(fd, 2)", locks_by_hand, True),
    ],
)  # fmt: skip
def test_each_rule_finds_what_it_is_for(code: str, finds: Finds, expected: bool) -> None:
    assert any(finds(node) for node in ast.walk(ast.parse(code))) == expected

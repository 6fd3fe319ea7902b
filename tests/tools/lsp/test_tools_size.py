"""Outlines cost time in proportion to the text, whatever the text is made of."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from forklock.tools.languages.known import doc, signature, symbol_source, symbols

_FILES: dict[str, tuple[str, Callable[[int], str]]] = {
    "functions": ("a.py", lambda n: "".join(f"def f{i}(a, b=1):\n    return a\n\n" for i in range(n))),
    "one name": ("a.py", lambda n: "def f(a):\n    return a\n\n" * n),
    "methods": ("a.py", lambda n: "class C:\n" + "    def f(self):\n        return 1\n" * n),
    "methods of twins": (
        "a.py",
        lambda n: "class C: ...\nclass C:\n" + "    def f(self):\n        return 1\n" * n,
    ),
    "does not parse": (
        "a.py",
        lambda n: "".join(f"def f{i}(a):\n    return a\n\n" for i in range(n)) + "(\n",
    ),
    "open strings": ("a.py", lambda n: "def f():\n    '''\n" * n),
    "decorated": ("a.py", lambda n: "@a\n" * n + "def f(): ...\n"),
    "comments": ("a.ts", lambda n: "// a\n" * n + "function f() {}\n"),
    "typescript": ("a.ts", lambda n: "".join(f"function f{i}() {{\n}}\n" for i in range(n))),
    "class": ("a.ts", lambda n: "class C {\n" + "  f() {\n  }\n" * n + "}\n"),
    "commented": ("a.js", lambda n: "// a\n// b\nfunction f() {}\n" * n),
    "c++": ("a.cpp", lambda n: "".join(f"int f{i}(int a) {{\n  return a;\n}}\n" for i in range(n))),
    "go": ("a.go", lambda n: "package a\n" + "".join(f"func f{i}() {{\n}}\n" for i in range(n))),
    "rust": ("a.rs", lambda n: "".join(f"/// a\nfn f{i}() {{\n}}\n" for i in range(n))),
    "other": ("a.kt", lambda n: "fun f() {\n}\n" * n),
}


def _seconds(path: str, text: str) -> float:
    """CPU seconds for the outline and a line of each definition."""
    began = time.process_time()
    for one in symbols(path, text):
        signature(text, one)
        doc(text, one)
        symbol_source(text, one)
    return time.process_time() - began


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("name", _FILES)
def test_eight_times_the_definitions_cost_about_eight_times_as_much(name: str) -> None:
    path, made = _FILES[name]
    seen = []
    for attempt in range(8):  # A busy machine makes either look slow; growth by the square is slow each time.
        small = min(_seconds(path, made(1000 + attempt + i)) for i in (0, 100))
        large = _seconds(path, made(8000 + attempt))
        seen.append((small, large))
        if large < 24 * max(small, 0.01):  # 8 by the amount, 64 by its square
            return
    raise AssertionError(seen)


@pytest.mark.slow
@pytest.mark.hostile("damage")
def test_sixty_thousand_functions_are_outlined_in_seconds() -> None:
    path, made = _FILES["functions"]
    text = made(60_000)
    began = time.process_time()
    found = symbols(path, text)
    assert len([signature(text, one) for one in found]) == 60_000
    assert time.process_time() - began < 20, "it took over 120 s"

"""Symbols by name path: exact where a file parses, tolerant where it does not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tools.symbols import doc, enclosing, find_symbol, signature, symbol_source, symbols

TEXT = '''import x
A: int = 1
class C(Base, metaclass=M):
    y = 2
    @property
    def p(self): return 1
    @p.setter
    def p(self, v):
        """Doc
        more."""
        def inner(): pass
if A:
    async def f(a, *, b=1) -> int: ...
else:
    def f(): ...
@overload
def g(a): ...
def g(c):
    return c
class C:
    def m(self): pass
    def m(self): pass
'''


def names(text: str) -> list[str]:
    return [symbol.name_path for symbol in symbols("a.py", text)]


def test_every_definition_has_its_own_name_path() -> None:
    expected = [
        "A",
        "C",
        "C.y",
        "C.p",
        "C.p#2",
        "C.p#2.inner",
        "f",
        "f#2",
        "g#2",
        "g",
        "C#2",
        "C#2.m",
        "C#2.m#2",
    ]
    assert names(TEXT) == expected


def test_kinds_and_lines() -> None:
    found = {s.name_path: (s.kind, s.start_line, s.end_line) for s in symbols("a.py", TEXT)}
    assert found["A"] == ("variable", 2, 2)
    assert found["C"] == ("class", 3, 11)
    assert found["C.p"] == ("method", 5, 6)  # decorator included
    assert found["f"] == ("function", 13, 13)


def test_find_by_suffix_only_where_unique() -> None:
    text = "class A:\n    def m(self): pass\n    def n(self): pass\nclass B:\n    def m(self): pass\n"
    found = find_symbol("a.py", text, "n")
    assert found and found.name_path == "A.n"
    assert find_symbol("a.py", text, "m") is None


def test_enclosing_is_the_innermost() -> None:
    inner = enclosing("a.py", TEXT, 11)
    assert inner and inner.name_path == "C.p#2.inner"
    assert enclosing("a.py", TEXT, 1) is None


def test_signature_and_doc() -> None:
    by_name = {s.name_path: s for s in symbols("a.py", TEXT)}
    assert signature(TEXT, by_name["f"]) == "async def f(a, *, b=1) -> int"
    assert signature(TEXT, by_name["C"]) == "class C(Base, metaclass=M)"
    assert signature(TEXT, by_name["A"]) == "A: int = 1"
    assert doc(TEXT, by_name["C.p#2"]) == "Doc\nmore."


def test_source_keeps_line_ends_and_counts_lines_as_python_does() -> None:
    text = "x = '\x0c'\r\ndef f():\r\n    return 1\r\n"
    symbol = find_symbol("a.py", text, "f")
    assert symbol and symbol_source(text, symbol) == "def f():\r\n    return 1\r\n"


def test_a_broken_file_is_scanned_by_indentation() -> None:
    text = (
        'class C:\n    @d\n    def m(\n        self,\n    ):\n        """def no(): pass"""\n'
        "        return (1\n\ndef f():\n    pass\n"
    )
    found = {s.name_path: (s.kind, s.start_line, s.end_line) for s in symbols("a.py", text)}
    assert found == {"C": ("class", 1, 7), "C.m": ("method", 2, 7), "f": ("function", 9, 10)}


def test_other_languages_are_left_to_servers() -> None:
    assert symbols("a.rs", "fn f() {}") == []


@settings(deadline=None)
@given(st.text(alphabet="defclas :()\n\t#\"'@x=\r\x00\\", max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    found = symbols("a.py", text)
    assert len({s.name_path for s in found}) == len(found)
    assert all(1 <= s.start_line <= s.end_line for s in found)

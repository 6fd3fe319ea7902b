"""Symbols by name path: exact where a file parses, tolerant where it does not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_files import SUFFIXES, real_files

from forklock.tools.languages.known import doc, enclosing, find_symbol, signature, symbol_source, symbols
from forklock.tools.languages.text import to_lf

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


def test_languages_that_are_not_known_are_left_to_servers() -> None:
    assert symbols("a.kt", "fun f() {}") == []


# --- languages with braces -------------------------------------------------------------------------


JS = """\
'use strict'; // not of the class

/**
 * A cart.
 */
export class Cart {
  items = [];
  #secret() { return 1; }
  static make = (x) => {
    return x;
  };
  // Sum.
  get total() { return this.#secret(); }
  set total(v) {}
}
Cart.prototype.run = function (a) { return a; };
exports.thing = function () {};
module.exports = { a() { function inner() {} }, b: () => 1, c };
const api = { get(url) { return url; } }, limit = 3;
export default async () => 1;
"""
TS = """\
/** Doc. */
@Component({ selector: 'x' })
export class A<T> {
  @Input() name: string;
  over(a: string): void;
  /** Over. */
  @Dec()
  over(a: any): void { }
}
export namespace N { export const f = () => 1; }
"""
CPP = """\
namespace a::b {
/// Doc.
template <typename T>
class Vec : public Base {
 public:
  explicit Vec(int n) : n_(n) {}
  T& operator[](int i) { return d[i]; }
  int at(int) const;
  struct Inner { int q; } inner;
  int (*hook)(int);
};
template <typename T>
int Vec<T>::at(int i) const
{ return 1; }
}
typedef struct item { int x; } Item;
#ifdef X
int g(void) { return 1; }
#else
int g(void) { return 2; }
#endif
"""
GO = """\
package p

// Shape is
// one.
type Shape struct {
	name string
}

type (
	// A doc.
	A struct{}
	B int
)

// Area is.
func (s *Shape) Area() int { return func() int { return 1 }() }
func (b *Box[T]) Put(x T) {}
var limit = 1
"""
RUST = """\
/// A point.
#[derive(Debug)]
pub struct Point<T> { x: T }

impl<T> fmt::Display for Point<T> {
    /// Shown.
    #[inline]
    fn fmt(&self) {}
}
impl<T> fmt::Debug for a::Point<T> {
    fn fmt(&self) {}
}
mod inner { pub fn free() {} }
"""


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "a.js",
            JS,
            {
                "Cart": (3, 15, "class Cart", "A cart."),
                "Cart.items": (7, 7, "items = []", ""),
                "Cart.#secret": (8, 8, "#secret()", ""),
                "Cart.make": (9, 11, "static make = (x)", ""),
                "Cart.total": (12, 13, "get total()", "Sum."),
                "Cart.total#2": (14, 14, "set total(v)", ""),
                "Cart.run": (16, 16, "Cart.prototype.run = function (a)", ""),
                "thing": (17, 17, "exports.thing = function ()", ""),
                "a": (18, 18, "a()", ""),
                "b": (18, 18, "b: ()", ""),
                "api": (19, 19, "api = { get(url) { return url; } }", ""),
                "api.get": (19, 19, "get(url)", ""),
                "limit": (19, 19, "limit = 3", ""),
                "default": (20, 20, "async ()", ""),
            },
        ),
        (
            "a.ts",
            TS,
            {
                "A": (1, 9, "class A<T>", "Doc."),
                "A.name": (4, 4, "name: string", ""),
                "A.over#2": (5, 5, "over(a: string): void", ""),
                "A.over": (6, 8, "over(a: any): void", "Over."),
                "N.f": (10, 10, "const f = ()", ""),
            },
        ),
        (
            "a.cpp",
            CPP,
            {
                "a.b.Vec": (2, 11, "class Vec : public Base", "Doc."),
                "a.b.Vec.Vec": (6, 6, "explicit Vec(int n) : n_(n)", ""),
                "a.b.Vec.operator[]": (7, 7, "T& operator[](int i)", ""),
                "a.b.Vec.at#2": (8, 8, "int at(int) const", ""),
                "a.b.Vec.Inner": (9, 9, "struct Inner", ""),
                "a.b.Vec.Inner.q": (9, 9, "int q", ""),
                "a.b.Vec.hook": (10, 10, "int (*hook)(int)", ""),
                "a.b.Vec.at": (12, 14, "int Vec<T>::at(int i) const", ""),
                "Item": (16, 16, "typedef struct item", ""),
                "Item.x": (16, 16, "int x", ""),
                "g": (18, 18, "int g(void)", ""),
                "g#2": (20, 20, "int g(void)", ""),
            },
        ),
        (
            "a.go",
            GO,
            {
                "Shape": (3, 7, "Shape struct", "Shape is\none."),
                "A": (10, 11, "A struct", "A doc."),
                "B": (12, 12, "B int", ""),
                "Shape.Area": (15, 16, "func (s *Shape) Area() int", "Area is."),
                "Box.Put": (17, 17, "func (b *Box[T]) Put(x T)", ""),
                "limit": (18, 18, "var limit = 1", ""),
            },
        ),
        (
            "a.rs",
            RUST,
            {
                "Point": (1, 3, "pub struct Point<T>", "A point."),
                "Point.fmt": (6, 8, "fn fmt(&self)", "Shown."),
                "Point.fmt#2": (11, 11, "fn fmt(&self)", ""),
                "inner.free": (13, 13, "pub fn free()", ""),
            },
        ),
    ],
    ids=["js", "ts", "cpp", "go", "rust"],
)
def test_definitions_in_braces(path: str, text: str, expected: dict[str, tuple[int, int, str, str]]) -> None:
    found = {
        s.name_path: (s.start_line, s.end_line, signature(text, s), doc(text, s)) for s in symbols(path, text)
    }
    assert found == expected


def test_in_braces_too_a_symbol_is_found_by_line_and_by_its_end() -> None:
    text = CPP.replace("\n", "\r\n")
    inner = enclosing("a.cpp", text, 14)
    assert inner and inner.name_path == "a.b.Vec.at" and inner.kind == "method"
    assert symbol_source(text, inner).endswith("const\r\n{ return 1; }\r\n")
    found = find_symbol("a.cpp", text, "Vec.Inner")
    assert found and found.name_path == "a.b.Vec.Inner"
    found = find_symbol("a.cpp", text, "Vec")  # and not its constructor
    assert found and found.name_path == "a.b.Vec"


@given(
    st.sampled_from(SUFFIXES),
    st.text(alphabet="fn clas{}()=>;:/*\n#\"'`<~.", max_size=120),
)
def test_no_text_in_braces_makes_it_fail(suffix: str, text: str) -> None:
    found = symbols(f"a{suffix}", text)
    assert len({s.name_path for s in found}) == len(found)
    assert all(1 <= s.start_line <= s.end_line <= text.count("\n") + 1 for s in found)
    for symbol in found:
        assert "\n" not in signature(text, symbol)
        doc(text, symbol)


def test_real_files_have_definitions_with_lines_of_their_own() -> None:
    """Each holds the line of its name, and members lie inside their class."""
    for path in real_files():
        text = path.read_text("utf-8", "replace")
        lines = to_lf(text).split("\n")
        known = symbols(path.name, text)
        assert len({s.name_path for s in known}) == len(known), path
        for symbol in known:
            source = "\n".join(lines[symbol.start_line - 1 : symbol.end_line])
            name = re.sub(r"#\d+$", "", symbol.name_path).rpartition(".")[2]
            assert name in source or name == "default", (path, symbol)


@given(st.text(alphabet="defclas :()\n\t#\"'@x=\r\x00\\", max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    found = symbols("a.py", text)
    assert len({s.name_path for s in found}) == len(found)
    assert all(1 <= s.start_line <= s.end_line for s in found)

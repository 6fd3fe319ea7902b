"""Definitions of TypeScript, JavaScript, C, C++, Go and Rust, by their real grammars."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_files import SUFFIXES

from forklock.tools.index.files import SourceFile, load_index
from forklock.tools.index.map import repo_map

TS = """
// class Comment {}
import { Base } from "./base";
export interface Props { label: string; run(times: number): void }
export type Size = 1 | 2;
export abstract class Button extends Base {
  static make(props: Props = { label: "class Text {}" }): Button { function inner() {} return new Button(); }
  abstract go(): void;
}
export const helper = async (a: number) => a + 1;
const plain = 3;
namespace N { export function within() {} }
"""
CPP = """
#include "x.h"
namespace a {
template <class T> class Vec { public: Vec(); T& at(int i) const; int size; };
}
int a::Vec<int>::grow(int by) { return by; }
static char *name(void) { return "struct Not {"; }
enum class Kind { A };
#ifdef DEEP
void deep();
#endif
"""
GO = """package p
type Shape struct { name string }
type Namer interface { Name() string }
func New(name string) *Shape { return &Shape{name} }
func (s *Shape) Area(by int) float64 { return 0 }
func (g *Box[T]) Put(x T) {}
"""
RUST = """
pub struct Point<T> { x: T }
impl<T> Point<T> { pub fn new(x: T) -> Self { fn hidden() {} Point { x } } }
impl<T> Clone for Point<T> { fn clone(&self) -> Self { todo!() } }
pub trait Area { fn area(&self) -> f64; }
enum Kind { A, B }
mod inner { pub fn free(a: i32) -> i32 { a } }
"""


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "a.ts",
            TS,
            {
                "Props": "interface Props",
                "Props.run": "run(times: number): void",
                "Size": "type Size = 1 | 2",
                "Button": "abstract class Button extends Base",
                "Button.make": 'static make(props: Props = { label: "class Text {}" }): Button',
                "Button.go": "abstract go(): void",
                "helper": "const helper = async (a: number)",
                "N.within": "function within()",
            },
        ),
        (
            "a.cpp",
            CPP,
            {
                "a.Vec": "class Vec",
                "a.Vec.Vec": "Vec()",
                "a.Vec.at": "T& at(int i) const",
                "a.Vec.grow": "int a::Vec<int>::grow(int by)",
                "name": "static char *name(void)",
                "Kind": "enum class Kind",
                "deep": "void deep()",
            },
        ),
        (
            "a.go",
            GO,
            {
                "Shape": "Shape struct",
                "Namer": "Namer interface",
                "New": "func New(name string) *Shape",
                "Shape.Area": "func (s *Shape) Area(by int) float64",
                "Box.Put": "func (g *Box[T]) Put(x T)",
            },
        ),
        (
            "a.rs",
            RUST,
            {
                "Point": "pub struct Point<T>",
                "Point.new": "pub fn new(x: T) -> Self",
                "Point.clone": "fn clone(&self) -> Self",
                "Area": "pub trait Area",
                "Area.area": "fn area(&self) -> f64",
                "Kind": "enum Kind",
                "inner.free": "pub fn free(a: i32) -> i32",
            },
        ),
    ],
    ids=["ts", "cpp", "go", "rust"],
)
def test_definitions_and_signatures(path: str, text: str, expected: dict[str, str]) -> None:
    file = SourceFile(path, text)
    assert {head.name_path: file.signature(head) for head in file.heads} == expected
    lines = text.split("\n")
    assert all(head.name in lines[head.name_line - 1] for head in file.heads)


def test_words_leave_strings_and_comments_out() -> None:
    words = SourceFile("a.ts", TS).words
    assert words["Button"] == 3 and words["Base"] == 2
    assert not {"Comment", "Text"} & set(words)


def test_the_map_holds_all_languages_together(tmp_path: Path) -> None:
    (tmp_path / "core.ts").write_text("export function popular(x: number): number { return x }\n")
    for name in "abc":
        use = f"import {{ popular }} from './core'\nexport function only_{name}() {{ return popular(1) }}\n"
        (tmp_path / f"{name}.ts").write_text(use)
    (tmp_path / "side.py").write_text("def python_one(): pass\n")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x.js").write_text("function foreign() {}\n")

    def words(text: str) -> int:
        return len(text.split())

    small = repo_map(tmp_path, budget_tokens=5, count_tokens=words)
    assert "function popular(x: number): number" in small
    whole = repo_map(tmp_path, budget_tokens=1000, count_tokens=words)
    assert "side.py\n  def python_one()" in whole and "only_a" in whole and "foreign" not in whole
    assert set(load_index(tmp_path).files) == {"a.ts", "b.ts", "c.ts", "core.ts", "side.py"}


@settings(max_examples=60)
@given(st.sampled_from(SUFFIXES), st.text(alphabet="abc(){}<>:;=*&\"'`/\n \\#é\ud800", max_size=200))
def test_no_text_makes_it_fail(suffix: str, text: str) -> None:
    file = SourceFile(f"a{suffix}", text)
    for head in file.heads:
        file.signature(head)
    assert file.words is not None


@pytest.mark.parametrize("suffix", [".js", ".cpp", ".rs"])
def test_deep_nesting_is_no_trap(suffix: str) -> None:
    began = time.monotonic()
    for text in ("{" * 20_000, "namespace a{" * 5_000, "mod a{" * 5_000, "class A{" * 5_000):
        assert len(SourceFile(f"a{suffix}", text).heads) < 200
    assert time.monotonic() - began < 20

"""One small workspace, written in every language that the conformance tests cover: the same shapes, the same
use of them, the same ways to break it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    shapes: str
    """Path of the file that defines `Shape`, `Shape.area` and `scale(shape, by)`."""
    use: str
    """Path of the file whose `report` calls `scale(shape, 2.0)`, after letters of several bytes."""
    files: dict[str, str]
    real: str
    """How `by` is declared, in `shapes`."""
    unreal: str
    """The same with a type that 2.0 is not of."""
    wrong: Callable[[str], str]
    """An argument in place of 2.0 whose diagnostic names what is given here."""
    spoilt: str
    """To be put after `use`: a definition with one mistake."""
    extra: tuple[str, str]
    """A file that does not exist, and a text with a mistake."""
    head: str
    """How the source of `scale` begins."""
    mistaken: Callable[[str], str]
    """`use` with a mistake that a quick fix takes back."""

    def write(self, root: Path) -> None:
        for path, text in self.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text.replace("@ROOT@", str(root)))

    @property
    def shapes_text(self) -> str:
        return self.files[self.shapes]

    @property
    def use_text(self) -> str:
        return self.files[self.use]

    @property
    def broken_shapes(self) -> str:
        return self.shapes_text.replace(self.real, self.unreal)

    @property
    def blank(self) -> int:
        """A line of `shapes` with nothing on it."""
        return self.shapes_text.split("\n").index("") + 1

    @property
    def call(self) -> tuple[int, int]:
        """(line, column) of `scale` where `report` calls it."""
        lines = self.use_text.split("\n")
        line = next(n for n, text in enumerate(lines) if "scale(shape" in text)
        return line + 1, lines[line].index("scale(")


PYTHON = Sample(
    shapes="pkg/shapes.py",
    use="pkg/use.py",
    files={
        "pyproject.toml": '[project]\nname = "demo"\nversion = "0"\n',
        "pkg/__init__.py": "",
        "pkg/shapes.py": '''\
"""Shapes."""


class Shape:
    """Something with an area."""

    def __init__(self, name: str) -> None:
        self.name = name

    def area(self) -> float:
        """Its area."""
        return 0.0


def scale(shape: Shape, by: float) -> float:
    """The area, scaled."""
    return shape.area() * by
''',
        "pkg/use.py": """\
from pkg.shapes import Shape, scale


def report(shape: Shape) -> str:
    größe = "🙂"; total = scale(shape, 2.0)
    return f"{shape.name}: {total} {größe}"
""",
    },
    real="by: float",
    unreal="by: str",
    wrong=lambda name: f'"{name}"',
    spoilt="\n\ndef broken() -> int:\n    return 'no'\n",
    extra=("pkg/extra.py", "def f() -> int:\n    return 'x'\n"),
    head="def scale(",
    mistaken=lambda text: f"import os\n{text}",
)

TYPESCRIPT = Sample(
    shapes="pkg/shapes.ts",
    use="pkg/use.ts",
    files={
        "tsconfig.json": '{"compilerOptions": {"strict": true, "target": "es2022", "lib": ["es5"], "module": "esnext", '
        '"moduleResolution": "bundler", "types": []}}',
        "pkg/shapes.ts": """\
/** Something with an area. */
export class Shape {
  name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** Its area. */
  area(): number {
    return 0;
  }
}

/** The area, scaled. */
export function scale(shape: Shape, by: number): number {
  return shape.area() * by;
}
""",
        "pkg/use.ts": """\
import { Shape, scale } from "./shapes";

export function report(shape: Shape): string {
  const größe = "🙂"; const total = scale(shape, 2.0);
  return `${shape.name}: ${total} ${größe}`;
}
""",
    },
    real="by: number",
    unreal="by: string",
    wrong=lambda name: name,
    spoilt="\nexport function broken(): number {\n  return 'no';\n}\n",
    extra=("pkg/extra.ts", "export function f(): number {\n  return 'x';\n}\n"),
    head="export function scale(",
    mistaken=lambda text: text.replace("= scale(", "= scael("),
)

CPP = Sample(
    shapes="pkg/shapes.hpp",
    use="pkg/use.cpp",
    files={
        "compile_commands.json": json.dumps(
            [{"directory": "@ROOT@", "file": "pkg/use.cpp", "command": "c++ -std=c++17 -c pkg/use.cpp"}]
        ),
        "pkg/shapes.hpp": """\
#pragma once

/// Something with an area.
class Shape {
public:
  explicit Shape(const char *name) : name(name) {}

  /// Its area.
  double area() const { return 0.0; }

  const char *name;
};

/// The area, scaled.
inline double scale(const Shape &shape, double by) {
  return shape.area() + sizeof(by);
}
""",
        "pkg/use.cpp": """\
#include "shapes.hpp"

const char *report(const Shape &shape) {
  const char *größe = "🙂"; double total = scale(shape, 2.0);
  return total > 1.0 ? größe : shape.name;
}
""",
    },
    real="double by",
    unreal="const char *by",
    wrong=lambda name: name,
    spoilt='\nint broken() {\n  return "no";\n}\n',
    extra=("pkg/extra.cpp", 'int f() {\n  return "x";\n}\n'),
    head="inline double scale(",
    mistaken=lambda text: text.replace("2.0);\n", "2.0)\n"),
)

GO = Sample(
    shapes="pkg/shapes.go",
    use="pkg/use.go",
    files={
        "go.mod": "module example.com/demo\n\ngo 1.21\n",
        "pkg/shapes.go": """\
package pkg

// Shape is something with an area.
type Shape struct {
	name string
}

// area is its area.
func (s *Shape) area() float64 {
	return 0.0
}

// scale gives the area, scaled.
func scale(shape *Shape, by float64) float64 {
	return shape.area() * by
}
""",
        "pkg/use.go": """\
package pkg

import "fmt"

func report(shape *Shape) string {
	größe := "🙂"; total := 0.0; total = scale(shape, 2.0)
	return fmt.Sprint(größe, total, shape.name)
}
""",
    },
    real="by float64",
    unreal="by string",
    wrong=lambda name: name,
    spoilt='\nfunc broken() int {\n\treturn "no"\n}\n',
    extra=("pkg/extra.go", 'package pkg\n\nfunc f() int {\n\treturn "x"\n}\n'),
    head="func scale(",
    mistaken=lambda text: text.replace("= scale(", ":= scale("),
)

RUST = Sample(
    shapes="pkg/shapes.rs",
    use="pkg/usage.rs",
    files={
        "Cargo.toml": '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n\n[lib]\npath = "pkg/lib.rs"\n',
        # Without one cargo would write it, where it may.
        "Cargo.lock": 'version = 4\n\n[[package]]\nname = "demo"\nversion = "0.1.0"\n',
        "pkg/lib.rs": "pub mod extra;\npub mod shapes;\npub mod usage;\n",
        "pkg/shapes.rs": """\
/// Something with an area.
pub struct Shape {
    pub name: String,
}

impl Shape {
    /// Its area.
    pub fn area(&self) -> f64 {
        0.0
    }
}

/// The area, scaled.
pub fn scale(shape: &Shape, by: f64) -> f64 {
    shape.area() * by
}
""",
        "pkg/usage.rs": """\
use crate::shapes::{scale, Shape};

pub fn report(shape: &Shape) -> String {
    let größe = "🙂"; let total = scale(shape, 2.0);
    format!("{} {} {}", größe, total, shape.name)
}
""",
    },
    real="by: f64",
    unreal="by: &str",
    wrong=lambda name: f"shape.{name}",
    spoilt='\npub fn broken() -> i32 {\n    "no"\n}\n',
    extra=("pkg/extra.rs", 'pub fn f() -> i32 {\n    "x"\n}\n'),
    head="pub fn scale(",
    mistaken=lambda text: text.replace("let total", "let mut total"),
)

SAMPLES = {
    "ty": PYTHON, "basedpyright": PYTHON, "typescript": TYPESCRIPT, "clangd": CPP, "gopls": GO, "rust-analyzer": RUST,
}  # fmt: skip

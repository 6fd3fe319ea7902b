# ruff: noqa: E501
"""As `lsp_constructs`, in JavaScript, TypeScript, C and Go: programs in which a name is bound to its uses in many ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Braced:
    name: str
    server: str
    files: Mapping[str, str]
    symbol: str
    """`FILE:NAME_PATH`."""
    uses: tuple[str, ...]
    """`FILE:LINE` of each line that has to be renamed, or be named as not covered."""
    new: str = "renewed"
    complete: bool = False
    """It has to be done completely."""


_JS = "export function total(xs) {\n  return xs.length;\n}\n"
_TS = "export function total(xs: number[]): number {\n  return xs.length;\n}\n"
_CONFIG = (
    '{"compilerOptions": {"strict": true, "module": "nodenext", "target": "es2022", "composite": true}}\n'
)


def _scripts() -> list[Braced]:
    uses = {
        "import": ("import { total } from './lib.js';\nconsole.log(total([1]));\n", True),
        "alias": ("import { total as t } from './lib.js';\nconsole.log(t([1]));\n", True),
        "namespace": ("import * as lib from './lib.js';\nconsole.log(lib.total([1]));\n", True),
        "dynamic": ("import * as lib from './lib.js';\nconsole.log(lib['total']([1]));\n", False),
        "computed": ("import * as lib from './lib.js';\nconst k = 'tot' + 'al'; console.log(lib['total'] && lib[k]([1]));\n", False),
        "template": ("import { total } from './lib.js';\nconsole.log(`${total([1])} total`);\n", True),
        "prefix": ("import * as lib from './lib.js';\nconst w = 'al'; console.log(lib[`tot${w}`]([1]));\n", False),
        "untyped": ("import * as lib from './lib.js';\nconst f = (m) => m.total([1]); console.log(f(lib));\n", False),
        "json": ("import * as lib from './lib.js';\nimport fs from 'node:fs'; console.log(lib[JSON.parse(fs.readFileSync('c.json')).run]([1]));\n", False),
        "await_import": ("const lib = await import('./lib.js');\nconsole.log(lib.total([1]));\n", False),
        "reexport": ("export { total } from './lib.js';\nimport { total } from './lib.js'; console.log(total([1]));\n", False),
        "shorthand": ("import { total } from './lib.js';\nconst o = { total }; console.log(o.total([1]));\n", False),
    }  # fmt: skip
    found = []
    for name, (main, complete) in uses.items():
        files = {
            "lib.js": _JS,
            "main.js": main,
            "package.json": '{"type": "module"}\n',
            "jsconfig.json": "{}\n",
        }
        at = ["main.js:2"] if name != "json" else ["c.json:1"]
        at = ["main.js:1"] if name in ("alias", "reexport") else at
        files |= {"c.json": '{"run": "total"}\n'} if name == "json" else {}
        found.append(Braced(f"js_{name}", "typescript", files, "lib.js:total", tuple(at), complete=complete))
    return found


def _projects() -> list[Braced]:
    monorepo = {
        "packages/a/tsconfig.json": _CONFIG, "packages/a/lib.ts": _TS,
        "packages/b/tsconfig.json": _CONFIG.replace("}}", '}, "references": [{"path": "../a"}]}'),
        "packages/b/use.ts": "import { total } from '../a/lib.js';\nexport const n = total([1]);\n",
    }  # fmt: skip
    deep = {f"packages/p{n}/tsconfig.json": _CONFIG for n in range(3)} | {"packages/p0/lib.ts": _TS}
    deep |= {
        f"packages/p{n}/use.ts": "import { total } from '../p0/lib.js';\nexport const n = total([1]);\n"
        for n in (1, 2)
    }
    partly = {"tsconfig.json": '{"include": ["src"]}\n', "src/lib.ts": _TS,
              "scripts/run.ts": "import { total } from '../src/lib.js';\nconsole.log(total([1]));\n"}  # fmt: skip
    both = ("packages/p1/use.ts:2", "packages/p2/use.ts:2")
    face = "export interface Shape { area(): number }\nexport class Square implements Shape { area() { return 1; } }\n"
    return [
        Braced("ts_one_config_a_package", "typescript", monorepo, "packages/a/lib.ts:total", ("packages/b/use.ts:2",)),
        Braced("ts_three_packages", "typescript", deep, "packages/p0/lib.ts:total", both),
        Braced("ts_not_included", "typescript", partly, "src/lib.ts:total", ("scripts/run.ts:2",)),
        Braced("ts_interface", "typescript", {"tsconfig.json": "{}\n", "lib.ts": face, "use.ts": "import { Square } from './lib.js';\nnew Square().area();\n"},
               "lib.ts:Square.area", ("lib.ts:1", "use.ts:2")),
    ]  # fmt: skip


def _compiled() -> list[Braced]:
    c = {"lib.h": "int total(int n);\n", "lib.c": '#include "lib.h"\nint total(int n) { return n; }\n'}
    uses = {
        "direct": '#include "lib.h"\nint main(void) { return total(1); }\n',
        "macro": '#include "lib.h"\n#define CALL(x) total(x)\nint main(void) { return CALL(1); }\n',
        "pasted": '#include "lib.h"\n#define CALL(x) to##x(1)\nint main(void) { return CALL(tal) + total(1); }\n',
        "symbol": '#include <dlfcn.h>\nint main(void) { return dlsym(0, "total") != 0; }\n',
        "pointer": '#include "lib.h"\nint (*f)(int) = total;\n',
        "if_out": '#include "lib.h"\n#ifdef NEVER\nint other(void) { return total(1); }\n#endif\n',
        "declared": "extern int total(int n);\nint main(void) { return total(1); }\n",
    }
    at = {"macro": "main.c:2", "if_out": "main.c:3"}
    found = [
        Braced(f"c_{name}", "clangd", {**c, "main.c": main, "compile_flags.txt": "-std=c11\n"}, "lib.c:total",
               (at.get(name, "main.c:2" if name != "pasted" else "main.c:3"),))
        for name, main in uses.items()
    ]  # fmt: skip
    go = {
        "go.mod": "module example.com/m\n\ngo 1.21\n",
        "lib/lib.go": "package lib\n\nfunc Total(n int) int { return n }\n",
    }
    main = 'package main\n\nimport "example.com/m/lib"\n\nfunc main() { println(lib.Total(1)) }\n'
    tagged = '//go:build never\n\npackage main\n\nimport "example.com/m/lib"\n\nfunc other() { println(lib.Total(1)) }\n'
    return [
        *found,
        Braced("go_import", "gopls", {**go, "main.go": main}, "lib/lib.go:Total", ("main.go:5",), new="Sum"),
        Braced(
            "go_build_tag",
            "gopls",
            {**go, "main.go": main, "x.go": tagged},
            "lib/lib.go:Total",
            ("x.go:7",),
            new="Sum",
        ),
    ]


TAKEN = [
    Braced("js", "typescript", {"lib.js": _JS + "export function other() {}\n", "jsconfig.json": "{}\n"}, "lib.js:total", (), new="other"),
    Braced("js_keyword", "typescript", {"lib.js": _JS, "jsconfig.json": "{}\n"}, "lib.js:total", (), new="class"),
    Braced("js_no_name", "typescript", {"lib.js": _JS, "jsconfig.json": "{}\n"}, "lib.js:total", (), new="a-b"),
    Braced("js_member", "typescript", {"lib.js": "export class C {\n  a() { return 1; }\n  b() { return 2; }\n}\n", "jsconfig.json": "{}\n"}, "lib.js:C.a", (), new="b"),
    Braced("c", "clangd", {"lib.c": "int other;\nint total(int n) { return n; }\n"}, "lib.c:total", (), new="other"),
    Braced("c_keyword", "clangd", {"lib.c": "int total(int n) { return n; }\n"}, "lib.c:total", (), new="switch"),
]  # fmt: skip
_USE = "import { total } from './lib.js';\n"
for _name, _main in {
    "parameter": _USE + "function f(other) { return other && total([1]); }\nf(1);\n",
    "local": _USE + "function f() { const other = 1; return [other, total([1])]; }\nf();\n",
    "module": _USE + "const other = 1;\nconsole.log(other, total([1]));\n",
    "arrow": _USE + "console.log([1].map((other) => total([other])));\n",
    "function": _USE + "function other() {}\nconsole.log(other(), total([1]));\n",
    "catch": _USE + "try { total([1]); } catch (other) { console.log(other, total([1])); }\n",
    "loop": _USE + "for (const other of [1]) { console.log(other, total([1])); }\n",
}.items():
    _files = {"lib.js": _JS, "main.js": _main, "jsconfig.json": "{}\n"}
    TAKEN.append(Braced(f"js_{_name}", "typescript", _files, "lib.js:total", (), new="other"))
TRIED = [*_scripts(), *_projects(), *_compiled()]

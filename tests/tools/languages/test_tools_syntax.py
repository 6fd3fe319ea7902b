"""The syntax check: it answers for any text, and runs none of it."""

from __future__ import annotations

import ast
import gc
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_files import real_files

from forklock.tools.contract import EditRefused, ReplaceFile, ReplaceSymbol
from forklock.tools.edits.apply import apply_edit
from forklock.tools.languages.definitions import Target
from forklock.tools.languages.known import check_syntax, symbols
from forklock.tools.languages.python.parsing import parse_afresh
from forklock.tools.languages.python.version import OURS, target_python
from forklock.tools.languages.text import to_lf


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "x = 1\n"),
        ("a.py", "raise SystemExit\n"),
        ("a.py", "x = 1 is 1; y = '\\d'\n"),
        ("a.py", "\ufeffx = 1\r\ny = 2\r\n"),
        ("a.json", '{"a": [1]}'),
        ("a.toml", "a = 1\n"),
        ("a.txt", "def f(:"),
        ("a.ts", "export const f = <T,>(x: T): T => x;\r\n"),
        ("a.tsx", "const v = <A b={1}>text</A>;\n"),
        ("a.js", "class A { #x = 1; static { this.y = `${1}`; } }\n"),
        ("a.c", "CJSON_PUBLIC(char *) name(void) { return 0; }\n"),
        ("a.h", "#ifdef __cplusplus\nclass A {};\n#endif\nstruct class_ { int class_; };\n"),
        ("a.h", "int f(int new, int class);\n"),  # C, though C++ would not have it
        ("a.cpp", "template <class T> requires C<T> auto f(T&& x) -> decltype(x);\n"),
        ("a.go", "package p\n\nfunc Map[T any](in []T) []T { return in }\n"),
        ("a.rs", "fn f<'a>(x: &'a str) -> impl Fn() + 'a { move || { let _ = r#\"{\"#; } }\n"),
    ],
)
def test_what_parses(path: str, text: str) -> None:
    assert check_syntax(path, text) is None


@pytest.mark.parametrize(
    ("path", "text", "line", "part"),
    [
        ("a.py", "x = 1\ndef f(:\n", 2, "invalid syntax"),
        ("a.py", "x = 1\nreturn 2\n", 2, "outside function"),
        ("a.py", "x = '\0'\n", 0, "null bytes"),
        ("a.py", "x = " + "(" * 3000, 1, "too many"),
        ("a.json", '{\n"a": }', 2, "Expecting value"),
        ("a.toml", "a = 1\nb = \n", 2, "Invalid value"),
        ("a.json", "[" * 100_000, 0, ""),
        ("a.js", "f(a.map(x => x + 1);\n", 1, "')' is missing for the '(' of line 1"),
        ("a.ts", "function f() {\n  if (x) {\n    y();\n}\n", 4, "'}' is missing for the '{' of line 1"),
        ("a.js", "f();\n}\n", 2, "unexpected '}'"),
        ("a.go", "package p\nfunc f() int {\n\treturn 1 +\n}\n", 3, "unexpected '+'"),
        ("a.c", "int f(void) {\n  return 2\n}\n", 2, "';' is missing"),
        ("a.cpp", "int f() { return x + ; }\n", 1, "identifier"),
        ("a.rs", "fn a() {\n    let x = 1\n}\n", 2, "';' is missing"),
        ("a.ts", "const ключ = ;\n", 1, "unexpected '='"),
    ],
)
def test_what_does_not(path: str, text: str, line: int, part: str) -> None:
    problem = check_syntax(path, text)
    assert problem is not None
    assert problem.line == line
    assert part in problem.message


def test_context_is_the_line_itself() -> None:
    problem = check_syntax("a.py", "ok = 1\nbad bad\n")
    assert problem and (problem.line, problem.context) == (2, "bad bad")


@given(
    st.text(max_size=300),
    st.sampled_from(["a.py", "a.json", "a.toml", "a.md", "a.ts", "a.c", "a.h", "a.cpp", "a.go", "a.rs"]),
)
def test_never_raises(text: str, path: str) -> None:
    check_syntax(path, text)


def test_columns_count_characters() -> None:
    problem = check_syntax("a.js", "let ключ = 1; }\n")
    assert problem and (problem.line, problem.column) == (1, 14)


@pytest.mark.parametrize("suffix", [".go", ".js", ".ts", ".rs"])
def test_real_files_parse(suffix: str) -> None:
    """All but one in twenty: npm has a line that the grammar of JavaScript takes for something else."""
    files = [path for path in real_files() if path.suffix == suffix]
    if not files:
        pytest.skip(f"no {suffix} files here")
    refused = [path for path in files if check_syntax(path.name, path.read_text("utf-8", "replace"))]
    assert len(refused) <= len(files) / 20, refused


def test_what_is_said_of_real_files_points_into_them() -> None:
    """Macros of C are no syntax, so not all parse."""
    for path in real_files():
        text = to_lf(path.read_text("utf-8", "replace"))
        problem = check_syntax(path.name, text)
        if problem is not None:
            assert 1 <= problem.line <= text.count("\n") + 1 and problem.message
            assert problem.context == text.split("\n")[problem.line - 1]
            assert 0 <= problem.column <= len(problem.context)


@pytest.mark.parametrize("suffix", [".js", ".cpp", ".rs", ".go"])
def test_deep_braces_are_no_trap(suffix: str) -> None:
    for text in ("{" * 20_000, "f(" * 20_000, "namespace a{" * 5_000):
        assert check_syntax(f"a{suffix}", text) is not None


def test_trees_are_made_in_many_threads_at_once() -> None:
    """CPython 3.11 raised SystemError where a collection let another thread in."""
    texts = [f"def f{n}(a=({n}, (1, (2,)))): return a\n" * 40 for n in range(150)]

    def yield_to_others(*_: object) -> None:
        time.sleep(0)

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    gc.callbacks.append(yield_to_others)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(isinstance(tree, ast.Module) for tree in pool.map(parse_afresh, texts))
    finally:
        gc.callbacks.remove(yield_to_others)
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)


def test_long_chains_do_not_crash() -> None:
    check_syntax("a.py", "x = " + "+".join(["1"] * 20_000))
    check_syntax("a.py", "x = " + "-" * 5_000 + "1")


# --- the repository's own version ------------------------------------------------------------------

_NEWER = {
    (3, 12): ["type X = int", "def f[T](a: T) -> T: ...", "class C[T]: ...", "x = f'{'a'}'", "x = f'{\n1}'"],
    (3, 13): ["class C[T = int]: ...", "type X[T = int] = list[T]"],
    (3, 14): ["x = t'{a}'", "try: ...\nexcept A, B: ...", "try: ...\nexcept* A, B: ..."],
}
_OLDER = {
    (3, 8): ["(y := 1)", "def f(a, /): ..."],
    (3, 9): ["@a[0].b\ndef f(): ...", "with (open(a) as b, open(c) as d): ..."],
    (3, 10): ["match x:\n    case 1: ..."],
    (3, 11): ["try: ...\nexcept* A: ...", "def f(*a: *b): ...", "x[*a]"],
    **_NEWER,
}


@pytest.mark.hostile("setup")
def test_python_is_judged_by_the_version_that_the_repository_runs_on(tried: Callable[[int], None]) -> None:
    cases = [(since, text, (3, m)) for since, texts in _OLDER.items() for text in texts for m in range(7, 15)]
    for since, text, version in cases:
        problem = check_syntax("a.py", f"{text}\n", Target(version, "pyproject.toml"))
        fits = version >= since
        assert (problem is None) == fits, (since, text, version, problem)
        if problem is not None and version != OURS:
            assert problem.judge, (since, text, version)
    for _, text, version in cases:  # what no version takes
        assert check_syntax("a.py", f"{text}\ndef f(:\n", Target(version, "")) is not None
    tried(2 * len(cases))


@pytest.mark.hostile("setup")
@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({}, None),
        ({".python-version": "3.13.1\n"}, (3, 13)),
        ({".python-version": "pypy3.10\n"}, None),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.9,<4"\n'}, (3, 9)),
        ({"pyproject.toml": '[project]\nrequires-python = ">3.9"\n'}, (3, 9)),
        ({"pyproject.toml": '[project]\nrequires-python = "~=3.12.2"\n'}, (3, 12)),
        ({"pyproject.toml": '[project]\nrequires-python = "<4"\n'}, None),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.10"\n'}, (3, 10)),
        ({"pyproject.toml": "[project]\nrequires-python = [3]\n"}, None),
        ({"pyproject.toml": "a" * 100_000 + "["}, None),
        ({"pyproject.toml": "a = " + "[" * 30_000}, None),
        ({".venv/pyvenv.cfg": "home = /usr/bin\nversion = 3.14.0\n"}, (3, 14)),
        ({"venv/pyvenv.cfg": "version_info = 3.8.1.final.0\n", ".python-version": "3.12"}, (3, 8)),
        ({".python-version": "99999999999.1"}, None),
    ],
)
def test_the_version_is_read_from_what_the_repository_says(
    tmp_path: Path, files: dict[str, str], version: tuple[int, int] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = target_python(tmp_path)
    assert (found.version if found else None) == version


def test_a_version_is_never_read_from_outside_or_from_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/pyvenv.cfg").write_text("version = 3.8.1\n")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/.venv").symlink_to("../out")
    os.mkfifo(tmp_path / "repo/.python-version")
    (tmp_path / "repo/pyproject.toml").symlink_to("/dev/zero")
    assert target_python(tmp_path / "repo") is None


_TEXT = "type X = int\n\n\nclass C[T]:\n    def f(self):\n        return f'{'a'}'\n\n    def g(self): ...\n"


@pytest.mark.hostile("setup")
@pytest.mark.parametrize("named", ["3.14\n", ""])
def test_a_file_in_newer_syntax_is_outlined_and_edited(tmp_path: Path, named: str) -> None:
    (tmp_path / "a.py").write_text(_TEXT)
    if named:
        (tmp_path / ".python-version").write_text(named)
    assert [s.name_path for s in symbols("a.py", _TEXT)][-3:] == ["C", "C.f", "C.g"]
    apply_edit(tmp_path, ReplaceSymbol(path="a.py", name_path="C.f", source="def f(self):\n    return 2\n"))
    apply_edit(
        tmp_path, ReplaceSymbol(path="a.py", name_path="g", source="def g[T](self):\n    return f'{'b'}'\n")
    )
    after = (tmp_path / "a.py").read_text()
    assert after == (
        "type X = int\n\n\nclass C[T]:\n    def f(self):\n        return 2\n\n"
        "    def g[T](self):\n        return f'{'b'}'\n"
    )


@pytest.mark.hostile("setup")
def test_a_refusal_says_whose_grammar_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.9"\n')
    with pytest.raises(EditRefused, match=r"`match` statement on Python 3\.9.*\n?.*pyproject\.toml: >=3\.9"):
        apply_edit(tmp_path, ReplaceFile(path="a.py", source="match 1:\n    case 1: ...\n"))
    (tmp_path / "pyproject.toml").unlink()
    with pytest.raises(EditRefused, match=rf"So says Python {OURS[0]}\.{OURS[1]}"):
        apply_edit(tmp_path, ReplaceFile(path="a.py", source="def f(:\n"))


def test_a_file_that_is_newer_than_what_the_repository_says_stays_open_to_edits(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.6"\n')
    (tmp_path / "a.py").write_text("match 1:\n    case 1: ...\n\n\ndef f(): ...\n")
    apply_edit(
        tmp_path,
        ReplaceSymbol(path="a.py", name_path="f", source="def f():\n    a = 1\n    return (b := a)\n"),
    )
    assert (tmp_path / "a.py").read_text().endswith("return (b := a)\n")

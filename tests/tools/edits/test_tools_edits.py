"""Edits: a folder a case (`input`, `edit.json`, and `expected` or `refused`), and properties.

To add a case make a folder in `edit_cases/`: `input` is the file before (none: it does not exist),
`edit.json` the edit, `expected` the file after, byte for byte; or `refused` holds parts of the message, one
a line.
"""

from __future__ import annotations

import ast
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from real_files import real_files

from forklock.tools.contract import Edit, EditRefused, ReplaceFile, ReplaceSymbol, SearchReplace
from forklock.tools.edits.apply import apply_edit, preview
from forklock.tools.languages.known import check_syntax, symbol_source, symbols
from forklock.tools.languages.text import to_lf

CASES = sorted(folder for folder in (Path(__file__).parent / "edit_cases").iterdir())
EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path, tmp_path: Path) -> None:
    edit = EDIT.validate_json((case / "edit.json").read_bytes())
    file = tmp_path / edit.path.lstrip("/")
    before = (case / "input").read_bytes() if (case / "input").exists() else None
    if before is not None:
        file.write_bytes(before)
    if (case / "refused").exists():
        with pytest.raises(EditRefused) as caught:
            apply_edit(tmp_path, edit)
        for part in (case / "refused").read_text().splitlines():
            assert part in caught.value.message
        assert (file.read_bytes() if file.exists() else None) == before
    else:
        apply_edit(tmp_path, edit)
        assert file.read_bytes() == (case / "expected").read_bytes()
    assert [f.name for f in tmp_path.iterdir() if f.name.endswith(".tmp")] == []


# --- properties ------------------------------------------------------------------------------------

_ODD = """\
class C:
    '''Doc

    \x20\x20
    more
'''
    def m(self):
        s = f'''
{1}
  '''
# at the margin
        return (
    1)
"""
_TEXTS = {path.name: path.read_text("utf-8") for path in (Path(__file__).parents[3] / "tools").rglob("*.py")}
_SOURCES = {name: text for name, text in sorted(_TEXTS.items()) if "def " in text} | {"odd": _ODD}
NAMES = st.sampled_from(list(_SOURCES))
_BRACED = real_files()


@given(NAMES, st.data(), st.sampled_from(["\n", "\r\n"]))
def test_a_symbol_replaced_by_itself_is_the_same_file(name: str, data: st.DataObject, newline: str) -> None:
    text = _SOURCES[name].replace("\n", newline)
    symbol = data.draw(st.sampled_from(symbols("a.py", text)))
    edit = ReplaceSymbol(path="a.py", name_path=symbol.name_path, source=symbol_source(text, symbol))
    assert preview(text, edit) == text


@given(NAMES, st.data(), st.sampled_from(["", "  ", "    ", "        ", "\t"]))
def test_other_lines_and_the_meaning_stay_at_any_indentation(
    name: str, data: st.DataObject, indent: str
) -> None:
    text = _SOURCES[name]
    functions = [s for s in symbols("a.py", text) if s.kind in {"function", "method"}]
    symbol = data.draw(st.sampled_from(functions))
    lines = symbol_source(text, symbol).split("\n")
    own = len(lines[0]) - len(lines[0].lstrip())
    inner = "\n".join(lines)
    if '"""' in inner.replace('"""', "", 2) or "'''" in inner:
        return  # a passage with inner multi-line strings cannot be moved by plain text
    moved = "\n".join(indent + line[own:] if line[:own].isspace() or not own else line for line in lines)
    after = preview(text, ReplaceSymbol(path="a.py", name_path=symbol.name_path, source=moved))
    old, new = text.split("\n"), after.split("\n")
    assert new[: symbol.start_line - 1] == old[: symbol.start_line - 1]
    assert new[len(new) - (len(old) - symbol.end_line) :] == old[symbol.end_line :]
    assert _meaning(after) == _meaning(text)


@given(st.data(), st.sampled_from(["\n", "\r\n"]))
def test_a_symbol_in_braces_replaced_by_itself_is_the_same_file(data: st.DataObject, newline: str) -> None:
    path = data.draw(st.sampled_from(_BRACED))
    text = to_lf(path.read_text("utf-8", "replace")).replace("\n", newline)
    known = symbols(path.name, text)
    if not known:
        return
    symbol = data.draw(st.sampled_from(known))
    edit = ReplaceSymbol(path=path.name, name_path=symbol.name_path, source=symbol_source(text, symbol))
    try:
        assert preview(text, edit) == text
    except EditRefused as refusal:  # where it shares a line, or macros hide what it is
        assert "shares a line" in refusal.message or check_syntax(path.name, text), refusal.message


@given(st.data(), st.sampled_from(["", "  ", "\t\t"]))
def test_in_braces_too_other_lines_stay(data: st.DataObject, indent: str) -> None:
    path = data.draw(st.sampled_from(_BRACED))
    text = to_lf(path.read_text("utf-8", "replace"))
    known = [s for s in symbols(path.name, text) if s.kind in {"function", "method"}]
    if not known:
        return
    symbol = data.draw(st.sampled_from(known))
    lines = symbol_source(text, symbol).split("\n")
    source = "\n".join(indent + line for line in lines)
    try:
        after = preview(text, ReplaceSymbol(path=path.name, name_path=symbol.name_path, source=source))
    except EditRefused as refusal:
        assert "shares a line" in refusal.message or check_syntax(path.name, text), refusal.message
        return
    old, new = text.split("\n"), after.split("\n")
    assert new[: symbol.start_line - 1] == old[: symbol.start_line - 1]
    assert new[len(new) - (len(old) - symbol.end_line) :] == old[symbol.end_line :]
    assert after.split() == text.split() or "`" in source or '"' in source


def _meaning(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            document = ast.get_docstring(node)
            if document is not None:
                node.body[0] = ast.Expr(ast.Constant(document))
    return ast.dump(tree)


@given(NAMES, st.data())
def test_search_and_replace_of_a_unique_line_changes_that_line_only(name: str, data: st.DataObject) -> None:
    text = _SOURCES[name]
    lines = text.split("\n")
    unique = [
        n
        for n, line in enumerate(lines)
        if line.strip() and text.count(line) == 1 and line.lstrip()[0] == "#"
    ]
    if not unique:
        return
    number = data.draw(st.sampled_from(unique))
    new = lines[number] + " more"
    after = preview(text, SearchReplace(path="a.py", search=lines[number], replace=new))
    assert after.split("\n") == [*lines[:number], new, *lines[number + 1 :]]


@given(st.text(max_size=80), st.text(max_size=40), st.text(max_size=40))
def test_any_search_ends_in_text_or_refusal(text: str, search: str, replace: str) -> None:
    try:
        assert isinstance(preview(text, SearchReplace(path="a.txt", search=search, replace=replace)), str)
    except EditRefused as refusal:
        assert refusal.message


@given(st.text(alphabet="def clas:()\n\t\"'@fx=#.\\", max_size=120))
def test_any_source_ends_in_text_that_parses_or_refusal(source: str) -> None:
    text = "class C:\n    def f(self):\n        return 1\n"
    try:
        ast.parse(preview(text, ReplaceSymbol(path="a.py", name_path="C.f", source=source)))
    except EditRefused as refusal:
        assert refusal.message


_METHOD = "class C {\n  f() {\n    return 1;\n  }\n  g() {}\n}\nfunction h() {}\n"


@given(st.text(alphabet="f(){};= >xclasCh\n/*\t`g,é\ud800", max_size=60), st.sampled_from(["C.f", "h", "C"]))
def test_any_source_in_braces_ends_in_text_that_parses_or_refusal(source: str, name: str) -> None:
    try:
        after = preview(_METHOD, ReplaceSymbol(path="a.js", name_path=name, source=source))
    except EditRefused as refusal:
        assert refusal.message
        return
    assert check_syntax("a.js", after) is None
    kept = {"C.f": ["C.g", "h"], "h": ["C.f", "C.g"], "C": ["h"]}[name]
    now = {s.name_path: symbol_source(after, s) for s in symbols("a.js", after)}
    was = {s.name_path: symbol_source(_METHOD, s) for s in symbols("a.js", _METHOD)}
    assert all(now[other] == was[other] for other in kept)


# --- files -----------------------------------------------------------------------------------------


def test_mode_is_kept_and_links_are_followed_inside_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "run.py").write_text("x = 1\n")
    (root / "run.py").chmod(0o755)
    (root / "link.py").symlink_to("run.py")
    (tmp_path / "outside.py").write_text("x = 1\n")
    (root / "out.py").symlink_to(tmp_path / "outside.py")
    (root / "dir").symlink_to(tmp_path)
    apply_edit(root, SearchReplace(path="link.py", search="1", replace="2"))
    assert (root / "run.py").read_text() == "x = 2\n"
    assert stat.S_IMODE((root / "run.py").stat().st_mode) == 0o755
    assert (root / "link.py").is_symlink()
    for path in ("out.py", "dir/outside.py", "dir/new.py"):
        with pytest.raises(EditRefused, match="out of the workspace"):
            apply_edit(root, ReplaceFile(path=path, source="x = 9\n"))
    assert (tmp_path / "outside.py").read_text() == "x = 1\n"


def test_links_into_git_folders_binaries_and_huge_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("")
    (tmp_path / "config").symlink_to(".git/config")
    (tmp_path / "data.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "huge.txt").open("wb") as huge:
        huge.truncate(6_000_000)
    for path, part in [
        ("config", "git"),
        ("data.txt", "encoding"),
        ("folder", "regular"),
        ("huge.txt", "larger"),
    ]:
        with pytest.raises(EditRefused, match=part):
            apply_edit(tmp_path, SearchReplace(path=path, search="a", replace="b"))


def test_a_refusal_carries_the_would_be_text() -> None:
    with pytest.raises(EditRefused) as caught:
        preview("x = 1\n", SearchReplace(path="a.py", search="1", replace="= 1"))
    assert caught.value.would_be == "x = = 1\n"


def test_an_edit_says_what_it_did(tmp_path: Path) -> None:
    made = apply_edit(tmp_path, ReplaceFile(path="new/deep/a.py", source="x = 1\n"))
    assert (made.before, made.after) == (None, "x = 1\n")
    changed = apply_edit(tmp_path, ReplaceFile(path="new/deep/a.py", source="x = 2\n"))
    assert (changed.before, changed.after) == ("x = 1\n", "x = 2\n")

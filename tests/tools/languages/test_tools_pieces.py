"""Python text in pieces: outlines made of them are those of the whole."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forklock.tools.languages.known import symbols
from forklock.tools.languages.python import outline as module
from forklock.tools.languages.python.outline import definitions
from forklock.tools.languages.python.parsing import pieces
from forklock.tools.languages.text import to_lf

LINES = st.sampled_from(
    [
        "def f():", "async def g(a, b=(", "class C:", "    def m(self): pass", "    x = 1", "x = 1", "    pass",
        "@d", "@d(", ")", "]", 's = """', '"""', "'''", "# def f", "\\", "x = 1 \\", "else:", "if x:", "try:",
        "except E:", "finally:", "", "\x0cdef h(): pass", "def f(): pass", "@overload", "define = 2", "match x:",
        "    case 1:", '    """doc', "{", "}", "    return (1,", "\tpass", "lambda: (", "type X = int",
    ]
)  # fmt: skip


def whole(text: str) -> list[tuple[str, str, int, int]]:
    return [(d.name_path, d.kind, d.start_line, d.end_line) for d in definitions(to_lf(text))]


def outlined(text: str) -> list[tuple[str, str, int, int]]:
    return [(s.name_path, s.kind, s.start_line, s.end_line) for s in symbols("a.py", text)]


@settings(max_examples=400)
@given(st.lists(LINES, max_size=14).map("\n".join))
@example('s = """\ndef f():\n    """\ndef g(): pass')
@example('a = """\ndef f(): pass\n"""\ndef g(): pass\nb = """\nclass C: pass\n"""\n')
@example("x = 1 \\\n\ndef f(): pass\n")
@example("@d\n@e\n\n# why\ndef f(): pass\n@d\nclass C: pass\n@d\nasync def f(): pass")
@example("x = (\n@y\n)\ndef f(): pass")
def test_the_outline_is_that_of_the_whole(text: str) -> None:
    assert "".join(piece for _, piece in pieces(text)) == text
    assert outlined(text) == whole(text)


def test_of_real_files_too() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = [*sorted(folder.glob("*.py"))[::3], *sorted(folder.glob("test/test_gr*.py"))]
    assert len(files) > 50
    for file in files:
        text = to_lf(file.read_text("utf-8", "replace"))
        assert outlined(text) == whole(text), file


def test_decorators_stay_with_what_they_decorate() -> None:
    text = "import x\n@d\n@e(\n1)\n# why\ndef f(): pass\n@d\nclass C:\n  def m(self): pass\ndef g(): pass\n"
    text += "if x:\n  y = 1\nelse:\n  y = 2\nz = 2\n"
    assert [(n, p.split("\n")[0]) for n, p in pieces(text)] == [
        (0, "import x"), (1, "@d"), (6, "@d"), (9, "def g(): pass"), (14, "z = 2"),
    ]  # fmt: skip
    for _, piece in pieces(text):
        ast.parse(piece)


def test_after_an_edit_only_the_piece_with_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"def edited_{n}(a):\n    return {n}\n\n\n" for n in range(300))
    symbols("a.py", text)
    parsed = list[str]()
    monkeypatch.setattr(module, "parse_afresh", lambda t: parsed.append(t) or ast.parse(t))
    assert len(symbols("a.py", text.replace("return 77\n", "b = 1\n    return 78\n"))) == 300
    assert [p.split("(")[0] for p in parsed] == ["def edited_77"]

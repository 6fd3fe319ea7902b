"""Python, as the tools ask it. What needs its tree is in the modules beside; here is what is short. Pure, but for
`target`, which reads a repository's files, and the grammar of other versions, which is ruff's.
"""

from __future__ import annotations

import ast
import builtins
import re
import string
import textwrap
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from forklock.sandbox.files.reading import parse_python
from forklock.tools.contract import Symbol
from forklock.tools.languages import by_eye
from forklock.tools.languages.definitions import (
    Definition,
    Index,
    Judging,
    Kind,
    Shape,
    Site,
    Statement,
    SyntaxProblem,
    Target,
    Use,
)
from forklock.tools.languages.forms.pytest import PYTEST
from forklock.tools.languages.language import Calls, Language, References, name_words
from forklock.tools.languages.python import sites as found_sites
from forklock.tools.languages.python import uses as used
from forklock.tools.languages.python import version
from forklock.tools.languages.python.calls import PythonCalls
from forklock.tools.languages.python.editing.editor import PythonEditor
from forklock.tools.languages.python.judging import judging_parts
from forklock.tools.languages.python.naming.naming import PythonNaming
from forklock.tools.languages.python.outline import definitions, doc, outlined, signature
from forklock.tools.languages.python.parsing import check, newer_syntax, parse
from forklock.tools.languages.python.references import PythonReferences
from forklock.tools.languages.text import lf

_NOT_CODE = re.compile(
    r'"""(?:[^\\"]|\\.|"(?!""))*"""|\'\'\'(?:[^\\\']|\\.|\'(?!\'\'))*\'\'\''
    r'|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*',
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_TEST_FOLDERS = frozenset({
    "tests", "test", "testing", "unit_tests", "unittests", "unittest", "integration_tests", "functional_tests",
    "regression_tests", "acceptance_tests", "testsuite", "test_suite", "testdata",
})  # fmt: skip
_SPACE = re.compile(r"\s+")
_BLOCK = re.compile(
    r"^([ \t]*)(?:async[ \t]+)?"
    r"(def|class|if|elif|else|try|except|finally|with|for|while|match)\b[ \t]*(\w*)",
    re.MULTILINE,
)
_OPENERS = string.ascii_letters + "_@#"
"""What a line of code can begin with. (A closing bracket or quote may end what is inside.)"""
_KNOWN = frozenset({"builtins", "typing", "typing_extensions", "types"})
"""Modules that any model knows by heart."""


class Python(Language):
    opener = ":"
    closer = ""
    group = "python"
    reads = True
    outlined = True
    examples = True
    imports_known = True
    kept_by_runs = True
    ids_name_tests = True
    called_for: ClassVar = {
        "Python's own rules": r"__\w+__$",
        "pytest's hooks": r"pytest_\w",
    } | dict(by_eye.CALLED_FOR)
    naming = PythonNaming()
    tidied_by = "ruff"
    unwritten = "raise NotImplementedError"
    lists_members = True
    test_form = PYTEST
    example = "def name(argument):\n    return argument"

    # --- files -------------------------------------------------------------------------------------

    def encoding(self, data: bytes) -> str:
        """UTF-8, or what the coding line says."""
        name, _ = tokenize.detect_encoding(BytesIO(data).readline)
        return "utf-8" if name == "utf-8-sig" else name

    def target(self, root: Path) -> Target | None:
        return version.target_python(root)

    def fitting(self, path: str, text: str, target: Target | None) -> Target | None:
        if target is not None and check(text, target) is None:
            return target
        if check(text, None) is None:
            return None
        newer = newer_syntax(text)
        return Target(newer, f"{path} needs it") if newer else target

    def is_test(self, path: str) -> bool:
        """By customs: `test_cart.py`, `cart_tests.py`, `tests/`."""
        pure = PurePosixPath(path)
        if _TEST_FOLDERS & set(pure.parts[:-1]) or pure.name == "conftest.py":
            return True
        words = name_words(path)
        return bool({"test", "tests"} & {*words[:1], *words[-1:]})

    # --- what the text says ------------------------------------------------------------------------

    def check(self, text: str, target: Target | None = None) -> SyntaxProblem | None:
        return check(lf(text), target)

    def definitions(self, text: str) -> tuple[Definition, ...]:
        return definitions(text)

    def outline(self, text: str) -> Iterable[Definition]:
        return outlined(text)

    def signature(self, text: str, symbol: Symbol) -> str:
        return signature(text, symbol)

    def doc(self, text: str, symbol: Symbol) -> str:
        return doc(text, symbol)

    def shape(self, code: str) -> Shape | None:
        return _shape(code)

    def sites(self, text: str) -> Iterator[Site]:
        return found_sites.sites(text)

    def judging_parts(self, text: str, judging: Judging) -> tuple[str, ...]:
        return judging_parts(text, judging)

    def program_words(self, text: str) -> str:
        try:
            return ast.dump(parse_python(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return text

    def uses(self, text: str, start_line: int, end_line: int) -> list[Use]:
        return used.uses(text, start_line, end_line)

    def imports(self, text: str) -> Iterator[str]:
        tree = parse(text)
        for node in tree.body if isinstance(tree, ast.Module) else ():
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield ast.unparse(node)

    # --- the index of a repository -----------------------------------------------------------------

    def code(self, text: str) -> str:
        """Return the text without strings and comments, line numbers kept."""
        return _NOT_CODE.sub(lambda match: "\n" * match[0].count("\n") or " ", text)

    def words(self, code: str) -> Counter[str]:
        return Counter(_WORD.findall(code))

    def heads(self, text: str, code: str) -> tuple[Definition, ...]:  # noqa: ARG002
        """By regular expressions: exact trees are made later, for the few files that matter."""
        return tuple(_heads(code))

    def head_line(self, text: str, head: Definition) -> str:
        """Return what opens a definition, up to its colon, on one line."""
        lines = text.split("\n")[head.name_line - 1 : head.name_line + 30]
        opened = "\n".join(lines)
        return _SPACE.sub(" ", opened[: _colon(opened)].strip()).replace("( ", "(").replace(", )", ")")

    def module(self, path: str) -> str:
        """Return the dotted name; a leading `src` is left out, as is a package's `__init__`."""
        parts = list(PurePosixPath(path).with_suffix("").parts)
        parts = parts[1:] if parts[0] == "src" and len(parts) > 1 else parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def references(self, index: Index) -> References:
        return PythonReferences(index, self)

    def calls(self, index: Index) -> Calls:
        return PythonCalls(index, self.group)

    def editor(self, path: str, text: str, target: Target | None) -> PythonEditor:
        return PythonEditor(path, text, target)

    # --- what a server's answers mean --------------------------------------------------------------

    def brings(self, name: str) -> bool:
        return hasattr(builtins, name)

    def library(self, path: str) -> str:
        """Return `pkg.mod` for a file of a library or of the standard library."""
        if not path.startswith("/"):
            return path
        parts = PurePosixPath(path).with_suffix("").parts
        cuts = [i for i, p in enumerate(parts) if p in ("site-packages", "dist-packages", "stdlib", "stubs")]
        cuts += [i for i, p in enumerate(parts) if re.fullmatch(r"python3\.\d+", p)]
        inner = parts[max(cuts) + 1 :] if cuts else parts[-1:]
        return ".".join(p for p in inner if p != "__init__") or parts[-1]

    def described(self, name_path: str, path: str, source: str) -> str:
        """Return signature and first doc line; a class is told with what makes an instance, a constant by its line."""
        module = self.library(path)
        head, words = _told(source) if name_path and module not in _KNOWN else ("", "")
        if head:
            where = f"{name_path} in {module}" if "." in name_path else module
            return f"{head}  # {where}{': ' + words if words else ''}"
        line = source.split("\n")[0].strip()
        if module in _KNOWN or "=" not in line or line.startswith(("import ", "from ")):
            return ""
        return f"{line}  # {module}"

    def documented(self, head: str, words: str) -> str:
        return f'{head}:\n    """{words}"""' if words else head

    # --- prompts -----------------------------------------------------------------------------------

    def to_be_written(self, header: str) -> str:
        return f"{header.rstrip()}\n    ...  # to be written"

    def stops(self, indent: str) -> tuple[str, ...]:
        return tuple(f"\n{deep}{first}" for deep in sorted({"", indent}) for first in _OPENERS)

    def continued(self, opening: str, answer: str) -> str:
        lines = (opening + answer).splitlines(keepends=True)
        start = opening.count("\n") + 1
        ends = [i for i in range(start, len(lines)) if lines[i][0] in _OPENERS]
        for end in [*ends, len(lines)]:
            source = "".join(lines[:end]).rstrip() + "\n"
            if self.shape(source) is not None:
                return source
        return "".join(lines[: ends[0] if ends else None])


PYTHON = Python("python", (".py", ".pyi", ".pyw"))


# --- statements ----------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _shape(code: str) -> Shape | None:
    try:
        tree = parse_python(code)
    except SyntaxError:
        return None
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    return Shape(_header(tree), tuple(_statement(node) for node in found), ast.dump(tree))


def _statement(node: ast.stmt) -> Statement:
    body = getattr(node, "body", None)
    inner = body[0].lineno if body and body[0].lineno > node.lineno else None
    return Statement(node.lineno, node.end_lineno or node.lineno, inner)


def _header(tree: ast.Module) -> int:
    body = tree.body
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return 0
    first = body[0].body[0]
    documented = ast.get_docstring(body[0], clean=False) is not None
    last = (first.end_lineno or first.lineno) if documented else first.lineno - 1
    return last if last >= body[0].lineno else 0  # a one-liner: `def f(): return 1`


# --- heads ---------------------------------------------------------------------------------------------


def _heads(code: str) -> Iterator[Definition]:
    open_blocks: list[tuple[int, str, str]] = []  # (indent, name path, word), definitions only
    line, position = 1, 0
    for match in _BLOCK.finditer(code):
        indent = len(match[1].expandtabs(8))
        while open_blocks and open_blocks[-1][0] >= indent:
            open_blocks.pop()
        word, name = match[2], match[3]
        if word not in {"def", "class"} or not name:
            continue
        line += code.count("\n", position, match.start())
        position = match.start()
        scope, outer = (f"{open_blocks[-1][1]}.", open_blocks[-1][2]) if open_blocks else ("", "")
        function: Literal["function", "method"] = "method" if outer == "class" else "function"
        kind: Kind = "class" if word == "class" else function
        yield Definition(scope + name, kind, line, line, None, line, line, len(open_blocks))
        open_blocks.append((indent, scope + name, word))


def _colon(text: str) -> int:
    """Return where the colon stands that ends a header; brackets may hold others."""
    depth = 0
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == ":" and depth == 0:
            return position
    return len(text)


def _told(source: str) -> tuple[str, str]:
    """Return (signature, first doc line) of a definition's source."""
    text = textwrap.dedent(source)
    inside = [Symbol("x.py", d.name_path, d.kind, d.start_line, d.end_line) for d in outlined(lf(text))]
    if not inside or inside[0].kind == "variable":
        return "", ""
    top = inside[0]
    head, words = signature(text, top), doc(text, top).split("\n")[0].strip()
    if top.kind == "class":
        made = next((s for s in inside if s.name_path == f"{top.name_path}.__init__"), None)
        own = [s for s in inside if s.kind == "variable" and s.name_path.count(".") == 1]
        fields = [signature(text, s) for s in own[:8] if ":" in signature(text, s).split("=")[0]]
        extra = signature(text, made).removeprefix("def ") if made else "; ".join(fields)
        head += f": {extra}" if extra else ""
    return head, words

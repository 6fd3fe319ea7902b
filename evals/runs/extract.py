"""evals: finds the program in an answer. Pure.

Input: a completion's text, the preset that asked for it, the problem. Output: a program that the judge can run, or None
where the answer holds none. Not covered: languages other than Python.
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import Literal

from forklock.evals.contract import Problem
from forklock.sandbox.files.reading import parse_python

Preset = Literal["coder-chat", "humaneval-chat", "official-lcb", "official-qwen-coder"]
OPENING = "```python"
"""First line of a code block; `official-qwen-coder` starts answers with it."""
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+.-]*)[^\n]*$", re.MULTILINE)
_PYTHON = {"", "python", "python3", "py", "py3"}


def extract_code(text: str, preset: Preset, problem: Problem) -> str | None:
    """Return the program in `text`.

    `official-lcb` takes the last fenced block, closed or not, and nothing else, as LiveCodeBench does. With
    `official-qwen-coder` an answer starts inside a block; everything up to the block's end is taken, as in that script.
    The other presets take the last Python block that defines the entry point, else the longest one. Text without a
    fence counts if it is a program as it stands, or continues the starter code.
    """
    if preset == "official-qwen-coder":
        code = text.replace("\t", "    ").split("```")[0].strip("\n")
        return code if code.strip() else None
    blocks = fenced_blocks(text)
    if preset == "official-lcb":
        return (blocks[-1][1] or None) if blocks else None
    python = [code for language, code in blocks if language in _PYTHON and code.strip()]
    if python:
        return completed(_best(python, problem), problem)
    if blocks:
        return None
    return completed(text, problem) if _is_program(text, problem) else None


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, content) of each fenced block; a block that the length limit cut reaches to the end.

    A block that only wraps another (```markdown around ```python, as small models write it) is skipped.
    """
    blocks, at = [], 0
    while (opening := _FENCE.search(text, at)) is not None:
        inner = _FENCE.search(text, opening.end())
        if opening[2].lower() not in _PYTHON and inner and not text[opening.end() : inner.start()].strip():
            at = opening.end()
            continue
        mark = re.escape(opening[1][0]) + "{" + str(len(opening[1])) + ",}"
        closing = re.compile(rf"^[ \t]*{mark}[ \t]*$", re.MULTILINE).search(text, opening.end())
        end = closing.start() if closing else len(text)
        blocks.append((opening[2].lower(), text[opening.end() : end].strip("\n")))
        at = closing.end() if closing else len(text)
    return blocks


def completed(code: str, problem: Problem) -> str:
    """Return `code` as a whole program: a bare function body is put under the starter code's signature."""
    starter, name = problem.starter_code, problem.entry_point
    if not starter or not name or _defines(code, name):
        return code
    if _parses(textwrap.dedent(code)) and not _indented(code) and _parses(code) and _has_def(code):
        return code
    body = textwrap.indent(textwrap.dedent(code), _body_indent(starter))
    whole = f"{starter.rstrip()}\n{body}\n"
    return whole if _parses(whole) else code


def _best(blocks: list[str], problem: Problem) -> str:
    wanted = problem.entry_point
    naming = [block for block in blocks if wanted and _defines(block, wanted)]
    return naming[-1] if naming else max(blocks, key=len)


def _is_program(text: str, problem: Problem) -> bool:
    if not text.strip():
        return False
    if problem.starter_code and _indented(text):
        return True
    if not _parses(text):
        return False
    return _does_something(parse_python(text))


def _does_something(tree: ast.Module) -> bool:
    """Return whether it defines, imports, assigns, calls or branches: a single word of prose parses, too."""
    return any(not (isinstance(n, ast.Expr) and not isinstance(n.value, ast.Call)) for n in tree.body)


def _defines(code: str, name: str) -> bool:
    """Return whether `code` defines a function of that name; `code` may be cut off."""
    return re.search(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b", code, re.MULTILINE) is not None


def _has_def(code: str) -> bool:
    return re.search(r"^(def|class|async def)\b", code, re.MULTILINE) is not None


def _indented(text: str) -> bool:
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first[:1] in (" ", "\t")


def _body_indent(starter: str) -> str:
    """Return the indentation of the body of the starter code's last `def`."""
    heads = re.findall(r"^([ \t]*)(?:async[ \t]+)?def\b", starter, re.MULTILINE)
    return (heads[-1] if heads else "") + "    "


def _parses(code: str) -> bool:
    try:
        parse_python(code)
    except SyntaxError:
        return False
    return True

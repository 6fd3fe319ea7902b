"""`read`: a definition with what is around it, lines of a file, or what a folder holds."""

from __future__ import annotations

import difflib
import posixpath
from collections import Counter

from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.excerpts import MAX_CHARS, MAX_LINES, clip, numbered
from forklock.agent.driving.tools.forms import PATHS
from forklock.models.calls.contract import Parameter, Tool
from forklock.tools.contract import EditRefused, Symbol, ToolFault
from forklock.tools.files import read_document
from forklock.tools.frame.frame import intellisense_frame
from forklock.tools.index.budget import estimate_tokens
from forklock.tools.index.find import NAMED, find_symbols
from forklock.tools.languages.definitions import meant
from forklock.tools.languages.known import language_of, symbols
from forklock.tools.languages.text import to_lf
from forklock.tools.paths import resolve

FRAME_TOKENS = 500
"""Tokens of the frame around a definition, at most."""
ENTRIES = 100
"""Entries of a folder that are listed, at most."""

TOOL = Tool(
    "read",
    "Read a file, one definition with what it uses and who calls it, or the list of a folder. Lines are numbered.",
    (
        Parameter(
            "path", "string", "file or folder, relative to the repository's root", required=False, also=PATHS
        ),
        Parameter(
            "symbol",
            "string",
            "only this definition: `function` or `Class.method`",
            required=False,
            also=("name", "definition"),
        ),
        Parameter(
            "start", "integer", "first line to read", required=False, also=("start_line", "line", "offset")
        ),
        Parameter("end", "integer", "last line to read", required=False, also=("end_line",)),
    ),
)


def read(context: Context, path: str, symbol: str, start: int, end: int) -> ToolAnswer:
    """Answer a call. `start` and `end` are 0 where the model gave none."""
    try:
        if symbol:
            return ToolAnswer(_definition(context, the_definition(context, symbol, path)), "ok")
        if _is_folder(context, path):
            return ToolAnswer(_listing(context, path), "ok")
        return ToolAnswer(_lines(path, text_of(context, path), start, end), "ok")
    except EditRefused as refused:
        return ToolAnswer(context.relative(refused.message), "refused")


def text_of(context: Context, path: str) -> str:
    """Return the text of a file with LF line ends.

    Raises:
        EditRefused: there is none, it is no text, or it lies outside.
    """
    file = resolve(context.root, path)
    if not file.is_file():
        raise EditRefused(f"There is no file {path}.{_near(context, path)}")
    return to_lf(read_document(file, path).text)


def _near(context: Context, path: str) -> str:
    """Return the files whose names are most like it, as a sentence."""
    files = context.files()
    name = posixpath.basename(path)
    same = [one for one in files if posixpath.basename(one) == name]
    close = same or difflib.get_close_matches(path, files[:5000], 5, 0.6)
    return (
        f" Did you mean {', '.join(close[:5])}?" if close else " `read` without a path lists what there is."
    )


# --- definitions -----------------------------------------------------------------------------------


def the_definition(context: Context, name: str, path: str) -> Symbol:
    """Return the one definition of that name path, or whose name path ends in it.

    Args:
        path: where it is; "" where the name is unique.

    Raises:
        EditRefused: none or several, with what could have been meant.
    """
    name = name.strip().strip("`").removesuffix("()").replace("::", ".")
    if path in ("", "."):
        found = find_symbols(context.index(), name)
    elif language_of(path).reads:
        found = symbols(path, text_of(context, path))
    else:
        text_of(context, path)
        intel = context.intel()
        outline = intel.outline(path) if intel is not None else []
        found = outline if isinstance(outline, list) else []
    exact = [one for one in found if one.name_path == name] or meant(name, found)
    if len(exact) == 1:
        return exact[0]
    where = f" in {path}" if path not in ("", ".") else ""
    if exact:
        listed = ", ".join(f"{one.path}:{one.start_line} {one.name_path}" for one in exact[:NAMED])
        raise EditRefused(
            f"{name} is defined {len(exact)} times{where}: {listed}. Give `path`, or the whole name path."
        )
    near = _near_names(name, found)
    raise EditRefused(f"There is no definition {name}{where}.{near}")


def _near_names(name: str, found: list[Symbol]) -> str:
    last = name.rpartition(".")[2]
    names = [one.name_path for one in found]
    near = [one for one in names if one.rpartition(".")[2] == last] or difflib.get_close_matches(
        name, names, 5, 0.5
    )
    chosen = near or names
    more = f" and {len(chosen) - NAMED} more" if len(chosen) > NAMED else ""
    return f" There are: {', '.join(chosen[:NAMED])}{more}." if chosen else ""


def _definition(context: Context, symbol: Symbol) -> str:
    lines = text_of(context, symbol.path).split("\n")
    wanted = lines[symbol.start_line - 1 : symbol.end_line]
    body, last = numbered(wanted, symbol.start_line)
    head = f"{symbol.path}:{symbol.start_line}-{symbol.end_line} {symbol.name_path}"
    if last < symbol.end_line:
        body += f"\n… {symbol.end_line - last} more lines: read(path={symbol.path!r}, start={last + 1})"
    frame = _frame(context, symbol)
    return "\n".join(part for part in (head, body, frame) if part)


def _frame(context: Context, symbol: Symbol) -> str:
    try:
        return intellisense_frame(
            context.intel(), context.root, symbol,
            budget_tokens=FRAME_TOKENS, count_tokens=estimate_tokens, with_source=False,
        )  # fmt: skip
    except ToolFault:
        return ""


# --- lines and folders -----------------------------------------------------------------------------


def _lines(path: str, text: str, start: int, end: int) -> str:
    lines = text.removesuffix("\n").split("\n")
    count = len(lines)
    if not text:
        return f"{path} is empty."
    first = min(max(start, 1), count)
    last = min(end if end >= first else count, count)
    if start > count:
        return f"{path} has {count} lines."
    body, shown = numbered(lines[first - 1 : min(last, first - 1 + MAX_LINES)], first)
    head = (
        f"{path}, lines {first}-{shown} of {count}"
        if (first, shown) != (1, count)
        else f"{path}, {count} lines"
    )
    more = f"\n… {last - shown} more lines: read(path={path!r}, start={shown + 1})" if shown < last else ""
    return f"{head}\n{body}{more}"


def _is_folder(context: Context, path: str) -> bool:
    """Whether it is a folder of the workspace. Links are followed as far as they stay inside."""
    if path in ("", "."):
        return True
    try:
        target = (context.root / path).resolve()
        return (
            target.is_dir() and target.is_relative_to(context.root.resolve()) and ".git" not in target.parts
        )
    except (OSError, RuntimeError, ValueError):
        return False


def _listing(context: Context, path: str) -> str:
    base = "" if path in ("", ".") else f"{path}/"
    inside = [one.removeprefix(base) for one in context.files() if one.startswith(base)]
    folders = Counter(one.partition("/")[0] for one in inside if "/" in one)
    rows = [f"{name}/ ({count} file{'s' * (count > 1)})" for name, count in sorted(folders.items())]
    rows += sorted(one for one in inside if "/" not in one)
    if not rows:
        return "The repository is empty." if not base else f"{path} holds no file that git does not ignore."
    more = [f"… {len(rows) - ENTRIES} more: `find` a name"] if len(rows) > ENTRIES else []
    return clip("\n".join([f"{base or './'}", *(f"  {row}" for row in rows[:ENTRIES]), *more]), MAX_CHARS)

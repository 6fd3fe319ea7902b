"""From the arguments of `edit` to one form of edit, taking what a model wrote as it is meant.

The forms: replace a passage (`old`, `new`), replace a definition (`symbol`, `content`), write a whole file (`content`),
rename a definition (`symbol`, `rename_to`), delete a file (`delete`). Fences around code, line numbers that were copied
from an answer of `read`, and line ends that were escaped twice are taken off. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from forklock.models.calls.contract import Parameter, Tool
from forklock.models.families.profile import EditFormat
from forklock.tools.contract import Edit, ReplaceFile, ReplaceSymbol, SearchReplace
from forklock.tools.languages.known import check_syntax

_FENCE = re.compile(r"[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_NUMBERED = re.compile(r"[ \t]*\d+ \| ?")
_PROSE = frozenset({".md", ".markdown", ".mdx", ".rst"})


class Unclear(Exception):
    """The arguments are no form of edit. The message says what is missing, for the model's next try."""


@dataclass(frozen=True, slots=True)
class Rename:
    """A definition is to have another name, everywhere."""

    path: str
    symbol: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Delete:
    path: str


Change = Edit | Rename | Delete

PATHS = ("file", "file_path", "filename", "target_file")
"""Names that models give to `path`."""
_PATH = Parameter("path", "string", "the file, relative to the repository's root", also=PATHS)
_OLD = Parameter(
    "old", "string", "the lines to replace, copied exactly; they must occur once in the file", required=False,
    also=("old_str", "old_string", "old_text", "search"),
)  # fmt: skip
_NEW = Parameter(
    "new", "string", "the lines that take the place of `old`", required=False,
    also=("new_str", "new_string", "new_text", "replace", "replacement"),
)  # fmt: skip
_SYMBOL = Parameter(
    "symbol", "string", "a definition: `function` or `Class.method`; with `content` or `rename_to`", required=False,
    also=("name", "definition"),
)  # fmt: skip
_RENAME = Parameter(
    "rename_to", "string", "new name of the definition", required=False, also=("new_name", "rename")
)
_DELETE = Parameter("delete", "boolean", "true: delete the file", required=False)


def _content(description: str) -> Parameter:
    also = ("code", "source", "text", "file_text", "contents", "new_content")
    return Parameter("content", "string", description, required=False, also=also)


_FORMS: dict[EditFormat, tuple[str, tuple[Parameter, ...]]] = {
    "whole": (
        "Write a file: give its whole text in `content`. Makes the file where there is none. Or delete it.",
        (_PATH, _content("the whole new text of the file"), _DELETE),
    ),
    "symbol": (
        "Change a file. With `symbol`: replace this definition by `content`, or rename it everywhere. "
        "Without: write the whole file, new or not. Or delete it.",
        (
            _PATH,
            _SYMBOL,
            _content("the whole new source of the definition, or of the file"),
            _RENAME,
            _DELETE,
        ),
    ),
    "search-replace": (
        "Change a file: replace `old` by `new`. With `content` alone: write the whole file, new or not. "
        "With `symbol`: replace this definition by `content`, or rename it everywhere. Or delete the file.",
        (
            _PATH,
            _OLD,
            _NEW,
            _content("the whole text of the file, or of the definition"),
            _SYMBOL,
            _RENAME,
            _DELETE,
        ),
    ),
}


def edit_tool(form: EditFormat) -> Tool:
    """Return the tool as a model is offered it that edits best in this form. `change_of` accepts all forms."""
    description, parameters = _FORMS[form]
    return Tool("edit", description, parameters)


def change_of(path: str, arguments: Mapping[str, str | int | bool]) -> Change:
    """Return the change that the arguments of a call mean.

    Args:
        path: as the workspace has it.

    Raises:
        Unclear: none, or several.
    """
    text = {name: str(value) for name, value in arguments.items() if not isinstance(value, bool)}
    if arguments.get("delete") in (True, "true", "True"):
        return Delete(path)
    symbol = text.get("symbol", "").strip().strip("`").removesuffix("()").replace("::", ".")
    if text.get("rename_to", "").strip():
        if not symbol:
            raise Unclear("`rename_to` needs `symbol`: the definition that gets the new name.")
        return Rename(path, symbol, text["rename_to"].strip().strip("`"))
    if text.get("old", "").strip():
        if "new" not in text and "content" not in text:
            raise Unclear("`old` needs `new`: the lines that take its place (empty to remove them).")
        new = text.get("new", text.get("content", ""))
        return SearchReplace(path=path, search=passage(path, text["old"]), replace=passage(path, new))
    source = text.get("content", text.get("new"))
    if source is None:
        raise Unclear("Nothing to write was given: `content` has the whole new text" + _more(symbol))
    if symbol:
        return ReplaceSymbol(path=path, name_path=symbol, source=unfenced(path, source))
    return ReplaceFile(path=path, source=unfenced(path, source))


def _more(symbol: str) -> str:
    return f" of {symbol}." if symbol else ", or `old` and `new` have the lines before and after."


# --- what is taken off -----------------------------------------------------------------------------


def passage(path: str, text: str) -> str:
    """Return some lines of a file without a fence around them and without copied line numbers."""
    inside = _inside_fence(text)
    if inside is not None and not _is_prose(path):
        text = inside[1]
    return _without_numbers(text)


def unfenced(path: str, source: str) -> str:
    """Return the text of a file or a definition without what stands around it in an answer."""
    source = _without_numbers(_without_fence(path, source))
    if "\n" not in source and "\\n" in source:
        plain = source.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
        if check_syntax(path, source) is not None and check_syntax(path, plain) is None:
            return plain
    return source


def _without_fence(path: str, source: str) -> str:
    inside = _inside_fence(source)
    if inside is not None:
        stays = _is_prose(path) and inside[0] not in ("md", "markdown", "mdx", "rst")
        return source if stays else f"{inside[1]}\n"
    if _is_prose(path) or "```" not in source or check_syntax(path, source) is None:
        return source
    longest = max(_blocks(source), key=len, default="")  # with words around it, or cut off before its end
    return longest if longest and check_syntax(path, longest) is None else source


def _inside_fence(text: str) -> tuple[str, str] | None:
    """Return what a fence that is around all of a text says behind its mark, and what is in it; None where none is."""
    lines = text.strip().split("\n")
    opened = _FENCE.match(lines[0])
    if opened is None or len(lines) < 2 or lines[-1].strip() != opened["fence"]:
        return None
    if any(line.strip() == opened["fence"] for line in lines[1:-1]):  # several blocks
        return None
    return opened["info"].strip().lower(), "\n".join(lines[1:-1])


def _blocks(text: str) -> Iterator[str]:
    """Yield what stands in each fence, also in one that is never closed."""
    mark, inside = "", list[str]()
    for line in text.split("\n"):
        opened = None if mark else _FENCE.match(line)
        if opened is not None:
            mark, inside = opened["fence"], []
        elif mark and line.strip() == mark:
            yield "\n".join([*inside, ""])
            mark = ""
        elif mark:
            inside.append(line)
    if mark:
        yield "\n".join(inside)


def _is_prose(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in _PROSE


def _without_numbers(text: str) -> str:
    lines = text.split("\n")
    full = [line for line in lines if line.strip()]
    if not full or not all(_NUMBERED.match(line) for line in full):
        return text
    return "\n".join(_NUMBERED.sub("", line, count=1) for line in lines)

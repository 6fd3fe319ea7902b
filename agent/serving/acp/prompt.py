"""Reads what a person asks for in an editor: text, mentioned files, and commands.

In: the content blocks of a prompt, bounded here. Out: an `Asked`. A line `test: CMD` names the check; a text that
begins with one of `COMMANDS` is a command. Embedded files are context behind the text; a link is named, not opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acp.schema import (
    AudioContentBlock,
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    ResourceContentBlock,
    TextContentBlock,
    TextResourceContents,
)

Block = (
    TextContentBlock
    | ImageContentBlock
    | AudioContentBlock
    | ResourceContentBlock
    | EmbeddedResourceContentBlock
)

COMMANDS = {
    "test": ("Set the check that tells when a task is solved", "python -m pytest -q tests/test_x.py"),
    "continue": ("Try again in the light of the last run", "no, keep the signature"),
    "apply": ("Apply the change of the last run, or of the run you name", "RUN"),
    "undo": ("Take the change back that was applied last", ""),
}
"""Commands of the chat: what each does, and an example of what comes behind it."""

MOST_TEXT = 20_000
"""Characters of a task."""
_MOST_EMBEDDED = 6_000
"""Characters of one embedded file."""
_MOST_BLOCKS = 64
_TEST_LINE = re.compile(r"^[ \t]*test:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_COMMAND = re.compile(r"/(\w+)(?:[ \t]+([^\n]*))?(?:\n|$)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prompt asks for."""

    command: str = ""
    """A key of `COMMANDS`; "" for a task."""
    argument: str = ""
    """What stands behind the command, on its line."""
    task: str = ""
    """The task, with its context; what stands below the command's line."""
    test: str = ""
    """The check that the prompt names."""
    left_out: tuple[str, ...] = ()
    """Why parts of the prompt are not used."""


def read_prompt(blocks: Sequence[Block], root: Path) -> Asked:
    """Read a prompt. `root` is the repository, for names of files in it."""
    words: list[str] = []
    context: list[str] = []
    left: list[str] = []
    for block in blocks[:_MOST_BLOCKS]:
        if isinstance(block, TextContentBlock):
            words.append(block.text)
        elif isinstance(block, ResourceContentBlock):
            words.append(f"`{_name(block.uri, root)}`")
        elif isinstance(block, EmbeddedResourceContentBlock):
            resource = block.resource
            if isinstance(resource, TextResourceContents):
                words.append(f"`{_name(resource.uri, root)}`")
                context.append(_embedded(_name(resource.uri, root), resource.text))
            else:
                left.append(f"{_name(resource.uri, root)} is not text")
        else:
            left.append("pictures and sound are not used")
    if len(blocks) > _MOST_BLOCKS:
        left.append(f"only the first {_MOST_BLOCKS} parts are used")
    return _asked("".join(words), context, left)


def _asked(said: str, context: list[str], left: list[str]) -> Asked:
    said = said.replace("\r\n", "\n").strip()
    command = argument = test = ""
    found = _COMMAND.match(said)
    if found and found[1] in COMMANDS:
        command, said = found[1], said[found.end() :]
        argument = (found[2] or "").replace("`", "").strip()
    line = _TEST_LINE.search(said)
    if line:
        test = line[1].replace("`", "").strip()  # a mentioned file stands in backticks
        said = said[: line.start()] + said[line.end() :]
    task = "\n\n".join(part for part in (said.strip(), *context) if part) if said.strip() else ""
    if len(task) > MOST_TEXT:
        task = task[:MOST_TEXT]
        left.append(f"only the first {MOST_TEXT} characters are used")
    return Asked(command, argument, task, test, tuple(dict.fromkeys(left)))


def _embedded(name: str, text: str) -> str:
    cut = "" if len(text) <= _MOST_EMBEDDED else "\n(the rest is cut)"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"From {name}:\n{fence}\n{text[:_MOST_EMBEDDED].rstrip()}{cut}\n{fence}"


def _name(uri: str, root: Path) -> str:
    """A file's path below the repository, else the last part of its address, in one line of at most 200 characters."""
    parts = urlsplit(uri)
    path = unquote(parts.path) if parts.scheme in ("", "file") else ""
    if path:
        place = Path(path)
        name = place.relative_to(root).as_posix() if place.is_relative_to(root) else place.name
    else:
        name = unquote(uri.rstrip("/").rpartition("/")[2])
    return " ".join(name.replace("`", "'").split())[:200]

"""Reads a task from an issue: plain text, markdown, or the JSON that `gh issue view --json` and GitHub's API give.

In: the bytes of a file or of stdin, which are anybody's. Out: a title, a blank line, the body and the comments.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from forklock.agent.contract import AgentFault
from forklock.sandbox.files.reading import Unreadable, read_regular
from forklock.sandbox.terminal.streams import read_stdin

MOST_BYTES = 1 << 20
_MOST_CHARS = 20_000
_MOST_COMMENTS = 10
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)


def read_issue(place: str) -> str:
    """Returns the task that an issue states.

    Args:
        place: a file, or `-` for stdin.

    Raises:
        AgentFault: it cannot be read, or says nothing.
    """
    way = "give a file with markdown or `gh issue view N --json title,body,comments`, or - for stdin"
    try:
        data = read_stdin(MOST_BYTES) if place == "-" else read_regular(Path(place), most_bytes=MOST_BYTES)
    except (OSError, Unreadable, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AgentFault(f"cannot read the issue from {place}: {reason}", fix=way) from error
    text = task_of(data.decode("utf-8", "replace").removeprefix("\ufeff"))
    if not text:
        raise AgentFault(f"the issue in {place} says nothing", fix=way)
    return text


def task_of(text: str) -> str:
    """Returns the task in an issue's text. Hidden comments of markdown, such as a template's, are left out."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raw = None
    if isinstance(raw, list) and raw:
        raw = raw[0]
    if isinstance(raw, dict):
        raw = raw["issue"] if isinstance(raw.get("issue"), dict) else raw
        text = "\n\n".join(part for part in _parts(raw) if part)
    return _HIDDEN.sub("", text.replace("\r\n", "\n")).strip()[:_MOST_CHARS]


def _parts(raw: dict[str, Any]) -> list[str]:
    comments = raw.get("comments")
    said = (
        [one.get("body") for one in comments if isinstance(one, dict)] if isinstance(comments, list) else []
    )
    texts = [raw.get("title"), raw.get("body"), *said[:_MOST_COMMENTS]]
    return [text.strip() for text in texts if isinstance(text, str)]

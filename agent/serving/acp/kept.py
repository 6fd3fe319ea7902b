"""Keeps what was said in a session, so that an editor can load it again: prompts, and the runs that they started.

`<state>/acp/<key>/<session>.jsonl` holds a line for each prompt, under the rules of the user's state folder
(`forklock.agent.log.runs`). Everything else is read from the runs' logs.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from forklock.agent.contract import AgentFault
from forklock.agent.log.redact import redact
from forklock.agent.log.runs import RUN_ID, find, kept_folder
from forklock.agent.log.stream import streamed
from forklock.agent.serving.acp.prompt import MOST_TEXT
from forklock.agent.serving.acp.story import Story, Update, message
from forklock.sandbox.fault import Fault
from forklock.sandbox.files.jsonl import append_line, as_json, parser, scan
from forklock.sandbox.files.reading import Unreadable, read_regular

_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_MOST_BYTES = 16 << 20
_MOST_TURNS = 200
"""Latest prompts that are told again."""


class Turn(BaseModel):
    """A prompt, and what it led to."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    run: str = ""
    """The run that it started."""
    said: str = ""
    """What was answered where there is no run."""
    test: str = ""
    """The session's check from here on."""


def new_id() -> str:
    """A session's id."""
    return secrets.token_hex(8)


def keep(root: Path, session: str, turn: Turn) -> None:
    """Append what was said.

    Raises:
        LogFault, OSError: it cannot be written.
    """
    kept = turn.model_copy(
        update={"prompt": redact(turn.prompt[:MOST_TEXT]), "said": redact(turn.said[:MOST_TEXT])}
    )
    append_line(kept_folder(root, "acp") / f"{session}.jsonl", as_json(kept))


def turns_of(root: Path, session: str) -> list[Turn]:
    """Return what was said in a session of this repository.

    Raises:
        AgentFault: there is no such session.
    """
    missing = AgentFault(f"there is no session {session[:40]} in {root}", fix="start a new one")
    if not _ID.fullmatch(session):
        raise missing
    try:
        raw = read_regular(kept_folder(root, "acp") / f"{session}.jsonl", most_bytes=_MOST_BYTES)
    except (OSError, Unreadable) as error:
        raise missing from error
    return scan(raw, parser(Turn)).rows[-_MOST_TURNS:]


def told_again(root: Path, turn: Turn) -> list[Update]:
    """The updates of a prompt's run, from its log, and what was said; a log that is gone is told of."""
    told: list[Update] = []
    if RUN_ID.fullmatch(turn.run):
        story = Story(root)
        told += story.begin()
        try:
            log = find(root, turn.run)
            for event in log.read().events:
                told += story.take(streamed(event, log) or {})
        except Fault as fault:
            told += message(f"Run {turn.run} cannot be read: {fault.message}\n\n")
    return [*told, *message(turn.said)]

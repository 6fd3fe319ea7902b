"""The list of call formats."""

from __future__ import annotations

from forklock.models.calls.contract import CallFormat
from forklock.models.calls.harmony import Harmony
from forklock.models.calls.hermes import Hermes
from forklock.models.calls.qwen3_xml import Qwen3Xml
from forklock.models.calls.text import FencedText
from forklock.models.contract import ModelFault

FORMATS: tuple[CallFormat, ...] = (Hermes(), Qwen3Xml(), Harmony(), FencedText())
"""Every call format."""


def format_for(name: str, *, continues_text: bool) -> CallFormat:
    """Return the format of a profile, or the text format where the engine cannot continue the raw text that it needs.

    Args:
        continues_text: `Engine.continues_text`.

    Raises:
        ModelFault: there is no such format.
    """
    found = format_named(name)
    return found if continues_text or not found.raw else format_named(FencedText.name)


def format_named(name: str) -> CallFormat:
    """Return the call format of this name.

    Raises:
        ModelFault: there is none.
    """
    found = next((one for one in FORMATS if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in FORMATS)
        raise ModelFault(f"There is no call format {name[:60]!r}.", fix=f"Take one of: {known}.")
    return found

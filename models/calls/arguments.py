"""Checks a call's name and arguments against the tools, and converts arguments of a wrong kind where that is safe.

In: a name and arguments as a model wrote them. Out: a `Call`, or a fault in words that a model can act on.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from forklock.models.calls.contract import Call, Parameter, Tool, Value
from forklock.models.calls.loose_json import NotRead, decode

_WHOLE = re.compile(r"\s*[+-]?\d{1,400}\s*")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SHOWN = 60
"""Most characters of a model's word that a fault repeats."""


class BadCall(Exception):
    """A call that cannot be run; the message says why."""


def checked(name: str, arguments: object, tools: Sequence[Tool]) -> Call:
    """Return the call if it is one of `tools`.

    Raises:
        BadCall: unknown name, or arguments that are missing, unknown or of a kind that cannot be converted.
    """
    tool = _tool(name, tools)
    given = _mapping(arguments, tool)
    parameters = {_plain(name): one for one in tool.parameters for name in one.also}
    parameters |= {_plain(one.name): one for one in tool.parameters}
    found: dict[str, Value] = {}
    for key, value in given.items():
        parameter = parameters.get(_plain(key))
        if parameter is None:
            if value in (None, ""):
                continue
            raise BadCall(_unknown_argument(key, tool))
        if value is None and not parameter.required:
            continue
        found[parameter.name] = _converted(value, parameter, tool)
    missing = [one.name for one in tool.parameters if one.required and one.name not in found]
    if missing:
        raise BadCall(f"The call of {tool.name} lacks {_listed(missing)}.")
    return Call(tool.name, found)


def _tool(name: str, tools: Sequence[Tool]) -> Tool:
    by_name = {_plain(tool.name): tool for tool in tools}
    wanted = _plain(name)
    found = by_name.get(wanted) or by_name.get(wanted.rpartition(".")[2])
    if found is not None:
        return found
    near = difflib.get_close_matches(wanted[:_SHOWN], by_name, n=1, cutoff=0.5)
    hint = f"Did you mean {by_name[near[0]].name}? " if near else ""
    raise BadCall(
        f"There is no tool {name[:_SHOWN]!r}. {hint}The tools are: {_listed([t.name for t in tools])}."
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _mapping(arguments: object, tool: Tool) -> Mapping[str, object]:
    """Return the arguments as a mapping; some models write them as a string that holds JSON."""
    if isinstance(arguments, str):
        text = arguments.strip()
        with suppress(NotRead):  # The next check says what is wrong.
            arguments = decode(text, 0, len(text))[0] if text else {}
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise BadCall(f"The arguments of {tool.name} must be an object with names and values.")
    return arguments


def _unknown_argument(key: str, tool: Tool) -> str:
    known = [parameter.name for parameter in tool.parameters]
    near = difflib.get_close_matches(_plain(key)[:_SHOWN], known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    takes = f"It takes: {_listed(known)}." if known else "It takes no arguments."
    return f"{tool.name} has no argument {key[:_SHOWN]!r}. {hint}{takes}"


def _converted(value: object, parameter: Parameter, tool: Tool) -> Value:
    found: Value | None
    if parameter.kind == "string":
        found = _as_text(value)
    elif parameter.kind == "integer":
        found = _as_whole(value)
    else:
        found = _as_truth(value)
    if found is None:
        kinds = {"string": "a text", "integer": "a whole number", "boolean": "true or false"}
        raise BadCall(f"The argument {parameter.name} of {tool.name} must be {kinds[parameter.kind]}.")
    return found


def _as_text(value: object) -> str | None:
    if isinstance(value, str):
        # Half of a pair of surrogates, which JSON can name, fits no file.
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def _as_whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else None


def _as_truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return _TRUTH.get(str(value).strip().lower()) if isinstance(value, str | int) else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"

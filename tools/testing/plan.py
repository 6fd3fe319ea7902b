"""Reads what pytest itself reports of a run: what the run consists of, and that it came to its own end.

In: a pytest command before it runs, later the folder of its report. Out: the command with `testplan_plugin` loaded, a
`TestPlan`, and whether the run ended as its report says. A report that the code under test wrote, before an
`os._exit(0)` or while the process ends, has no such end.

Not covered: code that reads the plug-in's memory. It shares the process with its judge.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from forklock.tools.contract import TestPlan
from forklock.tools.testing.command import Command

PLUGIN = Path(__file__).parent / "inside" / "testplan_plugin.py"
MAX_PATHS = 50_000
_ISOLATED = re.compile(r"^-[a-zA-Z]*[IE][a-zA-Z]*$")


@dataclass(frozen=True, slots=True)
class Watch:
    """One watched run."""

    word: str

    def env(self, inner: str, workdir: str, *, own_plugins: bool) -> dict[str, str]:
        """The variables that the plug-in reads.

        Args:
            own_plugins: whether folders of the workspace may register plug-ins.
        """
        blocked = {} if own_plugins else {"FORKLOCK_PLAN_OWN": "1"}
        return {
            "FORKLOCK_PLAN": f"{inner}/plan", "FORKLOCK_PLAN_ROOT": workdir, "FORKLOCK_PLAN_WORD": self.word, **blocked,
        }  # fmt: skip

    def ended_well(self, text: str | None) -> bool:
        """Whether the run ended by itself, and nothing failed in it."""
        told = _json(text)
        return told.get("word") == self.word and told.get("exit") == 0 and told.get("failed") == 0


def watched(command: Command) -> Watch | None:
    """The watch for a run. None for other runners, and where Python is told to take no modules from its environment."""
    if command.runner != "pytest" or any(map(_ISOLATED.match, command.argv[1 : command.at])):
        return None
    return Watch(secrets.token_hex(16))


def read_plan(text: str | None) -> TestPlan | None:
    """Read the plan, and drop what cannot be part of one: the tested code may have written it."""
    told = _json(text)
    if not told:
        return None
    plan = TestPlan(**{name: _paths(told.get(name)) for name in TestPlan.__dataclass_fields__})
    return replace(plan, installed=tuple(name for name in plan.installed if name.isidentifier()))


def _paths(raw: Any) -> tuple[str, ...]:
    names = raw[:MAX_PATHS] if isinstance(raw, list) else []
    return tuple(name for name in names if isinstance(name, str) and _inside(name))


def _inside(name: str) -> bool:
    pure = PurePosixPath(name)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in name


def _json(text: str | None) -> Mapping[str, Any]:
    try:
        told = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}

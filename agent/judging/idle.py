"""Drop idle lines of a passing change: parts whose undoing still passes.

In: the original and a diff that passes. Out: a diff that passes, with no part too many. A part is a block of
neighbouring lines; blocks are undone one by one, and the checks run each time.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.judging.guard import Cheated
from forklock.agent.judging.hops import Gauntlet
from forklock.agent.repo import apply_diff
from forklock.sandbox import Sandbox
from forklock.tools.edits.hunks import all_hunks_of
from forklock.tools.languages.known import language_of
from forklock.tools.testing.run import compare, is_solved

_MOST_BLOCKS = 6
"""Blocks of a change, at most: a change of more is left as it is."""
_SLOW_S = 10.0
"""Seconds of a run of the check from which on nothing is undone: it would cost minutes."""

Block = tuple[int, int, int, int]
"""Lines of the original and of the change: first and behind the last, of each."""


def without_idle_lines(original: Sandbox, gauntlet: Gauntlet, diff: str) -> str:
    """The diff without blocks whose undoing passes all checks.

    Raises:
        SandboxFault: the sandbox failed.
    """
    slow = sum(check.before.wall_s for check in (gauntlet.task, gauntlet.regression) if check is not None)
    if slow > _SLOW_S:
        return diff
    try:
        with original.fork() as changed:
            apply_diff(changed.root, diff)
            files = _changed_files(original.root, changed.root, diff)
    except AgentFault:
        return diff
    if not files or sum(len(blocks_of(*texts)) for texts in files.values()) not in range(2, _MOST_BLOCKS + 1):
        return diff
    for path, (before, after) in files.items():
        for block in reversed(
            blocks_of(before, after)
        ):  # from the end, so that earlier line numbers stay true
            shorter = undone(before, after, block)
            trial = {**{name: texts[1] for name, texts in files.items()}, path: shorter}
            if language_of(path).check(shorter) is None and (found := _passes(original, gauntlet, trial)):
                after, diff = shorter, found
                files[path] = (before, shorter)
    return diff


def blocks_of(before: str, after: str) -> list[Block]:
    """The blocks of lines that differ, from the top."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return [tuple(code[1:]) for code in matcher.get_opcodes() if code[0] != "equal"]  # type: ignore[misc]


def undone(before: str, after: str, block: Block) -> str:
    """The changed text with one block as it was."""
    first, behind, start, end = block
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join([*new[:start], *old[first:behind], *new[end:]])


def _changed_files(before: Path, after: Path, diff: str) -> dict[str, tuple[str, str]]:
    """The texts of the changed files, before and after; empty where one is new, gone or no text."""
    paths = dict.fromkeys(hunk.new_path for hunk in all_hunks_of(diff) if hunk.new_path)
    try:
        return {
            path: ((before / path).read_text("utf-8"), (after / path).read_text("utf-8")) for path in paths
        }
    except (OSError, ValueError):
        return {}


def _passes(original: Sandbox, gauntlet: Gauntlet, texts: dict[str, str]) -> str:
    """The diff that these texts make, if it passes all checks; else "". Each check gets a fork of its own."""
    diff = ""
    for check in (gauntlet.task, gauntlet.regression):
        if check is None:
            continue
        with original.fork() as fork:
            for path, text in texts.items():
                (fork.root / path).write_text(text, encoding="utf-8", newline="")
            diff = fork.diff()
            try:
                after = gauntlet.guard.run(fork, check)
            except Cheated:
                return ""
        passes = is_solved(check.before, after) if check is gauntlet.task else True
        if not passes or compare(check.before, after).broken:
            return ""
    return diff

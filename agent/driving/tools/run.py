"""`run`: the task's check, or any command in the sandbox.

A command runs in the rollout's workspace and may change it. If it changes what judges the task, everything that it
wrote is undone: a copy of the workspace from before takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forklock.agent.asking.prompts import without_noise
from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.tools.checking import explain, judge, passes, tampered
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.excerpts import MAX_CHARS, clip_middle
from forklock.models.calls.contract import Parameter, Tool
from forklock.sandbox import ExecResult
from forklock.tools.contract import TestReport, ToolFault
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.environment import command_environment
from forklock.tools.testing.run import printed

TIMEOUT_S = 120.0
_NAMED = 10

TOOL = Tool(
    "run",
    "Run the task's check, or a shell command in the repository's folder. There is no network.",
    (
        Parameter(
            "command",
            "string",
            "the command; leave it out to run the task's check",
            required=False,
            also=("cmd", "shell"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class _Words:
    argv: tuple[str, ...]
    env: dict[str, str]
    is_test: bool
    """It is a test runner, whose output has durations that change from run to run."""


def run(context: Context, command: str) -> ToolAnswer:
    """Answer a call.

    Raises:
        SandboxFault: the sandbox failed.
    """
    command = command.strip().strip("`").strip()
    if command in ("", context.check.command.strip()):
        return run_check(context)
    if context.workspace.backend == "host":
        text = "Without isolation only the task's check is run: call `run` without a command."
        return ToolAnswer(text, "refused")
    if "\0" in command:
        return ToolAnswer("The command holds a null character.", "refused")
    return _command(context, command)


def run_check(context: Context) -> ToolAnswer:
    """Run the task's check."""
    report = judge(context)
    text = clip_middle(context.relative(explain(context.check, report, context.root, whole=True)), MAX_CHARS)
    passed = passes(context.check, report)
    return ToolAnswer(
        text, "ok" if passed else "failed", report=report if isinstance(report, TestReport) else None
    )


def _command(context: Context, command: str) -> ToolAnswer:
    words = _words(command)
    before = context.signs()
    copy = context.forked() if context.guard is not None else None
    try:
        result = context.workspace.exec(
            words.argv,
            env=command_environment(context.workspace, words.env, context.task.cwd),
            cwd=context.task.cwd,
            timeout_s=TIMEOUT_S,
        )
        text = _outcome(context, result, words)
        after = context.signs()
        broken = tampered(context) if after != before else {}
        if broken and copy is not None:
            context.replace_workspace(copy)
            copy = None
            return ToolAnswer(context.relative(_undone(broken, text)), "refused")
    except ValueError as error:
        return ToolAnswer(context.relative(f"The command cannot be run: {error}"), "refused")
    finally:
        if copy is not None:
            copy.close()
    wrote = _written(context, before, after)
    context.version += 1  # what git ignores may have changed
    if wrote:
        more = f" and {len(wrote) - _NAMED} more" if len(wrote) > _NAMED else ""
        text += f"\nwrote: {', '.join(wrote[:_NAMED])}{more}"
    return ToolAnswer(context.relative(text), "ok" if result.ok else "failed", wrote=wrote)


def _words(command: str) -> _Words:
    """Tests are started without a shell, and everything else by one inside the sandbox."""
    try:
        parsed = parse_command(command)
    except ToolFault:
        return _Words(("sh", "-c", command), {}, is_test=False)
    if parsed.runner == "other":
        return _Words(("sh", "-c", command), {}, is_test=False)
    return _Words(parsed.argv, parsed.env, is_test=True)


def _outcome(context: Context, result: ExecResult, words: _Words) -> str:
    if result.timed_out:
        head = f"ran out of time after {TIMEOUT_S:.0f} seconds and was ended"
    elif result.oom_killed:
        head = "ran out of memory and was ended"
    elif result.disk_full:
        head = "wrote too much and was ended"
    elif result.signal is not None:
        head = f"ended by signal {result.signal}"
    else:
        head = f"exit code {result.exit_code}"
    output = context.relative(printed(result).replace("\r", "\n"))
    if words.is_test:
        output = without_noise(output)
    return "\n".join(part for part in (head, clip_middle(output, MAX_CHARS) or "(no output)") if part)


def _undone(broken: dict[str, str], text: str) -> str:
    some = "; ".join(f"{path} {what}" for path, what in list(broken.items())[:3])
    return (
        f"Undone, with everything else that the command wrote: {some}. "
        f"Tests and what runs them are read-only here.\n{text}"
    )


def _written(
    context: Context, before: Mapping[str, tuple[int, ...]], after: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...]:
    """Return the files that a command changed, made or removed and git does not ignore, and take note of them."""
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    if not changed:
        return ()
    known = set(context.files())
    context.forget_files()
    wrote = tuple(sorted(changed & (known | set(context.files()))))
    context.wrote(wrote)
    return wrote

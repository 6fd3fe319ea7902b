"""One session of an editor: its prompts become runs, and their changes are applied if the user allows it.

In: prompts. Out: updates to the editor, and how each prompt ended. A prompt is one `agent solve --stream` (or
`agent plan`) in a process of its own: the same code, settings and log as on the command line. A change is taken by
`agent apply`, and never through the editor's `fs/write_text_file`: that writes one file at a time, knows no deleted
file, no mode and no link, and leaves nothing that `agent undo` can take back. Where the editor has unsaved text in a
file that changes, nothing is applied before it is saved.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acp.exceptions import RequestError
from acp.helpers import start_tool_call, update_tool_call
from acp.interfaces import Client
from acp.schema import AllowedOutcome, PermissionOption, StopReason, ToolCallUpdate, Usage

from forklock.agent.contract import Outcome
from forklock.agent.log import RunEnded
from forklock.agent.log.runs import find
from forklock.agent.serving import child
from forklock.agent.serving.acp.diffs import contents, fenced, inline, inside, locations, paths_of
from forklock.agent.serving.acp.kept import Turn, keep
from forklock.agent.serving.acp.plan import plan_updates
from forklock.agent.serving.acp.prompt import Asked, Block, read_prompt
from forklock.agent.serving.acp.story import Story, Update, message
from forklock.sandbox.fault import Fault
from forklock.sandbox.files.reading import Unreadable, read_regular

_LOOK_S = 5.0
"""Seconds that an editor has to say what its buffer holds."""
_MOST_LOOKED = 1 << 20
_MOST_FILES = 32

_STOP: dict[str, StopReason] = {
    Outcome.TOKENS.value: "max_tokens",
    Outcome.STEPS.value: "max_turn_requests",
}
"""Stop reasons of the protocol; all other ends are the end of a turn."""

Answer = tuple[StopReason, Usage | None]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the user who starts the server. A client cannot change them."""

    test: str = ""
    """The check of sessions that name none."""
    solve: tuple[str, ...] = ()
    """Further words for `agent solve`."""
    plan: tuple[str, ...] = ()
    """Further words for `agent plan`."""


@dataclass(slots=True)
class Conversation:
    """A session."""

    id: str
    folder: Path
    """Where the editor works: the repository's top, or a folder below it."""
    root: Path
    client: Client
    options: Options
    busy: asyncio.Lock
    """One run at a time: a second model may not fit into memory."""
    sees_buffers: bool = False
    """The editor can say what its buffers hold."""
    mode: str = "solve"
    test: str = ""
    last_run: str = ""
    task: asyncio.Task[Answer] | None = None
    """The prompt that is being answered."""
    _turn: Turn = field(default_factory=lambda: Turn(prompt=""))

    async def answer(self, blocks: list[Block]) -> Answer:
        """Answer one prompt.

        Raises:
            asyncio.CancelledError: the user has cancelled; nothing runs any more.
        """
        asked = read_prompt(blocks, self.root)
        said = "".join(getattr(block, "text", "") for block in blocks)
        self._turn = Turn(prompt=said, test=self.test)
        try:
            for words in asked.left_out:
                await self.say(f"Note: {words}.\n\n")
            if asked.command:
                return await self._command(asked)
            if not asked.task:
                await self.say(
                    "Say what is wrong, in words. A line `test: CMD` names the check that fails now."
                )
                return "end_turn", None
            return await self._asked(asked)
        finally:
            with contextlib.suppress(Fault, OSError):
                keep(self.root, self.id, self._turn)

    async def say(self, text: str) -> None:
        """A message to the user."""
        self._turn = self._turn.model_copy(update={"said": self._turn.said + text})
        await self._send(message(text))

    async def _send(self, updates: Iterable[Update]) -> None:
        for update in updates:
            await self.client.session_update(session_id=self.id, update=update)

    # -- what a prompt asks for ---------------------------------------------------------------------------------

    async def _command(self, asked: Asked) -> Answer:
        if asked.command == "apply":
            await self._apply_later(asked.argument or self.last_run or "last")
        elif asked.command == "undo":
            await self._undo()
        elif asked.command == "continue":
            return await self._continue(asked)
        else:
            self.test = asked.argument
            self._turn = self._turn.model_copy(update={"test": self.test})
            await self.say(f"The check is {inline(self.test)} from here on.\n\n" if self.test else _NO_TEST)
            if asked.task:
                return await self._asked(asked)
        return "end_turn", None

    async def _continue(self, asked: Asked) -> Answer:
        words = "\n\n".join(part for part in (asked.argument, asked.task) if part)
        if not self.last_run:
            await self.say("There is no run in this session yet. Say what is wrong first.")
            return "end_turn", None
        if not words:
            await self.say("Say what should be different: `/continue no, keep the signature`.")
            return "end_turn", None
        return await self._solve(words, asked.test, ("--continue", self.last_run))

    async def _asked(self, asked: Asked) -> Answer:
        test = asked.test or self.test or self.options.test
        if self.mode == "plan":
            return await self._plan(asked.task, test)
        return await self._solve(asked.task, test, ())

    # -- runs -----------------------------------------------------------------------------------------------------

    async def _solve(self, task: str, test: str, more: tuple[str, ...]) -> Answer:
        """One run, from the check to the applied change."""
        story = Story(self.root)
        await self._send(story.begin())

        async def take(line: str) -> None:
            await self._send(story.take(_facts(line)))
            if story.run and story.run != self.last_run:
                self.last_run = story.run
                self._turn = self._turn.model_copy(update={"run": story.run})

        words = ("solve", *self._shared(test), "--stream", *more, *self.options.solve)
        try:
            ended = await self._run(words, task, take)
        except asyncio.CancelledError:
            if story.run:
                await self.say(f"Cancelled. `agent solve --resume {story.run}` goes on with it.")
            raise
        if not story.outcome:
            await self.say(_why_not(ended, story.run))
            return "end_turn", story.usage
        if story.has_change:
            await self._offer(story)
        return _STOP.get(story.outcome, "end_turn"), story.usage

    async def _plan(self, task: str, test: str) -> Answer:
        lines: list[str] = []

        async def take(line: str) -> None:
            lines.append(line)

        ended = await self._run(("plan", *self._shared(test), "--json", *self.options.plan), task, take)
        if ended.code or not lines:
            await self.say(_why_not(ended, ""))
        else:
            await self._send(plan_updates(_facts(lines[-1])))
        return "end_turn", None

    def _shared(self, test: str) -> tuple[str, ...]:
        given = (f"--test={test}",) if test else ()
        return "--repo", str(self.folder), "--allow-dirty", "--issue", "-", *given

    async def _run(self, words: tuple[str, ...], task: str, take: child.OnLine) -> child.Ended:
        if self.busy.locked():
            await self._send(message("Another session's run is going on; this one waits for it.\n\n"))
        async with self.busy:
            return await child.run(
                words, stdin=json.dumps({"body": task}).encode("utf-8", "replace"), on_line=take
            )

    # -- the change -----------------------------------------------------------------------------------------------

    async def _offer(self, story: Story) -> None:
        """Asks once whether the change is applied, and applies it."""
        if await self._is_unsaved(story.diff):
            await self._send(story.applying("completed", "not yet"))
            return
        call, title = f"{story.run}-apply", "Apply the change to your files"
        if story.outcome != Outcome.SOLVED:
            title += f" ({story.outcome})"
        shown = contents(story.diff, self.root, f"agent show {story.run} --diff")
        places = locations(story.diff, self.root)
        await self._send(story.applying("in_progress", "waiting for you"))
        await self._send(
            [start_tool_call(call, title, kind="edit", status="pending", content=shown, locations=places)]
        )
        wanted = ToolCallUpdate(tool_call_id=call, title=title, kind="edit", status="pending", content=shown)
        try:
            is_allowed = await self._allowed(wanted)
        except asyncio.CancelledError:
            await self._send(
                [update_tool_call(call, status="failed"), *story.applying("completed", "cancelled")]
            )
            raise
        if not is_allowed:
            await self._send(
                [update_tool_call(call, status="failed"), *story.applying("completed", "not wanted")]
            )
            await self.say(
                f"Your files are as they were. `/apply` takes the change later, as does `agent apply {story.run}`."
            )
            return
        done = await self._apply(story.run)
        words = "applied" if done else "failed"
        await self._send([
            update_tool_call(call, status="completed" if done else "failed"), *story.applying("completed", words),
        ])  # fmt: skip

    async def _allowed(self, wanted: ToolCallUpdate) -> bool:
        options = [
            PermissionOption(option_id="apply", name="Apply", kind="allow_once"),
            PermissionOption(option_id="leave", name="Leave my files as they are", kind="reject_once"),
        ]
        try:
            answer = await self.client.request_permission(
                session_id=self.id, tool_call=wanted, options=options
            )
        except (RequestError, ValueError):  # the client cannot ask, or answers nonsense
            return False
        return isinstance(answer.outcome, AllowedOutcome) and answer.outcome.option_id == "apply"

    async def _is_unsaved(self, diff: str) -> bool:
        """Whether the editor has unsaved text in a file of a diff; says so."""
        names = ", ".join(inline(name, 80) for name in await self._unsaved(diff))
        if names:
            await self.say(
                f"Your editor has unsaved text in {names}, so nothing was applied. Save or revert it, then `/apply`."
            )
        return bool(names)

    async def _unsaved(self, diff: str) -> list[str]:
        """Files of a diff whose text in the editor is not that on disk; none where the editor cannot say."""
        found = []
        for name in paths_of(diff)[:_MOST_FILES] if self.sees_buffers else ():
            place = inside(self.root, name)
            if place is None:
                continue
            try:
                disk = read_regular(place, most_bytes=_MOST_LOOKED).decode("utf-8")
                shown = await asyncio.wait_for(
                    self.client.read_text_file(session_id=self.id, path=str(place)), _LOOK_S
                )
            except (OSError, Unreadable, ValueError, RequestError, TimeoutError):
                continue
            if _plain(shown.content) != _plain(disk):
                found.append(name)
        return found

    async def _apply_later(self, run: str) -> None:
        """Takes the change of a run that the user names."""
        if not await self._is_unsaved(await asyncio.to_thread(self._diff_of, run)):
            await self._apply(run)

    def _diff_of(self, run: str) -> str:
        """The diff that a run ended with; "" where there is none, which `agent apply` says better."""
        try:
            log = find(self.root, run)
            end = next((one for one in reversed(log.read().events) if isinstance(one, RunEnded)), None)
            return log.text(end.diff) if end else ""
        except Fault:
            return ""

    async def _apply(self, run: str) -> bool:
        """Takes a change as `agent apply` does, and says what became of it."""
        facts, ended = await self._told(("apply", "--repo", str(self.root), "--json", "--", run))
        if ended.code:
            await self.say(f"The change was not applied.\n\n{fenced(ended.fault or 'agent apply failed')}")
            return False
        if facts.get("already_applied"):
            await self.say("Your files have this change already.")
        else:
            await self.say(f"Applied to {_names(facts)}. `/undo` takes it back, as does `agent undo`.")
        return True

    async def _undo(self) -> None:
        facts, ended = await self._told(("undo", "--repo", str(self.root), "--json"))
        if ended.code:
            await self.say(f"Nothing was taken back.\n\n{fenced(ended.fault or 'agent undo failed')}")
        else:
            await self.say(f"Took the change back: {_names(facts)} as before.")

    async def _told(self, words: tuple[str, ...]) -> tuple[dict[str, Any], child.Ended]:
        lines: list[str] = []

        async def take(line: str) -> None:
            lines.append(line)

        ended = await child.run(words, on_line=take)
        return _facts(lines[-1] if lines else ""), ended


_NO_TEST = "The check is the repository's own suite, or tests that are written first.\n\n"


def _facts(line: str) -> dict[str, Any]:
    """The object in a line of JSON; an empty one where there is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _names(facts: dict[str, Any]) -> str:
    files = facts.get("files")
    return (
        ", ".join(inline(str(name), 100) for name in files[:20]) if isinstance(files, list) else "your files"
    )


def _why_not(ended: child.Ended, run: str) -> str:
    words = ended.fault or f"the run ended with exit code {ended.code}"
    later = f"\n\nIt can be continued: `agent solve --resume {run}`." if run else ""
    return f"The run could not {'go on' if run else 'start'}.\n\n{fenced(words)}{later}"


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip("\n")

"""Makes prompts of tasks: byte for byte what `agent solve` would ask, were it given the task.

In: tasks of the practice split and a model. Out: requests, kept in the store by task, model and settings. A prompt that
shows the body of a definition of the test split is left out, and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from forklock.agent.contract import AgentFault
from forklock.agent.repo import inspect_repo
from forklock.agent.session import Assignment, first_requests
from forklock.agent.settings import AgentSettings
from forklock.models.contract import Engine, Request
from forklock.sandbox import scratch
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.reading import Unreadable, read_regular
from forklock.sandbox.interpreters.policy import environment_for
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.tasks.contract import Ground, RepairTask, digest_of
from forklock.selfdistill.tasks.export import broken_state
from forklock.selfdistill.tasks.judge import TaskJudge, open_judge
from forklock.selfdistill.tasks.kinds.kind import Work
from forklock.selfdistill.tasks.store import TaskStore
from forklock.tools.contract import ToolFault

_REQUESTS: TypeAdapter[list[Request]] = TypeAdapter(list[Request])
_MOST_BYTES = 64 << 20
FEWEST_LINES = 3
"""Bodies with fewer lines are everywhere, and tell nothing."""


@dataclass(slots=True)
class Asker:
    """Asks tasks of one ground as the agent would."""

    store: TaskStore
    judge: TaskJudge
    engine: Engine
    settings: AgentSettings
    leaks: int = 0
    """Prompts that were left out, since they show code of the test split."""
    unasked: dict[str, str] = field(default_factory=dict)
    """Tasks that the agent would refuse, with the reason."""
    _bodies: list[str] | None = None

    def requests(self, task: RepairTask) -> list[Request]:
        """Return what the agent would ask about a task in its first step, without what shows held-out code.

        Raises:
            ModelFault, SandboxFault: from below.
        """
        made = self._kept(task)
        if self._bodies is None:
            self._bodies = list(bodies(self.judge.base.root, self.judge.ground, "test"))
        clean = [one for one in made if not shows(one, self._bodies)]
        self.leaks += len(made) - len(clean)
        return clean

    def _kept(self, task: RepairTask) -> list[Request]:
        words = (str(self.engine.identity), self.settings.model_dump_json(), task.model_dump_json())
        path = self.store.folder / "asked" / f"{task.task_id}-{digest_of(*words)}.json"
        try:
            return _REQUESTS.validate_json(read_regular(path, most_bytes=_MOST_BYTES))
        except (OSError, ValueError, Unreadable):
            pass
        try:
            with broken_copy(self.store.root, self.judge, task) as folder:
                made = first_requests(self._assignment(task, folder), self.engine, preset=self._preset())
        except (AgentFault, ToolFault) as fault:
            self.unasked[task.task_id] = fault.message
            made = []
        write_atomic(path, _REQUESTS.dump_json(made), durable=False)
        return made

    def _assignment(self, task: RepairTask, folder: Path) -> Assignment:
        state = inspect_repo(folder)
        return Assignment(task.statement, state, task.command, self.settings, allow_dirty=True, cwd=task.cwd)

    def _preset(self) -> str:
        return "strong" if self.engine.identity.engine == "hosted" else "weak"


@contextmanager
def broken_copy(root: Path, judge: TaskJudge, task: RepairTask) -> Iterator[Path]:
    """Make a repository of a task's broken code, with the environment of the user's repository; removed at the end."""
    with scratch() as parent:
        folder = parent / root.name
        broken_state(judge.base, task, folder)
        environment = environment_for(root, task.cwd)
        if environment is not None and not (folder / ".venv").exists():
            (folder / ".venv").symlink_to(environment)
        yield folder


def bodies(root: Path, ground: Ground, split: str) -> Iterator[str]:
    """Yield the bodies of a split's definitions, with single blanks: what a prompt of another split may not show."""
    work = Work(root, root, ground)
    for one in work.definitions():
        if ground.split.get(one.label) != split:
            continue
        shape = one.language.shape("\n".join(_outdented(one.lines)))
        header = shape.header if shape is not None else 0
        lines = [line for line in one.lines[max(header, 1) :] if line.strip()]
        if len(lines) >= FEWEST_LINES:
            yield _plain("\n".join(lines))


def shows(request: Request, secret: Sequence[str]) -> bool:
    """Whether a request shows one of these bodies."""
    text = _plain("\n".join([request.text or "", request.prefill, *(m.content for m in request.messages)]))
    return any(body in text for body in secret)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _outdented(lines: Sequence[str]) -> list[str]:
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    return [line.removeprefix(margin) for line in lines]


def practice_requests(
    repo: Path, engine: Engine, *, limit: int, seed: int, show: Progress
) -> list[tuple[RepairTask, list[Request]]]:
    """Return what the agent would ask about tasks of the practice split, at most `limit` tasks, in the seed's order.

    Raises:
        TaskFault: there are no tasks, or the repository has changed since.
        ModelFault, SandboxFault: from below; what was asked is kept.
    """
    with open_judge(repo) as judge:
        store = TaskStore.of(repo)
        asker = Asker(store, judge, engine, AgentSettings.load(store.root))
        tasks = [task for task in store.tasks(judge.ground) if task.split == "practice"]
        chosen = order_of(tasks, seed)[:limit]
        found: list[tuple[RepairTask, list[Request]]] = []
        with show.meter("prompts of tasks", len(chosen), unit="tasks") as meter:
            for task in chosen:
                found.append((task, asker.requests(task)))
                meter.advance(1)
        if asker.leaks:
            show.say(f"{asker.leaks} prompts show code of the test split, and are left out")
        for task_id, reason in asker.unasked.items():
            show.say(f"{task_id}: the agent would not start: {reason}")
        return found


def order_of(tasks: Sequence[RepairTask], seed: int) -> list[RepairTask]:
    """Return the tasks in the order in which a round takes them: by a hash of seed and id."""
    return sorted(tasks, key=lambda task: hashlib.sha256(f"{seed}/{task.task_id}".encode()).digest())

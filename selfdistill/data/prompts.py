"""Collects the prompts that a round samples from, and checks that none of them is a gate problem.

In: a spec such as `auto`, `tasks`, `runs`, `runs:../repo`, `humaneval`, `pool.jsonl.gz`, or several joined by `+`.
Out: `Prompt`s, drawn with the round's seed, one from each source in turn. A set is split in three by a hash of each
problem's id: training takes the `prompts` part, the gate the `development` part, and no part of a round sees `test`.
Overlap of ids or of the statements' words is an error. Not covered: paraphrases, translations.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from pydantic import ValidationError

from forklock.agent.log import LogFault, ModelAsked, RunLog
from forklock.agent.log.runs import iter_runs, top_of
from forklock.evals.contract import Problem, ProblemSet
from forklock.evals.problems.sets import load_set, split
from forklock.evals.runs.prompts import Preset, default_preset, request_for
from forklock.models.contract import Message, Request
from forklock.models.paths import user_path
from forklock.selfdistill.contract import Prompt, RoundFault

PROMPTS_SHARE = 0.5
"""Share of a set's problems that training may use."""
DEVELOPMENT_SHARE = 0.6
"""Share of the other problems that the gate may use. The rest is `test`."""
SHINGLE = 8
"""Words per shingle when statements are compared."""
OVERLAP = 0.5
"""A prompt with at least this share of a gate statement's shingles counts as the same task."""


def collect(
    spec: str, limit: int, *, seed: int, cwd: Path, gate: ProblemSet | None = None, model: str = ""
) -> list[Prompt]:
    """Return up to `limit` prompts, one from each source in turn.

    Args:
        model: the base, which `tasks` needs: what the agent asks depends on the model.
        gate: the gate's problems. `auto` leaves out past runs on them, since the user did not choose those runs. A
            source that the user named is taken whole; `refuse_overlap` then rejects overlap.

    Raises:
        RoundFault: a source is unknown, or nothing is found.
        EvalFault: a problem set cannot be loaded.
    """
    names = ["runs", "humaneval"] if spec == "auto" else [part.strip() for part in spec.split("+")]
    pools = [
        task_prompts(name, cwd, model, limit=limit, seed=seed) if _is(name, "tasks")
        else _source(name, cwd, optional=spec == "auto")
        for name in names
    ]  # fmt: skip
    if spec == "auto" and gate is not None:
        taken = Overlap(gate.problems)
        pools = [[prompt for prompt in pool if not taken.finds(prompt)] for pool in pools]
    for index, pool in enumerate(pools):
        random.Random(f"{seed}/prompts/{index}").shuffle(pool)  # noqa: S311
    chosen = list(_distinct(p for p in chain.from_iterable(zip_longest(*pools)) if p is not None))[:limit]
    if not chosen:
        raise RoundFault(f"no prompt found in {spec!r}", fix="name a problem set, or a repo with past runs")
    return chosen


def gate_problems(name: str, limit: int, *, seed: int) -> ProblemSet:
    """Draw the gate's problems from the set's development part with the round's seed.

    Each round gets others, since rounds that are all chosen on the same few problems come to fit just those."""
    _, rest = split(load_set(name), "prompts", PROMPTS_SHARE)
    development, _ = split(rest, "development", DEVELOPMENT_SHARE)
    problems = list(development.problems)
    random.Random(f"{seed}/gate").shuffle(problems)  # noqa: S311
    if not problems:
        raise RoundFault(f"the development part of {name} is empty", fix="take a larger --gate-set")
    return development.model_copy(update={"problems": tuple(problems[:limit])})


def _source(name: str, cwd: Path, *, optional: bool) -> list[Prompt]:
    if _is(name, "runs"):
        repo = _repo_of(name, cwd)
        found = run_prompts(repo)
        if not found and not optional:
            raise RoundFault(
                f"no past run in {repo}",
                fix="run `agent solve` there first, or name a problem set; runs of an earlier version come in by "
                "`agent runs --adopt`",
            )
        return found
    part, _ = split(load_set(name), "prompts", PROMPTS_SHARE)
    return [problem_prompt(name, problem) for problem in part.problems]


def _is(name: str, source: str) -> bool:
    return name == source or name.startswith(f"{source}:")


def _repo_of(name: str, cwd: Path) -> Path:
    return user_path(name.partition(":")[2] or str(cwd))


def task_prompts(name: str, cwd: Path, model: str, *, limit: int, seed: int) -> list[Prompt]:
    """Return what the agent would ask `model`, the bare base, about the practice tasks of a repository.

    The model is opened: it counts tokens and names forks. What was asked before is kept.

    Raises:
        TaskFault: there are no tasks.
    """
    from forklock.models import open_engine
    from forklock.sandbox.terminal.progress import Progress
    from forklock.selfdistill.tasks.asking import practice_requests

    with open_engine(model, adapter=None) as engine:
        asked = practice_requests(_repo_of(name, cwd), engine, limit=limit, seed=seed, show=Progress())
    return [
        Prompt(
            prompt_id=f"task/{task.task_id}/{number}", request=request, statement=task.statement, source="tasks",
        )
        for task, requests in asked for number, request in enumerate(requests)
    ]  # fmt: skip


def problem_prompt(source: str, problem: Problem) -> Prompt:
    """Return a problem's prompt as evals asks it, so that training and evaluation use the same format."""
    return Prompt(
        prompt_id=f"{source}/{problem.question_id}",
        request=request_for(problem, preset_for(problem)),
        statement=problem.prompt,
        source=source,
        problem_id=problem.question_id,
    )


def preset_for(problem: Problem) -> Preset:
    """Return the prompt preset that evals uses for a problem of this kind."""
    return default_preset(problem.tests[0].kind)


def run_prompts(repo: Path) -> list[Prompt]:
    """Every distinct request that past runs in `repo` sent to a model, newest run first. Logs that cannot
    be read are left out: an old run must not stop a round."""
    return list(_distinct(chain.from_iterable(_of_run(log) for log in iter_runs(top_of(repo)))))


def _of_run(log: RunLog) -> Iterable[Prompt]:
    try:
        asked = [event for event in log.read().events if isinstance(event, ModelAsked)]
        return [_run_prompt(log, number, event) for number, event in enumerate(asked)]
    except (LogFault, ValidationError):
        return []


def _run_prompt(log: RunLog, number: int, event: ModelAsked) -> Prompt:
    request = _run_request(log, event)
    return Prompt(
        prompt_id=f"run/{log.folder.name}/{number}",
        request=request,
        statement=request.text or "\n".join(m.content for m in request.messages if m.role == "user"),
        source="runs",
    )


def _run_request(log: RunLog, event: ModelAsked) -> Request:
    if [m.role for m in event.messages] == ["text"]:
        return Request(text=log.text(event.messages[0].content))
    messages = tuple(
        Message.model_validate({"role": m.role, "content": log.text(m.content)}) for m in event.messages
    )
    return Request(messages=messages, prefill=event.prefill)


def _distinct(prompts: Iterable[Prompt]) -> Iterable[Prompt]:
    seen: set[str] = set()
    for prompt in prompts:
        key = prompt.request.model_dump_json()
        if key not in seen:
            seen.add(key)
            yield prompt


class Overlap:
    """Finds prompts that repeat a gate problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._ids = {problem.question_id: problem.question_id for problem in problems}
        self._statements = {problem.question_id: _words(problem.prompt) for problem in problems}
        self._shingles = {key: _shingles(words) for key, words in self._statements.items()}

    def finds(self, prompt: Prompt) -> str | None:
        """Return the id of the gate problem that this prompt repeats, or None."""
        if prompt.problem_id in self._ids:
            return prompt.problem_id
        words = _words(prompt.statement)
        shingles = _shingles(words)
        for key, wanted in self._shingles.items():
            if words == self._statements[key] or (wanted and len(wanted & shingles) >= OVERLAP * len(wanted)):
                return key
        return None


def refuse_overlap(prompts: Sequence[Prompt], gate: ProblemSet) -> None:
    """Reject prompts that repeat a gate problem.

    Raises:
        RoundFault: there are some; the message names the first few.
    """
    overlap = Overlap(gate.problems)
    found = [(prompt.prompt_id, key) for prompt in prompts if (key := overlap.finds(prompt))]
    if found:
        shown = ", ".join(f"{prompt} = {problem}" for prompt, problem in found[:3])
        raise RoundFault(
            f"{len(found)} training prompts are gate problems ({shown}{', …' if len(found) > 3 else ''})",
            fix="take another --gate-set, or another source of --prompts",
        )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _shingles(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}

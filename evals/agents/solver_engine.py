"""evals: our own agent as an engine, so that sets, stores and judging treat it like a model.

Input: problems, and the flags of `agent solve`. Output: a completion per request: `solution.py` as the agent left it in
a repository made from the problem (`forklock.evals.agents.problem_repo`), whose check is the public tests. Each
request runs in
a process of its own, in a new folder. Tokens are the agent's own count, prompts included; seconds are measured.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from forklock.agent.repo.checkout import make_repository
from forklock.evals.agents.command_engine import OneByOne
from forklock.evals.agents.problem_repo import SOLUTION, TEST_COMMAND, files_of, task_of
from forklock.evals.agents.process import refuse_crash, run_agent, words_of
from forklock.evals.contract import Problem
from forklock.evals.runs.prompts import Preset, request_for
from forklock.models.adapters import resolve_adapter
from forklock.models.contract import (
    Completion,
    FinishReason,
    ModelIdentity,
    Request,
)
from forklock.models.engines.open import is_local
from forklock.sandbox import scratch
from forklock.sandbox.files.reading import parse_json


class SolverEngine(OneByOne):
    """Runs `agent solve` once per request, one after the other."""

    def __init__(
        self,
        flags: str,
        problems: Sequence[Problem],
        preset: Preset,
        *,
        model: str,
        adapter: str = "current",
        sandbox: str,
        timeout_s: float = 1800.0,
    ) -> None:
        """
        Args:
            flags: flags of `agent solve`, as on a command line; part of the identity.
            preset: preset of the requests, which identify their problems.
            sandbox: where the agent runs the public tests.

        Raises:
            EvalFault: a problem has no public tests, or the flags cannot be split into words.
        """
        words = words_of(flags)
        self._files = [files_of(problem) for problem in problems]
        self._problems = list(problems)
        self._places = {_asked(request_for(problem, preset)): at for at, problem in enumerate(problems)}
        own = ["--model", model, "--adapter", adapter, "--sandbox", sandbox]
        self._words = [sys.executable, "-m", "forklock.agent.cli", "solve", *own, *words]
        name = shlex.join(["agent", "solve", model, *words])
        self.identity = ModelIdentity(name=name, adapter=_version(adapter, model), engine="agent")
        self.timeout_s = timeout_s

    def _run(self, request: Request, seed: int | None) -> Completion:
        at = self._places[_asked(request)]
        with scratch() as folder:
            repo, task, out = folder / "repo", folder / "task.md", folder / "said"
            task.write_text(task_of(self._problems[at]), encoding="utf-8")
            _write(repo, self._files[at])
            began = time.monotonic()
            finished = run_agent(self._command(repo, task, seed), repo, out, self.timeout_s,
                                 stderr=subprocess.DEVNULL, fix="install Forklock's `agent`")  # fmt: skip
            refuse_crash(finished, out)
            prompt, made = _tokens(out)
            code = (repo / SOLUTION).read_text(encoding="utf-8", errors="replace")
            return Completion(
                text=f"```python\n{code}\n```",
                finish_reason=FinishReason.STOP if finished is not None else FinishReason.LENGTH,
                prompt_tokens=prompt,
                completion_tokens=made,
                seconds=round(time.monotonic() - began, 3),
                model=self.identity,
            )

    def _command(self, repo: Path, task: Path, seed: int | None) -> list[str]:
        fixed = [
            "--repo",
            str(repo),
            "--test",
            TEST_COMMAND,
            "--regression",
            "none",
            "--in-place",
            "--accept-doubt",
            "--json",
        ]
        seeded = ["--seed", str(seed)] if seed is not None else []
        return [*self._words, *fixed, *seeded, "--", f"@{task}"]


def _version(adapter: str, model: str) -> str | None:
    """Return the adapter that will answer: `current` is another one after each promotion."""
    found = resolve_adapter(model, adapter) if is_local(model) else None
    return f"{found.base}/{found.version}" if found is not None else None


def _asked(request: Request) -> str:
    """Return what is different for requests of different problems, and the same for samples of one."""
    return request.model_copy(update={"seed": None}).model_dump_json()


def _write(repo: Path, files: dict[str, str]) -> None:
    repo.mkdir()
    for name, text in files.items():
        (repo / name).write_text(text, encoding="utf-8")
    make_repository(repo)


def _tokens(out: Path) -> tuple[int, int]:
    """Return (prompt, completion) tokens, as the agent's last line reports them."""
    try:
        reported = parse_json(out.read_text(encoding="utf-8").splitlines()[-1])["tokens"]
        return int(reported["prompt"]), int(reported["completion"])
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return 0, 0

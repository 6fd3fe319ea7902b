"""`agent watch`: a run whenever the check fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forklock.agent.commands.options import (
    AdapterOption,
    EngineOption,
    ModelOption,
    RepoOption,
    RolloutsOption,
    SandboxOption,
    SecondsOption,
    StepsOption,
    StrategyOption,
    TokensOption,
    TurnsOption,
    WidthOption,
    below,
)


def watch(
    task: Annotated[
        str, typer.Argument(help="What is wrong, in words; default: the names of the failing tests.")
    ] = "",
    repo: RepoOption = Path(),
    test: Annotated[str, typer.Option(help="The check; default: the repository's own suite.")] = "",
    model: ModelOption = None,
    engine: EngineOption = None,
    adapter: AdapterOption = None,
    width: WidthOption = None,
    steps: StepsOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    runs: Annotated[int | None, typer.Option(min=1, help="End after so many finished runs.")] = None,
    strategy: StrategyOption = None,
    rollouts: RolloutsOption = None,
    turns: TurnsOption = None,
    sandbox: SandboxOption = None,
) -> None:
    """Watch a repository: when files change and the check fails, a run proposes a change.

    Your files are never written: each run works on a copy, shows its diff and how sure it is, and you
    take it with `agent apply`. A further change of yours ends a run that is going on. Ctrl-C ends all.
    """
    from forklock.agent.commands.asked import require_test
    from forklock.agent.repo import inspect_repo
    from forklock.agent.serving.watching.loop import Watched
    from forklock.agent.serving.watching.loop import watch as begin
    from forklock.agent.settings import AgentSettings
    from forklock.models.engines.open import require_there
    from forklock.models.settings import ModelSettings
    from forklock.sandbox.terminal import screen

    root = inspect_repo(repo).root
    check, cwd = require_test(test, root, below(repo, root))
    flags = {"width": width, "steps": steps, "seconds": seconds, "sandbox": sandbox}
    flags |= {"strategy": strategy, "rollouts": rollouts, "turns": turns}
    settings = AgentSettings.load(root, max_tokens_total=tokens, **flags)
    models = {"model": model, "engine": engine, "adapter": adapter}
    chosen = ModelSettings.load(root, **models)
    require_there(chosen.model, chosen.engine)
    given = {**models, **flags, "tokens": tokens}
    words = tuple(f"--{name}={value}" for name, value in given.items() if value is not None)
    timeout_s = settings.test_timeout_s
    begin(
        Watched(root, check, cwd, settings.sandbox, timeout_s, _drop_copy, task.strip(), words, runs),
        screen(stderr=True),
    )


def _drop_copy(run: str) -> None:
    import shutil

    from forklock.agent.session.copies import scratch_of

    shutil.rmtree(scratch_of(run), ignore_errors=True)

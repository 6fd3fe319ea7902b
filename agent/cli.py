"""The `agent` command: lists its commands (`forklock.agent.commands`) and those that other rooms own.

Exit codes: 0 solved or done, 1 not solved, 2 bad input, 3 sandbox, model or tool trouble, 130 interrupted.
Heavy imports happen inside the commands: `agent --help` must be instant.
"""

from __future__ import annotations

from typing import NoReturn

from forklock.agent.commands.acp import acp
from forklock.agent.commands.compare import compare
from forklock.agent.commands.config import config, mcp
from forklock.agent.commands.export import export
from forklock.agent.commands.plan import plan
from forklock.agent.commands.replay import replay
from forklock.agent.commands.runs import runs, show
from forklock.agent.commands.solve import solve
from forklock.agent.commands.taking import apply, undo
from forklock.agent.commands.watch import watch
from forklock.sandbox.commands.console import run_app
from forklock.sandbox.commands.options import command_app

app = command_app("agent", "Make a local model solve tasks in your repositories, in a sandbox, with proof.")
for command in (
    solve,
    watch,
    plan,
    show,
    compare,
    apply,
    undo,
    runs,
    replay,
    export,
    config,
    mcp,
    acp,
):  # in the order of --help
    app.command()(command)


def _mount() -> None:
    """Adds the commands of other rooms."""
    from forklock.models.commands.engines import app as engines_app
    from forklock.models.commands.models import app as models_app
    from forklock.sandbox.commands.main import app as sandbox_app

    app.add_typer(models_app, name="models", help="List, pull and remove models.")
    app.add_typer(engines_app, name="engines", help="Install and remove the vLLM server.")
    app.add_typer(sandbox_app, name="sandbox", help="See which sandboxes work here, and build images.")


def main() -> NoReturn:
    """Entry point of the console script."""
    _mount()
    run_app(app)


if __name__ == "__main__":
    main()

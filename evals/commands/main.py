"""The `evals` command: the app, its sub-commands, and `evals sets`.

Each command reads flags, calls the room, prints, and turns faults into exit codes: 0 done, 2 bad input, 3 a fault of
the model, the sandbox or the judge (some samples have no verdict), 130 interrupted. Heavy imports happen inside the
commands, because `evals --help` must be instant.
"""

from __future__ import annotations

from typing import Annotated, NoReturn, Optional

import typer

from forklock.evals.commands import compare, judge, run, sweep, tokens
from forklock.evals.commands.options import DataOption, JsonOption
from forklock.sandbox.commands.console import run_app
from forklock.sandbox.commands.options import command_app

app = command_app(
    "evals", "Measure models, adapters and decodings on coding problems, with honest statistics."
)
run.register(app)


@app.command()
def sets(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="[SET]", help="Only sets whose name starts with this, with problems by month."
        ),
    ] = None,
    data: DataOption = None,
    json_file: JsonOption = None,
) -> None:
    """List the problem sets that are here, and where to get others.

    The list has dates, difficulties and licences.
    """
    import json
    from dataclasses import asdict

    from forklock.evals.contract import EvalFault
    from forklock.evals.problems.catalogue import facts
    from forklock.evals.reports.terminal import months_of, sets_table
    from forklock.sandbox.terminal import screen

    with screen(stderr=True).status("reading the sets"):
        rows = facts(data, name or "")
    if not rows:
        raise EvalFault(f"no problem set {name!r}", fix="`evals sets` lists all")
    console = screen()
    console.print(sets_table(rows))
    if name is not None:
        console.print(*(months_of(row) for row in rows if row.months), sep="\n")
    if json_file is not None:
        text = json.dumps([asdict(row) for row in rows], default=str, indent=1)
        json_file.write_text(text, encoding="utf-8")


for group in (compare, judge, sweep, tokens):
    group.register(app)


def main() -> NoReturn:
    """Run the `evals` script."""
    run_app(app)


if __name__ == "__main__":
    main()

"""Asks which mutants of the code pass its tests, and how those behave.

In: a sandbox with the code, mutants of its files, a plan with the tests that reach the changed functions. Out: the
mutants that pass, each with its `Behaviour`, without the ways of calls through the code. One pytest process collects
once and forks for each mutant (`tools/testing/inside/mutants_plugin.py`), so that a mutant costs hundredths of a second
and its tests. What comes back is evidence and not a verdict: the code under test could forge it.

Not covered: other runners than pytest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from forklock.sandbox import Sandbox
from forklock.tools.behaviour.ask import (
    BESIDE,
    INSIDE,
    PLUGIN,
    Behaviour,
    Plan,
    job_of,
    located,
    read_behaviour,
    rows_of,
)
from forklock.tools.behaviour.mutants import Mutant
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.environment import command_environment
from forklock.tools.testing.run import read_report, report_folder, with_plugin

_MUTANTS = INSIDE / "mutants_plugin.py"


def passing_mutants(
    sandbox: Sandbox,
    plan: Plan,
    mutants: Sequence[tuple[str, Mutant]],
    *,
    first: Collection[str] = (),
    run_s: float,
    timeout_s: float,
    calls: int = 40,
) -> dict[int, Behaviour]:
    """The behaviour of the mutants that pass all tests of the plan, by their number.

    Args:
        sandbox: its files may be changed: use a fork.
        mutants: each with the path of its file.
        first: tests that run before the others, since they tell most.
        run_s: wall-clock seconds for one run of the tests.
        timeout_s: wall-clock seconds for everything.

    Raises:
        ToolFault: the plan's command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    parsed = parse_command(plan.command)
    if parsed.runner != "pytest" or not mutants:
        return {}
    with report_folder(sandbox) as (folder, inner):
        for number, (path, mutant) in enumerate(mutants):
            here = folder / str(number)
            here.mkdir()
            here.chmod(0o777)
            what = located(sandbox.root, plan, {path: mutant.text})
            job = job_of(sandbox, what, mode="ask", seconds=run_s, calls=calls, paths=False)
            (here / "job").write_text(json.dumps(job), "utf-8")
        tests = sorted(plan.tests, key=lambda test: (test not in first, test))
        rows = [{"path": f"{sandbox.workdir}/{path}", "text": mutant.text} for path, mutant in mutants]
        work = {"tests": tests, "mutants": rows, "run_s": run_s, "seconds": timeout_s}
        (folder / "mutants").write_text(json.dumps(work), "utf-8")
        env = {**command_environment(sandbox, parsed.env, plan.cwd), "FORKLOCK_MUTANTS": f"{inner}/mutants"}
        for file in BESIDE:
            shutil.copyfile(file, folder / f"forklock_{file.name}")
        command, env = with_plugin(parsed, env, _MUTANTS, folder, inner, PLUGIN)
        argv = [*command.argv[: command.at], "-p", "no:cacheprovider", *command.argv[command.at :]]
        sandbox.exec(argv, env=env, timeout_s=timeout_s + 10, cwd=plan.cwd)
        return _passed(folder, len(mutants))


def _passed(folder: Path, count: int) -> dict[int, Behaviour]:
    found: dict[int, Behaviour] = {}
    for row in rows_of(read_report(folder / "mutants.out") or ""):
        number = row.get("mutant")
        if isinstance(number, int) and 0 <= number < count and row.get("code") == 0:
            text = read_report(folder / str(number) / "behaviour.out")
            if text is not None:
                found[number] = read_behaviour(rows_of(text))
    return found

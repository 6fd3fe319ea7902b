"""Tries several versions of the code in one sandbox: which ones pass a check, and how those behave.

In: a sandbox, commands, and versions as the texts of their files. Out: for each version whether the checks passed, and
its `Behaviour` where it was asked. One process inside loads pytest once and forks for each run
(`tools/testing/inside/versions_run.py`), so that a version costs a tenth of a run of its own. The versions share the
sandbox: use one for code that may see each other, such as a candidate and its mutants.

Not covered: other runners than pytest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forklock.sandbox import Sandbox
from forklock.tools.behaviour.ask import (
    BESIDE,
    PLUGIN,
    Behaviour,
    Plan,
    job_of,
    located,
    read_behaviour,
    rows_of,
)
from forklock.tools.testing.command import Command, parse_command
from forklock.tools.testing.environment import command_environment
from forklock.tools.testing.run import read_report, report_folder

_SCRIPT = Path(__file__).parents[1] / "testing" / "inside" / "versions_run.py"
Texts = Mapping[str, str | None]
"""Files of a version that differ from the sandbox's, by path below the workspace; None: the file is gone."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One version."""

    passed: bool | None
    """Whether all checks passed; None where time ran out before they ended, or without checks."""
    behaviour: Behaviour | None = None


def try_versions(
    sandbox: Sandbox,
    versions: Sequence[Texts],
    checks: Sequence[tuple[str, str]],
    plans: Sequence[Plan] = (),
    *,
    unchecked: int = 0,
    run_s: float = 10.0,
    timeout_s: float = 60.0,
    calls: int = 40,
    variants: int = 30,
) -> list[Tried]:
    """Put versions through checks, and ask those that pass how they behave.

    Args:
        sandbox: its files may be changed: use a fork.
        checks: commands with the folder that each runs in.
        plans: what to ask of the versions that pass; their answers are joined.
        unchecked: as many versions, from the first on, are asked without being checked.
        run_s: wall-clock seconds for one run of a check.
        timeout_s: wall-clock seconds for everything.

    Raises:
        ToolFault: a command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    if not versions or not all(
        _known(command) for command in [*(c for c, _ in checks), *(p.command for p in plans)]
    ):
        return [Tried(None)] * len(versions)
    with report_folder(sandbox) as (folder, inner):
        for file in (_SCRIPT, PLUGIN, *BESIDE):
            shutil.copyfile(file, folder / f"forklock_{file.name}")
        made = _Runs(sandbox, folder, inner, run_s, calls, variants)
        rows = []
        for number, texts in enumerate(versions):
            runs = [] if number < unchecked else [made.check(*check) for check in checks]
            runs += [made.ask(plan, texts, number, which) for which, plan in enumerate(plans)]
            rows.append({"files": texts, "runs": runs})
        first = parse_command(checks[0][0] if checks else plans[0].command)
        cwd = checks[0][1] if checks else plans[0].cwd
        _start(sandbox, first, cwd, folder, inner, {"versions": rows, "seconds": timeout_s})
        codes = _codes(read_report(folder / "versions.out"))
        return [
            _tried(folder, number, 0 if number < unchecked else len(checks), plans, codes)
            for number in range(len(versions))
        ]


def _known(command: str) -> bool:
    return parse_command(command).runner == "pytest"


@dataclass(frozen=True, slots=True)
class _Runs:
    """Makes the runs of the job."""

    sandbox: Sandbox
    folder: Path
    inner: str
    run_s: float
    calls: int
    variants: int

    def check(self, command: str, cwd: str) -> dict[str, Any]:
        args = [*_options(command), "-x"]
        return {"args": self._args(args, cwd), "env": {}, "seconds": self.run_s, "must_pass": True}

    def ask(self, plan: Plan, texts: Texts, number: int, which: int) -> dict[str, Any]:
        seconds = self.run_s
        here = self.folder / f"{number}-{which}"
        here.mkdir()
        here.chmod(0o777)
        job = job_of(
            self.sandbox, located(self.sandbox.root, plan, texts), mode="ask", seconds=seconds, calls=self.calls,
            variants=self.variants,
        )  # fmt: skip
        (here / "job").write_text(json.dumps(job), "utf-8")
        args = ["-p", f"forklock_{PLUGIN.stem}", *_options(plan.command)]
        env = {"FORKLOCK_BEHAVIOUR": f"{self.inner}/{here.name}/job"}
        return {"args": self._args(args, plan.cwd), "env": env, "seconds": 2 * seconds, "must_pass": False}

    def _args(self, args: list[str], _cwd: str) -> list[str]:
        return ["-p", "no:cacheprovider", *args]


def _options(command: str) -> list[str]:
    parsed = parse_command(command)
    return list(parsed.argv[parsed.at :])


def _start(
    sandbox: Sandbox, command: Command, cwd: str, folder: Path, inner: str, job: dict[str, Any]
) -> None:
    own = command_environment(sandbox, command.env, cwd)
    before = [path for path in own.get("PYTHONPATH", "").split(":") if path]
    here = sandbox.workdir if cwd == "." else f"{sandbox.workdir}/{cwd}"
    module = "-m" in command.argv[: command.at]
    job["paths"] = [here] if module else []
    root = sandbox.workdir
    for version in job["versions"]:
        version["files"] = {f"{root}/{path}": text for path, text in version["files"].items()}
    (folder / "versions").write_text(json.dumps(job), "utf-8")
    env = {**own, "PYTHONPATH": ":".join([inner, *before]), "FORKLOCK_VERSIONS": f"{inner}/versions"}
    python = command.argv[: command.at - 2] if module else ("python",)
    sandbox.exec(
        [*python, f"{inner}/forklock_{_SCRIPT.name}"], env=env, timeout_s=job["seconds"] + 10, cwd=cwd
    )


def _codes(text: str | None) -> dict[tuple[int, int], int | None]:
    found: dict[tuple[int, int], int | None] = {}
    for row in rows_of(text or ""):
        version, run, code = row.get("version"), row.get("run"), row.get("code")
        if isinstance(version, int) and isinstance(run, int) and (code is None or isinstance(code, int)):
            found[version, run] = code
    return found


def _tried(
    folder: Path, number: int, checks: int, plans: Sequence[Plan], codes: Mapping[tuple[int, int], int | None]
) -> Tried:
    ran = [codes[number, which] for which in range(checks) if (number, which) in codes]
    passed = None if not checks or not ran else all(code == 0 for code in ran)
    if passed and len(ran) < checks:
        passed = None
    whole: Behaviour | None = None
    for which in range(len(plans)):
        text = read_report(folder / f"{number}-{which}" / "behaviour.out")
        if text is not None:
            found = read_behaviour(rows_of(text))
            whole = found if whole is None else whole.joined(found)
    return Tried(passed, whole)

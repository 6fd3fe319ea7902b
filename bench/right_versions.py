"""Which versions of a file pass a check, for `bench/right_corpus.py`.

One process in the sandbox loads pytest once and forks for each run (`right_versions_inside.py`), so that hundreds of
versions are tried in minutes. Not covered: other runners than pytest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from forklock.sandbox import Sandbox
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.environment import command_environment
from forklock.tools.testing.run import read_report, report_folder

_SCRIPT = Path(__file__).with_name("right_versions_inside.py")


def passing_versions(
    sandbox: Sandbox,
    versions: Sequence[Mapping[str, str]],
    commands: Sequence[str],
    *,
    run_s: float,
    timeout_s: float,
) -> list[bool]:
    """Whether each version passes all commands; False where time ran out.

    Args:
        sandbox: its files may be changed: use a fork.
        versions: texts of the files that differ, by path.
        commands: pytest commands; each runs in the top folder of the workspace.
        run_s: wall-clock seconds for one run.
        timeout_s: wall-clock seconds for everything.
    """
    parsed = [parse_command(command) for command in commands]
    runs = [
        {"args": ["-p", "no:cacheprovider", *one.argv[one.at :], "-x"], "seconds": run_s} for one in parsed
    ]
    with report_folder(sandbox) as (folder, inner):
        shutil.copyfile(_SCRIPT, folder / _SCRIPT.name)
        rows = [{f"{sandbox.workdir}/{path}": text for path, text in files.items()} for files in versions]
        job = {"paths": [sandbox.workdir], "versions": rows, "runs": runs, "seconds": timeout_s}
        (folder / "versions").write_text(json.dumps(job), "utf-8")
        env = {**command_environment(sandbox, parsed[0].env), "FORKLOCK_VERSIONS": f"{inner}/versions"}
        python = parsed[0].argv[: parsed[0].at - 2]
        sandbox.exec([*python, f"{inner}/{_SCRIPT.name}"], env=env, timeout_s=timeout_s + 10)
        text = read_report(folder / "versions.out") or ""
    passed = {row["version"]: row["passed"] for row in map(json.loads, text.splitlines())}
    return [passed.get(number) is True for number in range(len(versions))]

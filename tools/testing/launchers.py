"""Finds the command behind a launcher: `uv run pytest` is `pytest` in the repository's environment, which a sandbox
has on its PATH.

In: words. Out: the words of the command itself; or a refusal where the launcher would make environments of its own,
which needs network. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from forklock.tools.contract import ToolFault

_RUNNERS = frozenset(
    {"poetry", "uv", "pipenv", "pdm", "hatch", "rye", "pixi", "conda", "mamba", "micromamba"}
)
_WITH_VALUE = frozenset(
    {"--with", "--extra", "--group", "--only-group", "--no-group", "--python", "-p", "--package", "--directory", "-C",
     "--project", "--env-file", "--with-requirements", "--with-editable", "-n", "--name", "--prefix", "-e", "--env",
     "--environment", "-P"}
)  # fmt: skip
_MAKERS = {
    "tox": "`commands` in tox.ini",
    "nox": "the session's `session.run` in noxfile.py",
}
"""Programs that make environments and run tests in them, and where their real command stands."""


def without_launcher(words: Sequence[str]) -> list[str]:
    """The command that a launcher would run.

    Raises:
        ToolFault: it makes environments of its own, or runs something that only it knows.
    """
    found = list(words)
    program = PurePosixPath(found[0]).name if found else ""
    if program in _MAKERS:
        raise _refusal(program, "makes environments of its own", _MAKERS[program])
    if program == "hatch" and found[1:2] == ["test"]:
        return ["python", "-m", "pytest", *(word for word in found[2:] if word != "--")]
    if program not in _RUNNERS or "run" not in found:
        return found
    rest = found[found.index("run") + 1 :]
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if option in {"-m", "--module"} and program in {"uv", "rye"}:
            return ["python", "-m", *rest]
        if option in _WITH_VALUE and rest:
            rest.pop(0)
    if not rest:
        raise _refusal(program, "is given nothing to run", "the command after `run`")
    if program == "hatch" and ":" in rest[0]:
        raise _refusal(program, f"runs {rest[0]!r}, which only it knows", "`scripts` in pyproject.toml")
    return without_launcher(rest)


def _refusal(program: str, why: str, where: str) -> ToolFault:
    return ToolFault(
        f"{program} cannot run in the sandbox: it {why}",
        fix=f"give the command that it runs ({where}): it finds the repository's own environment, as in "
        "--test 'python -m pytest -q'",
    )

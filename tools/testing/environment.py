"""Makes the environment variables for tests, whoever named their command: the user, the guess or a log.

In: a sandbox, what the command itself sets. Out: all variables. A `src/` folder of packages can be imported without
being installed. On a sandbox whose copies lie elsewhere than the original (`host`), the copy's code comes before what
the environment has installed from the original. Only reads the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

from forklock.sandbox import Sandbox

_LOOKED_AT = 200


def command_environment(sandbox: Sandbox, own: Mapping[str, str], cwd: str = ".") -> dict[str, str]:
    """The variables for a test command.

    Args:
        own: set by the command itself; a `PYTHONPATH` among them is kept as it is.
        cwd: the folder of the workspace that it runs in.
    """
    env = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "NO_COLOR": "1", **own}
    if "PYTHONPATH" in own:
        return env
    roots = import_roots(sandbox.root, cwd)
    if sandbox.backend == "host":
        roots = roots or [*dict.fromkeys([cwd, "."])]
    paths = [str(PurePosixPath(sandbox.workdir, root)) for root in roots]
    paths += filter(None, [sandbox.policy.env.get("PYTHONPATH", "")])
    return {**env, "PYTHONPATH": ":".join(paths)} if paths else env


def import_roots(root: Path, cwd: str = ".") -> list[str]:
    """Folders, relative to the workspace, that imports of a `src` layout need: of the package where the user stands,
    and of the workspace's top. Empty without such a layout."""
    folders = [folder for folder in dict.fromkeys([cwd, "."]) if is_src_layout(root / folder)]
    return [str(PurePosixPath(folder, part)) for folder in folders for part in ("src", ".")]


def is_src_layout(folder: Path) -> bool:
    """Whether `src/` holds packages or modules, and is no package itself."""
    source = folder / "src"
    try:
        if (source / "__init__.py").exists() or not source.resolve().is_relative_to(folder.resolve()):
            return False
        found = (entry for entry in islice(source.iterdir(), _LOOKED_AT) if not entry.name.startswith("."))
        return any(entry.suffix == ".py" or any(entry.glob("*.py")) for entry in found)
    except (OSError, RuntimeError, ValueError):
        return False

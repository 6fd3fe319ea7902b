"""Makes a project from nothing: its first files, and an environment that its tests run in.

In: an empty folder. Out: a `pyproject.toml` with pytest, a `.gitignore`, uv's lock file, and an environment in the
user's data folder, which every later run on that folder finds. uv runs in the sandbox and reaches the hosts of Python's
packages alone (`forklock.sandbox.images.way_out`); it installs wheels only, so no package runs code here. Without uv,
or where the hosts do not answer, tests run in the managed environment, which has pytest and nothing else.

Not covered: other languages than Python, and packages that the model wants later.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from forklock.agent.contract import Task
from forklock.sandbox import BackendName, ExecResult, Limits, Policy, SandboxFault, open_sandbox
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.reading import MEGABYTE, Unreadable, read_regular
from forklock.sandbox.images.network import python_hosts
from forklock.sandbox.images.way_out import open_way_out
from forklock.sandbox.interpreters.environments import usable
from forklock.sandbox.interpreters.policy import workspace_policy
from forklock.sandbox.interpreters.projects import project_environment
from forklock.sandbox.linux.private import remove_tree

COMMAND = "python -m pytest -q"
"""The check of a new project: the tests that it will have."""
SYNC_S = 300.0
_ENTRIES = re.compile(
    r"\.git|\.gitignore|\.gitattributes|(?:readme|license|licence|copying)(?:\.\w+)?", re.IGNORECASE
)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_LOCK_BYTES = 4 * MEGABYTE
_IGNORED = ".venv/\n__pycache__/\n.pytest_cache/\n"
_SETTINGS = {
    "UV_NO_BUILD": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_LINK_MODE": "copy",
    "UV_NO_CONFIG": "1",
    "UV_NO_PROGRESS": "1",
    "UV_HTTP_TIMEOUT": "30",
}


@dataclass(frozen=True, slots=True)
class NewProject:
    """A project's first files."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Texts by path, for those that are not there yet."""
    environment: Path | None = None
    """What its tests run in. None: the managed environment."""
    note: str = ""
    """Why there is no environment of its own."""

    def put(self, root: Path) -> None:
        """Write the files below `root`, and leave those that are there."""
        for name, text in self.files.items():
            file = root / name
            if not file.is_symlink() and not file.exists():
                write_atomic(file, text.encode(), durable=False)


def is_empty(root: Path) -> bool:
    """Tell whether a folder holds at most a readme, a licence and git's own files."""
    return all(_ENTRIES.fullmatch(entry.name) for entry in root.iterdir())


def set_up(
    root: Path,
    *,
    backend: BackendName = "auto",
    packages: Sequence[str] = (),
    hosts: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _line: None,
) -> NewProject:
    """Make the first files of the project at `root`, which is not written, and its environment.

    Args:
        packages: requirements beside pytest, as pip takes them.
        hosts: what uv may reach; those of Python's index and of its files if none is named.

    Raises:
        SandboxFault: no sandbox, or it failed.
    """
    files = {"pyproject.toml": manifest(root.name, packages), ".gitignore": _IGNORED}
    uv = find_uv()
    if uv is None:
        return NewProject(files, note="uv is not installed, so tests run in the managed environment")
    prefix = project_environment(root)
    place = prefix.parent
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        lock = _made_before(place, files["pyproject.toml"])
        if lock is None:
            hosts = hosts or python_hosts()
            progress(
                f"uv installs pytest{''.join(f', {one}' for one in packages)} (hosts: {', '.join(hosts)})"
            )
            problem = _sync(place, files["pyproject.toml"], uv, backend, hosts)
            if problem:
                remove_tree(place)
                return NewProject(files, note=f"uv could not make an environment: {problem}")
            lock = _made_before(place, files["pyproject.toml"])
    if lock is None:
        return NewProject(files, note="uv made no environment")
    return NewProject({**files, "uv.lock": lock}, prefix)


def with_first_files(
    task: Task, base: Path, backend: BackendName, tell: Callable[[str], None] = lambda _line: None
) -> Task:
    """Return the task of an empty repository with the files that the project begins with; any other as it is.

    Args:
        base: the run's copy of the repository.
        tell: called with what is installed, and with what cannot be.

    Raises:
        SandboxFault: as `set_up`.
    """
    if not is_empty(base):
        return task
    made = set_up(task.repo, backend=backend, progress=tell)
    if made.note:
        tell(made.note)
    return replace(task, first_files=made.files)


def find_uv() -> Path | None:
    """Return the program: beside this interpreter, else on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    return Path(found).resolve() if found else None


def manifest(name: str, packages: Sequence[str] = ()) -> str:
    """Return the text of a `pyproject.toml`."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    plain = plain if _NAME.fullmatch(plain) else "project"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f'[project]\nname = "{plain}"\nversion = "0.1.0"\nrequires-python = ">={version}"\n'
        f"dependencies = {json.dumps(list(packages))}\n\n"
        '[dependency-groups]\ndev = ["pytest"]\n\n'
        '[tool.pytest.ini_options]\npythonpath = ["."]\n\n'
        "[tool.uv]\npackage = false\n"
    )


def _made_before(place: Path, wanted: str) -> str | None:
    """Return the lock file of a whole environment that was made for this manifest; None where there is none."""
    try:
        made = read_regular(place / "project" / "pyproject.toml", most_bytes=MEGABYTE).decode()
        lock = read_regular(place / "project" / "uv.lock", most_bytes=_LOCK_BYTES).decode()
    except (OSError, Unreadable, UnicodeDecodeError):
        return None
    whole = made == wanted and (place / "made").is_file() and usable(place / "venv", place) is not None
    return lock if whole else None


def _sync(place: Path, text: str, uv: Path, backend: BackendName, hosts: Sequence[str]) -> str:
    """Have uv make the environment in a sandbox that reaches `hosts` alone. Return what went wrong, or ""."""
    remove_tree(place)
    (place / "project").mkdir(parents=True)
    (place / "project" / "pyproject.toml").write_text(text)
    with ExitStack() as opened:
        way = opened.enter_context(open_way_out(hosts, owner=place.stat().st_uid))
        shutil.copy2(uv, way.folder / "uv")
        policy = way.policy(workspace_policy(place / "project", Policy(limits=Limits(wall_s=SYNC_S))))
        sandbox = opened.enter_context(open_sandbox(place, policy, backend=backend))
        env = {
            **_SETTINGS,
            "UV_PROJECT_ENVIRONMENT": str(place / "venv"),
            "UV_CACHE_DIR": str(place / "cache"),
        }
        words = way.words((str(way.folder / "uv"), "sync", "--project", "project", "--python", "python3"))
        result = sandbox.exec(words, env=env, timeout_s=SYNC_S)
        refused = way.egress.refused
    remove_tree(place / "cache")
    if not result.ok:
        asked = f" (it asked for {', '.join(refused[:3])})" if refused else ""
        return _last_words(result) + asked
    (place / "made").touch()
    return ""


def _last_words(result: ExecResult) -> str:
    if result.timed_out:
        return f"it did not end within {SYNC_S:.0f} seconds"
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
    return " ".join(" ".join(lines[-3:]).split())[:300] or f"exit code {result.exit_code}"


__all__ = ["COMMAND", "NewProject", "SandboxFault", "is_empty", "manifest", "set_up"]

"""Runs inside the sandbox: puts several versions of the code through pytest, each in a fork of one process.

FORKLOCK_VERSIONS names a JSON file with the job: for each version the files that differ, and the runs of pytest that it
goes through until one fails. Pytest is loaded once, so that a version costs its own imports and tests alone. It writes
one JSON object a version to the file `versions.out`.
"""

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_POLL_S = 0.005


def put(files: dict[str, str | None]) -> dict[str, str | None]:
    """Write files (None removes one); returns what was there."""
    before: dict[str, str | None] = {}
    for name, text in files.items():
        path = Path(name)
        forget(name)
        before[name] = path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else None
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return before


def child(run: dict[str, Any]) -> None:
    """Run pytest here, and end."""
    code = 99
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        import pytest

        code = int(pytest.main(run["args"]))
    finally:
        os._exit(code)


def waited(pid: int, seconds: float) -> int | None:
    """The exit code of a child; None where it took too long and was killed."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        time.sleep(_POLL_S)
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def load() -> None:
    """Load pytest and the plug-ins of the environment, by a run without a test; nothing of the workspace is read."""
    import pytest

    said = io.StringIO()
    with tempfile.TemporaryDirectory() as nowhere, contextlib.redirect_stdout(said):
        pytest.main(["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", nowhere, nowhere])


def forget(name: str) -> None:
    """Remove the bytecode of a file: versions of the same second and size look alike to Python."""
    path = Path(name)
    for kept in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        with contextlib.suppress(OSError):
            kept.unlink()


def main() -> None:
    place = Path(os.environ["FORKLOCK_VERSIONS"])
    job = json.loads(place.read_text("utf-8"))
    sys.path[:1] = job["paths"]
    sys.dont_write_bytecode = True
    load()
    ends = time.monotonic() + job["seconds"]
    out = place.with_name("versions.out")
    for number, files in enumerate(job["versions"]):
        before = put(files)
        try:
            passed = all(passes(run, ends) for run in job["runs"])
        finally:
            put(before)
        with out.open("ab", buffering=0) as file:
            file.write(json.dumps({"version": number, "passed": passed}).encode() + b"\n")


def passes(run: dict[str, Any], ends: float) -> bool:
    """Whether a run of pytest passes, in a child."""
    left = min(run["seconds"], ends - time.monotonic())
    if left <= 0:
        return False
    pid = os.fork()
    if pid == 0:
        child(run)
    return waited(pid, left) == 0


main()

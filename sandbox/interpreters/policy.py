"""Makes the policy that lets a sandbox run a repo's tests: its Python and its compilers.

In: a workspace, and the folder in it where the user stands. Out: a policy whose `readable` holds what the environment
needs (`forklock.sandbox.interpreters.grants`), at its own paths, and whose PATH begins with it; for Rust, Go and
node what `forklock.sandbox.interpreters.compilers` says. Nothing of the repo is executed.

Docker: the mounted interpreter runs inside only where the image's libc fits; the docker backend tries it
once and else takes the image's own `python` (see docs/sandbox.md).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from forklock.sandbox.contract import Policy, SandboxFault
from forklock.sandbox.interpreters.compilers import compilers_policy
from forklock.sandbox.interpreters.environments import find_environment
from forklock.sandbox.interpreters.grants import grants, outermost
from forklock.sandbox.interpreters.looks import is_real_file
from forklock.sandbox.interpreters.managed import managed_environment


def workspace_policy(workspace: Path, base: Policy | None = None, *, cwd: str = ".") -> Policy:
    """Return `python_policy` with the compilers that `workspace` has manifests for. Never raises."""
    return compilers_policy(python_policy(workspace, base, cwd=cwd), workspace.expanduser().resolve())


def python_policy(workspace: Path, base: Policy | None = None, *, cwd: str = ".") -> Policy:
    """Return `base` with the environment of `workspace` (`forklock.sandbox.interpreters.environments` has the
    order), else with a managed one. Never raises: if even that cannot be made, the system's own programs are left.

    Args:
        cwd: where in the workspace commands will run: packages of a monorepo have environments of their own.
    """
    base = base or Policy()
    root = workspace.expanduser().resolve()
    prefix = environment_for(root, cwd)
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **base.env,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    if prefix is None:
        return replace(base, env=env)
    env["PATH"] = f"{prefix / 'bin'}:{env['PATH']}"
    if is_real_file(prefix / "pyvenv.cfg"):
        env["VIRTUAL_ENV"] = str(prefix)
    readable = outermost([*base.readable, *grants(prefix, root)])
    return replace(base, readable=tuple(readable), env=env)


def environment_for(workspace: Path, cwd: str = ".") -> Path | None:
    """Return the prefix (the directory that holds `bin/python`) of the environment for `workspace`'s tests. A managed
    environment is made if needed. None if that cannot be done."""
    found = find_environment(workspace, cwd)
    if found and not found.is_installation:
        return found.prefix
    try:
        return managed_environment(found.prefix if found else None)
    except SandboxFault:
        return None

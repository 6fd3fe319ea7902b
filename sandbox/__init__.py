"""Where commands run: isolation, limits, and cheap copies of a workspace.

Everything a model, a repo or a dataset can influence is executed here and nowhere else. The seam is
`contract.py`; backends (`docker`, `bubblewrap`, `host`) implement it and pass one conformance suite.
Imports nothing of the other rooms.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forklock.sandbox.backends.open import BackendName, check_backend, open_sandbox
    from forklock.sandbox.contract import (
        ExecResult,
        Limits,
        Policy,
        Sandbox,
        SandboxFault,
        SandboxUnavailable,
        Talk,
    )
    from forklock.sandbox.interpreters.policy import python_policy, workspace_policy
    from forklock.sandbox.linux.private import scratch

__all__ = [
    "BackendName",
    "ExecResult",
    "Limits",
    "Policy",
    "Sandbox",
    "SandboxFault",
    "SandboxUnavailable",
    "Talk",
    "check_backend",
    "open_sandbox",
    "python_policy",
    "scratch",
    "workspace_policy",
]

_HOMES = {
    "BackendName": "forklock.sandbox.backends.open",
    "check_backend": "forklock.sandbox.backends.open",
    "open_sandbox": "forklock.sandbox.backends.open",
    "python_policy": "forklock.sandbox.interpreters.policy",
    "scratch": "forklock.sandbox.linux.private",
    "workspace_policy": "forklock.sandbox.interpreters.policy",
}


def __getattr__(name: str) -> Any:
    """Load on first use: the commands import this package to start."""
    if name not in __all__:
        raise AttributeError(f"module 'forklock.sandbox' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "forklock.sandbox.contract")), name)

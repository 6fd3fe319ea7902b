"""Where commands run: isolation, limits, and cheap copies of a workspace.

Everything a model, a repo or a dataset can influence is executed here and nowhere else. The seam is
`contract.py`; backends (`docker`, `bubblewrap`, `host`) implement it and pass one conformance suite.
Imports nothing of the other rooms.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.contract import (
        ExecResult,
        Limits,
        Policy,
        Sandbox,
        SandboxFault,
        SandboxUnavailable,
        Talk,
    )
    from sandbox.interpreters.policy import python_policy, workspace_policy
    from sandbox.linux.private import scratch
    from sandbox.open import BackendName, check_backend, open_sandbox

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
    "BackendName": "sandbox.open",
    "check_backend": "sandbox.open",
    "open_sandbox": "sandbox.open",
    "python_policy": "sandbox.interpreters.policy",
    "scratch": "sandbox.linux.private",
    "workspace_policy": "sandbox.interpreters.policy",
}


def __getattr__(name: str) -> Any:
    """Load on first use: the commands import this package to start."""
    if name not in __all__:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "sandbox.contract")), name)

"""Where commands run: isolation, limits, and cheap copies of a workspace.

Everything a model, a repo or a dataset can influence is executed here and nowhere else. The seam is
`contract.py`; backends (`docker`, `bubblewrap`, `host`) implement it and pass one conformance suite.
Imports nothing of the other rooms.
"""

from sandbox.contract import (
    ExecResult,
    Limits,
    Policy,
    Sandbox,
    SandboxFault,
    SandboxUnavailable,
    Talk,
)
from sandbox.interpreters import python_policy, workspace_policy
from sandbox.open import BackendName, open_sandbox

__all__ = [
    "BackendName",
    "ExecResult",
    "Limits",
    "Policy",
    "Sandbox",
    "SandboxFault",
    "SandboxUnavailable",
    "Talk",
    "open_sandbox",
    "python_policy",
    "workspace_policy",
]

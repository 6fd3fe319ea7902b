"""Installs servers from Debian's packages, unpacked into a folder of ours.

In: a server of the list. Out: its program, a script in `servers_dir()/bin`. apt finds, fetches and verifies the
packages under a configuration of its own, from the mirror that the machine uses: nothing is installed into the
system. gopls comes with its Go. rust-analyzer comes with the libraries that it is linked to, and with the source of
the standard library for toolchains that lack it. Not covered: machines whose apt knows no Debian mirror.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from forklock.sandbox.files.atomic import put_folder_in_place
from forklock.tools.contract import ToolFault
from forklock.tools.lsp.servers.places import servers_dir
from forklock.tools.lsp.servers.server import Server

SUITE = "trixie"
"""The conformance tests have seen its versions."""
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TIMEOUT_S = 300.0
_UNPACK = (
    'dpkg-deb --fsys-tarfile "$0" | tar --extract --anchored --no-wildcards-match-slash --directory "$@"'
)
_LEFT_OUT = (
    "usr/src/rustc-*/compiler",
    "usr/src/rustc-*/src",
    "usr/share/go-*/test",
    "usr/share/doc",
    "usr/share/man",
)
"""400 MB that no server reads are not unpacked."""


def offers(server: Server) -> bool:
    """Whether this machine can install the server from Debian's packages."""
    tools = all(shutil.which(program) for program in ("apt-get", "dpkg-deb"))
    return server.debian is not None and tools and _mirror() is not None


def install(server: Server) -> Path:
    """Fetch the packages, unpack them, and run the program once.

    Raises:
        ToolFault: a step failed; what was installed before is still there.
    """
    recipe, name = server.debian, server.name
    if recipe is None:
        raise ToolFault(f"Debian has no package for {name}", fix=f"run: {server.fix}")
    folder = servers_dir() / name
    servers_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=servers_dir()) as scratch:
        fetched = _fetch(recipe.packages, Path(scratch))
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        for package in fetched:
            _run(["sh", "-c", _UNPACK, str(package), str(unpacked), *(f"--exclude=./{p}" for p in _LEFT_OUT)])
        recipe.script(unpacked)  # raises where a part is missing
        put_folder_in_place(unpacked, folder)
    program = servers_dir() / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{recipe.script(folder)}\n")
    program.chmod(0o755)
    _run([str(program), recipe.version_argument])
    return program


def _fetch(packages: Sequence[str], scratch: Path) -> list[Path]:
    mirror = _mirror()
    if mirror is None:
        raise ToolFault("apt knows no Debian mirror", fix="apt-get update")
    for folder in ("none", "state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "state" / "status").touch()
    signed = f"[signed-by={KEYS}] " if KEYS.is_file() else ""
    (scratch / "sources").write_text(f"deb {signed}{mirror} {SUITE} main\n")
    places = {
        "Dir::Etc::sourcelist": "sources", "Dir::Etc::sourceparts": "none", "Dir::Etc::preferences": "none/none",
        "Dir::Etc::preferencesparts": "none", "Dir::State": "state", "Dir::State::status": "state/status",
        "Dir::Cache": "cache",
    }  # fmt: skip
    options = [word for key, place in places.items() for word in ("-o", f"{key}={scratch / place}")]
    options += ["-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none", "-qq"]
    _run(["apt-get", *options, "update"])
    wanted = ["install", "--download-only", "--no-install-recommends", "--yes", *packages]
    _run(["apt-get", *options, *wanted])
    return sorted((scratch / "cache" / "archives").glob("*.deb"))


def _mirror() -> str | None:
    """The Debian mirror that the machine uses; None where there is none."""
    words = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    rows = (line.split(" ") for line in told.splitlines())
    return next((row[2] for row in rows if row[:2] == ["Debian", "Debian"] and len(row) == 3), None)


def _run(words: list[str]) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            words, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", env=env,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFault(f"{words[0]} cannot be run: {error}", fix="try again") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise ToolFault(
            f"{words[0]} failed: {said[0][:300]}", fix=f"run this to see the reason: {shlex.join(words)}"
        )

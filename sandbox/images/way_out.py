"""Lets one command of a sandbox without network reach allowed hosts, and nothing else.

In: host names. Out: a policy and words for the command. A port of the sandbox's own loopback leads to a unix socket of
ours (`egress`); the command's proxy settings name that port, and what ignores them meets no network at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forklock.sandbox.contract import Policy
from forklock.sandbox.images.egress import Egress
from forklock.sandbox.linux.private import make_private, remove_tree

_PORT = 3128
_CERTIFICATES = "certificates.pem"
_SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class WayOut:
    """An open way to some hosts."""

    folder: Path
    """Holds the socket and the relay. Commands see it read-only; more can be put there for them."""
    egress: Egress

    def policy(self, base: Policy) -> Policy:
        """Return `base` with what a command needs to go this way. It still has no network."""
        env = dict.fromkeys(_VARIABLES, f"http://127.0.0.1:{_PORT}")
        if (self.folder / _CERTIFICATES).is_file():
            env["SSL_CERT_FILE"] = str(self.folder / _CERTIFICATES)
        return replace(base, readable=(*base.readable, self.folder), env={**base.env, **env})

    def words(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return a command that opens the port, runs `argv`, and ends with its exit code."""
        relay, place = str(self.folder / "relay.py"), str(self.folder / "s")
        return ("python3", "-I", "-S", relay, place, str(_PORT), *argv)


@contextlib.contextmanager
def open_way_out(hosts: Sequence[str], *, owner: int = 0) -> Iterator[WayOut]:
    """Open a way to `hosts` (as `Egress` takes them) for as long as the context is open.

    Args:
        owner: where we are root, the user that commands run as.

    Raises:
        SandboxFault: no private directory can be made.
    """
    folder = make_private(Path(tempfile.gettempdir()), owner)
    try:
        shutil.copyfile(Path(__file__).with_name("relay.py"), folder / "relay.py")
        trusted = (
            os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or _SYSTEM_CERTIFICATES
        )
        if Path(trusted).is_file():  # an image may have none, and a company's proxy needs its own
            shutil.copyfile(trusted, folder / _CERTIFICATES)
        with Egress(folder / "s", hosts) as egress:
            yield WayOut(folder, egress)
    finally:
        remove_tree(folder)

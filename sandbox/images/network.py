"""Opens the network of an image's build: a relay to a proxy that connects to the allowed hosts alone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.images.base import Progress, run_in
from forklock.sandbox.images.egress import Egress
from forklock.sandbox.images.engine import DEFAULT_IMAGE, client, owner_label
from forklock.sandbox.images.recipe import SETTINGS
from forklock.sandbox.linux.private import make_private, remove_tree

_PORT = 3128
_PROXY = f"http://127.0.0.1:{_PORT}"
_RELAY_S = 20.0


@dataclass(frozen=True, slots=True)
class Network:
    """What a build reaches."""

    mode: str = "none"
    """The engine's name of the network."""
    proxies: dict[str, str] = field(default_factory=dict)
    """Variables that lead out."""
    egress: Egress | None = None

    @property
    def refused(self) -> list[str]:
        """Hosts that the build asked for and did not get."""
        return self.egress.refused if self.egress is not None else []


@contextlib.contextmanager
def open_network(hosts: Sequence[str], *, registries: bool, progress: Progress) -> Iterator[Network]:
    """Open a network on which a build reaches `hosts`, the environment's indexes and, if asked for, the registries."""
    private = make_private(Path(tempfile.gettempdir()))
    try:
        reached = [*(registry_hosts() if registries else ()), *hosts, *_index_hosts()]
        with Egress(private / "s", reached) as egress, _relay(private / "s") as container:
            progress(f"reaches {', '.join(egress.hosts)}")
            names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
            yield Network(f"container:{container}", dict.fromkeys(names, _PROXY), egress)
    finally:
        remove_tree(private)


def registry_hosts() -> list[str]:
    """Return the hosts of Python's, npm's and Debian's packages, by the settings of their tools."""
    said = run_in(DEFAULT_IMAGE, ["sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/*"])
    if shutil.which("npm"):
        command = ["npm", "config", "get", "registry"]
        said += subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [*python_hosts(), *re.findall(r"https?://([\w.-]+)", said)]


def python_hosts() -> list[str]:
    """Return the hosts of Python's index and of its files."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
    from requests import RequestException

    places = [PYPI_SIMPLE_ENDPOINT]
    with contextlib.suppress(RequestException), PyPISimple() as index:
        places += [package.url for package in index.get_project_page("pip").packages]
    return list(dict.fromkeys(filter(None, (urlsplit(place).hostname for place in places))))


def _index_hosts() -> list[str]:
    """Return the hosts of the indexes that the caller's environment names.

    Raises:
        SandboxFault: one has credentials in it: they would stay in the image's history.
    """
    found = []
    for name in SETTINGS:
        for value in os.environ.get(name, "").split():
            url = urlsplit(value)
            if url.scheme not in ("http", "https") or not url.hostname:
                continue
            if url.username or url.password:
                fix = f"unset {name}, and take wheels from a directory with --wheels"
                raise SandboxFault(f"{name} has credentials, which a build would keep", fix=fix)
            found.append(url.hostname)
    return found


@contextlib.contextmanager
def _relay(place: Path) -> Iterator[str]:
    """Start a container without network, with a port on its loopback that leads to the socket `place`; yield its id."""
    import docker

    inside = "/run/egress.sock"
    relay = Path(__file__).with_name("relay.py")
    handle = None
    try:
        try:
            handle = client().containers.create(
                DEFAULT_IMAGE,
                ["python3", "-I", "-S", "/run/relay.py", inside, str(_PORT)],
                entrypoint=[],
                network_mode="none",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                user="65534:65534",
                mem_limit="256m",
                pids_limit=512,
                labels=owner_label(),
                mounts=[
                    docker.types.Mount(inside, str(place), type="bind"),
                    docker.types.Mount("/run/relay.py", str(relay), type="bind", read_only=True),
                ],
            )
            handle.start()
            _await_relay(handle)
        except docker.errors.ImageNotFound as error:
            raise SandboxFault(
                f"the image {DEFAULT_IMAGE} is missing", fix="`agent sandbox build`"
            ) from error
        except docker.errors.DockerException as error:
            raise SandboxFault(f"no way out for the build: {error}", fix="`agent sandbox status`") from error
        yield str(handle.id)
    finally:
        if handle is not None:
            with contextlib.suppress(Exception):
                handle.remove(force=True)


def _await_relay(handle: Any) -> None:
    deadline = time.monotonic() + _RELAY_S
    while b"ready" not in handle.logs(stdout=True, stderr=False):
        if time.monotonic() > deadline:
            text = handle.logs().decode(errors="replace").strip()
            raise SandboxFault(f"the build's relay does not start: {text}", fix="see the engine's log")
        time.sleep(0.05)

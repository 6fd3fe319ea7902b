"""Finds the base image of a build, and reads facts about an image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.images.engine import DEFAULT_IMAGE, client, has_image, owner_label
from forklock.sandbox.images.recipe import SYSTEM_PATH, Recipe

_ANSWER_S = 20.0
_PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9")
Progress = Callable[[str], None]


def base_image(recipe: Recipe, named: str | None, progress: Progress) -> str:
    """Return the name of the base image, pulled if it was not there."""
    first = recipe.dockerfile.split("\n", 1)[0].removeprefix("FROM ")
    base = named or (first if first != "{base}" else _base_by_version(recipe.python))
    if not has_image(base):
        _pull(base, progress)
    return base


def _base_by_version(wanted: str) -> str:
    """Return the default image if its Python fits, else an official one that does."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not has_image(DEFAULT_IMAGE):
        raise SandboxFault(f"the image {DEFAULT_IMAGE} is missing", fix="`agent sandbox build`")
    try:
        versions = SpecifierSet(wanted)
    except InvalidSpecifier as error:
        raise SandboxFault(f"not a Python version: {wanted}", fix="name a base with --base") from error
    if not wanted or versions.contains(_python_of(DEFAULT_IMAGE)):
        return DEFAULT_IMAGE
    for minor in _PYTHONS:
        if versions.contains(f"{minor}.99"):
            return f"python:{minor}-slim"
    raise SandboxFault(f"no known Python is {wanted}", fix="name a base image with --base")


def _python_of(image: str) -> str:
    out = run_in(image, ["python3", "-c", "import platform; print(platform.python_version())"])
    return out.strip()


def _pull(base: str, progress: Progress) -> None:
    import docker

    progress(f"pulling {base}")
    try:
        client().images.pull(base)
    except (docker.errors.DockerException, OSError) as error:
        text = (getattr(error, "explanation", None) or str(error)).splitlines()[0]
        fix = "`docker load` it, or name an image that is there with --base"
        raise SandboxFault(f"the base image {base} cannot be pulled: {text}", fix=fix) from error


def config_of(image: str) -> Mapping[str, Any]:
    return client().images.get(image).attrs.get("Config") or {}


def path_of(image: str) -> str:
    own = dict(one.partition("=")[::2] for one in config_of(image).get("Env") or [])
    return str(own.get("PATH", SYSTEM_PATH))


def run_in(image: str, argv: list[str]) -> str:
    """Return what a command prints in `image`, without network; "" if it cannot run."""
    import docker

    handle = client().containers.create(
        image, argv, entrypoint=[], network_mode="none", mem_limit="512m", labels=owner_label()
    )
    try:
        handle.start()
        handle.wait(timeout=_ANSWER_S)
        return bytes(handle.logs(stdout=True, stderr=False)).decode(errors="replace")
    except (docker.errors.DockerException, OSError):
        return ""
    finally:
        with contextlib.suppress(docker.errors.DockerException):
            handle.remove(force=True)

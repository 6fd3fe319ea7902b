"""Builds images with a repo's dependencies: once per state of its dependency files, for all later sandboxes.

In: a repo and its `Recipe`. Out: an image `forklock-repo:<key>`, and the policy to run commands in it. A build runs as
root in containers of the engine and reaches the allowed hosts alone (`forklock.sandbox.images.egress`), or nothing
at all when it is offline; base images are fetched by the engine itself. The repo's code is not part of the image: it is
mounted, and found by PYTHONPATH. Not covered: credentials for an index, build secrets.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forklock.sandbox.contract import Policy, SandboxFault
from forklock.sandbox.images.base import Progress, base_image, config_of, path_of, run_in
from forklock.sandbox.images.engine import client, has_image, why_not
from forklock.sandbox.images.network import Network, open_network
from forklock.sandbox.images.recipe import REPOSITORY, SETTINGS, SYSTEM_PATH, Recipe, Source, find_recipe

BUILD_MEMORY_MB = 4096
_LABEL = "forklock.repo"
_KEPT_LINES = 12


@dataclass(frozen=True, slots=True)
class Build:
    """How to build."""

    source: Source = "auto"
    base: str | None = None
    """The image to start from; None takes the default one, or a `python:X.Y-slim` if the repo needs another."""
    registries: bool = True
    """Reach the package registries (`registry_hosts`)."""
    hosts: tuple[str, ...] = ()
    """Other hosts that the build may reach."""
    wheels: Path | None = None
    """Build without network from the wheels in this directory."""
    ca: Path | None = None
    """Additional certificates to trust, for a proxy or an index of your own."""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a repo."""

    name: str
    repo: str
    size_mb: int
    made: str


def recipe_for(repo: Path, source: Source = "auto") -> Recipe:
    """Return what `find_recipe` does, but never None.

    Raises:
        SandboxFault: also where no file says what the repo depends on.
    """
    found = find_recipe(repo, source)
    if found is None:
        raise SandboxFault(
            f"no file in {repo} says what it depends on",
            fix="write a requirements.txt or a Dockerfile; the default image serves repos without dependencies",
        )
    return found


def build_repo_image(repo: Path, progress: Progress, build: Build | None = None) -> str:
    """Make the image for `repo` unless it is there, and return its name. `progress` gets a line per step.

    Raises:
        SandboxFault: no engine, no recipe, no base, a step failed (its last lines are in the message), or the image
            has no Python 3.9.
    """
    build = build or Build()
    problem = why_not()
    if problem:
        raise SandboxFault(problem[0], fix=problem[1])
    recipe = recipe_for(repo, build.source)
    for note in recipe.notes:
        progress(f"note: {note}")
    if has_image(recipe.tag) and not build.force:
        progress(f"{recipe.tag} is there already")
        return recipe.tag
    progress(f"from {', '.join(recipe.sources)}")
    base = "" if recipe.own else base_image(recipe, build.base, progress)
    with _network(build, progress) as network:
        _run_build(repo, recipe, base, build, network, progress)
    try:
        _check(recipe.tag)
    except SandboxFault:
        remove_image(recipe.tag)
        raise
    return recipe.tag


def _network(build: Build, progress: Progress) -> contextlib.AbstractContextManager[Network]:
    if build.wheels is not None:
        return contextlib.nullcontext(Network())
    return open_network(build.hosts, registries=build.registries, progress=progress)


def repo_image(repo: Path) -> str | None:
    """Return the image that was built for `repo` as it is now; None if there is none."""
    with contextlib.suppress(SandboxFault):
        for source in ("auto", "lock", "manifest", "dockerfile", "devcontainer"):
            recipe = find_recipe(repo, source)
            if recipe is None and source == "auto":
                return None
            if recipe is not None and has_image(recipe.tag):
                return recipe.tag
    return None


def image_policy(image: str, policy: Policy, workdir: str) -> Policy:
    """Return `policy` for `image`, with the image's own environment and interpreter instead of mounted ones."""
    own = dict(one.partition("=")[::2] for one in config_of(image).get("Env") or [])
    given = {k: v for k, v in policy.env.items() if k not in ("PATH", "VIRTUAL_ENV")}
    paths = [f"{workdir}/src", workdir, *filter(None, [own.get("PYTHONPATH")])]
    env = {**own, "PYTHONPATH": ":".join(paths), **given, "PATH": own.get("PATH", SYSTEM_PATH)}
    return replace(policy, image=image, readable=(), env=env)


def images() -> list[Image]:
    """Return all images of repos, newest first."""
    found = []
    for one in client().images.list(name=REPOSITORY):
        for tag in one.tags:
            label = (one.labels or {}).get(_LABEL, "")
            made = str(one.attrs.get("Created", ""))[:19]
            found.append(Image(tag, label, round(one.attrs.get("Size", 0) / 1e6), made))
    return sorted(found, key=lambda image: image.made, reverse=True)


def remove_image(name: str) -> None:
    """Remove an image of a repo by its name or its key.

    Raises:
        SandboxFault: there is none of this name, or it is in use.
    """
    import docker

    tag = name if name.startswith(f"{REPOSITORY}:") else f"{REPOSITORY}:{name}"
    try:
        client().images.remove(tag)
    except docker.errors.ImageNotFound:
        raise SandboxFault(f"there is no image {tag}", fix="`agent sandbox image list`") from None
    except docker.errors.APIError as error:
        raise SandboxFault(f"{tag} cannot be removed: {error.explanation}", fix="end what uses it") from error


# --- the build --------------------------------------------------------------------------------------


def _run_build(
    repo: Path, recipe: Recipe, base: str, build: Build, network: Network, progress: Progress
) -> None:
    import docker

    how, settings = _context(repo, recipe, base, build)
    kept: list[str] = []
    try:
        lines = client().api.build(
            **how,
            tag=recipe.tag,
            rm=True,
            forcerm=True,
            decode=True,
            nocache=build.force,
            buildargs={**recipe.arguments, **network.proxies, **settings},
            network_mode=network.mode,
            labels={_LABEL: repo.resolve().name},
            container_limits={"memory": BUILD_MEMORY_MB << 20, "memswap": BUILD_MEMORY_MB << 20},
        )
        for line in lines:
            if "error" in line:
                raise _failed(line["error"], kept, network.refused)
            for text in line.get("stream", "").splitlines():
                if text.strip():
                    kept = [*kept[1 - _KEPT_LINES :], text.strip()]
                    progress(text.strip())
    except (docker.errors.DockerException, OSError, TypeError) as error:
        reason = getattr(error, "explanation", None) or str(error)
        raise _failed(reason, kept, network.refused) from error


def _context(repo: Path, recipe: Recipe, base: str, build: Build) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the build's context for the engine, and arguments for the installers."""
    if recipe.own:
        context = (repo / (recipe.context or ".")).resolve()
        return {"path": str(context), "dockerfile": str((repo / recipe.sources[-1]).resolve())}, {}
    extra, settings = _settings(build)
    text = recipe.dockerfile.replace("{base}", base).replace("{path}", path_of(base))
    archive = _archive({**recipe.files, **extra, "Dockerfile": text.encode()}, build.wheels)
    return {"fileobj": archive, "custom_context": True}, settings


def _failed(reason: str, kept: list[str], refused: list[str]) -> SandboxFault:
    text = "\n  ".join([f"the image's build failed: {reason.strip()}", *kept])
    if refused:
        asked = " ".join(f"--allow {host}" for host in refused)
        return SandboxFault(text, fix=f"it asked for {', '.join(refused)}; if that is fine: {asked}")
    return SandboxFault(text, fix="see its last lines above")


def _settings(build: Build) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return files and arguments by which our Dockerfile's installers find certificates, indexes and wheels."""
    settings = {name: os.environ[name] for name in SETTINGS if os.environ.get(name, "").startswith("http")}
    files: dict[str, bytes] = {}
    place = "/opt/forklock/build"
    if build.wheels is not None:
        settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{place}/wheels"}
    ca = build.ca or default_ca()
    if ca is not None:
        try:
            files["ca.pem"] = ca.read_bytes()
        except OSError as error:
            raise SandboxFault(f"{ca} cannot be read: {error.strerror}", fix="see --ca") from error
        names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        settings |= dict.fromkeys(names, f"{place}/ca.pem")
    return files, settings


def default_ca() -> Path | None:
    """Return the certificates that the caller's own installers trust."""
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        value = os.environ.get(name)
        if value and Path(value).is_file():
            return Path(value)
    return None


def _archive(files: Mapping[str, bytes], wheels: Path | None) -> io.BytesIO:
    """Pack a build context: the same bytes for the same content, so that the engine's cache recognises it."""
    packed = dict(files)
    if wheels is not None:
        found: Iterable[Path] = sorted(wheels.glob("*.whl")) if wheels.is_dir() else ()
        packed |= {f"wheels/{path.name}": path.read_bytes() for path in found}
        if not any(name.startswith("wheels/") for name in packed):
            raise SandboxFault(f"no wheels in {wheels}", fix="`pip download -d DIR -r requirements.txt`")
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in sorted(packed.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    target.seek(0)
    return target


def _check(image: str) -> None:
    """Raise SandboxFault if our supervisor cannot run in the image."""
    printed = run_in(image, ["python3", "-c", "import sys; print(sys.version_info >= (3, 9))"])
    if printed.strip() != "True":
        raise SandboxFault(
            f"{image} has no `python3` of 3.9 or later, which sandboxes need", fix="install one in it"
        )

"""Images with what a repo depends on: built once per state of its dependency files, taken by every sandbox after.

In: a repo and its `Recipe`. Out: an image `forklock-repo:<key>`, and the policy to run commands in it. A build runs as
root in containers of the engine and reaches the allowed hosts alone (`sandbox.images.egress`), or nothing at all when
it is offline; base images are fetched by the engine itself. The repo's code is not part of an image of ours: it is
mounted, and found by PYTHONPATH. Not covered: credentials for an index, build secrets.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.contract import Policy, SandboxFault
from sandbox.docker.engine import DEFAULT_IMAGE, client, has_image, owner_label, why_not
from sandbox.images.egress import Egress
from sandbox.images.recipe import REPOSITORY, SETTINGS, SYSTEM_PATH, Recipe, Source, find_recipe
from sandbox.linux.private import make_private, remove_tree

BUILD_MEMORY_MB = 4096
_PORT = 3128
_PROXY = f"http://127.0.0.1:{_PORT}"
_RELAY_S = 20.0
_LABEL = "forklock.repo"
_KEPT_LINES = 12
_PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Build:
    """How to build."""

    source: Source = "auto"
    base: str | None = None
    """The image to start from; None takes the default one, or a `python:X.Y-slim` where the repo needs another."""
    registries: bool = True
    """Reach the package registries (`registry_hosts`)."""
    hosts: tuple[str, ...] = ()
    """Reach these, too."""
    wheels: Path | None = None
    """Build without network from the wheels in this directory."""
    ca: Path | None = None
    """Certificates to trust besides, for a proxy or an index of one's own."""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a repo."""

    name: str
    repo: str
    size_mb: int
    made: str


def recipe_for(repo: Path, source: Source = "auto") -> Recipe:
    """As `find_recipe`.

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
    """Make the image for `repo` unless it is there; its name. `progress` gets a line per step.

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
    base = None if recipe.own else _base(recipe, build.base, progress)
    with _network(build, progress) as (mode, proxies, egress):
        _run_build(repo, recipe, base, build, mode, proxies, progress, egress)
    try:
        _check(recipe.tag)
    except SandboxFault:
        remove_image(recipe.tag)
        raise
    return recipe.tag


def repo_image(repo: Path) -> str | None:
    """The image that was built for `repo` as it is now; None where there is none."""
    with contextlib.suppress(SandboxFault):
        for source in ("auto", "lock", "manifest", "dockerfile", "devcontainer"):
            recipe = find_recipe(repo, source)
            if recipe is None and source == "auto":
                return None
            if recipe is not None and has_image(recipe.tag):
                return recipe.tag
    return None


def image_policy(image: str, policy: Policy, workdir: str) -> Policy:
    """`policy` in `image`: the image's own environment and interpreter in place of mounted ones."""
    own = dict(one.partition("=")[::2] for one in _config(image).get("Env") or [])
    given = {k: v for k, v in policy.env.items() if k not in ("PATH", "VIRTUAL_ENV")}
    paths = [f"{workdir}/src", workdir, *filter(None, [own.get("PYTHONPATH")])]
    env = {**own, "PYTHONPATH": ":".join(paths), **given, "PATH": own.get("PATH", SYSTEM_PATH)}
    return replace(policy, image=image, readable=(), env=env)


def images() -> list[Image]:
    """All images of repos, newest first."""
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


# --- the base ---------------------------------------------------------------------------------------


def _base(recipe: Recipe, named: str | None, progress: Progress) -> str:
    """A base image that is there."""
    first = recipe.dockerfile.split("\n", 1)[0].removeprefix("FROM ")
    base = named or (first if first != "{base}" else _base_by_version(recipe.python))
    if not has_image(base):
        _pull(base, progress)
    return base


def _base_by_version(wanted: str) -> str:
    """The default image if its Python will do, else an official one that will."""
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
    out = _run_in(image, ["python3", "-c", "import platform; print(platform.python_version())"])
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


def _config(image: str) -> Mapping[str, Any]:
    return client().images.get(image).attrs.get("Config") or {}


def _path_of(image: str) -> str:
    own = dict(one.partition("=")[::2] for one in _config(image).get("Env") or [])
    return str(own.get("PATH", SYSTEM_PATH))


# --- the network ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _network(build: Build, progress: Progress) -> Iterator[tuple[str, dict[str, str], Egress | None]]:
    """The engine's name of the network that a build gets, the variables that lead out, and the proxy."""
    if build.wheels is not None:
        yield "none", {}, None
        return
    private = make_private(Path(tempfile.gettempdir()))
    try:
        hosts = [*(registry_hosts() if build.registries else ()), *build.hosts, *_index_hosts()]
        with Egress(private / "s", hosts) as egress, _relay(private / "s") as container:
            progress(f"reaches {', '.join(egress.hosts)}")
            names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
            yield f"container:{container}", dict.fromkeys(names, _PROXY), egress
    finally:
        remove_tree(private)


def registry_hosts() -> list[str]:
    """Where Python's and npm's packages and Debian's lie, as their own tools and the default image are told."""
    said = _run_in(DEFAULT_IMAGE, ["sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/*"])
    if shutil.which("npm"):
        command = ["npm", "config", "get", "registry"]
        said += subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [*_python_hosts(), *re.findall(r"https?://([\w.-]+)", said)]


def _python_hosts() -> list[str]:
    """Python's index, and the hosts that its files lie on."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
    from requests import RequestException

    places = [PYPI_SIMPLE_ENDPOINT]
    with contextlib.suppress(RequestException), PyPISimple() as index:
        places += [package.url for package in index.get_project_page("pip").packages]
    return list(dict.fromkeys(filter(None, (urlsplit(place).hostname for place in places))))


def _index_hosts() -> list[str]:
    """Hosts of the indexes that the caller's environment names.

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
    """A container without network whose loopback has a port that leads to the socket `place`: its id."""
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


# --- the build --------------------------------------------------------------------------------------


def _run_build(
    repo: Path,
    recipe: Recipe,
    base: str | None,
    build: Build,
    mode: str,
    proxies: Mapping[str, str],
    progress: Progress,
    egress: Egress | None,
) -> None:
    import docker

    arguments = {**recipe.arguments, **proxies}
    how: dict[str, Any]
    if recipe.own:
        context = (repo / (recipe.context or ".")).resolve()
        how = {"path": str(context), "dockerfile": str((repo / recipe.sources[-1]).resolve())}
    else:
        extra, settings = _settings(build)
        arguments |= settings
        text = recipe.dockerfile.replace("{base}", base or "").replace("{path}", _path_of(base or ""))
        archive = _archive({**recipe.files, **extra, "Dockerfile": text.encode()}, build.wheels)
        how = {"fileobj": archive, "custom_context": True}
    kept: list[str] = []
    try:
        lines = client().api.build(
            **how,
            tag=recipe.tag,
            rm=True,
            forcerm=True,
            decode=True,
            nocache=build.force,
            buildargs=arguments,
            network_mode=mode,
            labels={_LABEL: repo.resolve().name},
            container_limits={"memory": BUILD_MEMORY_MB << 20, "memswap": BUILD_MEMORY_MB << 20},
        )
        for line in lines:
            if "error" in line:
                raise _failed(line["error"], kept, egress)
            for text in line.get("stream", "").splitlines():
                if text.strip():
                    kept = [*kept[1 - _KEPT_LINES :], text.strip()]
                    progress(text.strip())
    except (docker.errors.DockerException, OSError, TypeError) as error:
        raise _failed(getattr(error, "explanation", None) or str(error), kept, egress) from error


def _failed(reason: str, kept: list[str], egress: Egress | None) -> SandboxFault:
    refused = egress.refused if egress is not None else []
    text = "\n  ".join([f"the image's build failed: {reason.strip()}", *kept])
    if refused:
        asked = " ".join(f"--allow {host}" for host in refused)
        return SandboxFault(text, fix=f"it asked for {', '.join(refused)}; if that is fine: {asked}")
    return SandboxFault(text, fix="see its last lines above")


def _settings(build: Build) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files and arguments by which our Dockerfile's installers find certificates, indexes and wheels."""
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
    """The certificates that the caller's own installers are told to trust."""
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        value = os.environ.get(name)
        if value and Path(value).is_file():
            return Path(value)
    return None


def _archive(files: Mapping[str, bytes], wheels: Path | None) -> io.BytesIO:
    """A build context, the same bytes for the same content, so that the engine's cache knows it."""
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
    """Raises SandboxFault where our supervisor cannot run in it."""
    said = _run_in(image, ["python3", "-c", "import sys; print(sys.version_info >= (3, 9))"])
    if said.strip() != "True":
        raise SandboxFault(
            f"{image} has no `python3` of 3.9 or later, which sandboxes need", fix="install one in it"
        )


def _run_in(image: str, argv: list[str]) -> str:
    """What a command prints in `image`, without network; empty where it cannot run."""
    import docker

    handle = client().containers.create(
        image, argv, entrypoint=[], network_mode="none", mem_limit="512m", labels=owner_label()
    )
    try:
        handle.start()
        handle.wait(timeout=_RELAY_S)
        return bytes(handle.logs(stdout=True, stderr=False)).decode(errors="replace")
    except (docker.errors.DockerException, OSError):
        return ""
    finally:
        with contextlib.suppress(docker.errors.DockerException):
            handle.remove(force=True)

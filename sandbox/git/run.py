"""Runs git on the host. No other module does.

In: words for git, and a git folder that we made. Out: what git printed. git never sees a work tree, configuration,
attributes, index or ref that a repo or a program wrote: those are read as plain files
(`forklock.sandbox.git.repository`,
`forklock.sandbox.git.tree`). Objects that a repo wrote are read by a git that runs in a sandbox
(`forklock.sandbox.history.history`). Each call is bounded in time.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from forklock.sandbox.contract import SandboxFault

TIMEOUT_S = 60.0
"""Timeout of one call, in seconds."""
_MOST_RULES = 1 << 20


def _search_path() -> str:
    """The system's programs, then the user's own folders, for machines whose git is not the system's. Folders below
    the current one are left out: a repository could hold them."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was removed
        return os.defpath
    own = [Path(folder) for folder in os.get_exec_path()]
    kept = [str(folder) for folder in own if folder.is_absolute() and not folder.is_relative_to(here)]
    return ":".join([os.defpath, *kept])


ENV = {
    "PATH": _search_path(),
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_PAGER": "cat",
}
"""Environment without the user's and the machine's configuration."""
SAFE = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.attributesFile=/dev/null",
    "-c", "core.excludesFile=/dev/null",
    "-c", "protocol.allow=never",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
)  # fmt: skip
_CONFIG = """\
[core]
\trepositoryformatversion = {version}
\tbare = true
\tautocrlf = false
\tcompression = 0
\tlooseCompression = 0
\tfsync = none
\tfileMode = true
\tsymlinks = true
\tprecomposeUnicode = false
\tprotectHFS = false
\tprotectNTFS = false
\tbigFileThreshold = 128m
"""
TEXT = "* -text !eol -filter -ident !working-tree-encoding !diff !whitespace !merge -export-ignore -export-subst\n"
"""Attributes that keep bytes and diffs as they are. They override every `.gitattributes`."""
BYTES = "* -text !eol -filter -ident !working-tree-encoding -diff\n"
"""The same, with every difference as a binary patch."""


def make_git_dir(folder: Path, *, attributes: str = TEXT, sha256: bool = False) -> None:
    """Make a bare git folder of ours, without git's process."""
    for name in ("info", "refs", "objects/info", "objects/pack"):
        (folder / name).mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/none\n")
    extensions = "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
    (folder / "config").write_text(_CONFIG.format(version=int(sha256)) + extensions)
    (folder / "info" / "attributes").write_text(attributes)


def run_git(
    words: Sequence[str],
    *,
    git_dir: Path,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """Run git on a git folder that only we wrote.

    Raises:
        SandboxFault: git is missing, failed, or took too long.
    """
    return _run(words, cwd or git_dir, {"GIT_DIR": str(git_dir), **(env or {})}, stdin, timeout_s)


def apply_in(folder: Path, git_dir: Path, words: Sequence[str], diff: bytes) -> bytes:
    """`git apply` on a folder of ours that holds copies of the files that `diff` is about.

    Raises:
        SandboxFault: it does not apply.
    """
    env = {"GIT_WORK_TREE": str(folder)}
    command = ["-c", "core.bare=false", "apply", "--whitespace=nowarn", *words, "-"]
    return run_git(command, git_dir=git_dir, stdin=diff, env=env, cwd=folder)


def clone_bare(url: str, target: Path, *, timeout_s: float = 3600.0) -> None:
    """Clone a repository over https into the new folder `target`, without a work tree.

    Raises:
        SandboxFault: git is missing, or it cannot be fetched.
    """
    if not url.startswith("https://"):
        raise SandboxFault(f"{url!r} is not fetched: only https is", fix="clone it yourself")
    words = ["-c", "protocol.https.allow=always", "clone", "--quiet", "--bare", "--", url, str(target)]
    proxies = {name: os.environ[name] for name in os.environ if name.lower() in _PROXIES}
    _run(words, target.parent, proxies, b"", timeout_s)


_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"})


def user_excludes() -> bytes:
    """The user's own ignore rules, of every repository: those that `core.excludesFile` of their git names. Empty where
    there are none, or no git."""
    named = _users_config("--type=path", "--get", "core.excludesFile").rstrip(b"\n")
    home = os.environ.get("HOME", "")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path(home, ".config"))
    place = Path(os.fsdecode(named)) if named else config / "git" / "ignore"
    try:
        if not place.is_absolute() or not place.is_file():
            return b""
        with place.open("rb") as file:
            return file.read(_MOST_RULES)
    except OSError:
        return b""


@lru_cache(maxsize=1)
def user_filters() -> frozenset[str]:
    """Names of the filters that the user's own git has, such as `lfs`."""
    found = _users_config("--name-only", "--get-regexp", r"^filter\..*\.(clean|process)$")
    return frozenset(
        name.partition(".")[2].rpartition(".")[0] for name in found.decode(errors="replace").split("\n")
    )


def user_identity() -> str:
    """The user's name and address, as a commit has them: from the environment, or their own git's settings.

    Raises:
        SandboxFault: git knows none.
    """
    name = os.environ.get("GIT_AUTHOR_NAME") or _users_config("--get", "user.name").decode(errors="replace")
    mail = os.environ.get("GIT_AUTHOR_EMAIL") or _users_config("--get", "user.email").decode(errors="replace")
    name, mail = (" ".join(re.sub(r"[<>\x00-\x1f]", " ", part).split()) for part in (name, mail))
    if not name or not mail:
        raise SandboxFault(
            "git does not know who you are, so nothing is committed",
            fix='`git config --global user.name "…"` and user.email, or commit yourself',
        )
    return f"{name} <{mail}>"


def _users_config(*words: str) -> bytes:
    """What the user's and the machine's configuration says, asked outside of every repository."""
    own = {name: os.environ[name] for name in _USERS if name in os.environ}
    try:
        with tempfile.TemporaryDirectory() as empty:
            env = {"PATH": ENV["PATH"], "GIT_DIR": f"{empty}/none", "LC_ALL": "C.UTF-8", **own}
            done = subprocess.run(
                ["git", "config", "--includes", *words],
                cwd=empty, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
            )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode == 0 else b""


_USERS = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")


def _run(words: Sequence[str], cwd: Path, env: dict[str, str], stdin: bytes, timeout_s: float) -> bytes:
    name = next((word for word in words if word[:1].isalpha() and "." not in word), words[0])
    try:
        done = subprocess.run(
            ["git", *SAFE, *words],
            cwd=cwd,
            env=ENV | env,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
    except FileNotFoundError:
        raise SandboxFault("git is not installed", fix="install git, e.g. `sudo apt install git`") from None
    except subprocess.TimeoutExpired as error:
        raise SandboxFault(
            f"`git {name}` took over {timeout_s:.0f} seconds, and was ended",
            fix="see whether files of the workspace are very large",
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise SandboxFault(f"`git {name}` failed: {said or done.returncode}", fix="see what git says")
    return done.stdout

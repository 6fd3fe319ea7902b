"""Makes the options for what a bubblewrap command sees: mounts, namespaces, ids and environment.

In: a workspace, a policy. Out: options for `bwrap`. The root is empty and read-only but for what is named here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from forklock.sandbox.contract import Policy, SandboxFault
from forklock.sandbox.linux.limits import write_accounts
from forklock.sandbox.linux.private import make_private, remove_tree
from forklock.sandbox.workspace.workspace import Workspace

_ETC = (
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "python3",
    "python3.11", "python3.12", "python3.13", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk",
)  # fmt: skip
_ETC_NETWORK = ("resolv.conf", "nsswitch.conf", "ssl", "pki", "ca-certificates", "services", "protocols")
_MASKED = ("kcore", "keys", "kpagecgroup", "kpagecount", "kpageflags", "sched_debug", "timer_list")
_TMP, _TMP_MB = "/tmp", 512  # noqa: S108
_SHM, _SHM_MB = "/dev/shm", 64  # noqa: S108


def view(workspace: Workspace, policy: Policy, owner: tuple[int, int] | None) -> list[str]:
    """Return the options of every command of a sandbox. `owner`: user and group of the commands, if not ours."""
    options = _machine(policy, workspace.private, shared=owner is None)
    for path in policy.readable:
        options += _readable(path)
    for place in dict.fromkeys([str(workspace.root), workspace.workdir]):
        options += ["--bind", str(workspace.root), place]
        for name in workspace.environments:
            options += ["--ro-bind", f"{workspace.workdir}/{name}", f"{place}/{name}"]
    if workspace.is_copy and workspace.objects:
        lent = workspace.origin / ".git" / "objects"
        options += ["--ro-bind-try", str(lent), str(workspace.objects)]
    return [*options, "--remount-ro", "/"]


def view_read_only(root: Path, policy: Policy, writable: Sequence[Path]) -> list[str]:
    """Return the options for a program that only reads `root`, and what else it may write.

    Raises:
        SandboxFault: there is no place for what it is shown of `/etc`.
    """
    folder = _etc()
    if folder is None:
        raise SandboxFault("no temporary directory can be made", fix="free space, or set TMPDIR")
    options = _machine(policy, folder, shared=True)
    for path in policy.readable:
        options += _readable(path)
    options += ["--ro-bind", str(root), str(root)]
    for path in writable:
        options += ["--bind", str(path), str(path)]
    return [*options, "--remount-ro", "/"]


def _machine(policy: Policy, private: Path, *, shared: bool) -> list[str]:
    """Return the options for name spaces, the system's own directories, devices and scratch."""
    options = [
        "--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-uts",
        "--unshare-cgroup-try", "--hostname", "sandbox", "--as-pid-1", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL",
        "--uid", str(uid_inside()), "--gid", str(uid_inside()),
    ]  # fmt: skip
    if not policy.network:
        options.append("--unshare-net")
    options += _system(policy, private, shared=shared)
    # Writable by nobody: the kernel lets a mapped root write to /proc/sys by file mode alone.
    options += ["--proc", "/proc", "--remount-ro", "/proc"]
    for name in _MASKED:
        if Path("/proc", name).exists():
            options += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    options += ["--dev", "/dev", "--size", str(_SHM_MB << 20), "--tmpfs", _SHM, "--remount-ro", "/dev"]
    return [*options, "--size", str(_TMP_MB << 20), "--tmpfs", _TMP]


def _system(policy: Policy, private: Path, *, shared: bool) -> list[str]:
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    for store in ("/nix/store", "/gnu/store"):
        options += ["--ro-bind-try", store, store]
    if shared and not policy.network and (folder := _etc()):
        return [*options, "--ro-bind", str(folder), "/etc"]
    for name in ("passwd", "group", "hosts"):
        options += ["--ro-bind", str(private / name), f"/etc/{name}"]
    for name in _ETC + (_ETC_NETWORK if policy.network else ()):
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return options


@lru_cache(maxsize=1)
def _etc() -> Path | None:
    """A directory with what is shown of `/etc`, made once per process: each mount costs each command some
    0.2 ms. None where it cannot be made. Not for commands that become another user: only we can enter it."""
    try:
        private = make_private(Path(tempfile.gettempdir()))
        atexit.register(_remove_if_ours, private, os.getpid())
        folder = private / "etc"
        folder.mkdir()
        for name in _ETC:
            source = Path("/etc", name)
            if source.is_dir():
                shutil.copytree(source, folder / name, symlinks=True)
            elif source.is_file():
                shutil.copyfile(source, folder / name)
        write_accounts(folder, uid_inside(), uid_inside())
    except (OSError, shutil.Error, SandboxFault):
        return None
    return folder


def _remove_if_ours(private: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that was forked off
        remove_tree(private)


def _readable(path: Path) -> list[str]:
    """A directory or file at its own path, and at the real one where they differ. A link to a file, or to what lies
    beside it, stays a link: an interpreter finds its library by where its links lead."""
    real = path.resolve()
    if path.is_symlink() and (real.is_file() or len(path.readlink().parts) == 1):
        return ["--symlink", str(path.readlink()), str(path.absolute())]
    places = dict.fromkeys([str(path.absolute()), str(real)])
    return [option for place in places for option in ("--ro-bind", str(real), place)]


def git_read_only(workspace: Workspace) -> list[str]:
    """Return the options that make `.git` read-only; made for each command, since a repo can appear later."""
    git = workspace.root / ".git"
    if git.is_symlink() or not git.exists():
        return []
    places = dict.fromkeys([str(workspace.root), workspace.workdir])
    return [option for place in places for option in ("--ro-bind", str(git), f"{place}/.git")]


def environment(env: Mapping[str, str]) -> list[str]:
    return ["--clearenv", *(option for pair in env.items() for option in ("--setenv", *pair))]


def uid_inside() -> int:
    """Return the user id inside: the caller's own, so that owners look alike; never root."""
    return os.getuid() or 1000

"""Makes trees that try to have git run a program, read or write outside, or never end.

A trap is a setting that names a program, in a place where git would look for settings. The program leaves a canary.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "PATH": os.environ["PATH"],
}

SETTINGS = (
    "filter.e.clean={}", "filter.e.smudge={}", "filter.e.process={}", "core.sshCommand={}", "core.fsmonitor={}",
    "core.hooksPath={folder}", "core.pager={}", "core.editor={}", "core.askPass={}", "core.gitProxy={}",
    "core.attributesFile={folder}/attributes", "core.worktree={folder}", "core.alternateRefsCommand={}",
    "diff.external={}", "diff.e.command={}", "diff.e.textconv={}", "merge.e.driver={}", "gpg.program={}",
    "gpg.ssh.program={}", "commit.gpgSign=true", "credential.helper={}", "remote.origin.uploadpack={}",
    "remote.origin.vcs=ext", "remote.origin.promisor=true", "extensions.partialClone=origin",
    "remote.origin.url=ext::{}", "protocol.ext.allow=always", "submodule.sub.update=!{}", "submodule.recurse=true",
    "alias.status=!{}", "alias.ls-files=!{}", "alias.apply=!{}", "include.path={folder}/more", "pager.status={}",
    "interactive.diffFilter={}", "sequence.editor={}", "uploadpack.packObjectsHook={}", "receive.procReceiveRefs=refs",
    "trailer.e.command={}", "tar.tar.gz.command={}", "tar.e.command={}", "web.browser={}", "difftool.e.cmd={}",
    "mergetool.e.cmd={}", "sendemail.smtpServer={}", "init.templateDir={folder}", "core.untrackedCache=true",
    "core.splitIndex=true", "index.sparse=true", "core.preloadIndex=true", "gc.auto=1", "maintenance.auto=true",
    "fetch.fsckObjects=true", "ssh.variant=simple", "blame.ignoreRevsFile={folder}/more", "safe.bareRepository=all",
)  # fmt: skip
"""Settings by which git runs programs or looks elsewhere; `{}` is the program, `{folder}` a folder with hooks."""
ATTRIBUTES = "* filter=e diff=e merge=e text eol=crlf ident working-tree-encoding=UTF-8 export-subst\n"
HOOKS = (
    "post-index-change", "pre-commit", "post-checkout", "fsmonitor-watchman", "reference-transaction", "post-commit",
    "pre-applypatch", "applypatch-msg", "post-applypatch", "pre-auto-gc", "query-watchman",
)  # fmt: skip


def git(repo: Path, *words: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *name, *words], cwd=repo, env=GIT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Evil:
    """A program and what it leaves when it runs."""

    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "evil.sh"

    @property
    def canary(self) -> Path:
        return self.folder / "canary"

    def arm(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.program.write_text(f"#!/bin/sh\necho $0 $@ >> {self.canary}\ncat 2>/dev/null\n")
        self.program.chmod(0o755)
        for hook in HOOKS:
            (self.folder / hook).unlink(missing_ok=True)
            (self.folder / hook).symlink_to(self.program)
        (self.folder / "attributes").write_text(ATTRIBUTES)
        (self.folder / "more").write_text(
            f'[filter "e"]\n\tclean = {self.program}\n[core]\n\tfsmonitor = {self.program}\n'
        )

    def value(self, setting: str) -> tuple[str, str]:
        key, _, value = setting.partition("=")
        return key, value.format(self.program, folder=self.folder) if "{" in value else value

    def text(self, settings: tuple[str, ...] = SETTINGS) -> str:
        """The settings as a file."""
        lines = []
        for setting in settings:
            key, value = self.value(setting)
            section, _, rest = key.partition(".")
            middle, _, name = rest.rpartition(".")
            head = f'[{section} "{middle}"]' if middle else f"[{section}]"
            lines.append(f"{head}\n\t{name} = {value}\n")
        return "".join(lines)


def plain_repo(root: Path) -> Path:
    """Two commits, an ignored file, a tracked one that is ignored."""
    shutil.copytree(_plain_repo(), root, symlinks=True)
    return root


@cache
def _plain_repo() -> Path:
    """Made once: git is started five times for it."""
    folder = tempfile.TemporaryDirectory(prefix="plain-repo-")
    atexit.register(folder.cleanup)
    root = Path(folder.name) / "repo"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("def a():\n    return 1\n")
    (root / "b.txt").write_text("one\ntwo\n")
    (root / ".gitignore").write_text("*.log\n")
    (root / "kept.log").write_text("kept\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "add", "-f", "kept.log")
    git(root, "commit", "-qm", "one")
    (root / "b.txt").write_text("one\ntwo\nthree\n")
    git(root, "commit", "-qam", "two")
    (root / "noise.log").write_text("noise\n")
    return root


Setter = Callable[[Path, Evil, str], None]


def _add(file: Path, text: str) -> None:
    with file.open("a") as out:
        out.write(text)


def in_config(root: Path, evil: Evil, text: str) -> None:
    _add(root / ".git" / "config", text)


def in_worktree_config(root: Path, evil: Evil, text: str) -> None:
    _add(
        root / ".git" / "config",
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tworktreeConfig = true\n",
    )
    (root / ".git" / "config.worktree").write_text(text)


def in_included_file(root: Path, evil: Evil, text: str) -> None:
    (root / "settings").write_text(text)
    _add(
        root / ".git" / "config",
        '[include]\n\tpath = ../settings\n[includeIf "gitdir:/"]\n\tpath = ../settings\n',
    )


def in_nested_repo(root: Path, evil: Evil, text: str) -> None:
    inner = root / "sub"
    inner.mkdir()
    (inner / "x.py").write_text("x = 1\n")
    git(inner, "init", "-q")
    git(inner, "add", "-A")
    git(inner, "commit", "-qm", "inner")
    (inner / ".gitattributes").write_text(ATTRIBUTES)
    _add(inner / ".git" / "config", text)
    (inner / "x.py").touch()


def in_nested_repo_with_gitlink(root: Path, evil: Evil, text: str) -> None:
    in_nested_repo(root, evil, "")
    git(root, "add", "sub")
    git(root, "commit", "-qm", "link")
    _add(root / "sub" / ".git" / "config", text)


def in_submodule(root: Path, evil: Evil, text: str) -> None:
    inner = evil.folder.parent / "library"
    plain_repo(inner)
    git(root, "submodule", "--quiet", "add", str(inner), "lib")
    git(root, "commit", "-qm", "submodule")
    _add(root / ".git" / "modules" / "lib" / "config", text)
    (root / "lib" / ".gitattributes").write_text(ATTRIBUTES)


def in_git_file(root: Path, evil: Evil, text: str) -> None:
    elsewhere = root / "real.git"
    (root / ".git").rename(elsewhere)
    _add(elsewhere / "config", text)
    (root / ".git").write_text("gitdir: real.git\n")


def in_commondir(root: Path, evil: Evil, text: str) -> None:
    shared = root / "shared"
    shared.mkdir()
    for name in ("objects", "refs", "config"):
        (root / ".git" / name).rename(shared / name)
    _add(shared / "config", text)
    (root / ".git" / "commondir").write_text("../shared\n")


def in_worktree(root: Path, evil: Evil, text: str) -> None:
    """The repository is a linked work tree of one with settings."""
    main = evil.folder.parent / "main"
    root.rename(main)
    git(main, "worktree", "add", "-q", "--detach", str(root))
    _add(main / ".git" / "config", text)
    (root / ".gitattributes").write_text(ATTRIBUTES)
    (root / "noise.log").write_text("noise\n")


def in_bare_folder(root: Path, evil: Evil, text: str) -> None:
    """A tracked folder that looks like a bare repository."""
    bare = root / "src" / "bare"
    git(root, "init", "-q", "--bare", str(bare))
    _add(bare / "config", text + "[core]\n\tbare = false\n\tworktree = ..\n")


def behind_another_case(root: Path, evil: Evil, text: str) -> None:
    (root / ".GIT").mkdir()
    (root / ".GIT" / "config").write_text(text)
    in_config(root, evil, text)


WHERE: dict[str, Setter] = {
    "config": in_config,
    "config.worktree": in_worktree_config,
    "included file": in_included_file,
    "nested repository": in_nested_repo,
    "nested repository, as a gitlink": in_nested_repo_with_gitlink,
    "submodule": in_submodule,
    ".git file": in_git_file,
    "commondir": in_commondir,
    "linked work tree": in_worktree,
    "bare folder": in_bare_folder,
    "another case": behind_another_case,
}


def make(root: Path, evil: Evil, where: str, settings: tuple[str, ...]) -> Path:
    """A repository with these settings in that place, attributes that use them, and hooks."""
    evil.arm()
    plain_repo(root)
    (root / ".gitattributes").write_text(ATTRIBUTES)
    WHERE[where](root, evil, evil.text(settings))
    folder = root / ".git"
    if folder.is_dir():
        (folder / "hooks").mkdir(exist_ok=True)
        for hook in HOOKS:
            (folder / "hooks" / hook).unlink(missing_ok=True)
            (folder / "hooks" / hook).symlink_to(evil.program)
        (folder / "info").mkdir(exist_ok=True)
        (folder / "info" / "attributes").write_text(ATTRIBUTES)
    for name in ("b.txt", "sub/x.py", "lib/b.txt"):
        if (root / name).exists():
            os.utime(root / name, (1, 1))  # git looks at it again
    evil.canary.unlink(missing_ok=True)
    return root


# -- what must end ----------------------------------------------------------------------------------------


def _pipe(*names: str) -> Callable[[Path], None]:
    def make_pipe(root: Path) -> None:
        for name in names:
            place = root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            os.mkfifo(place)

    return make_pipe


def _pipe_for_commit(root: Path) -> None:
    oid = git(root, "rev-parse", "HEAD")
    _pipe(f".git/objects/{oid[:2]}/{oid[2:]}")(root)


def _bomb(name: str, line: str) -> Callable[[Path], None]:
    def make_bomb(root: Path) -> None:
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_text(line)
        (root / ("a" * 250)).write_text("x")
        deep = root.joinpath(*["a" * 100] * 8)
        deep.mkdir(parents=True)
        (deep / ("a" * 200)).write_text("x")

    return make_bomb


def _sparse(root: Path) -> None:
    for number in range(8):
        with (root / f"sparse{number}").open("wb") as file:
            file.truncate(250 << 20)


def _deep(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def _loops(root: Path) -> None:
    (root / "loop").symlink_to(".")
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "src" / "up").symlink_to("..")
    (root / "dev").symlink_to("/dev")
    (root / "zero").symlink_to("/dev/zero")


def _many(root: Path) -> None:
    for number in range(60):
        (root / f"f{number}").mkdir()
        for inner in range(40):
            (root / f"f{number}" / f"{inner}.txt").write_text("x")


STARS = "*a" * 120 + "b"
ENDLESS: dict[str, Callable[[Path], None]] = {
    "pipe .gitignore": _pipe(".gitignore"),
    "pipe .gitattributes": _pipe(".gitattributes"),
    "pipe .gitmodules": _pipe(".gitmodules"),
    "pipe below": _pipe("src/.gitignore", "src/.gitattributes"),
    "pipe HEAD": _pipe(".git/HEAD"),
    "pipe index": _pipe(".git/index"),
    "pipe config": _pipe(".git/config"),
    "pipe exclude": _pipe(".git/info/exclude"),
    "pipe attributes": _pipe(".git/info/attributes"),
    "pipe packed-refs": _pipe(".git/packed-refs", ".git/refs/heads/master"),
    "pipe alternates": _pipe(".git/objects/info/alternates"),
    "pipe pack": _pipe(".git/objects/pack/pack-1234567890123456789012345678901234567890.idx"),
    "pipe for the commit": lambda root: _pipe_for_commit(root),
    "pipe commondir": _pipe(".git/commondir"),
    "pipe .git": lambda root: ((root / ".git").rename(root / "was"), os.mkfifo(root / ".git"))[1],
    "pipe sub/.git": _pipe("sub/.git"),
    "pipe for a tracked file": _pipe("src/a.py"),
    "stars": _bomb(".gitignore", STARS + "\n"),
    "stars and slashes": _bomb(".gitignore", "**/*a/" * 40 + "b\n"),
    "stars of stars": _bomb(".gitignore", "/**" * 200 + "/b\n"),
    "many stars": _bomb(".gitignore", (STARS + "\n") * 500),
    "classes": _bomb(".gitignore", "*[a-z]" * 80 + "b\n"),
    "stars in exclude": _bomb(".git/info/exclude", STARS + "\n"),
    "stars in attributes": _bomb(".gitattributes", f"{STARS} filter=e\n" * 50),
    "sparse files": _sparse,
    "deep folders": _deep,
    "loops of links": _loops,
    "many files": _many,
}


# -- what leads out -----------------------------------------------------------------------------------------


def crafted_index(root: Path, names: list[str]) -> None:
    """An index that tracks these names, whatever they are. Their content is an object that is there."""
    blob = git(root, "hash-object", "-w", "b.txt")
    import hashlib
    import struct

    body = b""
    for name in sorted(name.encode() for name in names):
        entry = struct.pack(">10I", 0, 0, 0, 0, 0, 0, 0o100644, 0, 0, 14) + bytes.fromhex(blob)
        entry += struct.pack(">H", min(len(name), 0xFFF)) + name
        body += entry + b"\0" * (8 - len(entry) % 8)
    data = b"DIRC" + struct.pack(">II", 2, len(names)) + body
    (root / ".git" / "index").write_bytes(data + hashlib.sha1(data).digest())

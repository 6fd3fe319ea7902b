"""Paths, diffs, indexes and ignore rules of a repository: none leads outside, and each is read as git reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_trees import crafted_index, git, plain_repo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forklock.agent.contract import AgentFault
from forklock.agent.repo import apply_diff, copy_workspace
from forklock.sandbox.git.index import IndexNotRead, read_index
from forklock.sandbox.git.repository import open_repository, tracked_names
from forklock.sandbox.git.tree import list_files
from forklock.sandbox.linux.nofollow import read_inside
from forklock.sandbox.linux.private import remove_tree
from forklock.sandbox.workspace.workspace import open_workspace

Tried = Callable[[int], None]
NEW = (
    "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
)
EDIT = "diff --git a/b.txt b/b.txt\n--- a/b.txt\n+++ b/b.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"

ESCAPES = (
    "../secret/id", "../../secret/id", "L/../../secret/id", "L/id", "/etc/hostname", "a/../../secret/id", "./x", "x//y",
    ".git/config", "src/.git/hooks/x", ".GIT/config", "src/..", "..", ".", "L/sub/../id", "b.txt/../../secret/id",
)  # fmt: skip


@pytest.mark.hostile("git")
def test_a_crafted_index_reads_and_writes_nothing_outside(tmp_path: Path, tried: Tried) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id").write_text("PRIVATE")
    for number, names in enumerate([[name] for name in ESCAPES] + [list(ESCAPES)]):
        folder = tmp_path / str(number)
        root = plain_repo(folder / "repo")
        (root / "L").symlink_to(secret)
        crafted_index(root, names)
        assert not tracked_names(root) & {name for name in ESCAPES if name != "L/id"}
        base = folder / "cache" / "base"
        copy_workspace(root, base)
        found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert all(path.is_relative_to(root) or path.is_relative_to(base) for path in found)
        assert not [path for path in found if b"PRIVATE" in path.read_bytes()]
        place = open_workspace(base, parent=folder / "p")
        (base / "src" / "a.py").write_text("changed\n")
        assert "PRIVATE" not in place.diff()
        assert "L/id" not in list_files(root)
        place.close()
    assert sorted(path.name for path in secret.iterdir()) == ["id"]
    tried(len(ESCAPES) + 1)


def in_diff(name: str, *, link_to: str = "") -> str:
    mode, line = ("120000", link_to) if link_to else ("100644", "x")
    end = "\\ No newline at end of file\n" if link_to else ""
    head = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1 @@\n+{line}\n{end}"


REFUSED = (
    *(in_diff(name) for name in (
        "../x", "L/x", "L/deep/x", "/tmp/x", ".git/hooks/pre-commit", ".git/config", "src/.git/config", ".GIT/config",
        ".forklock/runs/x", "a/../../x", "src/../../x",
    )),
    *(in_diff("new", link_to=target) for target in ("/etc/passwd", "../x", "src/../../x", "..")),
    in_diff("new", link_to="/etc") + in_diff("new/x"),
    "diff --git a/L/id b/stolen\nsimilarity index 100%\nrename from L/id\nrename to stolen\n",
    "diff --git a/L/id b/stolen\nsimilarity index 100%\ncopy from L/id\ncopy to stolen\n",
    'diff --git "a/../secret/id" b/stolen\nsimilarity index 100%\ncopy from "\\056\\056/secret/id"\ncopy to stolen\n',
    "--- a/L/id\n+++ b/L/id\n@@ -1 +1 @@\n-PRIVATE\n+X\n",
)  # fmt: skip


@pytest.mark.hostile("git")
def test_a_diff_leads_nowhere_outside_and_changes_nothing_then(tmp_path: Path, tried: Tried) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id").write_text("PRIVATE\n")
    root = plain_repo(tmp_path / "repo")
    (root / "L").symlink_to(secret)
    for diff in REFUSED:
        for whole in (diff, EDIT + diff, diff + NEW):
            with pytest.raises(AgentFault):
                apply_diff(root, whole)
            assert (root / "b.txt").read_text() == "one\ntwo\nthree\n" and not (root / "new.py").exists()
            assert not (root / "stolen").exists() and not os.path.lexists(root / "new"), diff
    assert [path.read_text() for path in secret.iterdir()] == ["PRIVATE\n"]
    assert not (tmp_path / "x").exists()
    tried(3 * len(REFUSED))


NAMES = st.sampled_from(
    ["a", "b", "d/a", "d/b", "d/e/f", "e", "sp ace", "tab\there", "ünï", 'q"uote', "back\\slash"]
)
CONTENT = st.one_of(
    st.none(), st.binary(max_size=60), st.sampled_from([b"x\r\ny\r\n", b"$Id$\n", b"\xff\xfe", b"a\nb\nc\n"])
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=st.dictionaries(NAMES, CONTENT, max_size=6),
    new=st.dictionaries(NAMES, CONTENT, max_size=6),
    data=st.data(),
)
def test_what_a_diff_says_is_what_its_application_gives(tmp_path_factory, old, new, data) -> None:  # type: ignore[no-untyped-def]
    """Any tree into any other: the diff of the one against the other, applied to a copy, gives the other."""
    base = tmp_path_factory.mktemp("any")
    for folder, files in (("was", old), ("is", new)):
        (base / folder).mkdir()
        for name, content in files.items():
            place = base / folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                place.symlink_to(data.draw(st.sampled_from(["a", "d", "nowhere"])))
            else:
                place.write_bytes(content)
                place.chmod(data.draw(st.sampled_from([0o644, 0o755])))
    shutil.copytree(base / "was", base / "work", symlinks=True)
    place = open_workspace(base / "work", parent=base / "p")
    for entry in list((base / "work").iterdir()):
        remove_tree(entry)
    shutil.copytree(base / "is", base / "work", symlinks=True, dirs_exist_ok=True)
    diff = place.diff()
    place.close()
    if diff:
        apply_diff(base / "was", diff)
    assert everything(base / "was") == everything(base / "is")


def everything(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): path.readlink()
        if path.is_symlink()
        else (path.read_bytes(), path.stat().st_mode & 0o100)
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_a_diff_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    root = plain_repo(tmp_path / "repo")
    (root / "new.py").mkdir()
    (root / "new.py" / "mine").write_text("mine")
    before = everything(root)
    with pytest.raises(AgentFault):
        apply_diff(root, EDIT + NEW)
    assert everything(root) == before


# -- ignore rules and listings: as git has them ---------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "x",
        "*",
        "**",
        "**/",
        "/**",
        "/",
        "?",
        "[ab]",
        "[!a]",
        "[a-c]",
        "\\*",
        "!",
        " ",
        "#",
        ".",
        "[[:alpha:]]",
        "[]",
    ]
)
LINES = st.lists(st.lists(PIECES, min_size=1, max_size=5).map("".join), max_size=4).map("\n".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=LINES, inner=LINES)
@example(top="", inner="a**/**")
@example(top="x/a**/**\nx**/b", inner="")
def test_listing_is_gits(ruled_repo: Path, top: str, inner: str) -> None:
    root = ruled_repo
    (root / ".gitignore").write_text(top + "\n")
    (root / "x" / ".gitignore").write_text(inner + "\n")
    told = git(
        root, "-c", "core.quotePath=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )
    assert list_files(root) == sorted({name for name in told.split("\0") if name})


@pytest.fixture(scope="module")
def ruled_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose two files of rules each example writes anew."""
    root = tmp_path_factory.mktemp("rules")
    for name in ("a", "b", "x/a", "x/b", "x/y/a", "a.b", "c/x/a", "x/y/z/b"):
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
    git(root, "init", "-q")
    git(root, "add", "-f", "x/b")
    return root


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(NAMES, min_size=1), version=st.sampled_from(["2", "3", "4"]), flag=st.booleans())
def test_the_index_is_read_as_git_reads_it(tmp_path_factory, names, version: str, flag: bool) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("index")
    git(root, "init", "-q")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    git(root, "add", "-A")
    if flag:
        git(root, "update-index", "--skip-worktree", "--", next(iter(names)))
    git(root, "update-index", "--index-version", version)
    told = subprocess.run(
        ["git", "ls-files", "-s", "-z"], cwd=root, capture_output=True, check=True
    ).stdout.decode()
    repository = open_repository(root)
    assert repository is not None
    ours = [f"{one.mode:o} {one.oid} {one.stage}\t{one.name}" for one in repository.tracked()]
    assert sorted(ours) == sorted(told.split("\0")[:-1])


@pytest.mark.hostile("git")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_index_is_named_or_read(tmp_path_factory, data) -> None:  # type: ignore[no-untyped-def]
    whole = _some_index(tmp_path_factory)
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(max_size=8))
    cut = data.draw(st.integers(0, 8))
    try:
        read_index(whole[:at] + damage + whole[at + cut :])
    except IndexNotRead as error:
        assert str(error)


def _some_index(factory: pytest.TempPathFactory, cache: list[bytes] = []) -> bytes:  # noqa: B006
    if not cache:
        root = plain_repo(factory.mktemp("index") / "repo")
        git(root, "update-index", "--index-version", "4")
        cache.append((root / ".git" / "index").read_bytes())
    return cache[0]


@pytest.mark.hostile("git")
def test_reading_below_a_folder_follows_no_link(tmp_path: Path, tried: Tried) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "id").write_text("PRIVATE")
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_text("mine")
    (root / "L").symlink_to("../secret")
    (root / "d" / "id").symlink_to("../../secret/id")
    os.mkfifo(root / "pipe")
    names = ["L/id", "d/id", "L", "pipe", "d", "missing", "L/../id"]
    for name in names[:-1]:
        assert read_inside(root, name, 100) is None
    for name in ("L/../id", "../secret/id", "/etc/passwd", "", "d//file", "a\0b"):
        with pytest.raises(ValueError, match="not a path"):
            read_inside(root, name, 100)
    assert read_inside(root, "d/file", 100) == b"mine"
    tried(len(names) + 6)

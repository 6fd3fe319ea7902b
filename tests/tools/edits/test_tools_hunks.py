"""Diffs as data: turned around, applied and taken back as git does it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forklock.tools.edits.hunks import all_hunks_of, applied, hunks_of, reverted, split_off, turned_around

Lines = st.lists(
    st.sampled_from(["a", "b", "", "-x", "+y", " z", "--- a/q", "@@ -1 +1 @@", "\\ no"]), max_size=14
)


def git_diff(folder: Path, before: str, after: str) -> str:
    for name, text in (("a", before), ("b", after)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "f.py").write_text(text)
    words = ["git", "diff", "--no-index", "--no-prefix", "a/f.py", "b/f.py"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("diffs")


@settings(max_examples=40)
@given(before=Lines, after=Lines, ends=st.tuples(st.booleans(), st.booleans()))
def test_a_diff_turned_around_takes_it_back(
    folder: Path, before: list[str], after: list[str], ends: tuple[bool, bool]
) -> None:
    old, new = ("\n".join(lines) + "\n" * end for lines, end in zip((before, after), ends, strict=True))
    diff = git_diff(folder, old, new)
    if not diff or not old or not new:
        return
    (folder / "f.py").write_text(new)
    back = turned_around(diff).replace("a/f.py", "x/f.py").replace("b/f.py", "x/f.py")
    done = subprocess.run(
        ["git", "apply", "-p1", "-"], cwd=folder, input=back, capture_output=True, text=True, check=False
    )
    assert (done.returncode, (folder / "f.py").read_text()) == (0, old), back
    assert turned_around(turned_around(diff)).split("\n")[:4] == diff.split("\n")[:4]


@settings(max_examples=40)
@given(before=Lines, after=Lines)
def test_hunks_apply_as_git_applies_them(folder: Path, before: list[str], after: list[str]) -> None:
    old, new = "\n".join(["first", *before, ""]), "\n".join(["first", *after, ""])
    found = list(hunks_of(git_diff(folder, old, new)))
    assert all(hunk.path == "f.py" for hunk in found)
    assert applied(old, found) == new
    if len(found) == 1:
        back = reverted(new, found[0])
        assert back is None or back[0] == old


def test_a_hunk_is_taken_back_where_the_surroundings_have_changed(folder: Path) -> None:
    old, new = "a\nb\nc\nd\ne\n", "a\nb\nNEW\nd\ne\n"
    (hunk,) = hunks_of(git_diff(folder, old, new))
    assert reverted("0\n1\nA\nb\nNEW\nd\ne\n", hunk) == ("0\n1\nA\nb\nc\nd\ne\n", (4, 5))
    assert reverted("a\nb\nNEW\nd\ne\nNEW\n", hunk) is not None, "the context tells them apart"
    assert reverted("b\nNEW\nd\nb\nNEW\nd\n", hunk) is None, "in two places"
    assert reverted("a\nb\nother\nd\ne\n", hunk) is None


def test_what_is_no_change_of_lines_is_left_out() -> None:
    new_file = (
        "diff --git a/x.py b/x.py\nnew file mode 100644\n--- /dev/null\n+++ b/x.py\n@@ -0,0 +1 @@\n+x\n"
    )
    moved = "rename from x.py\nrename to y.py\n"
    renamed = f"diff --git a/x.py b/y.py\n{moved}--- a/x.py\n+++ b/y.py\n@@ -1 +1 @@\n-x\n+y\n"
    assert not list(hunks_of(new_file)) and not list(hunks_of(renamed))
    (hunk,) = all_hunks_of(renamed)
    assert (hunk.old_path, hunk.new_path, hunk.added, hunk.removed) == ("x.py", "y.py", ["y"], ["x"])


@settings(max_examples=20)
@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
)
def test_any_file_name_is_read_as_git_writes_it(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    if name in (".", "..", ".git") or len(name.encode()) > 100:
        return
    root = tmp_path_factory.mktemp("named")
    (root / name).write_text("one\n")
    words = ["git", "diff", "--no-index", "--src-prefix=a/", "--dst-prefix=b/", "/dev/null", f"./{name}"]
    diff = subprocess.run(words, cwd=root, capture_output=True, check=False).stdout.decode(
        "utf-8", "surrogateescape"
    )
    (hunk,) = all_hunks_of(diff)
    assert (hunk.old_path, hunk.new_path.removeprefix("./"), hunk.added) == ("", name, ["one"])


def test_lines_that_look_like_heads_are_lines(folder: Path) -> None:
    old, new = "-- a/q\nx\n", "++ b/q\nx\n@@ -1 +1 @@\n"
    (hunk,) = all_hunks_of(git_diff(folder, old, new))
    assert (hunk.path, hunk.removed, hunk.added) == ("f.py", ["-- a/q"], ["++ b/q", "@@ -1 +1 @@"])


def test_what_a_hunk_touches_is_counted_in_the_original(folder: Path) -> None:
    (hunk,) = all_hunks_of(git_diff(folder, "a\nb\nc\n", "a\nB\nc\nd\n"))
    assert list(hunk.touched()) == [2, 2, 3]


def test_files_are_split_off() -> None:
    parts = [
        f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-x\n+y\n" for name in "pq"
    ]
    assert split_off("".join(parts), ["q"]) == (parts[0], parts[1])
    assert split_off("".join(parts), []) == ("".join(parts), "")

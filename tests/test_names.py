"""Names that are no paths, wherever a command takes one: an error in words, never a traceback."""

from __future__ import annotations

import contextlib
import importlib
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from forklock.sandbox.commands.console import _exit_code

NAMES = {
    "nul": "a\0b", "long": "x" * 5000, "long path": "./" + "y" * 5000, "deep path": "./" + "d/" * 3000 + "e",
    "not utf-8": "\udcff", "not utf-8 path": "./\udcff/x", "no such user": "~nobody-here/x", "device": "/dev/null",
    "below a file": "/dev/null/x", "root": "/", "empty": "", "dots": "..", "newline": "a\nb",
    "escape": "\x1b]52;c;aGk=\x07",
    "home": "~", "blank": " ", "variable": "$HOME", "bracket": "[/b]",
}  # fmt: skip
CALLS = {
    "agent": (
        ["solve", "x", "--test", "true", "--repo", "NAME"], ["solve", "@NAME", "--test", "true"],
        ["solve", "x", "--test", "true", "--model", "NAME"], ["solve", "--resume", "NAME"], ["runs", "--repo", "NAME"],
        ["runs", "--adopt", "NAME"], ["show", "NAME"], ["apply", "NAME"], ["config", "--repo", "NAME"],
        ["mcp", "--repo", "NAME"], ["watch", "--repo", "NAME", "--model", "none"],
    ),
    "evals": (
        ["run", "NAME", "--model", "none"], ["show", "NAME"], ["compare", "NAME", "NAME"], ["sets", "--data", "NAME"],
        ["judge", "--set", "NAME", "--solutions", "NAME"], ["run", "repo", "--tasks", "NAME", "--agent", "none"],
    ),
    "selfdistill": (
        ["refresh", "--model", "NAME"], ["refresh", "--resume", "NAME"], ["show", "NAME"],
        ["rollback", "--model", "NAME"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def repo_to_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo-to-copy")
    for args in (
        ["init", "-q", "--template="],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", *args], cwd=folder, check=True)
    return folder


@pytest.fixture
def repo(repo_to_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = shutil.copytree(repo_to_copy, tmp_path / "repo")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("room", "call"),
    [(room, call) for room, calls in CALLS.items() for call in calls],
    ids=lambda part: str(part),
)
def test_a_name_that_is_none(repo: Path, room: str, call: list[str], name: str) -> None:
    if call[0] == "mcp" and not NAMES[name]:
        pytest.skip("no name is the folder that we stand in, which is then served")
    app = importlib.import_module(
        "forklock.evals.commands.main" if room == "evals" else f"forklock.{room}.cli"
    ).app
    args = [word.replace("NAME", NAMES[name]) for word in call]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _exit_code(lambda *, standalone_mode: app(args, standalone_mode=standalone_mode))
    assert code in (0, 1, 2, 3), code
    assert "bug in Forklock" not in err.getvalue(), err.getvalue()

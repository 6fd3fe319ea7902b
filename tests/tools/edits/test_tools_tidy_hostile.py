"""Settings of a repo that would lead the linter, which runs on the host, to files outside of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forklock.tools.edits import tidy
from forklock.tools.edits.tidy import format_text, lint_fix

pytestmark = [pytest.mark.hostile("sandbox"), pytest.mark.timeout(60)]
BEFORE = "X = 1\n"
AFTER = "import os\n\nX = 2\n"
WITHOUT = "\nX = 2\n"


def _links(folder: Path, secret: Path) -> None:
    (folder / "ruff.toml").symlink_to(secret)


CASES: dict[str, Callable[[Path, Path], object]] = {
    "ruff.toml": lambda folder, secret: (folder / "ruff.toml").write_text(f'extend = "{secret}"\n'),
    ".ruff.toml": lambda folder, secret: (folder / ".ruff.toml").write_text(f'extend = "{secret}"\n'),
    "pyproject.toml": lambda folder, secret: (folder / "pyproject.toml").write_text(
        f'[tool.ruff]\nextend = "{secret}"\n'
    ),
    "by another word": lambda folder, secret: (folder / "ruff.toml").write_text(
        f'"ext\\u0065nd" = "{secret}"\n'
    ),
    "a device": lambda folder, _: (folder / "ruff.toml").write_text('extend = "/dev/zero"\n'),
    "a link": _links,
    "no TOML": lambda folder, _: (folder / "ruff.toml").write_text("extend =\n"),
}


@pytest.mark.parametrize("inner", ["", "pkg"])
@pytest.mark.parametrize("case", CASES)
def test_no_setting_leads_out_of_the_repo(
    tmp_path: Path, case: str, inner: str, tried: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, root = tmp_path / "secret.toml", tmp_path / "repo"
    secret.write_text('[lint]\nselect = ["E"]\n')  # if it were read, F401 would not be fixed
    (root / inner).mkdir(parents=True)
    CASES[case](root / inner, secret)
    told: list[list[str]] = []
    run = tidy.subprocess.run
    monkeypatch.setattr(
        tidy.subprocess, "run", lambda words, **more: (told.append(words), run(words, **more))[1]
    )
    path = f"{inner}/a.py".lstrip("/")
    assert lint_fix(path, BEFORE, AFTER, root=root) == WITHOUT
    assert format_text(path, BEFORE, "X  =  2\n", root=root) == "X = 2\n"
    assert told and all("--isolated" in words for words in told)
    tried(1)


def test_settings_that_stand_alone_apply(tmp_path: Path) -> None:
    (tmp_path / "ruff.toml").write_text('[lint]\nselect = ["E"]\n')
    assert lint_fix("a.py", BEFORE, AFTER, root=tmp_path) == AFTER
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert lint_fix("a.py", BEFORE, AFTER, root=tmp_path) == AFTER


def test_a_folder_behind_a_link_has_no_settings(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "repo"
    outside.mkdir()
    root.mkdir()
    (outside / "ruff.toml").write_text('[lint]\nselect = ["E"]\n')
    (root / "pkg").symlink_to(outside)
    assert lint_fix("pkg/a.py", BEFORE, AFTER, root=root) == WITHOUT

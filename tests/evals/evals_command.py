"""Runs a sub-command of `evals` in this process, as a person would."""

from __future__ import annotations

from pathlib import Path

import pytest


def evals_command(
    name: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *arguments: object,
) -> tuple[int, str]:
    """Run `evals NAME humaneval ARGUMENTS`; return its exit code and all that it printed."""
    from forklock.evals.commands.main import main

    monkeypatch.setenv("FORKLOCK_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("sys.argv", ["evals", name, "humaneval", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    return int(ended.value.code or 0), said

"""Commands of `agent` in this process, runs by a scripted model, and a git that applies what they print."""

from __future__ import annotations

import contextlib
import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripted import ScriptedEngine, begin
from shop import QUICK, RIGHT

from forklock.agent.cli import app
from forklock.agent.log import RunLog
from forklock.agent.session import execute
from forklock.sandbox.commands.console import _exit_code


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    raw: bytes
    stderr: str

    @property
    def out(self) -> str:
        return self.raw.decode("utf-8", "surrogateescape")

    @property
    def words(self) -> str:
        """All that it said, in one line, for looking up words."""
        return " ".join((self.out + self.stderr).split())


def agent(*args: str, cwd: Path, **env: str) -> Done:
    """`agent` in this process, its output in a pipe: the same code as the command's, and ten times as fast."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(cwd)
        for name, value in env.items():
            patch.setenv(name, value)
        code = _exit_code(lambda *, standalone_mode: app(list(args), standalone_mode=standalone_mode))
    assert "Traceback" not in err.getvalue() and "bug in Forklock" not in err.getvalue(), err.getvalue()
    return Done(code, out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]


def fenced(code: str) -> str:
    return f"```python\n{code}```"


def solved(repo: Path, *answers: str, **flags: object) -> RunLog:
    """A finished run whose model gives these answers in turn; the right one by default."""
    wanted = answers or (fenced(RIGHT),)
    engine = ScriptedEngine(lambda _r, i: wanted[i % len(wanted)])
    engine.supports_prefill = False
    prepared = begin(repo, engine, str(flags.pop("test", QUICK)), **{"width": 1, **flags})  # type: ignore[arg-type]
    execute(prepared, engine)
    prepared.log.close()
    return prepared.log


def git(folder: Path, *words: str, stdin: bytes = b"") -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(["git", *who, *words], cwd=folder, input=stdin, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape")


def git_apply(folder: Path, diff: bytes) -> str:
    """What git says when it applies a diff; nothing where all is well."""
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn"], cwd=folder, input=diff, capture_output=True
    )
    return done.stderr.decode("utf-8", "replace")

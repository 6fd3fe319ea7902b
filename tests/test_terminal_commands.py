"""Every command that shows foreign text, on a pseudo-terminal and in a pipe, with hostile words in every field."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import made_up_run, rows
from warm import warm_python

from forklock.agent.log import (
    BaselineTaken,
    CandidateRuled,
    MessageRef,
    ModelAnswered,
    ModelAsked,
    NoteMade,
    PlacesRanked,
    RunEnded,
    RunLog,
    RunStarted,
    StepEnded,
    StepStarted,
    report_to_json,
)
from forklock.tools.contract import TestReport, TestStatus

ROOT = Path(__file__).parents[1]
EVIL = "A\x1b[38;5;123mB\x1b]52;c;UVVR\x07C\x1b]8;;http://evil\x1b\\D\x9b2JE[/b]F[link=http://evil]G\u202eH\rI\x7fJ\u200bK"
LONG = "long" * 500
_DIFFS = (f"--- a/x\n+++ b/x\n+{EVIL} {LONG}\n", f"{EVIL}\n")
"""Diffs of the run and of its candidate. In a pipe they are as the log has them, so that `git apply` takes them."""
_OWN = re.compile(rb"\r?\x1b\[(?!38;5;123m)[0-9;]*m|\r?\x1b\[\?25[lh]|\r?\x1b\[2K|\r?\x1b\[1A|\r(?=\n)")
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e]")

_AGENT = """
import importlib, sys
from pathlib import Path
from forklock.agent.log import RunLog
place = Path(sys.argv.pop(1))
for name in ("forklock.agent.log.runs",):  # wherever runs are looked up
    try:
        importlib.import_module(name).iter_runs = lambda root: iter([RunLog(place)])
    except ImportError:
        pass
from forklock.agent.cli import main
main()
"""


def _log(folder: Path) -> Path:
    log = RunLog(folder)
    log.open_for_append()
    asked = {"step": 1, "request": 0, "digest": "d"}
    for event in (
        RunStarted(run_id=EVIL, task=f"{EVIL} {LONG}", repo=EVIL, base_commit=EVIL, test_command=EVIL,
                   regression_command=EVIL, options={EVIL: EVIL}, model="{}"),
        BaselineTaken(command=EVIL, report=report_to_json(TestReport(TestStatus.FAILED, output=EVIL))),
        PlacesRanked(places=[{"path": EVIL, "name_path": EVIL, "score": 0.5, "reasons": [EVIL]}]),
        NoteMade(text=EVIL),
        StepStarted(step=1, requests=1, samples=1),
        ModelAsked(**asked, place=EVIL, messages=[MessageRef(role=EVIL, content=EVIL)], prefill=EVIL,
                   decoding={"n": 1}, prompt_tokens=1),
        ModelAnswered(**asked, sample=0, text=EVIL, finish_reason=EVIL, prompt_tokens=1, completion_tokens=1,
                      seconds=1.0, model=EVIL),
        CandidateRuled(step=1, index=0, place=EVIL, hop=EVIL, reason=f"{EVIL}\n{LONG}", diff=EVIL, new_diagnostics=0,
                       tests_passed=1, tests_failed=1, broken=0, seconds=1.0),
        StepEnded(step=1, best=0, advanced=True),
        RunEnded(outcome=EVIL, detail=f"{EVIL} {LONG}", diff=_DIFFS[0], steps=1,
                 prompt_tokens=1, completion_tokens=1, cost_usd=None, seconds=1.0),
    ):  # fmt: skip
        log.append(event)
    log.close()
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository, a run, and results of evaluations, hostile words in all of them."""
    root = tmp_path_factory.mktemp("hostile")
    repo = root / "repo"
    repo.mkdir()
    name = EVIL.replace("/", "")
    (repo / f"{name}.py").write_text(
        f"def named():\n    '''{EVIL}'''\n    return '{EVIL}'\n".replace("\r", " ")
    )
    (repo / "code.py").write_text(
        f"class C:\n    def f(self, a='{EVIL}'):\n        '''{EVIL}'''\n".replace("\r", " ")
    )
    (repo / "test_it.py").write_text(f"def test_it():\n    assert 0, {EVIL!r}\n")
    subprocess.run(["git", "init", "-q", repo], check=True)
    subprocess.run(["git", "-C", repo, "add", "-A"], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", repo, *who, "commit", "-qm", "x"], check=True)
    _log(root / "run")
    for label in ("one", "two"):
        result = made_up_run(root / label, rows([1, 0, 2], 2), seed=len(label) + ord(label[0]))
        problems = [p.model_copy(update={"question_id": f"{EVIL}{n}", "difficulty": EVIL, "platform": EVIL})
                    for n, p in enumerate(result.problems)]  # fmt: skip
        evil = result.model_copy(update={
            "run_id": f"{EVIL}{label}", "set_name": EVIL, "preset": EVIL, "notes": (EVIL,), "problems": tuple(problems),
            "model": result.model.model_copy(update={"name": EVIL, "revision": EVIL}),
        })  # fmt: skip
        (root / f"{label}.json").write_text(evil.model_dump_json())
    return root


def _commands(place: Path) -> dict[str, list[str]]:
    agent = [sys.executable, "-c", _AGENT, str(place / "run")]
    repo = ["--repo", str(place / "repo")]
    tools = [sys.executable, "-m", "forklock.tools.commands.main"]
    evals = [sys.executable, "-c", "from forklock.evals.commands.main import main; main()"]
    selfdistill = [sys.executable, "-c", "from forklock.selfdistill.cli import main; main()"]
    one, two = str(place / "one.json"), str(place / "two.json")
    evil_file = next(path.name for path in (place / "repo").iterdir() if path.name.startswith("A"))
    return {
        "runs": [*agent, "runs", *repo],
        "show": [*agent, "show", *repo],
        "show candidate": [*agent, "show", "--candidate", "1.0", *repo],
        "show no candidate": [*agent, "show", "--candidate", EVIL, *repo],
        "show json": [*agent, "show", "--json", *repo],
        "apply": [*agent, "apply", *repo],
        "config": [*agent, "config", *repo],
        "wrong flag": [*agent, "runs", f"--{EVIL}"],
        "wrong model": [*agent, "solve", EVIL, "--model", EVIL, "--test", EVIL, "--allow-dirty", *repo],
        "symbols": [*tools, "symbols", "code.py", *repo],
        "symbols of an evil name": [*tools, "symbols", evil_file, *repo],
        "no such file": [*tools, "symbols", EVIL, *repo],
        "map": [*tools, "map", *repo],
        "search": [*tools, "search", "named", *repo],
        "test": [*tools, "test", f"{sys.executable} -m pytest -q", "--sandbox", "host", *repo],
        "localise": [*tools, "localise", "named fails", *repo],
        "evals show": [*evals, "show", one],
        "evals compare": [*evals, "compare", one, two, "--force"],
        "evals gate": [*evals, "gate", one, two, "--force"],
        "evals runs": [*evals, "runs"],
        "evals no run": [*evals, "show", EVIL],
        "selfdistill": [*selfdistill, "status"],
        "selfdistill no round": [*selfdistill, "show", EVIL],
        "sandbox": [*agent, "sandbox", "status"],
        "models": [*agent, "models", "list"],
    }


NAMES = [
    "runs", "show", "show candidate", "show no candidate", "show json", "apply", "config", "wrong flag", "wrong model",
    "symbols", "symbols of an evil name", "no such file", "map", "search", "test", "localise", "evals show",
    "evals compare", "evals gate", "evals runs", "evals no run", "selfdistill", "selfdistill no round", "sandbox",
    "models",
]  # fmt: skip


def _environment(place: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "TMPDIR", "LANG"}}
    more = {"HOME": str(place / "home"), "FORKLOCK_HOME": str(place / "state"), "TERM": "xterm-256color"}
    return kept | more | {"PYTHONPATH": str(ROOT / "src"), "FORCE_COLOR": "1", "COLUMNS": "80"}


def _in_a_pipe(command: list[str], place: Path) -> tuple[bytes, int]:
    python = warm_python()
    out, into = os.pipe()
    with Path(os.devnull).open() as nothing, os.fdopen(out, "rb") as reader:
        pid = python.start(command, streams=(nothing.fileno(), into, into), cwd=ROOT, env=_environment(place))
        os.close(into)
        return reader.read(), python.wait(pid)


def _on_a_terminal(command: list[str], place: Path) -> tuple[bytes, int]:
    ours, theirs = pty.openpty()
    python = warm_python()
    pid = python.start(command, streams=(theirs,) * 3, cwd=ROOT, env=_environment(place), session=True)
    os.close(theirs)
    found, until = b"", time.monotonic() + 110
    while time.monotonic() < until:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        found += piece
    os.close(ours)
    return found, python.wait(pid, timeout=60)


@pytest.mark.hostile("terminal")
@pytest.mark.parametrize("name", NAMES)
def test_a_command_shows_hostile_words_and_obeys_none(
    name: str, place: Path, tried: Callable[[int], None]
) -> None:
    command = _commands(place)[name]
    for run in (_in_a_pipe, _on_a_terminal):
        out, code = run(command, place)
        if run is _in_a_pipe and name in ("show", "show candidate"):
            whole = _DIFFS[name == "show candidate"].encode()
            assert whole in out
            out = out.replace(whole, b"")
        assert code in (0, 1, 2, 3), out
        assert b"Traceback" not in out and b"bug in Forklock" not in out, out.decode("utf-8", "replace")
        if run is _in_a_pipe:
            assert b"\x1b" not in out, out
        text = _OWN.sub(b"", out).decode("utf-8", "replace")
        assert not _HARMFUL.search(text), (run.__name__, _HARMFUL.findall(text), text)
        for harmful in ("\x1b[38;5;123m", "]52;c;UVVR\x07", "\x1b]8;;"):
            assert harmful.encode() not in out
    tried(2)


def test_what_goes_to_a_pipe_is_whole(place: Path) -> None:
    for name in ("runs", "show", "show json"):
        out, code = _in_a_pipe(_commands(place)[name], place)
        assert code == 0 and LONG in out.decode(), name
    assert "run  " in _in_a_pipe(_commands(place)["runs"], place)[0].decode()


def test_the_diff_in_a_pipe_is_the_log_s_own(place: Path) -> None:
    command = [*_commands(place)["show"][:-2], "--diff", "--repo", str(place / "repo")]
    out, code = _in_a_pipe(command, place)
    assert code == 0 and out.decode() == _DIFFS[0]

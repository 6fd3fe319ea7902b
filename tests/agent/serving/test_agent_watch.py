"""`agent watch` beside a person who edits: real files, a real process, a scripted model over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from openai_server import serve
from ran import agent, git
from scripted import ScriptedEngine
from shop import QUICK, SOURCE

from forklock.agent.serving.watching.changes import changed_names, state_of

pytestmark = pytest.mark.timeout(900)  # whole runs, several in a test; a busy machine takes its time
ROOT = Path(__file__).parents[3]
ANSWER = "shop.py\n<<<<<<< SEARCH\n    for price in prices[1:]:\n=======\n    for price in prices:\n>>>>>>> REPLACE\n"
PATIENCE_S = 300.0


class Watch:
    """A running `agent watch`, and what it has printed."""

    def __init__(self, repo: Path, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "forklock.agent.cli", "watch", "--repo", str(repo), "--test", QUICK, *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=dict(os.environ),
            start_new_session=True,
        )  # fmt: skip
        self.said = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line.decode("utf-8", "replace")

    def wait_for(self, words: str, times: int = 1) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.said.count(words) < times:
            assert time.monotonic() < end and self.process.poll() is None, self.said
            time.sleep(0.05)

    @property
    def below(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> list[psutil.Process]:
        """Ctrl-C. Returns what ran below it and still does."""
        below = self.below
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE_S) == 130
        psutil.wait_procs(below, 20)
        return [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def watching(repo: Path, *flags: str) -> Iterator[Watch]:
    made = Watch(repo, *flags)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_AGENT__DIAGNOSTICS", "false")
    monkeypatch.setenv("FORKLOCK_AGENT__REGRESSION", "none")


def test_a_failing_check_brings_a_proposal_and_the_tree_stays(repo: Path) -> None:
    engine = ScriptedEngine(lambda _r, _i: ANSWER)
    with serve(engine, flavour="plain") as server:
        with watching(repo, "--model", server.url, "--width", "1") as watch:
            watch.wait_for("Take the change with  agent apply")
            assert "red       1 passed, 2 failed" in watch.said and "SOLVED" in watch.said
            assert (repo / "shop.py").read_text() == SOURCE.lstrip()
            assert agent("apply", "last", cwd=repo).code == 0  # what it offers
            watch.wait_for("green")
            (repo / "__pycache__").mkdir(exist_ok=True)
            (repo / "__pycache__" / "x.pyc").write_text("ignored")
            (repo / "notes.txt").write_text("nothing that the check sees")
            (repo / "shop.py").write_text(SOURCE.lstrip())
            watch.wait_for("red", times=2)  # all in between was green, and nothing was said of it
            assert watch.said.count("green") == 1 and watch.said.count("changed   ") <= 1
            assert not watch.interrupt()
        said = "".join(m.content for m in engine.requests[0].messages)
        assert "test_total" in said and git(repo, "status", "--porcelain", "shop.py") == ""


def test_a_further_change_ends_a_stale_run_and_begins_anew(repo: Path) -> None:
    go, calls = threading.Event(), []

    def thinking(_request: object, _number: int) -> str:
        calls.append(1)
        go.wait(PATIENCE_S)
        return ANSWER

    with serve(ScriptedEngine(thinking), flavour="plain") as server:
        server.lock = threading.Semaphore(8)  # type: ignore[assignment]  # a second run asks while the first one's answer is open
        with watching(repo, "--model", server.url, "--width", "1", "--runs", "1") as watch:
            _until(lambda: len(calls) == 1)
            first = {one.pid for one in watch.below}
            (repo / "shop.py").write_text(SOURCE.lstrip() + "\n\nCURRENCY = 'EUR'\n")
            watch.wait_for("shop.py: what was going on is ended")
            _until(lambda: len(calls) == 2)
            assert not first & {one.pid for one in watch.below}
            kept = list((Path(os.environ["FORKLOCK_HOME"]) / "cache" / "runs").iterdir())
            assert len(kept) == 1, kept  # the copy of the stale run is gone
            go.set()
            watch.wait_for("agent apply")
            assert watch.process.wait(PATIENCE_S) == 0  # one finished run was asked for
            assert (
                "CURRENCY" in (repo / "shop.py").read_text()
                and "prices[1:]" in (repo / "shop.py").read_text()
            )


def test_an_interrupt_ends_a_run_that_is_going_on(repo: Path) -> None:
    started, go = threading.Event(), threading.Event()

    def thinking(_request: object, _number: int) -> str:
        started.set()
        go.wait(PATIENCE_S)
        return ANSWER

    with serve(ScriptedEngine(thinking), flavour="plain") as server:
        with watching(repo, "--model", server.url, "--width", "1") as watch:
            assert started.wait(PATIENCE_S)
            assert watch.below and not watch.interrupt()
        go.set()


def _until(holds: object) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_cannot_be_watched_is_refused(repo: Path, tmp_path: Path) -> None:
    done = agent("watch", "--repo", str(tmp_path), cwd=repo)
    assert done.code == 2 and "git init" in done.words
    done = agent("watch", "--model", "no-such-model", "--test", QUICK, cwd=repo)
    assert done.code in (2, 3) and "no-such-model" in done.words
    (repo / "test_shop.py").unlink()
    done = agent("watch", cwd=repo)
    assert done.code == 2 and "--test" in done.words


def test_states_tell_what_git_would_see(repo: Path) -> None:
    before = state_of(repo)
    (repo / "__pycache__").mkdir(exist_ok=True)
    (repo / "__pycache__" / "x.pyc").write_text("x")
    assert changed_names(before, state_of(repo)) == []
    (repo / "new.py").write_text("x")
    (repo / "test_shop.py").unlink()
    assert changed_names(before, state_of(repo)) == ["new.py", "test_shop.py"]

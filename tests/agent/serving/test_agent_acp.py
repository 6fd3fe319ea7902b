"""`agent acp` as an editor meets it: the SDK's own client over real pipes, real runs, a scripted model over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from feature import BASKET, CHECK, driver, write_till
from feature import TASK as FEATURE
from openai_server import OpenAIServer, serve
from ran import agent, git
from scripted import ScriptedEngine
from shop import QUICK, SOURCE

from forklock.models.calls.known import format_named

acp = pytest.importorskip("acp", reason="the `acp` extra is not installed")

from acp.schema import EmbeddedResourceContentBlock, TextResourceContents  # noqa: E402
from editor import ROOT, Editor, editor, opened  # noqa: E402

pytestmark = pytest.mark.timeout(900)  # whole runs, several in a test; a busy machine takes its time
ANSWER = """shop.py
<<<<<<< SEARCH
    for price in prices[1:]:
=======
    for price in prices{}:
>>>>>>> REPLACE
"""
TASK = f"total() forgets a price\ntest: {QUICK}"


class Model:
    """A model behind a server, that can be made to think for ever."""

    def __init__(self) -> None:
        self.thinks = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.engine = ScriptedEngine(self._answer)

    def _answer(self, _request: object, number: int) -> str:
        self.thinks.set()
        self.go.wait(120)
        return ANSWER.format("" if number % 2 else "[2:]")


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.setenv("FORKLOCK_AGENT__DIAGNOSTICS", "false")
    monkeypatch.setenv("FORKLOCK_AGENT__REGRESSION", "none")
    with serve(model.engine, flavour="plain") as made:
        yield made
        model.go.set()


def flags(server: OpenAIServer) -> tuple[str, ...]:
    return "--model", server.url, "--width", "2", "--steps", "1"


def test_a_prompt_becomes_a_change_that_is_allowed_taken_back_and_told_again(
    repo: Path, server: OpenAIServer
) -> None:
    async def first() -> str:
        async with editor(*flags(server)) as person:
            session = await opened(person, repo)
            block = EmbeddedResourceContentBlock(
                type="resource",
                resource=TextResourceContents(uri=f"file://{repo}/shop.py", text="MARK of shop"),
            )
            (repo / "notes.txt").write_text("work in progress")  # a dirty tree is what editors have
            answer = await person.agent.prompt(
                session_id=session, prompt=[acp.text_block(f"{TASK}\n"), block]
            )
            assert answer.stop_reason == "end_turn" and answer.usage.output_tokens > 0
            assert (repo / "shop.py").read_text() == SOURCE.lstrip().replace("prices[1:]", "prices")
            _looks_right(person)
            before = len(person.asked)
            await person.prompt(session, "/undo")
            assert (repo / "shop.py").read_text() == SOURCE.lstrip() and len(person.asked) == before
            assert "Took the change back: `shop.py`" in person.text
            return session

    session = asyncio.run(first())
    prompts = "".join(m.content for request in server.engine.requests for m in request.messages)  # type: ignore[attr-defined]
    assert "MARK of shop" in prompts and "test:" not in prompts

    async def second() -> None:
        async with editor(*flags(server)) as person:
            await person.agent.load_session(cwd=str(repo), session_id=session, mcp_servers=[])
            said = [u.content.text for u in person.updates if u.session_update == "user_message_chunk"]
            assert [one.strip() for one in said] == [TASK, "/undo"]
            assert (
                person.calls("passes")
                and "**solved**" in person.text
                and "Took the change back" in person.text
            )
            with pytest.raises(acp.RequestError, match="no session"):
                await person.agent.load_session(cwd=str(repo), session_id="../../x", mcp_servers=[])

    asyncio.run(second())


def _looks_right(person: Editor) -> None:
    [fallen], [passed] = person.calls("fell at tests"), person.calls("passes")
    assert (fallen.status, passed.status) == ("failed", "completed")
    change = next(part for part in passed.content if part.type == "diff")
    assert "prices[1:]" in change.old_text and "in prices:" in change.new_text
    assert Path(change.path).name == "shop.py" and passed.locations[0].line == 1
    assert all(status == "completed" for _, status in person.plan)
    assert [words for words, _ in person.plan][-1].endswith("applied")
    [(call, options)] = person.asked  # once
    assert [option.kind for option in options] == ["allow_once", "reject_once"]
    assert (
        call.tool_call_id.endswith("-apply") and "**solved**" in person.text and "agent undo" in person.text
    )
    assert "available_commands_update" in person.kinds()


def test_a_change_that_is_not_wanted_stays_outside_and_unsaved_text_is_not_overwritten(
    repo: Path, server: OpenAIServer
) -> None:
    typed = {str(repo / "shop.py"): SOURCE.lstrip() + "# typed\n"}

    async def scene() -> None:
        async with editor(*flags(server), reads=True, buffers=dict(typed), choice="leave") as person:
            session = await opened(person, repo)
            await person.prompt(session, TASK)
            await person.prompt(session, "/apply")
            assert person.text.count("unsaved text in `shop.py`") == 2 and not person.asked
            person.buffers.clear()  # saved, or reverted
            await person.prompt(session, "/continue no, keep the name")
            assert len(person.asked) == 1 and "Your files are as they were" in person.text
            assert git(repo, "status", "--porcelain") == ""
            await person.prompt(session, "/apply --force")  # a name, and no flag
            assert "was not applied" in person.text
            await person.prompt(session, "/apply")
            assert "in prices:" in (repo / "shop.py").read_text() and len(person.asked) == 1

    asyncio.run(scene())
    said = "".join(m.content for m in server.engine.requests[-1].messages)  # type: ignore[attr-defined]
    assert "The user says about it: no, keep the name" in said and "total() forgets a price" in said


def _gone(found: Callable[[], object], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while found() and time.monotonic() < end:
        time.sleep(0.05)
    return not found()


def test_cancel_ends_a_run_within_seconds(repo: Path, server: OpenAIServer, model: Model) -> None:
    model.go.clear()

    async def scene() -> None:
        async with editor(*flags(server)) as person:
            session = await opened(person, repo)
            await person.agent.set_session_mode(session_id=session, mode_id="solve")
            running = asyncio.create_task(person.prompt(session, TASK))
            await asyncio.to_thread(model.thinks.wait, 120)
            with pytest.raises(acp.RequestError, match="is being answered"):
                await person.prompt(session, "another")
            here = psutil.Process(person.process.pid)
            assert here.children(recursive=True)
            began = time.monotonic()
            await person.agent.cancel(session_id=session)
            answer = await running
            assert answer.stop_reason == "cancelled" and time.monotonic() - began < 20
            assert _gone(lambda: here.children(recursive=True))
            assert "agent solve --resume" in person.text and git(repo, "status", "--porcelain") == ""

    asyncio.run(scene())


def test_a_run_ends_with_its_editor_however_that_ends(repo: Path, server: OpenAIServer, model: Model) -> None:
    model.go.clear()

    async def scene() -> list[psutil.Process]:
        async with editor(*flags(server)) as person:
            session = await opened(person, repo)
            running = asyncio.create_task(person.prompt(session, TASK))
            await asyncio.to_thread(model.thinks.wait, 120)
            below = psutil.Process(person.process.pid).children(recursive=True)
            os.kill(person.process.pid, signal.SIGKILL)
            with pytest.raises((ConnectionError, acp.RequestError)):
                await running
            return below

    below = asyncio.run(scene())
    assert below and _gone(lambda: [one for one in below if one.is_running() and one.status() != "zombie"])


def test_what_is_not_there_is_refused_in_plain_words(
    repo: Path, tmp_path: Path, server: OpenAIServer
) -> None:
    async def scene() -> None:
        async with editor("--model", server.url) as person:
            for place, words in (
                (tmp_path / "nothing", "is not a folder"), (Path("repo"), "no absolute path"),
                (Path("/a\0b"), "not a folder"),
            ):  # fmt: skip
                with pytest.raises(acp.RequestError, match=words):
                    await opened(person, place)
            (tmp_path / "plain").mkdir()
            with pytest.raises(acp.RequestError, match=r"not inside a git repository.*git init"):
                await opened(person, tmp_path / "plain")
            session = await opened(person, repo)
            with pytest.raises(acp.RequestError, match="no mode 'yolo'"):
                await person.agent.set_session_mode(session_id=session, mode_id="yolo")
            with pytest.raises(acp.RequestError, match="no session"):
                await person.prompt("0" * 16, "x")
            await person.prompt(session, "/test python -m unittest nothing_here")
            await person.prompt(session, "total() forgets a price")
            assert "could not start" in person.text and not person.asked
            await person.prompt(session, "/apply nothing")
            assert "is called 'nothing'" in person.text

    asyncio.run(scene())
    assert not server.bodies


def test_a_plan_asks_no_model_and_the_end_of_the_input_is_the_end(repo: Path, server: OpenAIServer) -> None:
    async def scene() -> int:
        async with editor(*flags(server)) as person:
            session = await opened(person, repo)
            await person.agent.set_session_mode(session_id=session, mode_id="plan")
            assert (await person.prompt(session, TASK)).stop_reason == "end_turn"
            assert "`shop.py:total`" in person.text and "Nothing was asked" in person.text
            assert any("candidates of `shop.py:total`" in words for words, _ in person.plan)
            person.process.stdin.close()
            return int(await asyncio.wait_for(person.process.wait(), 60))

    assert asyncio.run(scene()) == 0
    assert not server.bodies


def test_without_the_sdk_the_command_says_how_to_get_it(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("forklock.agent.serving.acp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "acp", None)
    done = agent("acp", cwd=repo)
    assert done.code == 2 and "ACP SDK is missing" in done.words and "[acp" in done.words


def test_a_model_that_drives_shows_its_turns_and_its_change_over_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORKLOCK_AGENT__DIAGNOSTICS", "false")
    till = write_till(tmp_path / "till")
    engine = ScriptedEngine(driver(format_named("text")))

    async def scene(url: str) -> None:
        async with editor("--model", url, "--strategy", "drive", "--rollouts", "1") as person:
            session = await opened(person, till)
            answer = await person.prompt(session, f"{FEATURE}\ntest: {CHECK}")
            assert answer.stop_reason == "end_turn" and answer.usage.input_tokens > 0
            titles = [call.title for call in person.calls("Try 1, turn")]
            assert titles[:2] == [
                "Try 1, turn 1: `read` `till/basket.py`",
                "Try 1, turn 2: `edit` `till/prices.py`",
            ]
            ends = [
                u
                for u in person.updates
                if u.session_update == "tool_call_update" and "-call-" in u.tool_call_id
            ]
            assert len(ends) == len(titles) and all(one.status == "completed" for one in ends)
            [passed] = person.calls("passes, 2 of 2 tests")
            changed = {Path(part.path).name for part in passed.content if part.type == "diff"}
            assert {"prices.py", "basket.py", "receipt.py", "test_reduced.py"} <= changed
            assert (till / "till" / "basket.py").read_text() == BASKET and (
                till / "test_reduced.py"
            ).is_file()
            assert len(person.asked) == 1

    with serve(engine, flavour="plain", name="unknown-model") as server:
        asyncio.run(scene(server.url))


def test_only_the_protocol_is_on_stdout_and_only_what_is_there_is_advertised(repo: Path) -> None:
    long = {"type": "text", "text": "x" * 300_000}  # longer than a line of the usual bound
    sent = [
        {"id": 0, "method": "initialize", "params": {"protocolVersion": 7, "_meta": {"odd": 1}}},
        {"id": 1, "method": "session/prompt", "params": {"sessionId": "\u001b]52;c;aGk=\u0007", "prompt": [long]}},
        {"id": 2, "method": "session/list", "params": {}},
        {"id": 3, "method": "authenticate", "params": {"methodId": "x"}},
        {"method": "session/cancel", "params": {"sessionId": "nothing"}},
        {"id": 4, "method": "session/new", "params": {"cwd": 5}},
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "forklock.agent.cli", "acp"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"no JSON at all\n" + b"".join(
        json.dumps({"jsonrpc": "2.0", **one}).encode() + b"\n" for one in sent
    ))  # fmt: skip
    process.stdin.flush()
    answers: dict[int, dict[str, Any]] = {}
    while len(answers) < 5:
        line = json.loads(process.stdout.readline())
        answers[line["id"]] = line
    rest, noise = process.communicate(timeout=100)
    assert rest == b"" and process.returncode == 0 and b"\x1b" not in noise
    assert answers[0]["result"] == {
        "protocolVersion": 1, "authMethods": [],
        "agentCapabilities": {"loadSession": True, "promptCapabilities": {"image": False, "audio": False,
                                                                           "embeddedContext": True}},
        "agentInfo": {"name": "forklock", "title": "Forklock", "version": version("forklock")},
    }  # fmt: skip
    assert [answers[n]["error"]["code"] for n in (1, 2, 3, 4)] == [-32602, -32601, -32601, -32602]

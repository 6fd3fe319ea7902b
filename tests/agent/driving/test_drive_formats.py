"""`agent solve --strategy drive` against a real HTTP server: each call format, its slips, and what people see of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from feature import write
from openai_server import serve
from ran import agent
from scripted import ScriptedEngine
from shop import QUICK, SOURCE

from forklock.agent.log import RolloutStarted
from forklock.agent.log.runs import find
from forklock.models.calls.contract import Call, CallFormat
from forklock.models.calls.known import format_named
from forklock.models.contract import Completion, Request

pytestmark = pytest.mark.timeout(900)

REPAIRED = SOURCE.lstrip().replace("prices[1:]", "prices")
NAMES = {
    "text": "unknown-model",
    "hermes": "qwen3-4b",
    "qwen3-xml": "qwen3-coder-30b",
    "harmony": "gpt-oss-20b",
}
"""A model's name whose profile has the format."""

FLAVOURS = {"harmony": "vllm"}
"""A server that continues raw text, where the format is one."""


class WithTokens(ScriptedEngine):
    """Tells tokens, as a server of the flavour `vllm` does."""

    def _one(self, *given: Any) -> Completion:
        return super()._one(*given).model_copy(update={"token_ids": (), "logprobs": ()})


def slips(form: CallFormat) -> list[str]:
    """What a model writes, turn by turn: prose, a cut call, a look, a tool that is none, and then the work."""
    edit = form.write(write("shop.py", REPAIRED))
    return [
        "I shall look at the repository first.",
        edit[: len(edit) // 2],
        "<think>\nHm.\n</think>\nFirst a look.\n" + form.write(Call("read", {"path": "shop.py"})),
        form.write(Call("fly", {"path": "shop.py"})),
        edit,
        form.write(Call("finish", {"summary": "All prices are summed."})),
    ]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_format_and_its_slips_over_http(repo: Path, name: str) -> None:
    form = format_named(name)
    said = slips(form)

    turns = itertools.count()

    def script(request: Request, _number: int) -> str:
        if request.text is None and request.messages[0].role != "system":
            return "."  # the engine asks how a server counts half a prompt
        return said[min(next(turns), len(said) - 1)]

    engine = WithTokens(script)
    with serve(engine, flavour=FLAVOURS.get(name, "plain"), name=NAMES[name]) as server:
        done = agent(
            "solve", "total() forgets a price", "--test", QUICK, "--no-diagnostics", "--regression", "none",
            "--strategy", "drive", "--rollouts", "1", "--model", server.url, "--json", cwd=repo,
        )  # fmt: skip
        asked = engine.answered
        facts = json.loads(done.out)
        assert facts["outcome"] in ("solved", "passes, in doubt"), done.words
        assert "-    for price in prices[1:]:" in facts["diff"] and facts["turns"] >= 6
        system = json.dumps(server.bodies[0])
        assert form.instructions(()).splitlines()[0] in system, "the format of the model's profile"
        if name == "text":
            _look_at(repo)
            replayed = agent("replay", "last", "--json", cwd=repo)
            assert replayed.code == 0 and json.loads(replayed.out)["same"], replayed.words
            assert engine.answered == asked
    started = [e for e in find(repo, "last").read().events if isinstance(e, RolloutStarted)]
    assert [event.format for event in started] == [name]
    bodies = [json.dumps(body.get("messages") or body["prompt"]) for body in server.bodies]
    assert len(set(bodies[:6])) == 6, "an answer that cannot be read changes the next request"


def _look_at(repo: Path) -> None:
    """The run is shown with its turns: in words, as a page, as events, as chats."""
    shown = agent("show", "last", cwd=repo)
    assert "rollout 1 ended after 6 turns: it passes" in shown.words and "edit" in shown.words
    page = agent("show", "last", "--html", cwd=repo)
    assert "<h2>Rollouts</h2>" in page.out and "All prices are summed" in page.out
    chats = [
        json.loads(line)
        for line in agent("export", "last", "--format", "messages", cwd=repo).out.splitlines()
    ]
    sampled = [one["content"] for one in chats[0]["messages"] if one["sampled"]]
    assert chats[0]["rollout"] == 1 and len(sampled) == 6 and "First a look." in sampled[2]
    atif = json.loads(agent("export", "last", "--format", "atif", cwd=repo).out)
    assert sum("tool_calls" in step for step in atif["steps"]) == 3

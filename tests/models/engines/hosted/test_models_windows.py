"""Windows: servers of each kind are asked over real HTTP, and one that silently cuts prompts is refused."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from forklock.models import Decoding, Message, ModelFault, Request
from forklock.models.engines.hosted.opening import open_hosted
from forklock.models.engines.hosted.routes import UNKNOWN_CONTEXT
from forklock.models.engines.hosted.windows import OLLAMA_DEFAULT, fewest_tokens

Reply = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]
ONE = Decoding(max_tokens=4, temperature=0)
TOKENS_A_WORD = 1.5
"""Of the made-up tokenizer: code has about so many."""


class Scripted(ThreadingHTTPServer):
    """A server that answers by (method, path); it keeps what it was asked."""

    daemon_threads = True

    def __init__(
        self, replies: dict[str, Reply], owner: str, card: dict[str, Any], cuts_at: int | None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies, self.cuts_at = replies, cuts_at
        self.cards = {"data": [{"id": "m:1b", "owned_by": owner, **card}]}
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """An answer that counts the prompt, and drops what is over the window without a word."""
        words = sum(fewest_tokens(Request.chat(one["content"])) for one in body["messages"])
        tokens = round(TOKENS_A_WORD * words) + 10
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": min(tokens, self.cuts_at or tokens), "completion_tokens": 1}
        return {"choices": [choice], "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply("GET", {})

    def do_POST(self) -> None:
        self._reply("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _reply(self, method: str, body: dict[str, Any]) -> None:
        self.server.asked.append(f"{method} {self.path}")
        known = {"GET /v1/models": self.server.cards, "POST /v1/chat/completions": self.server.completion}
        found = (known | self.server.replies).get(f"{method} {self.path}")
        content = found(body) if callable(found) else found
        raw = json.dumps(content if content is not None else {"error": "not here"}).encode()
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def scripted(
    replies: dict[str, Reply] | None = None, *, owner: str = "", card: dict[str, Any] | None = None,
    cuts_at: int | None = None,
) -> Iterator[Scripted]:  # fmt: skip
    server = Scripted(replies or {}, owner, card or {}, cuts_at)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def prompt(words: int) -> Request:
    return Request(messages=(Message(role="user", content="def name " * (words // 2)),))


def slot(tokens: object) -> dict[str, Any]:
    return {"default_generation_settings": {"n_ctx": tokens}, "total_slots": 4}


def in_memory(**more: object) -> dict[str, Any]:
    return {"models": [{"name": "m:1b", "model": "m:1b", **more}]}


# -- asking -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "owner", "card", "tokens", "advice"),
    [
        ({}, "vllm", {"max_model_len": 16_000}, 16_000, "--max-model-len"),
        ({}, "sglang", {"max_model_len": 9_000}, 9_000, "--max-model-len"),
        ({"GET /props": slot(2_048)}, "llamacpp", {"meta": {"n_ctx": 8_192}}, 2_048, "-np"),
        ({"GET /props": slot(2_048)}, "llamacpp", {"meta": {"n_ctx_train": 32_768}}, 2_048, "-np"),
        ({}, "llamacpp", {"meta": {"n_ctx": 8_192}}, 8_192, "-np"),
        ({"GET /api/ps": in_memory(context_length=4_096)}, "library", {}, 4_096, "OLLAMA_CONTEXT_LENGTH"),
        (
            {"GET /api/ps": in_memory(), "POST /api/show": {"parameters": "stop x\nnum_ctx    8192\n"}},
            "library", {}, 8_192, "num_ctx",
        ),
        (
            {"GET /api/ps": in_memory(), "POST /api/show": {"model_info": {"qwen2.context_length": 32_768}}},
            "library", {}, OLLAMA_DEFAULT, "num_ctx",
        ),
        (
            {"GET /api/v0/models": {"data": [{"id": "m:1b", "loaded_context_length": 6_000}]}},
            "organization_owner", {}, 6_000, "LM Studio",
        ),
        ({}, "", {}, UNKNOWN_CONTEXT, "larger context"),
    ],
)  # fmt: skip
def test_each_kind_of_server_is_asked_for_its_window(
    replies: dict[str, Reply], owner: str, card: dict[str, Any], tokens: int, advice: str
) -> None:
    with scripted(replies, owner=owner, card=card) as server, open_hosted(server.url) as engine:
        assert engine.context_tokens == tokens and advice in engine.widen


def test_ollama_loads_the_model_before_it_says_its_window() -> None:
    loaded: list[str] = []

    def load(body: dict[str, Any]) -> dict[str, Any]:
        loaded.append(body["model"])
        return {"done": True}

    replies: dict[str, Reply] = {
        "GET /api/ps": lambda _: in_memory(context_length=12_288) if loaded else {"models": []},
        "POST /api/generate": load,
    }
    with scripted(replies, owner="library") as server, open_hosted(server.url) as engine:
        assert engine.context_tokens == 12_288 and loaded == ["m:1b"]


@pytest.mark.parametrize(
    "reply",
    [
        [],
        "x",
        {},
        {"models": 3},
        {"models": ["x", None]},
        in_memory(context_length="many"),
        in_memory(context_length=-1),
    ],
)
@pytest.mark.hostile("weights")
def test_strange_answers_are_no_windows(reply: Any) -> None:
    strange: dict[str, Reply] = dict.fromkeys(("GET /props", "GET /api/ps", "GET /api/v0/models"), reply)
    with scripted(strange) as server, open_hosted(server.url) as engine:
        assert engine.context_tokens in (UNKNOWN_CONTEXT, OLLAMA_DEFAULT)


# -- cutting ------------------------------------------------------------------------------------------------


def test_a_prompt_that_cannot_fit_is_refused_before_it_is_sent() -> None:
    replies: dict[str, Reply] = {"GET /api/ps": in_memory(context_length=4_096)}
    with scripted(replies, owner="library", cuts_at=4_096) as server, open_hosted(server.url) as engine:
        with pytest.raises(ModelFault, match="takes 4,096") as caught:
            engine.complete([prompt(5_000)], ONE)
        assert "OLLAMA_CONTEXT_LENGTH" in caught.value.fix
        assert "POST /v1/chat/completions" not in server.asked
        assert engine.complete([prompt(2_000)], ONE)[0][0].text == "ok"


def test_a_server_that_cuts_to_less_than_the_words_is_refused() -> None:
    with scripted(cuts_at=2_048) as server, open_hosted(server.url) as engine:
        assert engine.complete([prompt(200)], ONE)
        with pytest.raises(ModelFault, match="cuts prompts without a word") as caught:
            engine.complete([prompt(4_000)], ONE)
        assert "larger context" in caught.value.fix and "2,048" in caught.value.message


def test_a_server_that_tells_no_window_and_cuts_a_little_is_refused() -> None:
    """3,000 words are 4,500 tokens here: no lower bound finds that 4,096 of them were read, but two halves do."""
    with scripted(cuts_at=4_096) as server, open_hosted(server.url) as engine:
        with pytest.raises(ModelFault, match="cuts prompts"):
            engine.complete([prompt(3_300)], ONE)
        assert server.asked.count("POST /v1/chat/completions") == 3


def test_a_server_that_cuts_nothing_is_asked_once_more_at_most() -> None:
    with scripted() as server, open_hosted(server.url) as engine:
        for _ in range(3):
            assert engine.complete([prompt(3_000)], ONE)[0][0].text == "ok"
        assert server.asked.count("POST /v1/chat/completions") == 3 + 2


def test_a_server_that_tells_its_window_is_not_asked_again() -> None:
    with (
        scripted(card={"meta": {"n_ctx": 16_384}}, owner="llamacpp") as server,
        open_hosted(server.url) as engine,
    ):
        engine.complete([prompt(3_000)], ONE)
        assert server.asked.count("POST /v1/chat/completions") == 1


def test_the_fewest_tokens_of_a_text() -> None:
    assert fewest_tokens(Request(text="foo_bar = 12345")) == 4
    assert fewest_tokens(Request(text="")) == 0


@pytest.mark.parametrize("name", ["deepseek_tokenizer.json", "anthropic_tokenizer.json"])
def test_real_tokenizers_make_more_tokens(name: str) -> None:
    """By tokenizers that come with LiteLLM. Code has 1.3 to 2 times as many tokens as the bound says."""
    tokenizers = pytest.importorskip("tokenizers")
    litellm = importlib.util.find_spec("litellm")
    if litellm is None or litellm.origin is None:
        pytest.skip("needs the `hosted` extra")
    file = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers" / name
    if not file.is_file():
        pytest.skip("this LiteLLM has no such file")
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    for text in (Path(__file__).read_text("utf-8"), "日本語のテキスト, naïve x_1 = 12345678", "word " * 500):
        assert fewest_tokens(Request(text=text)) <= len(tokenizer.encode(text).ids)

"""Answers of servers with any part replaced by any JSON: a completion that is one, or a fault; never a crash."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_server import SmallServer, said, small_server

from forklock.models import Completion, Decoding, Engine, ModelFault, Request
from forklock.models.calls import FORMATS, Call, Parameter, Tool
from forklock.models.engines.hosted.opening import open_hosted
from forklock.models.engines.vllm.opening import open_vllm

CHAT = Request.chat("hello")
TWO = Decoding(temperature=1.0, max_tokens=8, n=2)
LOGPROBS = {"content": [{"token": "a", "logprob": -0.5}], "token_logprobs": [-0.5]}
HONEST = said(id="x", model="m")[1]
HONEST["choices"][0] |= {"token_ids": [5], "logprobs": LOGPROBS}
EVENTS: list[Any] = [
    {"id": "x", "choices": [
        {"index": n, "text": "a", "token_ids": [5], "logprobs": {"token_logprobs": [-0.5]}, "finish_reason": end,
         "delta": {"content": "a"}}
    ]}
    for end in (None, "stop") for n in (0, 1)
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(max_size=5)
    | st.sampled_from(["stop", "length", "\x1b]52;c;aGk=\x07", "\ud800", "[/b]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every part of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], part: Any) -> Any:
    if not path:
        return part
    whole = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = part
    return whole


@pytest.fixture(scope="module")
def server() -> Iterator[SmallServer]:
    with small_server(owner="vllm") as running:
        yield running


def _hold(engine: Engine) -> None:
    try:
        [samples] = engine.complete([CHAT], TWO)
        list(engine.stream(CHAT, TWO))
    except ModelFault as fault:
        assert fault.message.isprintable() or "\n" in fault.message
    else:
        assert len(samples) == 2 and all(isinstance(sample, Completion) for sample in samples)
        for sample in samples:
            sample.text.encode()
            assert sample.completion_tokens >= 0 and sample.prompt_tokens >= 0


@pytest.mark.hostile("weights")
@settings(max_examples=150)
@given(path=st.sampled_from(list(places(HONEST))), part=JSON)
def test_hosted_answers(server: SmallServer, path: tuple[Any, ...], part: Any) -> None:
    server.answer = lambda _body: (200, replaced(HONEST, path, part))
    with open_hosted(server.url, attempts=1) as engine:
        _hold(engine)


@pytest.mark.hostile("weights")
@settings(max_examples=100)
@given(path=st.sampled_from(list(places(EVENTS))[1:]), part=JSON)
def test_streamed_events(server: SmallServer, path: tuple[Any, ...], part: Any) -> None:
    server.answer = lambda _body: (200, replaced(EVENTS, path, part))
    with open_vllm(server.url) as engine:
        _hold(engine)
    with open_hosted(server.url, attempts=1) as engine:
        _hold(engine)


@pytest.mark.hostile("weights")
@settings(max_examples=100)
@given(path=st.sampled_from(list(places({"error": {"message": "no", "param": "n", "code": 400}}))), part=JSON,
       status=st.sampled_from([400, 401, 404, 422, 429, 500, 503]))  # fmt: skip
def test_errors(server: SmallServer, path: tuple[Any, ...], part: Any, status: int) -> None:
    error = replaced({"error": {"message": "no", "param": "n", "code": 400}}, path, part)
    server.answer = lambda _body: (status, {"x": error} if isinstance(error, list) else error)
    for opened in (open_hosted(server.url, attempts=1), open_vllm(server.url)):
        with opened as engine, pytest.raises(ModelFault) as caught:
            engine.complete([CHAT], TWO)
        assert caught.value.message.isprintable()


def test_the_honest_ones_are_taken(server: SmallServer) -> None:
    server.answer = lambda _body: (200, HONEST)
    with open_hosted(server.url) as engine:
        [[one, _]] = engine.complete([CHAT], TWO)
        assert (one.text, one.token_ids) == ("hello there", (5,))
    server.answer = lambda _body: (200, EVENTS)
    with open_vllm(server.url) as engine:
        [[one, _]] = engine.complete([CHAT], TWO)
        assert (one.text, one.completion_tokens) == ("aa", 2)


@pytest.mark.parametrize(
    ("details", "cached"),
    [
        ({"cached_tokens": 2}, 2), ({"cached_tokens": 0}, 0), ({"cached_tokens": 8}, None),
        ({"cached_tokens": -1}, None),
        ({"cached_tokens": True}, None), ({"cached_tokens": "2"}, None), (None, None), ([], None),
    ],
)  # fmt: skip
def test_how_much_of_a_prompt_was_cached_is_taken_where_it_can_be(
    server: SmallServer, details: Any, cached: int | None
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": details}
    server.answer = lambda _body: (200, HONEST | {"usage": usage})
    with open_hosted(server.url) as engine:
        [[one, _]] = engine.complete([CHAT], TWO)
        assert one.cached_tokens == cached
    server.answer = lambda _body: (200, [*EVENTS, {"id": "x", "choices": [], "usage": usage}])
    with open_vllm(server.url) as engine:
        [samples] = engine.complete([CHAT], TWO)
        assert [sample.cached_tokens for sample in samples] == [None, cached]  # it comes with the last one


def test_calls_that_a_server_took_out_of_the_text_are_put_back() -> None:
    function = {"name": "read", "arguments": '{"path": "a.py"}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": function}, 3, {}],
    }
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    with small_server(lambda _body: (200, answer)) as server, open_hosted(server.url) as engine:
        text = engine.complete([Request.chat("hello")], Decoding(max_tokens=64))[0][0].text
    read = Tool("read", "Read.", (Parameter("path", "string", "the file"),))
    for form in FORMATS:
        assert form.parse(text, (read,)).calls == (Call("read", {"path": "a.py"}),)

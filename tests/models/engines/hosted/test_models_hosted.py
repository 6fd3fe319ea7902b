"""Faults of the hosted engine, over real HTTP: retries where they help, clear faults where they do not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import OpenAIServer, serve

from forklock.models import Decoding, Engine, ModelFault, Request
from forklock.models.engines.hosted.opening import open_hosted
from forklock.models.engines.hosted.wire import redact, split_url

CHAT = Request.chat("hello")
SHORT = Decoding(temperature=0, max_tokens=4)


@pytest.fixture(scope="module")
def tiny(tiny_model_dir: Path) -> Iterator[Engine]:
    from forklock.models.engines.transformers_engine import TransformersEngine

    with TransformersEngine.open(tiny_model_dir, threads=1) as engine:
        yield engine


@pytest.fixture
def server(tiny: Engine) -> Iterator[OpenAIServer]:
    with serve(tiny, flavour="plain") as running:
        yield running


@pytest.mark.parametrize("faults", [[429], [500], [503, 429], ["malformed"]], ids=str)
def test_what_passes_is_tried_again(server: OpenAIServer, faults: list[int | str]) -> None:
    server.faults = list(faults)
    [[sample]] = open_hosted(server.url).complete([CHAT], SHORT)
    assert sample.completion_tokens >= 1
    assert len(server.bodies) == len(faults) + 1


def test_lasting_errors_end_after_the_attempts(server: OpenAIServer) -> None:
    server.faults = [500] * 10
    with pytest.raises(ModelFault, match="failed 2 times") as caught:
        open_hosted(server.url, attempts=2).complete([CHAT], SHORT)
    assert caught.value.fix
    assert len(server.bodies) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_refusals_are_not_tried_again(server: OpenAIServer, status: int) -> None:
    server.faults = [status] * 3
    with pytest.raises(ModelFault):
        open_hosted(server.url).complete([CHAT], SHORT)
    assert len(server.bodies) == 1


def test_a_server_that_hangs_is_given_up(server: OpenAIServer) -> None:
    import litellm  # noqa: F401  # which takes seconds, not to be counted

    server.faults = ["hang"]
    began = time.monotonic()
    with pytest.raises(ModelFault, match="did not answer"):
        open_hosted(server.url, timeout_s=0.5).complete([CHAT], SHORT)
    assert time.monotonic() - began < 40  # the server hangs for 60 s


def test_a_stream_that_breaks_off_is_a_fault(server: OpenAIServer) -> None:
    server.faults = ["drop"]
    with pytest.raises(ModelFault):
        list(open_hosted(server.url, attempts=1).stream(CHAT, SHORT))


def test_a_wrong_model_name_lists_the_right_ones(server: OpenAIServer) -> None:
    with pytest.raises(ModelFault, match="no model 'other'") as caught:
        open_hosted(f"{server.url}#other")
    assert "tiny" in caught.value.fix


def test_nobody_at_the_port() -> None:
    with pytest.raises(ModelFault, match="No server answers"):
        open_hosted("http://127.0.0.1:9/v1")


@pytest.mark.parametrize("option", [{"top_k": 5}, {"min_p": 0.1}])
def test_options_of_unknown_servers_are_refused(server: OpenAIServer, option: dict[str, float]) -> None:
    decoding = Decoding(temperature=1.0, max_tokens=2, **option)  # type: ignore[arg-type]
    with pytest.raises(ModelFault, match=next(iter(option))):
        open_hosted(server.url).complete([CHAT], decoding)
    assert server.bodies == []


def test_options_of_known_servers_reach_them(tiny: Engine) -> None:
    with serve(tiny, flavour="vllm") as server:
        decoding = Decoding(temperature=1.0, top_k=5, min_p=0.1, max_tokens=2)
        open_hosted(server.url).complete([CHAT], decoding)
        assert (server.bodies[0]["top_k"], server.bodies[0]["min_p"]) == (5, 0.1)


def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelFault) as caught:
        open_hosted("openai/gpt-4o")
    assert "OPENAI_API_KEY" in caught.value.fix


def test_an_unknown_provider() -> None:
    with pytest.raises(ModelFault, match="no provider"):
        open_hosted("nobody/nothing")


def test_an_unpriced_model_costs_none(server: OpenAIServer) -> None:
    [[sample]] = open_hosted(server.url).complete([CHAT], SHORT)
    assert sample.cost_usd is None


def test_provider_keys_do_not_go_to_urls(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    engine = open_hosted(server.url)
    assert "sk-very-secret" not in str(engine._route)  # type: ignore[attr-defined]


def test_keys_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRANGE_API_KEY", "correct horse battery")
    text = redact("Bearer abcdef; sk-abcdefghij; correct horse battery")
    assert "abcdef" not in text and "battery" not in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h:1", ("http://h:1/v1", None)),
        ("http://h:1/v1/", ("http://h:1/v1", None)),
        ("https://h/api/v1#a/b", ("https://h/api/v1", "a/b")),
    ],
)
def test_urls_are_split(given: str, expected: tuple[str, str | None]) -> None:
    assert split_url(given) == expected


def test_a_closed_engine_says_so(server: OpenAIServer) -> None:
    engine = open_hosted(server.url)
    engine.close()
    engine.close()
    with pytest.raises(ModelFault, match="closed"):
        engine.complete([CHAT], SHORT)

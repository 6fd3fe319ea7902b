"""Servers and networks as users have them: proxies, local programs without keys, servers that know few options."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_server import said, small_server, socks_proxy

from forklock.models import Completion, Decoding, ModelFault, Request
from forklock.models.engines.hosted.opening import open_hosted
from forklock.models.engines.hosted.routes import LOCAL
from forklock.models.web import clients as web
from forklock.models.web.proxies import proxy_for

CHAT = Request.chat("hello")
DEFAULTS = Decoding(temperature=0.8, top_k=20, top_p=0.95, min_p=0.05, max_tokens=64, seed=0)
"""As the agent's settings have them, and a min_p."""
FIELDS = ("temperature", "top_k", "top_p", "min_p", "seed")
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# -- proxies ---------------------------------------------------------------------------------------------

PROXIES = (
    "http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks5h://127.0.0.1:9", "127.0.0.1:9", "https://p:1", "http://",
    "ftp://p:1", "socks4://p:1", "http://p:99999", "://", "http://[::1", "%%%", "h\u00e9:x:1",
)  # fmt: skip


@pytest.mark.hostile("setup")
def test_no_proxy_stands_before_this_machine(
    monkeypatch: pytest.MonkeyPatch, tried: Callable[[int], None]
) -> None:
    cases = 0
    with small_server() as server:
        for variable, value in itertools.product(
            ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), PROXIES
        ):
            for host in ("127.0.0.1", "localhost"):
                with monkeypatch.context() as patch:
                    patch.setenv(variable, value)
                    with open_hosted(f"http://{host}:{server.port}") as engine:
                        [[sample]] = engine.complete([CHAT], Decoding(max_tokens=4))
                assert sample.text == "hello there"
                cases += 1
        assert not any("://" in target for target in server.targets)
    tried(cases)


@pytest.mark.hostile("setup")
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_servers_elsewhere_are_reached_by_the_proxy(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with small_server() as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        with open_hosted("http://models.example/v1") as engine:
            engine.complete([CHAT], Decoding(max_tokens=4))
        assert proxy.targets == [
            "http://models.example/v1/models",
            "http://models.example/v1/chat/completions",
        ]
        monkeypatch.setenv("NO_PROXY", "other.example,.example")
        with pytest.raises(ModelFault, match="No server answers"):
            open_hosted("http://models.example/v1")


@pytest.mark.hostile("setup")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_carries(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with small_server() as server, socks_proxy(server.port) as (address, asked):
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{address}")
        with open_hosted("http://models.example/v1") as engine:
            engine.complete([CHAT], Decoding(max_tokens=4))
    assert asked and all(b"models.example" in one for one in asked)


@pytest.mark.hostile("setup")
@pytest.mark.parametrize(
    "value", ["ftp://p:1", "socks4://p:1", "http://", "http://p:99999", "://", "http://[::1"]
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_a_garbled_proxy_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ModelFault, match=variable) as caught:
        open_hosted("http://models.example/v1")
    assert variable in caught.value.fix


@pytest.mark.hostile("setup")
@pytest.mark.parametrize("holds", [None, "", "no certificate"])
def test_garbled_certificates_are_named_where_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, holds: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if holds is not None:
        path.write_text(holds)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    web._certificates.cache_clear()
    with small_server() as server, open_hosted(server.url) as engine:
        engine.complete([CHAT], Decoding(max_tokens=4))
    with pytest.raises(ModelFault, match=r"certificates|No server answers"):
        open_hosted("https://127.0.0.1:9/v1")
    web._certificates.cache_clear()


def test_a_missing_socks_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(ModelFault, match="socksio is missing"):
        open_hosted("http://models.example/v1")


@pytest.mark.hostile("setup")
@given(value=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40))
def test_whatever_a_variable_holds_is_a_proxy_or_a_fault(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setenv("ALL_PROXY", value)
        patch.setenv("NO_PROXY", value[::-1])
        assert proxy_for(httpx.URL("http://127.0.0.1:8000")) is None
        try:
            found = proxy_for(httpx.URL("http://models.example"))
        except ModelFault as fault:
            assert "ALL_PROXY" in fault.message
        else:
            assert found is None or httpx.URL(found).host


@pytest.mark.parametrize(
    ("listed", "excepted"),
    [
        ("", False), ("*", True), ("example", True), (".example", True), ("models.example", True),
        ("models.example:80", False), ("models.example:8000", True), ("dels.example", False), ("a, .example ,b", True),
        ("*.example", True), ("10.0.0.0/8", False), ("[::1]", False), (",,,", False),
    ],
)  # fmt: skip
def test_what_no_proxy_excepts(monkeypatch: pytest.MonkeyPatch, listed: str, excepted: bool) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", listed)
    assert (proxy_for(httpx.URL("http://models.example:8000")) is None) == excepted


NEAR = ("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "a.localhost", "[::1]", "10.1.2.3", "192.168.0.7",
        "172.20.0.1", "box.local", "[fe80::1]", "[::ffff:127.0.0.1]", "0.0.0.0")  # fmt: skip


@pytest.mark.parametrize("host", NEAR)
def test_near_servers_are_asked_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    assert proxy_for(httpx.URL(f"http://{host}:8000")) is None


def test_a_network_in_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "8.8.0.0/16")
    assert proxy_for(httpx.URL("http://8.8.4.4")) is None
    assert proxy_for(httpx.URL("http://9.9.9.9")) == "http://proxy.example:3128"


# -- programs on the user's own machine ------------------------------------------------------------------


@pytest.mark.hostile("setup")
@pytest.mark.parametrize("provider", LOCAL)
def test_local_programs_need_no_key(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    for name in (*LOCAL[provider].base_variables, LOCAL[provider].key_variable):
        monkeypatch.delenv(name, raising=False)
    with small_server(models=("m:latest", "other")) as server:
        variable = LOCAL[provider].base_variables[0]
        for address in (server.url, server.url.removesuffix("/v1"), f"127.0.0.1:{server.port}"):
            monkeypatch.setenv(variable, address)
            with open_hosted(f"{provider}/m") as engine:
                fitted = engine.fit(DEFAULTS)
                engine.complete([CHAT], fitted.decoding)
                assert engine.identity.name == f"{provider}/m"
        assert {body["model"] for body in server.bodies} == {"m:latest"}
        assert set(server.keys) == {None}
        with pytest.raises(ModelFault, match="no model"):
            open_hosted(f"{provider}/missing")
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(ModelFault, match="No server answers") as caught:
        open_hosted(f"{provider}/m")
    assert "key" not in caught.value.message.lower() + caught.value.fix.lower()


def test_a_server_that_lists_no_models_serves_the_named_one() -> None:
    with small_server(models=()) as server:
        with open_hosted(f"{server.url}#mine") as engine:
            engine.complete([CHAT], Decoding(max_tokens=4))
        assert server.bodies[0]["model"] == "mine"
        with pytest.raises(ModelFault):
            open_hosted(server.url)


# -- options that a server does not know -----------------------------------------------------------------


def test_defaults_are_left_out_with_a_note_and_wishes_are_faults() -> None:
    with small_server() as server, open_hosted(server.url) as engine:
        fitted = engine.fit(DEFAULTS)
        assert {name for name in FIELDS if any(f" {name}:" in note for note in fitted.notes)} == {
            "top_k",
            "min_p",
        }
        engine.complete([CHAT], fitted.decoding)
        assert not {"top_k", "min_p"} & set(server.bodies[0])
        assert {"temperature", "top_p", "seed"} <= set(server.bodies[0])
        for asked in ("top_k", "min_p"):
            with pytest.raises(ModelFault, match=asked) as caught:
                engine.fit(DEFAULTS, asked={asked})
            assert caught.value.fix
        assert len(server.bodies) == 1


def _refusing(refused: set[str], style: str) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        bad = sorted(refused & set(body))
        if not bad:
            return said()
        if style == "param":
            return 400, {"error": {"message": "unsupported value", "param": bad[0]}}
        if style == "words":
            return 422, {"detail": f"Unknown parameter: '{bad[0]}' is not supported"}
        return 400, {"error": "bad request"}

    return answer


@pytest.mark.hostile("setup")
@pytest.mark.parametrize("style", ["param", "words", "mute"])
def test_servers_that_refuse_options(style: str, tried: Callable[[int], None]) -> None:
    """Each set of options that a server may refuse: defaults adapt, and what was asked for is a fault."""
    names = ("temperature", "top_p", "seed")
    cases = 0
    for size in range(len(names) + 1):
        for refused in itertools.combinations(names, size):
            with small_server(_refusing(set(refused), style)) as server:
                with open_hosted(server.url) as engine:
                    decoding = engine.fit(DEFAULTS).decoding.model_copy(update={"n": 2})
                    [samples] = engine.complete([CHAT], decoding)
                    assert [sample.text for sample in samples] == ["hello there"] * 2
                for name in refused:
                    with open_hosted(server.url) as engine:
                        decoding = engine.fit(DEFAULTS, asked={name}).decoding
                        with pytest.raises(ModelFault, match="refused the request"):
                            engine.complete([CHAT], decoding)
                    cases += 1
            cases += 1
    tried(cases)


@pytest.mark.parametrize("gives", [0, 1, 2, 5])
def test_servers_that_take_n_and_give_another_number(gives: int) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        status, whole = said()
        whole["choices"] = whole["choices"] * (gives if "n" in body else 1)
        return status, whole

    with small_server(answer, owner="vllm") as server, open_hosted(server.url) as engine:
        decoding = Decoding(temperature=1.0, n=3, max_tokens=8)
        if gives == 0:
            with pytest.raises(ModelFault, match="no samples"):
                engine.complete([CHAT], decoding)
        else:
            assert [len(samples) for samples in engine.complete([CHAT], decoding)] == [3]


@pytest.mark.parametrize("message", ["n > 1 is not supported", "Only `n` = 1 is allowed", "bad request"])
def test_several_samples_of_a_server_that_refuses_n(message: str) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        return (400, {"error": {"message": message}}) if "n" in body else said()

    with small_server(answer, owner="vllm") as server, open_hosted(server.url) as engine:
        [samples] = engine.complete([CHAT], Decoding(temperature=1.0, n=3, max_tokens=8))
        assert len(samples) == 3


def test_stop_strings_beyond_four_are_applied_here() -> None:
    stops = ("a1", "b2", "c3", "d4", "there", "f6")

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        return (400, {"error": {"message": "too many"}}) if len(body.get("stop", ())) > 4 else said()

    with small_server(answer) as server, open_hosted(server.url) as engine:
        [[sample]] = engine.complete([CHAT], Decoding(max_tokens=8, stop=stops))
        assert sample.text == "hello "


# -- servers that count no tokens ------------------------------------------------------------------------

COUNTS = (None, {}, [], "many", {"completion_tokens": None}, {"completion_tokens": 0, "prompt_tokens": 0},
          {"completion_tokens": -5, "prompt_tokens": -1}, {"completion_tokens": "7"}, {"completion_tokens": True},
          {"completion_tokens": 10**30, "prompt_tokens": 10**30}, {"completion_tokens": 2.5})  # fmt: skip


@pytest.mark.hostile("weights")
def test_tokens_are_counted_whatever_a_server_says(tried: Callable[[int], None]) -> None:
    text = "def add(a, b):\n    return a + b\n" * 20
    for usage in COUNTS:

        def answer(_body: dict[str, Any], usage: object = usage) -> tuple[int, Any]:
            return said(text, usage=usage)

        with small_server(answer) as server, open_hosted(server.url) as engine:
            [[sample]] = engine.complete([CHAT], Decoding(max_tokens=400))
        assert isinstance(sample, Completion) and sample.tokens_estimated
        assert len(text) / 8 < sample.completion_tokens <= len(text)
        assert 0 < sample.prompt_tokens < 1000
    tried(len(COUNTS))


def test_counts_of_a_server_are_believed_where_they_can_be() -> None:
    with small_server() as server, open_hosted(server.url) as engine:
        [[sample]] = engine.complete([CHAT], Decoding(max_tokens=8))
    assert (sample.completion_tokens, sample.prompt_tokens, sample.tokens_estimated) == (3, 7, False)

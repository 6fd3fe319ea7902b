"""Whatever a model server does, each call ends in time, in bounded memory, and in words."""

from __future__ import annotations

import ast
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from evil_model_server import BEHAVIOURS, evil_server

from forklock.models import Decoding, ModelFault, Request
from forklock.models.engines.hosted.opening import open_hosted
from forklock.models.engines.vllm.opening import open_vllm
from forklock.models.web.deadline import OutOfTime, within

ROOT = Path(__file__).parents[4]
CHAT, TEXT = Request.chat("hello"), Request(text="def f(")
SHORT = Decoding(temperature=0.5, max_tokens=64)
MANY = SHORT.model_copy(update={"n": 8, "seed": 1})
LIMIT_S = 1.0
GRACE_S = 25.0
"""For a busy machine: what ends by a deadline ends well before."""
MOST_BYTES = 200 << 20


def _complete(url: str, request: Request, decoding: Decoding) -> None:
    with open_hosted(url, timeout_s=LIMIT_S, attempts=2) as engine:
        engine.complete([request], decoding)


def _stream(url: str) -> None:
    with open_hosted(url, timeout_s=LIMIT_S) as engine:
        list(engine.stream(CHAT, SHORT))


def _count(url: str) -> None:
    with open_hosted(url) as engine:
        assert engine.count_tokens(CHAT) > 0


def _vllm(url: str) -> None:
    with open_vllm(url) as engine:
        engine.complete([TEXT], MANY)


def _vllm_stream(url: str) -> None:
    with open_vllm(url) as engine:
        list(engine.stream(CHAT, SHORT))


CALLS: dict[str, tuple[tuple[str, ...], Callable[[str], None]]] = {
    "list": (("/models",), lambda url: open_hosted(url).close()),
    "list, named": (("/models",), lambda url: open_hosted(f"{url}#m").close()),
    "chat": (("/completions",), lambda url: _complete(url, CHAT, SHORT)),
    "many": (("/completions",), lambda url: _complete(url, CHAT, MANY)),
    "text": (("/completions",), lambda url: _complete(url, TEXT, SHORT)),
    "stream": (("/completions",), _stream),
    "count": (("/tokenize",), _count),
    "vllm": (("/completions",), _vllm),
    "vllm, stream": (("/completions",), _vllm_stream),
    "vllm, tokenize": (("/tokenize",), _vllm),
}


@pytest.mark.hostile("weights")
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_call_ends_in_words_in_time_and_in_bounds(name: str, tried: Callable[[int], None]) -> None:
    before = _peak_bytes(reset=True)
    problems: list[str] = []
    threads = [
        threading.Thread(target=_try, args=(name, call, problems), daemon=True, name=call) for call in CALLS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GRACE_S + 4)
        if thread.is_alive():
            problems.append(f"{thread.name} never ended")
    assert not problems
    grown = _peak_bytes() - before
    assert grown < MOST_BYTES, f"{grown >> 20} MB more"
    tried(len(CALLS))


def _peak_bytes(*, reset: bool = False) -> int:
    """The most memory that this process ever held, or has held since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def _try(name: str, call: str, problems: list[str]) -> None:
    evil_on, act = CALLS[call]
    began = time.monotonic()
    try:
        with evil_server(name, evil_on) as url, within(2 * LIMIT_S):
            act(url)
        if call not in ("count", "list, named"):  # These can do without what failed.
            problems.append(f"{call} ended as if all were well")
    except ModelFault as fault:
        if not fault.message.isprintable() and "\n" not in fault.message:
            problems.append(f"{call} says {fault.message!r}")
    except BaseException as error:
        problems.append(f"{call} raised {error!r}")
    if time.monotonic() - began > GRACE_S:
        problems.append(f"{call} took {time.monotonic() - began:.1f} s")


@pytest.mark.hostile("weights")
def test_without_a_deadline_a_listing_ends_too() -> None:
    began = time.monotonic()
    with (
        evil_server("trickled_body", ("/models",)) as url,
        pytest.raises(ModelFault, match="no whole answer"),
    ):
        open_hosted(url)
    assert time.monotonic() - began < 15


@pytest.mark.hostile("weights")
def test_the_callers_deadline_is_said_to_be_the_callers() -> None:
    with (
        evil_server("keep_alive_comments", ("/completions",)) as url,
        open_hosted(url) as engine,
        pytest.raises(OutOfTime),
        within(0.5),
    ):
        engine.complete([CHAT], SHORT)


@pytest.mark.hostile("weights")
@pytest.mark.parametrize(
    "model", ["openai/gpt-4o", "anthropic/claude-3-5-haiku-20241022", "mistral/mistral-small"]
)
@pytest.mark.parametrize(
    "name", ["keep_alive_comments", "trickled_headers", "endless_body", "gzip_bomb", "silence"]
)
def test_litellm_is_bounded_too(model: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("litellm")
    provider = model.partition("/")[0].upper()
    monkeypatch.setenv(f"{provider}_API_KEY", "sk-not-a-key-0123456789")
    began = time.monotonic()
    with evil_server(name, ("",)) as url:
        monkeypatch.setenv(f"{provider}_API_BASE", url)
        monkeypatch.setenv(f"{provider}_BASE_URL", url)
        with open_hosted(model, timeout_s=LIMIT_S, attempts=2) as engine, pytest.raises(ModelFault):
            began = time.monotonic()
            engine.complete([CHAT], Decoding(max_tokens=16))
    assert time.monotonic() - began < GRACE_S


CLIENTS = {
    "httpx": {"get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "Client", "AsyncClient",
              "HTTPTransport", "AsyncHTTPTransport"},
    "requests": {"get", "post", "put", "patch", "delete", "head", "options", "request", "Session", "session"},
    "urllib.request": {"urlopen", "urlretrieve", "build_opener", "OpenerDirector", "Request"},
    "request": {"urlopen", "urlretrieve", "build_opener", "OpenerDirector"},
    "http.client": {"HTTPConnection", "HTTPSConnection"},
    "urllib3": {"PoolManager", "request"},
    "aiohttp": {"ClientSession"},
}  # fmt: skip


@pytest.mark.hostile("setup")
def test_one_module_makes_http_clients(tried: Callable[[int], None]) -> None:
    """A client made elsewhere would have its own idea of proxies, deadlines and sizes."""
    found, looked_at = [], 0
    for room in ("agent", "evals", "models", "sandbox", "selfdistill", "tools"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.relative_to(ROOT).as_posix() == "models/web/clients.py":
                continue
            looked_at += 1
            found += [f"{path.relative_to(ROOT)}:{line} {what}" for line, what in _clients(path)]
    assert not found
    tried(looked_at)


def _clients(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            module = ast.unparse(node.value)
            # A class in an annotation makes no client.
            made = id(node) in called or node.attr[0].islower()
            if module in imported and node.attr in CLIENTS.get(module, set()) and made:
                found.append((node.lineno, ast.unparse(node)))
        if isinstance(node, ast.ImportFrom):
            names = CLIENTS.get(node.module or "", set())
            found += [(node.lineno, alias.name) for alias in node.names if alias.name in names]
    return found


def test_the_walk_finds_what_it_looks_for(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import httpx, requests, urllib.request\nfrom httpx import get\nhttpx.Client()\n"
        "requests.get('')\nurllib.request.urlopen('')\ndef f(c: httpx.Client): ...\n"
    )
    assert [line for line, _ in _clients(path)] == [2, 3, 4, 5]

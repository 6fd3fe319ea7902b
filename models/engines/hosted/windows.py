"""Asks a server for its true window, and finds out whether it silently cuts prompts that do not fit.

In: a server. Out: a `Window`: how many tokens prompt and answer may have together, and what the user can set to get
more. vLLM and SGLang say it in `/v1/models`, llama.cpp in `/props` (each slot's share), Ollama in `/api/ps` (once the
model is loaded) or `/api/show`, LM Studio in `/api/v0/models`. Ollama and others drop the beginning of a long prompt
and answer 200 all the same, so the first long prompt is counted here, too.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from forklock.models.contract import Message, ModelFault, Request
from forklock.models.engines.hosted.answers import estimated_prompt
from forklock.models.engines.hosted.wire import Server, server_headers
from forklock.models.web import clients as web
from forklock.models.web import deadline
from forklock.models.web.proxies import is_near

ASK_S, LOAD_S = 5.0, 300.0
"""For a question, and for Ollama to load a model, in seconds."""
OLLAMA_DEFAULT = 4096
"""Ollama's window below 24 GB of video memory, unless it is told otherwise."""
LONG_PROMPT = 1_000
"""Tokens, at least, of a prompt whose count by the server is compared with ours."""

_PRETOKENS = re.compile(r"[^\W\d_]+|\d{1,3}")
_NUM_CTX = re.compile(r"^\s*num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)
WIDEN = {
    "ollama": "Start Ollama with OLLAMA_CONTEXT_LENGTH=16384, or make a model with `PARAMETER num_ctx 16384`; its "
    "/v1 interface cannot change it.",
    "llamacpp": "Start llama-server with `-c 16384`, times the number of slots (`-np`), which share it.",
    "lm_studio": "Load the model in LM Studio with a context length of 16384.",
    "vllm": "Start the server with a larger --max-model-len.",
    "": "Start the server with a larger context, 16384 tokens at least.",
}
"""What makes the window larger, by kind of server."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a server says about its window."""

    tokens: int | None
    """None where it says nothing."""
    kind: str = ""
    """A key of `WIDEN`."""


def ask_window(server: Server, key: str | None) -> Window:
    """Ask a server how large its window is. Nothing is raised.

    Only servers on this machine or in a private network are asked more than `/v1/models`: others have providers behind
    them, which neither cut prompts nor know these questions.
    """
    if server.owner in ("vllm", "sglang"):
        return Window(server.context_tokens, "vllm")
    if not is_near(httpx.URL(server.base_url).host):
        return Window(server.context_tokens)
    asker = _Asker(server, key)
    if server.owner != "library" and (slot := asker.props()) is not None:
        return Window(min(slot, server.context_tokens or slot), "llamacpp")
    if server.owner == "llamacpp" or server.context_tokens is not None:
        return Window(server.context_tokens, "llamacpp" if server.owner == "llamacpp" else "")
    if (loaded := asker.loaded_by_ollama()) is not None:
        return Window(asker.ollama(loaded), "ollama")
    tokens = asker.lm_studio()
    return Window(tokens, "lm_studio" if tokens is not None else "")


class _Asker:
    def __init__(self, server: Server, key: str | None) -> None:
        self.server, self.key = server, key

    def _json(self, method: str, path: str, body: object = None, seconds: float = ASK_S) -> dict[str, Any]:
        """Return an object that the server answers; empty if it gives none."""
        try:
            headers = server_headers(self.key)
            with web.client(seconds=deadline.bounded(seconds), headers=headers) as http:
                answer = http.request(method, f"{self.server.root}{path}", json=body)
            found = web.decode_json(answer.content) if answer.status_code == 200 else None
        except (web.TooSlow, web.TooLarge, httpx.HTTPError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def props(self) -> int | None:
        """llama.cpp: what one slot holds."""
        settings = self._json("GET", "/props").get("default_generation_settings")
        return _whole(settings.get("n_ctx")) if isinstance(settings, dict) else None

    def loaded_by_ollama(self) -> list[dict[str, Any]] | None:
        """Ollama: the models in memory; None if this is no Ollama."""
        models = self._json("GET", "/api/ps").get("models")
        return [one for one in models if isinstance(one, dict)] if isinstance(models, list) else None

    def ollama(self, loaded: list[dict[str, Any]]) -> int:
        """Ollama: the window of our model, which is loaded for that if it is not; its default if it does not say."""
        name = self.server.model
        if not any(name in (one.get("name"), one.get("model")) for one in loaded):
            self._json("POST", "/api/generate", {"model": name, "stream": False}, LOAD_S)
            loaded = self.loaded_by_ollama() or []
        for one in loaded:
            if name in (one.get("name"), one.get("model")) and (tokens := _whole(one.get("context_length"))):
                return tokens
        parameters = self._json("POST", "/api/show", {"model": name}).get("parameters")
        told = _NUM_CTX.search(parameters) if isinstance(parameters, str) else None
        return int(told.group(1)) if told and int(told.group(1)) else OLLAMA_DEFAULT

    def lm_studio(self) -> int | None:
        """LM Studio: what our model is loaded with."""
        models = self._json("GET", "/api/v0/models").get("data")
        for one in models if isinstance(models, list) else ():
            if isinstance(one, dict) and one.get("id") == self.server.model:
                return _whole(one.get("loaded_context_length"))
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 30 else None


def fewest_tokens(request: Request) -> int:
    """Return what any tokenizer makes of a prompt at least: none joins words, or more than three digits."""
    texts = [request.text] if request.text is not None else [message.content for message in request.messages]
    return sum(len(_PRETOKENS.findall(text)) for text in texts)


@dataclass(slots=True)
class WindowGuard:
    """Refuses prompts that a server would cut, and a server that has cut one."""

    name: str
    window: Window
    host: str
    """Only servers on this machine or in a private network are asked again to make sure: that costs nothing there."""
    _checked: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, request: Request) -> None:
        """
        Raises:
            ModelFault: the prompt is longer than the window, whatever the tokenizer.
        """
        tokens = self.window.tokens
        if (
            tokens is None
            or estimated_prompt(request) <= tokens
            or (least := fewest_tokens(request)) < tokens
        ):
            return
        raise ModelFault(
            f"The prompt has more than {least:,} tokens, and {self.name} takes {tokens:,}.",
            fix=WIDEN[self.window.kind],
        )

    def after(self, request: Request, told: int | None, count: Callable[[Request], int | None]) -> None:
        """Compare the server's count of the first long prompt with ours.

        Args:
            told: the server's count; None if it gave none.
            count: the server's count of another prompt.

        Raises:
            ModelFault: the server has cut the prompt.
        """
        least = fewest_tokens(request)
        if told is None or least < LONG_PROMPT:
            return
        with self._lock:
            if self._checked:
                return
            self._checked = True
        if told >= least and self.window.tokens is None and is_near(self.host):
            least = max(least, self._by_halves(request, count))
        if told < least:
            raise ModelFault(
                f"{self.name} cuts prompts without a word: of at least {least:,} tokens it read {told:,}.",
                fix=WIDEN[self.window.kind],
            )

    def _by_halves(self, request: Request, count: Callable[[Request], int | None]) -> int:
        """Return nine tenths of the server's own counts of two halves of a prompt; 0 if it does not count them."""
        text = (
            request.text if request.text is not None else "\n".join(one.content for one in request.messages)
        )
        middle = len(text) // 2
        found = [count(_chat(part)) for part in (text[:middle], text[middle:])]
        return sum(one - 40 for one in found if one is not None) * 9 // 10 if None not in found else 0


def _chat(text: str) -> Request:
    return Request(messages=(Message(role="user", content=text),))

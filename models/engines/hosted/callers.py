"""How a hosted model is called: OpenAI's wire over our own client, or LiteLLM for providers with wires of their own.

In: a request and the body of OpenAI's API for it. Out: the decoded answer (or its stream), or `Refused`, which says
whether trying again may help. Both speak through `forklock.models.web`, so deadlines and sizes bind both.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from forklock.models.contract import ModelFault, Request
from forklock.models.engines.hosted.refusals import Refused
from forklock.models.engines.hosted.wire import Server, chat_wire, message_of, plain
from forklock.models.web import clients as web
from forklock.sandbox.commands.extras import install_hint

ERROR_BYTES = 64 << 10
"""Read of an error's body."""


class Caller(Protocol):
    """Calls of one model. `body` holds OpenAI's parameters, and the server's own in `extra_body`."""

    def complete(self, request: Request, body: dict[str, Any]) -> Any:
        """
        Raises:
            Refused: no answer.
            ModelFault: cut off by the budget.
        """

    def stream(self, request: Request, body: dict[str, Any]) -> Iterator[Any]:
        """Chunks in OpenAI's form; raises as `complete`."""

    def close(self) -> None: ...


@dataclass(slots=True)
class WireCaller:
    """OpenAI's wire, spoken by ourselves."""

    server: Server
    http: httpx.Client

    def complete(self, request: Request, body: dict[str, Any]) -> Any:
        try:
            answer = self._post(request, body)
            return web.decode_json(answer.read())
        except ValueError:
            raise Refused("the answer is no JSON", passes=True) from None
        except httpx.TransportError as error:
            raise _broken(error) from None

    def stream(self, request: Request, body: dict[str, Any]) -> Iterator[Any]:
        answer = None
        try:
            answer = self._post(request, body | {"stream": True})
            for line in answer.iter_lines():
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                if line.startswith("data:"):
                    yield web.decode_json(data)
        except ValueError:
            raise Refused("the stream is no JSON") from None
        except httpx.TransportError as error:
            raise _broken(error) from None
        finally:
            if answer is not None:
                answer.close()

    def _post(self, request: Request, body: dict[str, Any]) -> httpx.Response:
        own = {key: value for key, value in body.items() if key != "extra_body"}
        own |= body.get("extra_body", {}) | {"model": self.server.model}
        if request.text is None:
            path, own["messages"] = "chat/completions", chat_wire(request)
        else:
            path, own["prompt"] = "completions", request.text
        asked = self.http.build_request("POST", f"{self.server.base_url}/{path}", json=own)
        answer = self.http.send(asked, stream=True)
        if answer.status_code != 200:
            raise _refusal(answer)
        return answer

    def close(self) -> None:
        self.http.close()


def _broken(error: httpx.TransportError) -> Refused:
    timed_out = isinstance(error, httpx.TimeoutException)
    return Refused(plain(str(error)) or type(error).__name__, passes=not timed_out, timed_out=timed_out)


def _refusal(answer: httpx.Response) -> Refused:
    """The error that a status and a body tell of; only so much of the body is read."""
    raw = b""
    try:
        for block in answer.iter_raw():
            raw += block
            if len(raw) >= ERROR_BYTES:
                break
    except httpx.HTTPError:
        pass  # The status says enough.
    finally:
        answer.close()
    status = answer.status_code
    if 300 <= status < 400:
        to = plain(answer.headers.get("location", ""))[:200]
        return Refused(f"it redirects to {to!r}, which is not followed", status=status)
    message, param = message_of(raw[:ERROR_BYTES].decode(errors="replace"))
    return Refused(
        message, status=status, param=param, passes=status == 429 or status >= 500,
        retry_after=_seconds(answer.headers.get("retry-after")),
    )  # fmt: skip


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return min(60.0, seconds) if seconds >= 0 else None


# -- LiteLLM -----------------------------------------------------------------------------------------------


def import_litellm() -> Any:
    """LiteLLM, quiet and on our own HTTP client.

    Raises:
        ModelFault: it is not installed.
    """
    # Its price list comes from the package; without this it is fetched at import.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOG", "ERROR")
    try:
        import litellm
        from litellm.llms.custom_httpx.http_handler import HTTPHandler
    except ImportError:
        raise ModelFault("Models of providers need litellm.", fix=install_hint("hosted")) from None
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = False
    # Its log lines hold whole requests.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    if litellm.client_session is None:
        litellm.client_session = web.client(seconds=600)
        # Providers without OpenAI's SDK go through this class, which makes clients that nothing bounds.
        HTTPHandler.create_client = lambda _handler: web.client(seconds=600)
    return litellm


@dataclass(slots=True)
class LitellmCaller:
    """A provider's model through LiteLLM."""

    litellm: Any
    chat_model: str
    text_model: str | None
    """None where raw text cannot be continued."""

    def complete(self, request: Request, body: dict[str, Any]) -> Any:
        try:
            answer = self._send(request, body)
            found: dict[str, Any] = answer.model_dump()
            found["cost_usd"] = self._cost(answer)
        except (ModelFault, Refused):
            raise
        except Exception as error:
            raise _refused_by_litellm(error) from None
        return found

    def stream(self, request: Request, body: dict[str, Any]) -> Iterator[Any]:
        try:
            for chunk in self._send(request, body | {"stream": True}):
                yield chunk.model_dump()
        except (ModelFault, Refused):
            raise
        except Exception as error:
            raise _refused_by_litellm(error) from None

    def _send(self, request: Request, body: dict[str, Any]) -> Any:
        call = {key: value for key, value in body.items() if key != "extra_body"} | body.get("extra_body", {})
        call |= {"max_retries": 0, "num_retries": 0, "timeout": web.seconds_left()}
        if request.text is None:
            return self.litellm.completion(model=self.chat_model, messages=chat_wire(request), **call)
        if self.text_model is None:
            raise ModelFault(f"{self.chat_model} answers chats only.", fix="Send messages, not raw text.")
        return self.litellm.text_completion(model=self.text_model, prompt=request.text, **call)

    def _cost(self, answer: Any) -> float | None:
        """LiteLLM's price for the whole answer; it raises for models without one."""
        try:
            return float(self.litellm.completion_cost(completion_response=answer, model=self.chat_model))
        except Exception:
            return None

    def close(self) -> None:
        pass


def _refused_by_litellm(error: Exception) -> Refused:
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) else None
    kind = type(error).__name__
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    timed_out = kind == "Timeout"
    passes = isinstance(error, ValueError) or (status is not None and (status == 429 or status >= 500))
    return Refused(
        plain(str(error)).replace("litellm.", "")[:500], status=status, passes=passes and not timed_out,
        param=str(getattr(error, "param", None) or ""), retry_after=_seconds(headers.get("retry-after")),
        too_long=kind == "ContextWindowExceededError", timed_out=timed_out,
    )  # fmt: skip

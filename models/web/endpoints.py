"""Names the server that a model's requests go to, so that a resumed run can tell whether it is still the same.

In: a server's URL, or a provider of LiteLLM. Out: a text to compare and to keep; it holds no password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_USER = re.compile(r"(?<=://)[^/@\s]*@")
_ADDRESS = re.compile(r"(API_BASE|BASE_URL|API_URL|ENDPOINT|HOST|PROJECT|LOCATION|REGION)(_NAME)?", re.ASCII)


def endpoint_of_url(url: str) -> str:
    """The URL without user and password."""
    return _USER.sub("", url.partition("#")[0]).rstrip("/")


def endpoint_of_provider(
    provider: str, api_base: str | None, environ: Mapping[str, str] | None = None
) -> str:
    """The provider, and all that the environment says of where it is reached.

    LiteLLM reads variables such as OPENAI_BASE_URL and OLLAMA_API_BASE: with one of them a provider's name means
    a server of the user's, without it the provider.
    """
    variables = os.environ if environ is None else environ
    whole = provider.upper().replace("-", "_")
    families = (whole, *(word for word in whole.split("_") if len(word) > 3))
    said = {
        name: endpoint_of_url(value)
        for name, value in variables.items()
        if value and name.upper().startswith(families) and _ADDRESS.search(name.upper())
    }
    parts = [provider, *([endpoint_of_url(api_base)] if api_base else [])]
    return " ".join([*parts, *(f"{name}={value}" for name, value in sorted(said.items()))])

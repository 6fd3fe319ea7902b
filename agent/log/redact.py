"""Removes secrets from text before it is written to a log.

It finds values of the process's own environment variables whose names look secret, and tokens of well-known shapes. It
cannot find a password that looks like a word.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)", re.IGNORECASE)
_SHAPES = re.compile(
    r"""
      sk-[A-Za-z0-9_-]{20,}                                   # OpenAI, Anthropic and followers
    | gh[pousr]_[A-Za-z0-9]{30,}                              # GitHub
    | github_pat_[A-Za-z0-9_]{40,}
    | glpat-[A-Za-z0-9_-]{20,}                                # GitLab
    | hf_[A-Za-z0-9]{30,}                                     # Hugging Face
    | xox[abprs]-[A-Za-z0-9-]{10,}                            # Slack
    | (?:AKIA|ASIA)[A-Z0-9]{16}                               # AWS
    | AIza[A-Za-z0-9_-]{35}                                   # Google
    | eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}   # JWT
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?-----END\ [A-Z ]*PRIVATE\ KEY-----
    | (?<=://)[^/\s:@]{1,64}:[^/\s:@]{3,128}(?=@)             # user:password in a URL
    """,
    re.VERBOSE | re.DOTALL,
)
_REPLACEMENT = "[redacted]"


@lru_cache(maxsize=1)
def _environment_values() -> tuple[str, ...]:
    values = {
        v for k, v in os.environ.items() if _SECRET_NAME.search(k) and len(v) >= 8 and not v.startswith("/")
    }
    return tuple(sorted(values, key=len, reverse=True))


def redact(text: str) -> str:
    """Replaces everything that looks like a secret by `[redacted]`."""
    for value in _environment_values():
        text = text.replace(value, _REPLACEMENT)
    return _SHAPES.sub(_REPLACEMENT, text)

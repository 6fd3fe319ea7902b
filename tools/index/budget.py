"""Tokens without a tokenizer (room `tools/`).

In: text. Out: about how many tokens it is. For callers that serve a model they do not know; the agent
counts with the tokenizer of its model.
"""

from __future__ import annotations

import math

CHARS_PER_TOKEN = 3.5
"""Characters of one token of source code. Rather too few, so that a budget is left unused sooner than exceeded."""


def estimate_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARS_PER_TOKEN)

"""From a model's name to an engine that serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from models.contract import Engine

EngineName = Literal["auto", "transformers", "hosted", "vllm"]


def open_engine(
    model: str, *, engine: EngineName = "auto", adapter: str | Path | None = "current"
) -> Engine:
    """Open the engine that serves `model`.

    Args:
        model: a catalogue name (`qwen2.5-coder-0.5b`), a folder with transformers weights, a provider's
            id for LiteLLM (`openai/gpt-5`), or the URL of an OpenAI-compatible server.
        engine: which engine; `auto` takes `transformers` for catalogue names and folders, `hosted` else.
        adapter: `current` for the promoted adapter of this base if there is one, None for the bare base,
            a version of the registry, or an adapter's folder.

    Raises:
        ModelFault: unknown or damaged model, missing extra, server that does not answer.
    """
    raise NotImplementedError

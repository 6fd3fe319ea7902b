"""Converts GGUF to bf16 safetensors, once per model, so that training and serving share one set of weights.

In: a GGUF file. Out: a transformers folder (weights, config, generation config, tokenizer, chat template).
Method: transformers' own GGUF loader with `dequantize=True`, then what a GGUF loses is restored: every
end-of-turn token, the tokenizer's normaliser and digit splitting, shared embeddings. Quantisation error
stays: these are a Q4 file's values in bf16, not the original weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forklock.models.catalogue.strict_loading import require_exact, require_finite_model
from forklock.models.contract import ModelFault
from forklock.models.families import END_OF_TURN, restore_tokenizer
from forklock.sandbox.commands.extras import install_hint
from forklock.sandbox.files.atomic import sync

CONVERSION = 1
"""Version of this code; a change that alters the weights or the tokens raises it."""

OnStep = Callable[[int, int], None]
"""Called with (tensors done, tensors in all)."""


def convert(
    gguf: Path,
    folder: Path,
    *,
    tied_embeddings: bool,
    pre_tokenizer: str,
    context_tokens: int,
    on_step: OnStep = lambda _done, _total: None,
) -> str:
    """Write `gguf` as a transformers folder; returns transformers' version.

    Args:
        tied_embeddings: the original shares input and output embeddings. A GGUF may carry two quantised
            copies of that one matrix; the finer one (the output's) is then taken for both.
        pre_tokenizer: the GGUF's `tokenizer.ggml.pre` (told, since reading it costs 12 s for 151k tokens).

    Raises:
        ModelFault: the `local` extra is missing, not enough memory, or no readable GGUF.
    """
    torch, transformers = _libraries()
    _check_memory(gguf)
    options = transformers.GgufConfig(gguf_file=gguf.name, dequantize=True)
    with _quiet(transformers, on_step):
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                str(gguf.parent),
                gguf_file=gguf.name,
                quantization_config=options,
                dtype=torch.bfloat16,
                output_loading_info=True,
            )
        except Exception as error:
            # Loaders raise whatever the damaged file provokes.
            raise ModelFault(
                f"{gguf} cannot be converted: {error}", fix="Remove the model and pull it again."
            ) from error
        require_exact(gguf, info)
        require_finite_model(gguf, model)
        if tied_embeddings:
            _tie(model)
        _complete_tokenizer(tokenizer, pre_tokenizer, context_tokens)
        _complete_generation(model, tokenizer, transformers)
        model.config._name_or_path = ""
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
        sync(path)
    return str(transformers.__version__)


def _libraries() -> tuple[Any, Any]:
    try:
        import gguf  # noqa: F401
        import torch
        import transformers
    except ImportError as error:
        raise ModelFault(f"Converting weights needs {error.name}.", fix=install_hint("local")) from None
    return torch, transformers


def _check_memory(gguf: Path) -> None:
    """Dequantised fp32 tensors, one bf16 copy and slack: about 11 bytes for each of a Q4 file's weights."""
    import psutil

    needed = gguf.stat().st_size * 8
    free = psutil.virtual_memory().available
    if free < needed:
        raise ModelFault(
            f"Converting needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free.",
            fix="Close other programs, or take a smaller model.",
        )


def _tie(model: Any) -> None:
    """Share one embedding matrix, the output's, if the file held two copies."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is embedding.weight:
        return
    embedding.weight = head.weight
    model.config.tie_word_embeddings = True
    model.tie_weights()


def _complete_tokenizer(tokenizer: Any, pre_tokenizer: str, context_tokens: int) -> None:
    """Put back what the GGUF names (its key `tokenizer.ggml.pre`) but the loader does not rebuild."""
    restore_tokenizer(tokenizer.backend_tokenizer, pre_tokenizer)
    tokenizer.model_max_length = context_tokens
    if not tokenizer.chat_template:
        raise ModelFault("The GGUF has no chat template.")


def _complete_generation(model: Any, tokenizer: Any, transformers: Any) -> None:
    """Every end-of-turn token ends an answer, and no hidden sampling default shapes it."""
    vocabulary = tokenizer.get_vocab()
    ends = [vocabulary[token] for token in END_OF_TURN if token in vocabulary]
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        ends.insert(0, tokenizer.eos_token_id)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=model.config.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )


@contextmanager
def _quiet(transformers: Any, on_step: OnStep) -> Iterator[None]:
    """Route the loader's tensor loop to `on_step`, and keep its own bars off the terminal."""
    import transformers.modeling_gguf_pytorch_utils as loader

    def counted(items: Any, **_: Any) -> Iterator[Any]:
        for index, item in enumerate(items):
            on_step(index, len(items))
            yield item
        on_step(len(items), len(items))

    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), loader.tqdm
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    loader.tqdm = counted
    try:
        yield
    finally:
        loader.tqdm = bar
        logging.set_verbosity(level)
        logging.enable_progress_bar()

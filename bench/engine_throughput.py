"""Tokens per second of the in-process engine beside `transformers.generate`, on the same work.

One process, one model folder. Work: one prompt of a given length, n samples of exactly --new tokens each
(the end token is ignored on both sides). Peer: `generate(num_return_sequences=n)`, its usual use, in the
same dtype with its default cache. Both are run in turn, --repeats times; the ratio is of medians, with the
smallest and largest ratio of pairs.

    python bench/engine_throughput.py --model PATH [--batch 1 8 16 32 64] [--prompt 600 1500] [--new 200]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAM = '''
def merge_sorted_runs(runs, key=None):
    """Merge already sorted runs into one sorted list, stable across runs."""
    heap = [(key(run[0]) if key else run[0], index, 0) for index, run in enumerate(runs) if run]
    heapify(heap)
    result = []
    while heap:
        _, index, place = heappop(heap)
        result.append(runs[index][place])
        if place + 1 < len(runs[index]):
            item = runs[index][place + 1]
            heappush(heap, (key(item) if key else item, index, place + 1))
    return result
'''


def main() -> None:
    options = _options()
    import torch

    from forklock.models.contract import Decoding, Request
    from forklock.models.engines.transformers_engine import TransformersEngine

    if options.threads:
        torch.set_num_threads(options.threads)
    engine = TransformersEngine.open(Path(options.model))
    engine._loaded = _endless(engine._loaded)
    peer = None if options.no_peer else _peer(Path(options.model), engine)
    kind = engine._prefixes.dtype
    print(f"{options.model}: {torch.get_num_threads()} threads, {kind}, torch {torch.__version__}")
    print("prompt  n   ours tok/s  peer tok/s  ratio (min-max)")
    for length in options.prompt:
        text = _text_of(engine, length)
        for n in options.batch:
            decoding = Decoding(temperature=0.8, top_k=20, top_p=0.95, n=n, max_tokens=options.new, seed=0)

            def ours(text: str = text, decoding: Decoding = decoding) -> int:
                engine._prefixes.forget()
                done = engine.complete([Request(text=text)], decoding)
                return sum(sample.completion_tokens for sample in done[0])

            def theirs(text: str = text, decoding: Decoding = decoding) -> int:
                return _generate(peer, engine.tokenizer, text, decoding)

            print(_line(length, n, ours, None if peer is None else theirs, options.repeats), flush=True)


def _line(
    length: int, n: int, ours: Callable[[], int], theirs: Callable[[], int] | None, repeats: int
) -> str:
    pairs = [(_rate(ours), _rate(theirs) if theirs else float("nan")) for _ in range(repeats)]
    one, two = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [a / b for a, b in pairs]
    return (
        f"{length:6d} {n:3d} {one:11.1f} {two:11.1f}  {one / two:5.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    )


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - began)


def _generate(peer: Any, tokenizer: Any, text: str, decoding: Any) -> int:
    import torch

    inputs = tokenizer(text, return_tensors="pt").to(peer.device)
    with torch.inference_mode():
        made = peer.generate(
            **inputs,
            do_sample=True,
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            num_return_sequences=decoding.n,
            max_new_tokens=decoding.max_tokens,
            min_new_tokens=decoding.max_tokens,
        )
    return int(made.shape[0] * (made.shape[1] - inputs["input_ids"].shape[1]))


def _peer(folder: Path, engine: Any) -> Any:
    from transformers import AutoModelForCausalLM

    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=engine._prefixes.dtype)
    return peer.to(engine._loaded.device).eval()


def _endless(loaded: Any) -> Any:
    """The model without its end tokens, so that every sample has the full length."""
    from dataclasses import replace

    return replace(loaded, end_ids=frozenset())


def _text_of(engine: Any, tokens: int) -> str:
    """A text of about that many tokens."""
    text = PROGRAM
    while len(engine.tokenizer(text)["input_ids"]) < tokens:
        text += PROGRAM
    return str(engine.tokenizer.decode(engine.tokenizer(text)["input_ids"][:tokens]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="folder with transformers weights")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16, 32, 64], help="samples at once")
    parser.add_argument("--prompt", type=int, nargs="+", default=[600, 1500], help="prompt tokens")
    parser.add_argument("--new", type=int, default=200, help="new tokens per sample")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--no-peer", action="store_true", help="measure only our engine")
    return parser.parse_args()


if __name__ == "__main__":
    main()

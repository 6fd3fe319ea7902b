"""evals: samples from an engine, each kept the moment it ends.

In: problems, a preset, a decoding, a store. Out: `n` samples per problem; those that the store has are not
made again. Each sample has a seed of its own (from the run's seed, the problem and its index), so what an
interrupted batch still owes does not depend on what it had made. Not covered: judging.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from evals.contract import Problem, Sample, sample_key
from evals.runs.prompts import Preset, extract_code, request_for
from evals.runs.store import Store
from models.contract import Completion, Engine, OnTokens, Request

OnSample = Callable[[Sample], None]


def generate(
    engine: Engine,
    problems: Sequence[Problem],
    *,
    preset: Preset,
    n: int,
    store: Store,
    on_tokens: OnTokens | None = None,
    on_sample: OnSample | None = None,
) -> list[list[Sample]]:
    """`n` samples of each problem, under the store's decoding: `result[problem][index]`.

    Raises:
        ModelFault: the engine failed; what it had made is in the store.
        EvalFault: the store cannot be written.
    """
    asked = [(p, index, request_for(p, preset)) for p in problems for index in range(n)]
    samples = ask(engine, asked, preset=preset, store=store, on_tokens=on_tokens, on_sample=on_sample)
    return [samples[at * n : (at + 1) * n] for at in range(len(problems))]


def ask(
    engine: Engine,
    asked: Sequence[tuple[Problem, int, Request]],
    *,
    preset: Preset,
    store: Store,
    turn: int = 0,
    on_tokens: OnTokens | None = None,
    on_sample: OnSample | None = None,
) -> list[Sample]:
    """A sample for each (problem, index, request); those that the store has are not made again.

    Args:
        turn: of a repair, 0 for first answers.
    """
    config = store.config
    keys, wanted = [], []
    for problem, index, request in asked:
        digest = hashlib.sha256(f"{preset}\x1f{request.model_dump_json()}".encode()).hexdigest()
        key = sample_key(
            config.model, config.set_version, problem.question_id, digest, config.decoding, index
        )
        keys.append(key)
        if key not in store.samples:
            seed = sample_seed(config.decoding.seed, problem.question_id, index)
            wanted.append((problem, index, key, request.model_copy(update={"seed": seed})))

    def keep(number: int, _: int, completion: Completion) -> None:
        problem, index, key, _request = wanted[number]
        code = extract_code(completion.text, preset, problem)
        sample = Sample(
            key=key, question_id=problem.question_id, index=index, completion=completion, code=code, turn=turn
        )
        store.add_sample(sample)
        if on_sample is not None:
            on_sample(sample)

    if wanted:
        decoding = config.decoding.model_copy(update={"n": 1})
        requests = [request for _, _, _, request in wanted]
        engine.complete(requests, decoding, on_tokens=on_tokens, on_completion=keep)
    return [
        _read_again(store.samples[key], preset, problem)
        for key, (problem, _, _) in zip(keys, asked, strict=True)
    ]


def _read_again(sample: Sample, preset: Preset, problem: Problem) -> Sample:
    """Extraction is cheap and may have become better since the sample was stored."""
    return sample.model_copy(update={"code": extract_code(sample.completion.text, preset, problem)})


def sample_seed(seed: int | None, question_id: str, index: int) -> int | None:
    """A sample's own seed, 31 bits; None where the run has none."""
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed}\x1f{question_id}\x1f{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1

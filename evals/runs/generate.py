"""evals: samples from an engine; each one is stored as soon as it ends.

Input: problems, a preset, a decoding, a store. Output: `n` samples per problem; those in the store are not made again.
Each sample has its own seed, derived from the run's seed, the problem and the sample's index, so what an interrupted
batch still needs does not depend on what it had made. Not covered: judging.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forklock.evals.contract import Problem, Sample, sample_key
from forklock.evals.runs.prompts import Preset, extract_code, request_for
from forklock.evals.runs.store import Store
from forklock.models.contract import Completion, Engine, OnTokens, Request

OnSample = Callable[[Sample], None]


@dataclass(frozen=True, slots=True)
class Sampler:
    """Asks an engine with one preset, under the store's decoding, and stores each sample."""

    engine: Engine
    preset: Preset
    store: Store
    on_tokens: OnTokens | None = None
    on_sample: OnSample | None = None
    """Called with each new sample."""

    def generate(self, problems: Sequence[Problem], n: int) -> list[list[Sample]]:
        """Return `n` samples of each problem: `result[problem][index]`.

        Raises:
            ModelFault: the engine failed; samples that ended before are in the store.
            EvalFault: the store cannot be written.
        """
        asked = [(p, index, request_for(p, self.preset)) for p in problems for index in range(n)]
        samples = self.ask(asked)
        return [samples[at * n : (at + 1) * n] for at in range(len(problems))]

    def ask(self, asked: Sequence[tuple[Problem, int, Request]], *, turn: int = 0) -> list[Sample]:
        """Return a sample for each (problem, index, request); those in the store are not made again.

        Args:
            turn: the repair turn; 0 for first answers.
        """
        keys = [self._key(*one) for one in asked]
        wanted = [at for at, key in enumerate(keys) if key not in self.store.samples]

        def keep(number: int, _: int, completion: Completion) -> None:
            problem, index, _request = asked[wanted[number]]
            sample = Sample(
                key=keys[wanted[number]],
                question_id=problem.question_id,
                index=index,
                completion=completion,
                code=extract_code(completion.text, self.preset, problem),
                turn=turn,
            )
            self.store.add_sample(sample)
            if self.on_sample is not None:
                self.on_sample(sample)

        if wanted:
            requests = [self._seeded(*asked[at]) for at in wanted]
            decoding = self.store.config.decoding.model_copy(update={"n": 1})
            self.engine.complete(requests, decoding, on_tokens=self.on_tokens, on_completion=keep)
        return [
            self._extracted(self.store.samples[key], problem)
            for key, (problem, _, _) in zip(keys, asked, strict=True)
        ]

    def _key(self, problem: Problem, index: int, request: Request) -> str:
        config = self.store.config
        digest = hashlib.sha256(f"{self.preset}\x1f{request.model_dump_json()}".encode()).hexdigest()
        return sample_key(
            config.model, config.set_version, problem.question_id, digest, config.decoding, index
        )

    def _seeded(self, problem: Problem, index: int, request: Request) -> Request:
        seed = sample_seed(self.store.config.decoding.seed, problem.question_id, index)
        return request.model_copy(update={"seed": seed})

    def _extracted(self, sample: Sample, problem: Problem) -> Sample:
        """Extract the program again: extraction is cheap and may have improved since the sample was stored."""
        return sample.model_copy(update={"code": extract_code(sample.completion.text, self.preset, problem)})


def sample_seed(seed: int | None, question_id: str, index: int) -> int | None:
    """Return the sample's own seed of 31 bits; None where the run has no seed."""
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed}\x1f{question_id}\x1f{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1

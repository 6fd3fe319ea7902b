"""evals: judging and generation on a Ray cluster (`--executor ray`).

Input: the same attempts and requests as `Judge` and an engine take. Output: the same results. Work is sent in batches.
A batch whose worker or node dies is run again elsewhere; after `RETRIES` deaths its programs get an infrastructure
error. Every node needs this project, a sandbox (for judging), and the model or the agent (for generation). Ray
unpickles what its workers send, so a cluster must be as trusted as this machine; what we exchange is JSON text. Ray is
the extra `ray` and is imported on use. Not covered: starting a cluster.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from forklock.evals.contract import Attempt, EvalFault, Judgement, OnResult, Problem, Verdict
from forklock.evals.judging import JudgeLimits
from forklock.evals.judging.limits import judge_stamp
from forklock.models.contract import (
    Completion,
    Decoding,
    Engine,
    ModelIdentity,
    OnCompletion,
    OnTokens,
    Request,
)
from forklock.sandbox import BackendName
from forklock.sandbox.commands.extras import install_hint

RETRIES = 4
"""Number of times that a batch is run again when its worker dies."""
JUDGE_BATCH, ASK_BATCH = 32, 8
"""Programs, and requests, in a batch; one death costs so many."""


def connect(address: str | None = None) -> Any:
    """Connect to a cluster; return the `ray` module.

    Args:
        address: of a cluster; None takes the one that `RAY_ADDRESS` names, or starts one on this machine.

    Raises:
        EvalFault: Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise EvalFault("Ray is not installed", fix=install_hint("ray")) from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EvalFault(
                f"no Ray cluster at {address or 'RAY_ADDRESS'}: {error}",
                fix="`ray start --head`, then give its address, or none for this machine alone",
            ) from error
    return ray


class RayJudge:
    """Judges programs on a cluster (a `ProgramJudge`)."""

    def __init__(
        self, backend: BackendName = "auto", *, limits: JudgeLimits | None = None, address: str | None = None
    ) -> None:
        """
        Raises:
            EvalFault: Ray is not installed, or the cluster does not answer.
        """
        self.limits = limits or JudgeLimits()
        self.backend: str = backend
        self._ray = connect(address)
        self._run = self._ray.remote(max_retries=RETRIES, num_cpus=1)(_judge_batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stamp(self) -> str:
        """What a verdict depends on besides program and problem."""
        return judge_stamp(self.limits)

    def close(self) -> None:
        """Do nothing: the connection belongs to the process, which may use it elsewhere."""

    def judge_many(
        self, attempts: Sequence[Attempt], *, workers: int | None = None, on_result: OnResult | None = None
    ) -> list[Judgement]:
        """Judge as `Judge.judge_many` does; `workers` limits the batches at once, None leaves that to the cluster."""
        results: dict[int, Judgement] = {}
        setting = json.dumps(dataclasses.asdict(self.limits))

        def start(part: Sequence[int]) -> Any:
            texts = [(attempts[i][0].model_dump_json(), attempts[i][1]) for i in part]
            return self._run.remote(texts, setting, self.backend)

        for part, got, why in _in_batches(self._ray, range(len(attempts)), JUDGE_BATCH, workers, start):
            for place, index in enumerate(part):
                if got is None:
                    results[index] = Judgement(verdict=Verdict.INFRASTRUCTURE, reason=why)
                else:
                    results[index] = Judgement.model_validate_json(got[place])
                if on_result is not None:
                    on_result(index, results[index])
        return [results[index] for index in range(len(attempts))]


class RayEngine(Engine):
    """Runs one kind of engine on many workers; each worker opens its own on first use and keeps it.

    A seed fixes a sample wherever it is made; requests without a seed take the decoding's.
    """

    def __init__(
        self, spec: dict[str, Any], identity: ModelIdentity, context_tokens: int, *, address: str | None = None,
        cpus: float = 1, gpus: float = 0,
    ) -> None:  # fmt: skip
        """
        Args:
            spec: `{"agent": command, "timeout_s": s}`, or the arguments of `forklock.models.open_engine`.
            identity, context_tokens: those that the engine reports on this machine.
            cpus, gpus: number that a worker reserves on its node.

        Raises:
            EvalFault: Ray is not installed, or the cluster does not answer.
        """
        self.identity, self.context_tokens = identity, context_tokens
        self._spec = json.dumps(spec)
        self._ray = connect(address)
        self._run = self._ray.remote(max_retries=RETRIES, num_cpus=cpus, num_gpus=gpus)(_ask_batch)

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """
        Raises:
            EvalFault: a batch failed on every node; `on_completion` was called with what came before.
        """
        rows: dict[int, list[Completion]] = {}

        def start(part: Sequence[int]) -> Any:
            texts = [requests[i].model_dump_json() for i in part]
            return self._run.remote(self._spec, texts, decoding.model_dump_json())

        failed = ""
        for part, got, why in _in_batches(self._ray, range(len(requests)), ASK_BATCH, None, start):
            failed = failed or ("" if got is not None else why)
            for index, texts in zip(part, got or [], strict=False):
                rows[index] = [Completion.model_validate_json(text) for text in texts]
                for place, completion in enumerate(rows[index]):
                    if on_tokens is not None:
                        on_tokens(completion.completion_tokens)
                    if on_completion is not None:
                        on_completion(index, place, completion)
        if failed:
            raise EvalFault(
                f"a batch failed on the cluster: {failed}", fix="repair the cluster, then run again"
            )
        return [rows[index] for index in range(len(requests))]

    def count_tokens(self, request: Request) -> int:  # noqa: ARG002
        """Return 0: a cluster is not asked."""
        return 0

    def close(self) -> None:
        pass


def _in_batches(
    ray: Any, indices: Sequence[int], size: int, most: int | None, start: Callable[[Sequence[int]], Any]
) -> Iterator[tuple[Sequence[int], Any, str]]:
    """Yield (indices, result or None, reason of a failure) of each batch, as they end.

    Batches that are running when the caller stops are cancelled.
    """
    cpus = int(ray.cluster_resources().get("CPU", 1))
    size = max(1, min(size, -(-len(indices) // (2 * cpus))))
    waiting = [indices[at : at + size] for at in range(0, len(indices), size)]
    under_way: dict[Any, Sequence[int]] = {}
    try:
        while waiting or under_way:
            while waiting and (most is None or len(under_way) < most):
                part = waiting.pop(0)
                under_way[start(part)] = part
            [ended], _ = ray.wait(list(under_way), num_returns=1)
            part = under_way.pop(ended)
            try:
                yield part, ray.get(ended), ""
            except ray.exceptions.RayError as error:
                yield part, None, f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:300]}"
    finally:
        for left in under_way:
            ray.cancel(left, force=True)


def _judge_batch(texts: list[tuple[str, str | None]], limits: str, backend: BackendName) -> list[str]:
    """Run on a worker: return judgements as JSON."""
    from forklock.evals.judging import Judge

    attempts = [(Problem.model_validate_json(text), code) for text, code in texts]
    with Judge(backend, limits=JudgeLimits(**json.loads(limits))) as judge:
        return [found.model_dump_json() for found in judge.judge_many(attempts, workers=1)]


_OPEN: dict[str, Engine] = {}
"""Engines of this worker, by specification."""


def _ask_batch(spec: str, requests: list[str], decoding: str) -> list[list[str]]:
    """Run on a worker: return completions as JSON."""
    if spec not in _OPEN:
        _OPEN[spec] = open_spec(json.loads(spec))
    asked = [Request.model_validate_json(text) for text in requests]
    rows = _OPEN[spec].complete(asked, Decoding.model_validate_json(decoding))
    return [[completion.model_dump_json() for completion in row] for row in rows]


def open_spec(spec: dict[str, Any]) -> Engine:
    """Open the engine that a specification describes."""
    if "agent" in spec:
        from forklock.evals.agents.command_engine import AgentEngine

        return AgentEngine(spec["agent"], timeout_s=spec["timeout_s"])
    from forklock.models import open_engine

    return open_engine(spec["model"], engine=spec["engine"], adapter=spec["adapter"])

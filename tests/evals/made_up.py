"""Runs that were never run: results and stores on disk, for tests of what reads them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from forklock.evals.contract import Judgement, Sample, Verdict
from forklock.evals.results import EvalResult, ProblemResult
from forklock.evals.runs.store import RunConfig, Store
from forklock.evals.statistics.stats import pass_at
from forklock.models.contract import Completion, Decoding, FinishReason, ModelIdentity

FAILURES = (Verdict.WRONG_ANSWER, Verdict.EXCEPTION, Verdict.TIMED_OUT, Verdict.NO_CODE)


def made_up_run(
    root: Path,
    verdicts: Sequence[Sequence[Verdict]],
    *,
    model: str = "coder",
    adapter: str | None = None,
    temperature: float = 0.8,
    seed: int = 0,
    version: str = "v1",
    preset: str = "coder-chat",
    code: str = "def solve(x):\n    return x + {index}\n",
    prefix: str = "q",
    difficulties: Sequence[str] = ("easy", "medium", "hard"),
) -> EvalResult:
    """A run whose sample `i` of problem `j` got `verdicts[j][i]`; its store and result lie under `root`."""
    config = RunConfig(
        set_name="contests",
        set_version=version,
        model=ModelIdentity(name=model, revision="abc", adapter=adapter, engine="scripted"),
        preset=preset,
        decoding=Decoding(temperature=temperature, seed=seed),
    )
    problems = []
    with Store(config, root) as store:
        for number, row in enumerate(verdicts):
            question = f"{prefix}{number}"
            for index, verdict in enumerate(row):
                sample = _sample(config, question, index, code.replace("{index}", str(index)))
                store.add_sample(sample)
                store.add_judgement(
                    sample.key, Judgement(verdict=verdict, reason="line 1: 2, expected 3"), "1"
                )
            problems.append(
                ProblemResult(
                    question_id=question,
                    difficulty=difficulties[number % len(difficulties)],
                    platform="leetcode",
                    contest_date=date(2024, 1 + number % 12, 1 + number % 28),
                    verdicts=dict(Counter(row)),
                )
            )
    n = max(map(len, verdicts))
    result = EvalResult(
        run_id=config.run_id,
        folder=root / config.run_id,
        set_name=config.set_name,
        set_version=version,
        model=config.model,
        preset=preset,
        decoding=config.decoding,
        n=n,
        problems=tuple(problems),
        pass_at=tuple(pass_at(problems, k) for k in sorted({1, n})),
        prompt_tokens=1000,
        completion_tokens=2000,
        cut=1,
        cost_usd=None,
        made=0,
        generate_s=1.0,
        judge_s=1.0,
    )
    (result.folder / "result.json").write_text(result.model_dump_json(), encoding="utf-8")
    return result


def rows(passed: Sequence[int], n: int, failure: Verdict = Verdict.WRONG_ANSWER) -> list[list[Verdict]]:
    """`passed[j]` of `n` samples pass problem `j`."""
    return [[Verdict.PASSED] * count + [failure] * (n - count) for count in passed]


def random_rows(problems: int, n: int, shift: float, seed: int) -> list[list[Verdict]]:
    """Rates that fall with the problem's difficulty (its number modulo 3), plus a shift."""
    rng = random.Random(seed)
    found = []
    for number in range(problems):
        rate = (0.8, 0.45, 0.15)[number % 3] + shift
        found.append([Verdict.PASSED if rng.random() < rate else rng.choice(FAILURES) for _ in range(n)])
    return found


def _sample(config: RunConfig, question: str, index: int, code: str) -> Sample:
    completion = Completion(
        text=f"```python\n{code}```",
        finish_reason=FinishReason.STOP,
        prompt_tokens=10,
        completion_tokens=20,
        seconds=0.1,
        model=config.model,
    )
    return Sample(
        key=f"{config.run_id}/{question}/{index}",
        question_id=question,
        index=index,
        completion=completion,
        code=code,
    )

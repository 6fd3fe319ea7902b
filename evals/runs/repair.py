"""evals: answers that fail the public tests are shown how, and asked again.

In: samples of some problems. Out: the same, a failed one replaced by its last repair, and all that was asked on the
way. What a model is shown is made from a problem that holds the public tests and no other, so no hidden test can
leak; problems without public tests are not repaired. Verdicts on public tests are kept in the store, so that a resumed
run asks the same. Not covered: the verdict that counts (`evals.runs.run`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evals.cluster import RayJudge
from evals.contract import Judgement, Problem, Sample, Verdict
from evals.judging.judge import Judge
from evals.runs.generate import OnSample, ask
from evals.runs.prompts import Preset, request_for
from evals.runs.store import Store
from models.contract import Engine, Message, OnTokens, Request

SHOWN = 1_500
"""Characters of a test's input or output, or of a reason, that a model is shown."""


def public_part(problem: Problem) -> Problem | None:
    """The problem with its public tests only; None where it has none."""
    tests = tuple(test for test in problem.tests if test.public)
    if not tests or problem.tests[: len(tests)] != tests:
        return None
    update: dict[str, object] = {"tests": tests}
    if problem.checker is not None and problem.checker.answers:
        update["checker"] = problem.checker.model_copy(
            update={"answers": problem.checker.answers[: len(tests)]}
        )
    return problem.model_copy(update=update)


def repaired(
    engine: Engine,
    judge: Judge | RayJudge,
    problems: Sequence[Problem],
    rows: Sequence[Sequence[Sample]],
    *,
    preset: Preset,
    turns: int,
    store: Store,
    judge_of: Callable[[Sample], str],
    on_tokens: OnTokens | None = None,
    on_sample: OnSample | None = None,
) -> tuple[list[list[Sample]], list[Sample]]:
    """The last answer of each sample, and the earlier ones that were replaced.

    Args:
        turns: repairs of one sample at most.
        judge_of: what a verdict on a sample belongs to.
    """
    last = [list(row) for row in rows]
    earlier: list[Sample] = []
    requests: dict[tuple[int, int], Request] = {}
    for turn in range(1, turns + 1):
        failed = _failed(judge, problems, last, store, judge_of, turn)
        asked = []
        for (at, index), public, judgement in failed:
            before = requests.get((at, index)) or request_for(problems[at], preset)
            requests[at, index] = _again(before, last[at][index], public, judgement)
            asked.append((problems[at], last[at][index].index, requests[at, index]))
        made = ask(
            engine, asked, preset=preset, store=store, turn=turn, on_tokens=on_tokens, on_sample=on_sample
        )
        for ((at, index), _, _), sample in zip(failed, made, strict=True):
            earlier.append(last[at][index])
            last[at][index] = sample
    return last, earlier


Failed = tuple[tuple[int, int], Problem, Judgement]


def _failed(
    judge: Judge | RayJudge,
    problems: Sequence[Problem],
    rows: Sequence[Sequence[Sample]],
    store: Store,
    judge_of: Callable[[Sample], str],
    turn: int,
) -> list[Failed]:
    """Samples of the turn before that fail a public test."""
    places = [
        ((at, index), public, sample)
        for at, (problem, row) in enumerate(zip(problems, rows, strict=True))
        if (public := public_part(problem)) is not None
        for index, sample in enumerate(row)
        if sample.turn == turn - 1
    ]
    left = [(public, s) for _, public, s in places if store.judgement(f"{s.key}/public", judge_of(s)) is None]

    def keep(number: int, judgement: Judgement) -> None:
        if judgement.verdict is not Verdict.INFRASTRUCTURE:
            sample = left[number][1]
            store.add_judgement(f"{sample.key}/public", judgement, judge_of(sample))

    judge.judge_many([(public, sample.code) for public, sample in left], on_result=keep)
    failed = []
    for place, public, sample in places:
        judgement = store.judgement(f"{sample.key}/public", judge_of(sample))
        if judgement is not None and judgement.verdict is not Verdict.PASSED:
            failed.append((place, public, judgement))
    return failed


def _again(before: Request, sample: Sample, public: Problem, judgement: Judgement) -> Request:
    """The talk so far, the answer, and how it fails the public tests."""
    said = Message(role="assistant", content=before.prefill + sample.completion.text or "(no answer)")
    told = Message(role="user", content=feedback(public, judgement))
    return before.model_copy(update={"messages": (*before.messages, said, told)})


def feedback(public: Problem, judgement: Judgement) -> str:
    """What a model is told of its failure."""
    lines = [f"This fails a public test: {judgement.verdict.value}. {_cut(judgement.reason)}".strip()]
    if judgement.verdict is Verdict.NO_CODE:
        lines = ["I found no program in this answer."]
    elif judgement.failing_test is not None:
        test = public.tests[judgement.failing_test]
        if test.kind == "assert":
            lines.append(f"The test:\n```python\n{_cut(test.input)}\n```")
        else:
            lines.append(
                f"Input:\n```\n{_cut(test.input)}\n```\nExpected output:\n```\n{_cut(test.output)}\n```"
            )
    lines.append("Correct it. Give the whole program again, in one Python code block.")
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"

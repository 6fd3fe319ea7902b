"""evals: repair: answers that fail the public tests are shown how they fail, and asked again.

Input: samples of some problems. Output: the same samples, a failed one replaced by its last repair, and the replaced
ones. The model sees only what is computed from the public tests, so no hidden test can leak; problems without public
tests are not repaired. Verdicts on public tests are stored, so that a resumed run asks the same. Not covered: the
verdict that counts (`forklock.evals.runs.run`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forklock.evals.contract import Judgement, Problem, ProgramJudge, Sample, Verdict, public_part
from forklock.evals.runs.generate import Sampler
from forklock.evals.runs.prompts import request_for
from forklock.evals.runs.store import judged_as
from forklock.models.contract import Message, Request

SHOWN = 1_500
"""Characters of a test's input or output, or of a reason, that a model is shown."""


def repaired(
    sampler: Sampler,
    judge: ProgramJudge,
    problems: Sequence[Problem],
    rows: Sequence[Sequence[Sample]],
    *,
    turns: int,
) -> tuple[list[list[Sample]], list[Sample]]:
    """Return the last answer of each sample, and the earlier answers that were replaced.

    Args:
        rows: first answers, by problem.
        turns: largest number of repairs of one sample.
    """
    last = [list(row) for row in rows]
    earlier: list[Sample] = []
    requests: dict[tuple[int, int], Request] = {}
    for turn in range(1, turns + 1):
        failed = _failed(sampler, judge, problems, last, turn)
        asked = []
        for one in failed:
            at, index = one.place
            sample = last[at][index]
            before = requests.get(one.place) or request_for(problems[at], sampler.preset)
            requests[one.place] = _next_request(before, sample, one.public, one.judgement)
            asked.append((problems[at], sample.index, requests[one.place]))
        for one, sample in zip(failed, sampler.ask(asked, turn=turn), strict=True):
            at, index = one.place
            earlier.append(last[at][index])
            last[at][index] = sample
    return last, earlier


@dataclass(frozen=True, slots=True)
class _Failed:
    """A sample that fails a public test."""

    place: tuple[int, int]
    """Indices of its problem, and of the sample in the problem's row."""
    public: Problem
    judgement: Judgement


def _failed(
    sampler: Sampler,
    judge: ProgramJudge,
    problems: Sequence[Problem],
    rows: Sequence[Sequence[Sample]],
    turn: int,
) -> list[_Failed]:
    """Return the samples of the turn before that fail a public test."""
    store, stamp = sampler.store, judge.stamp
    places = [
        ((at, index), public, sample)
        for at, (problem, row) in enumerate(zip(problems, rows, strict=True))
        if (public := public_part(problem)) is not None
        for index, sample in enumerate(row)
        if sample.turn == turn - 1
    ]

    def known(sample: Sample) -> Judgement | None:
        return store.judgement(f"{sample.key}/public", judged_as(sample, stamp))

    left = [(public, sample) for _, public, sample in places if known(sample) is None]

    def keep(number: int, judgement: Judgement) -> None:
        if judgement.verdict is not Verdict.INFRASTRUCTURE:
            sample = left[number][1]
            store.add_judgement(f"{sample.key}/public", judgement, judged_as(sample, stamp))

    judge.judge_many([(public, sample.code) for public, sample in left], on_result=keep)
    return [
        _Failed(place, public, judgement)
        for place, public, sample in places
        if (judgement := known(sample)) is not None and judgement.verdict is not Verdict.PASSED
    ]


def _next_request(before: Request, sample: Sample, public: Problem, judgement: Judgement) -> Request:
    """Return the dialogue so far, followed by the answer and how it fails the public tests."""
    answer = Message(role="assistant", content=before.prefill + sample.completion.text or "(no answer)")
    message = Message(role="user", content=feedback(public, judgement))
    return before.model_copy(update={"messages": (*before.messages, answer, message)})


def feedback(public: Problem, judgement: Judgement) -> str:
    """Return the message that shows a model how its answer failed."""
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

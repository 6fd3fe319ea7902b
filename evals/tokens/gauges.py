"""evals: measures each token of solutions under a model: entropy, kept mass, survivors, mass by rank.

Input: an open in-process engine, answers as token ids with their prompts, and a cut (temperature, top-k, top-p).
Output: one `TokenTable` per answer, stored as it comes, so that a killed run continues where it stopped. A token with
one survivor is a *lock*, one with several is a *fork* (arXiv 2604.01193). Every number is at temperature 1; only the
tokens that survive depend on the cut. Not covered: statistics (`forklock.evals.tokens.stats`), pictures
(`forklock.evals.tokens.page`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.evals.contract import Problem, ProblemSet, Sample
from forklock.evals.runs.extract import OPENING, Preset
from forklock.evals.runs.generate import Sampler
from forklock.evals.runs.grade import Solution
from forklock.evals.runs.prompts import request_for
from forklock.evals.runs.store import RunConfig, Store, results_dir
from forklock.evals.tokens.tables import KEY_LENGTH, LISTED, TableFile, TokenTable, file_name, table_of
from forklock.models.contract import Decoding, Engine, FirstStage, ModelFault, Request

if TYPE_CHECKING:
    from forklock.models.engines.transformers_engine import TransformersEngine

MOST_SURVIVORS = 64
"""Largest top-k whose support is listed in full, so that another model can be asked for its mass."""


@dataclass(frozen=True)
class Answer:
    """A solution as tokens."""

    question_id: str
    index: int
    request: Request
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    """Text of each token; "" for control tokens, and where a character is not complete yet."""
    counted: tuple[bool, ...]
    """Whether each token counts in the statistics."""

    @property
    def name(self) -> str:
        """The answer's name in reports."""
        return f"{self.question_id}, sample {self.index}"


Advance = Callable[[int], None]


def sampled_answers(
    engine: Engine,
    problems: ProblemSet,
    decoding: Decoding,
    *,
    prompts: Preset,
    n: int,
    part: str = "all",
    root: Path | None = None,
    on_sample: Advance | None = None,
) -> list[Answer]:
    """Return `n` answers per problem by the model itself; they are stored and shared with `evals run`.

    Args:
        part: `all` counts every token, `code` those of the program that was found in the answer.

    Raises:
        ModelFault: the engine gives no token ids.
    """
    config = RunConfig(
        set_name=problems.name.partition("[")[0],
        set_version=problems.version,
        model=engine.identity,
        preset=prompts,
        decoding=decoding.model_copy(update={"n": 1}),
    )
    with Store(config, root) as store:
        sampler = Sampler(engine, prompts, store, on_sample=lambda _: on_sample(1) if on_sample else None)
        rows = sampler.generate(problems.problems, n)
    opened = in_process(engine)
    return [
        _sampled(opened, problem, sample, prompts, part)
        for problem, row in zip(problems.problems, rows, strict=True)
        for sample in row
        if sample.completion.token_ids
    ]


def given_answers(
    engine: Engine, problems: ProblemSet, solutions: Sequence[Solution], *, prompts: Preset
) -> list[Answer]:
    """Return given programs, put into a code block and tokenised; only their own tokens count.

    The tokenizer makes the tokens from the text; a model might write the same text with other tokens.
    """
    opened = in_process(engine)
    known = {problem.question_id: problem for problem in problems.problems}
    seen: dict[str, int] = {}
    answers = []
    for solution in solutions:
        if solution.code is None or not solution.code.strip() or solution.question_id not in known:
            continue
        index = seen.get(solution.question_id, 0)
        seen[solution.question_id] = index + 1
        request = request_for(known[solution.question_id], prompts)
        head, code = "" if request.prefill else f"{OPENING}\n", solution.code.strip("\n")
        encoded = opened.tokenizer.backend_tokenizer.encode(f"{head}{code}\n```", add_special_tokens=False)
        inside = [start >= len(head) and end <= len(head) + len(code) + 1 for start, end in encoded.offsets]
        answers.append(_answer(opened, solution.question_id, index, request, encoded.ids, inside))
    return answers


def score_answers(
    engine: Engine,
    answers: Sequence[Answer],
    cut: FirstStage,
    *,
    supports_of: Sequence[TokenTable] | None = None,
    folder: Path | None = None,
    on_tokens: Advance | None = None,
) -> list[TokenTable]:
    """Return each answer's table in order; stored tables are not computed again.

    Args:
        supports_of: tables of another model; the mass on their survivors is computed, too.
        folder: folder of the stored tables; None takes the user's.

    Raises:
        ModelFault: this is not the in-process engine, or an answer does not fit the context.
        EvalFault: the folder cannot be written.
    """
    opened = in_process(engine)
    listed = max(LISTED, cut.top_k) if cut.top_k <= MOST_SURVIVORS else LISTED
    others = supports_of if supports_of is not None else [None] * len(answers)
    keys = [_key(opened, answer, cut, other) for answer, other in zip(answers, others, strict=True)]
    file = TableFile(
        (folder or results_dir("tokens")) / f"{file_name(engine.identity)}.jsonl", frozenset(keys)
    )
    tables = []
    for key, answer, other in zip(keys, answers, others, strict=True):
        known = file.tables.get(key)
        if known is None:
            watch = None if other is None else [[[other.support(i) for i in range(len(answer.ids))]]]
            [[scores]] = opened.score([answer.request], [[answer.ids]], top_k=listed, cut=cut, watch=watch)
            file.add(known := table_of(key, scores))
        if on_tokens is not None:
            on_tokens(len(answer.ids))
        tables.append(known)
    return tables


def supports_are_listed(cut: FirstStage) -> bool:
    """Return whether every support is listed in full, so that another model can be asked for its mass."""
    return 0 < cut.top_k <= MOST_SURVIVORS


def in_process(engine: Engine) -> TransformersEngine:
    """Return the engine as the in-process engine.

    Raises:
        ModelFault: it is another engine; no other gives whole distributions.
    """
    if engine.identity.engine != "transformers":
        raise ModelFault(
            f"the {engine.identity.engine} engine does not give whole distributions",
            fix="take --engine transformers",
        )
    return engine  # type: ignore[return-value]  # checked by name, so that torch is not imported here


def vocabulary_digest(engine: Engine) -> str:
    """Return a digest that is equal for two models with the same tokens under the same ids."""
    known = sorted(in_process(engine).tokenizer.get_vocab().items())
    return hashlib.sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()


def words_of(engine: Engine, ids: Iterable[int]) -> dict[int, str]:
    """Return the text of single tokens; control tokens have their names."""
    backend = in_process(engine).tokenizer.backend_tokenizer
    return {token: str(backend.decode([token], skip_special_tokens=False)) for token in set(ids)}


def _sampled(
    engine: TransformersEngine, problem: Problem, sample: Sample, prompts: Preset, part: str
) -> Answer:
    ids = sample.completion.token_ids or ()
    answer = _answer(
        engine, problem.question_id, sample.index, request_for(problem, prompts), ids, [True] * len(ids)
    )
    if part == "all":
        return answer
    text = "".join(answer.pieces)
    start = text.find(sample.code) if sample.code else -1
    end = start + len(sample.code or "")
    place, inside = 0, []
    for piece in answer.pieces:
        inside.append(start >= 0 and place >= start and place + len(piece) <= end and piece != "")
        place += len(piece)
    return Answer(answer.question_id, answer.index, answer.request, answer.ids, answer.pieces, tuple(inside))


def _answer(
    engine: TransformersEngine,
    question_id: str,
    index: int,
    request: Request,
    ids: Sequence[int],
    counted: Sequence[bool],
) -> Answer:
    return Answer(question_id, index, request, tuple(ids), pieces_of(engine, ids), tuple(counted))


def pieces_of(engine: TransformersEngine, ids: Sequence[int]) -> tuple[str, ...]:
    """Return the text that each token adds."""
    from forklock.models.engines.transformers_engine.text import TextTail

    backend = engine.tokenizer.backend_tokenizer
    tail = TextTail(lambda part: str(backend.decode(part, skip_special_tokens=True)))
    pieces, before = [], 0
    for token in ids:
        tail.feed(token)
        pieces.append(tail.text[before:])
        before = len(tail.text)
    rest = tail.finish()[before:]
    if rest and pieces:
        pieces[-1] += rest
    return tuple(pieces)


def _key(engine: TransformersEngine, answer: Answer, cut: FirstStage, other: TokenTable | None) -> str:
    from forklock.models.engines.tokens import prompt_ids

    prompt = prompt_ids(engine.tokenizer, answer.request)
    parts = (
        engine.identity.model_dump_json(), ",".join(map(str, prompt)), ",".join(map(str, answer.ids)), str(cut),
        other.key if other else "",
    )  # fmt: skip
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:KEY_LENGTH]

"""evals: what a model thinks of each token of solutions: entropy, kept mass, survivors, mass by rank.

In: an open in-process engine, answers as token ids with their prompts, and a cut (temperature, top-k, top-p).
Out: one `TokenTable` an answer, kept on disk as it comes, so that a killed run goes on where it was. A token
with one survivor is a *lock*, one with several is a *fork* (arXiv 2604.01193). Everything is at temperature 1,
but for which tokens the cut keeps. Not covered: statistics (`evals.tokens.stats`), pictures (`evals.tokens.page`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.contract import EvalFault, Problem, ProblemSet, Sample
from evals.runs.extract import OPENING, Preset
from evals.runs.generate import Sampler
from evals.runs.grade import Solution
from evals.runs.prompts import request_for
from evals.runs.store import RunConfig, Store, results_dir
from models.contract import Decoding, Engine, FirstStage, ModelFault, ModelIdentity, Request

if TYPE_CHECKING:
    from models.transformers_engine import TokenScores, TransformersEngine

LISTED = 20
"""Most likely tokens that are kept of each place."""
KEY_LENGTH = 32
MOST_SURVIVORS = 64
"""Top-k up to which a support is listed in full, so that another model can be asked for its mass."""


@dataclass(frozen=True)
class Answer:
    """A solution to look at, as tokens."""

    question_id: str
    index: int
    request: Request
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    """Text of each token; "" where a character is not finished yet, or for control tokens."""
    counted: tuple[bool, ...]
    """Which tokens enter the statistics."""

    @property
    def name(self) -> str:
        return f"{self.question_id}, sample {self.index}"


class TokenTable(BaseModel):
    """One answer under one model, a number a token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    logprob: tuple[float, ...]
    entropy: tuple[float, ...]
    """Nats."""
    rank: tuple[int, ...]
    """Of the token that stands there; 1 is the likeliest."""
    survivors: tuple[int, ...]
    kept_mass: tuple[float, ...]
    top_ids: tuple[tuple[int, ...], ...]
    top_logprobs: tuple[tuple[float, ...], ...]
    other_support: tuple[float, ...] | None = None
    """Mass on what the cut keeps under the *other* model, where one was given."""

    def support(self, place: int) -> tuple[int, ...]:
        """Ids that the cut keeps, as far as they are listed."""
        return self.top_ids[place][: self.survivors[place]]


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
    """`n` answers a problem by the model itself; kept and shared with `evals run`.

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
    """Programs that somebody else wrote, put into a code block and tokenised; only their own tokens count.

    The tokens are those that the tokenizer makes of the text, which need not be those that a model would say.
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
    """Each answer's table, in order; those that the folder has are not computed again.

    Args:
        supports_of: tables of another model, whose supports' mass is asked for.
        folder: where tables are kept; None is the user's cache.

    Raises:
        ModelFault: not the in-process engine, or an answer does not fit the context.
        EvalFault: the folder cannot be written.
    """
    opened = in_process(engine)
    listed = max(LISTED, cut.top_k) if cut.top_k <= MOST_SURVIVORS else LISTED
    others = supports_of if supports_of is not None else [None] * len(answers)
    keys = [_key(opened, answer, cut, other) for answer, other in zip(answers, others, strict=True)]
    file = _TableFile((folder or results_dir("tokens")) / f"{_safe(engine.identity)}.jsonl", frozenset(keys))
    tables = []
    for key, answer, other in zip(keys, answers, others, strict=True):
        known = file.tables.get(key)
        if known is None:
            watch = None if other is None else [[[other.support(i) for i in range(len(answer.ids))]]]
            [[scores]] = opened.score([answer.request], [[answer.ids]], top_k=listed, cut=cut, watch=watch)
            file.add(known := _table(key, scores))
        if on_tokens is not None:
            on_tokens(len(answer.ids))
        tables.append(known)
    return tables


def supports_are_listed(cut: FirstStage) -> bool:
    """Whether every support is short enough for another model to be asked about all of it."""
    return 0 < cut.top_k <= MOST_SURVIVORS


def in_process(engine: Engine) -> TransformersEngine:
    """
    Raises:
        ModelFault: another engine: none of them gives whole distributions.
    """
    if engine.identity.engine != "transformers":
        raise ModelFault(
            f"the {engine.identity.engine} engine does not give whole distributions",
            fix="take --engine transformers",
        )
    return engine  # type: ignore[return-value]  # narrowed by its name, so that torch is not imported here


def vocabulary_digest(engine: Engine) -> str:
    """Equal for two models that cut text into the same tokens under the same ids."""
    known = sorted(in_process(engine).tokenizer.get_vocab().items())
    return hashlib.sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()


def words_of(engine: Engine, ids: Iterable[int]) -> dict[int, str]:
    """The text of single tokens, control tokens by their names."""
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
    """The text that each token adds."""
    from models.transformers_engine.text import TextTail

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


def _table(key: str, scores: TokenScores) -> TokenTable:
    def floats(values: Any) -> list[float]:
        return [round(value, 5) for value in values.tolist()]

    watched = scores.watched_mass
    return TokenTable(
        key=key,
        logprob=tuple(floats(scores.logprob)),
        entropy=tuple(floats(scores.entropy)),
        rank=tuple(scores.rank.tolist()),
        survivors=tuple(scores.survivors.tolist()) if scores.survivors is not None else (),
        kept_mass=tuple(floats(scores.kept_mass)),
        top_ids=tuple(map(tuple, scores.top_ids.tolist())),
        top_logprobs=tuple(tuple(round(v, 4) for v in row) for row in scores.top_logprobs.tolist()),
        other_support=None if watched is None else tuple(floats(watched)),
    )


class _TableFile:
    """Tables of one model, a line each; lines that a kill has torn are computed again."""

    def __init__(self, path: Path, wanted: frozenset[str]) -> None:
        self.path, self._wanted = path, wanted
        self.tables: dict[str, TokenTable] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                with path.open("rb") as file:
                    for line in file:
                        self._read(line)
                self._end_torn_line()
        except OSError as error:
            raise EvalFault(f"cannot use {path}: {error.strerror}", fix="free or allow it") from error

    def add(self, table: TokenTable) -> None:
        self.tables[table.key] = table
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(table.model_dump_json() + "\n")
        except OSError as error:
            raise EvalFault(
                f"cannot write {self.path}: {error.strerror}", fix="free some space, run again"
            ) from error

    def _read(self, line: bytes) -> None:
        head = line[: len('{"key":"') + KEY_LENGTH].decode("ascii", "replace")
        if head.removeprefix('{"key":"') not in self._wanted:
            return
        try:
            table = TokenTable.model_validate_json(line)
        except ValidationError:
            return
        self.tables[table.key] = table

    def _end_torn_line(self) -> None:
        with self.path.open("rb+") as file:
            if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
                file.write(b"\n")


def _key(engine: TransformersEngine, answer: Answer, cut: FirstStage, other: TokenTable | None) -> str:
    from models.tokens import prompt_ids

    prompt = prompt_ids(engine.tokenizer, answer.request)
    parts = (
        engine.identity.model_dump_json(), ",".join(map(str, prompt)), ",".join(map(str, answer.ids)), str(cut),
        other.key if other else "",
    )  # fmt: skip
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:KEY_LENGTH]


def _safe(model: ModelIdentity) -> str:
    name = (
        f"{model.name.rstrip('/').rsplit('/', maxsplit=1)[-1]}{'+' + model.adapter if model.adapter else ''}"
    )
    digest = hashlib.sha256(model.model_dump_json().encode()).hexdigest()[:8]
    return "".join(c if c.isalnum() or c in "+.-" else "_" for c in f"{name}-{digest}")

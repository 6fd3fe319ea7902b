"""`evals tokens`: entropy, kept mass and survivors along solutions, and lock/fork maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from forklock.evals.commands.options import (
    AdapterOption,
    DataOption,
    JsonOption,
    LimitOption,
    OutOption,
    PresetOption,
    SetArgument,
    adapter_or_none,
    check_file,
    check_folder,
    decoding_of,
    write_json,
    write_pages,
)
from forklock.sandbox.terminal import say

if TYPE_CHECKING:
    from forklock.evals.contract import ProblemSet
    from forklock.evals.runs.prompts import Preset
    from forklock.evals.tokens.gauges import Answer
    from forklock.evals.tokens.map import Map
    from forklock.evals.tokens.stats import TokensResult
    from forklock.evals.tokens.tables import TokenTable
    from forklock.models.contract import Decoding, Engine, FirstStage, ModelIdentity

COMPARE, SAMPLES = "Two models", "Sampling"


def register(app: typer.Typer) -> None:
    """Add the command to the `evals` app."""
    app.command()(tokens)


def tokens(
    problems: SetArgument,
    model: Annotated[str, typer.Option(help="Catalogue name or folder; only the in-process engine supports this.")],
    adapter: AdapterOption = "current",
    versus: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(rich_help_panel=COMPARE, help="Another model with the same tokens; by default --model."),
    ] = None,
    versus_adapter: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(rich_help_panel=COMPARE, help="Its adapter: none, a version or a folder."),
    ] = None,
    solutions: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help='Programs to measure, as for `evals judge`: one {"question_id", "code"} per line; by default '
                     "the model's own answers."),
    ] = None,
    cut: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="T/K/P", help="Decides which tokens survive; by default the paper's train-time settings."),
    ] = None,
    part: Annotated[str, typer.Option(help="Of sampled answers, count `all` tokens or those of the `code`.")] = "all",
    limit: LimitOption = None,
    maps: Annotated[int, typer.Option(min=0, help="Number of lock/fork maps to draw, of the first answers.")] = 4,
    n: Annotated[int, typer.Option("-n", min=1, rich_help_panel=SAMPLES, help="Samples per problem.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=5, rich_help_panel=SAMPLES)] = 0.2,
    top_k: Annotated[int, typer.Option(min=0, rich_help_panel=SAMPLES, help="0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1, rich_help_panel=SAMPLES)] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, rich_help_panel=SAMPLES, help="New tokens per sample.")] = 1024,
    seed: Annotated[int, typer.Option(rich_help_panel=SAMPLES, help="Same seed, same samples.")] = 0,
    prompts: PresetOption = "auto",
    data: DataOption = None,
    out: OutOption = None,
    json_file: JsonOption = None,
) -> None:  # fmt: skip
    """Show token by token where a model is sure and where it forks.

    The same command continues an interrupted measurement.
    """
    from forklock.evals.problems import load_set
    from forklock.evals.reports.terminal import reading
    from forklock.evals.runs.prompts import preset_for

    if part not in ("all", "code"):
        raise typer.BadParameter("all or code", param_hint="--part")
    check_file(json_file, "--json")
    check_folder(out, "--out")
    decoding = decoding_of(
        temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens, seed=seed
    )
    with reading(problems):
        chosen = load_set(problems, data=data, limit=limit)
        whole = chosen if limit is None else load_set(problems, data=data)
    preset = preset_for(chosen, prompts)
    job = _Job(chosen, whole, preset, _stage(cut, model), decoding, n, part, solutions, maps)
    second = None
    if versus is not None or versus_adapter is not None:
        second = versus or model, versus_adapter or "none"
    result, drawn = _measure(job, (model, adapter), second)
    _finish(result, drawn, out, json_file)


@dataclass(frozen=True)
class _Job:
    """What is measured, whatever the model."""

    problems: ProblemSet
    whole: ProblemSet
    """The same set without a limit, because a file of solutions may cover all of it."""
    prompts: Preset
    cut: FirstStage
    decoding: Decoding
    n: int
    part: str
    solutions: Path | None
    maps: int


@dataclass(frozen=True)
class _Scored:
    """One model's tables of all answers."""

    model: ModelIdentity
    vocabulary: str
    """Digest; two models can be compared only if it is the same."""
    tables: list[TokenTable]


def _measure(
    job: _Job, first: tuple[str, str], second: tuple[str, str] | None
) -> tuple[TokensResult, list[Map]]:
    """Measure one model or two; only one is in memory at a time.

    The first makes or reads the answers; the second scores the same tokens.
    """
    from forklock.evals.contract import EvalFault
    from forklock.evals.tokens.gauges import vocabulary_digest, words_of
    from forklock.evals.tokens.map import map_of

    with _open(*first) as engine:
        answers = _answers(job, engine)
        if not any(any(answer.counted) for answer in answers):
            raise EvalFault(
                "no token is counted", fix="more problems, --part all, or solutions with code in them"
            )
        ours = _Scored(engine.identity, vocabulary_digest(engine), _score(job, engine, answers, None))
        words = words_of(
            engine, (i for t in ours.tables for row in t.top_ids for i in row) if answers else ()
        )
        words |= words_of(engine, (token for answer in answers for token in answer.ids))
    theirs = _second(job, second, answers, ours) if second is not None else None
    drawn = [
        map_of(
            answers[i], ours.tables[i], str(ours.model), words.__getitem__,
            None if theirs is None else theirs.tables[i],
        )
        for i in range(min(job.maps, len(answers)))
    ]  # fmt: skip
    return _result(job, answers, ours, theirs, words), drawn


def _second(job: _Job, named: tuple[str, str], answers: Sequence[Answer], ours: _Scored) -> _Scored:
    """Score the first model's answers with the second model."""
    from forklock.evals.contract import EvalFault
    from forklock.evals.tokens.gauges import vocabulary_digest

    with _open(*named) as engine:
        if engine.identity == ours.model:
            raise EvalFault(
                "both models are the same", fix="--versus-adapter with a version, or another --versus"
            )
        if vocabulary_digest(engine) != ours.vocabulary:
            raise EvalFault(
                f"{ours.model.name} and {engine.identity.name} have different tokens",
                fix="compare a model with its own adapter, or with a model of the same tokenizer",
            )
        return _Scored(engine.identity, ours.vocabulary, _score(job, engine, answers, ours.tables))


def _result(
    job: _Job, answers: Sequence[Answer], ours: _Scored, theirs: _Scored | None, words: dict[int, str]
) -> TokensResult:
    from forklock.evals.tokens.stats import TokensResult, differences, side, widest_forks

    return TokensResult(
        set_name=job.problems.name,
        set_version=job.problems.version,
        prompts=job.prompts,
        source=_source(job),
        cut=str(job.cut),
        counted="all tokens" if job.part == "all" and job.solutions is None else "tokens of the code",
        problems=len({answer.question_id for answer in answers}),
        answers=len(answers),
        tokens=sum(sum(answer.counted) for answer in answers),
        model=side(str(ours.model), answers, ours.tables),
        versus=None if theirs is None else side(str(theirs.model), answers, theirs.tables),
        differences=() if theirs is None else tuple(differences(answers, ours.tables, theirs.tables)),
        forks=tuple(widest_forks(answers, ours.tables, words.__getitem__)),
    )


def _open(model: str, adapter: str) -> Engine:
    from forklock.models import open_engine

    say(f"opening {model}{'' if adapter in ('none', 'current') else f' with {adapter}'}", err=True)
    return open_engine(model, engine="transformers", adapter=adapter_or_none(adapter))


def _answers(job: _Job, engine: Engine) -> list[Answer]:
    from forklock.evals.runs.grade import read_solutions
    from forklock.evals.tokens.gauges import given_answers, sampled_answers
    from forklock.sandbox.terminal.progress import Progress

    if job.solutions is not None:
        rows = read_solutions(job.solutions, job.whole)
        return given_answers(engine, job.problems, rows, prompts=job.prompts)
    total = len(job.problems.problems) * job.n
    with Progress().task("sampling", total, unit="answers") as advance:
        return sampled_answers(
            engine, job.problems, job.decoding, prompts=job.prompts, n=job.n, part=job.part, on_sample=advance
        )


def _score(
    job: _Job, engine: Engine, answers: Sequence[Answer], ours: Sequence[TokenTable] | None
) -> list[TokenTable]:
    from forklock.evals.tokens.gauges import score_answers, supports_are_listed
    from forklock.sandbox.terminal.progress import Progress

    supports = ours if supports_are_listed(job.cut) else None
    with Progress().task("scoring", sum(len(a.ids) for a in answers), unit="tokens") as advance:
        return score_answers(engine, answers, job.cut, supports_of=supports, on_tokens=advance)


def _stage(text: str | None, model: str) -> FirstStage:
    from forklock.models.contract import FirstStage
    from forklock.models.families import preset_of

    try:
        return FirstStage.parse(text) if text else preset_of(model).stage
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cut") from error


def _source(job: _Job) -> str:
    from forklock.evals.sweeps.grid import settings_text

    if job.solutions is not None:
        return f"programs of {job.solutions.name}"
    return f"the first model's own answers ({settings_text(job.decoding)}, {job.n} a problem)"


def _finish(result: TokensResult, maps: list[Map], out: Path | None, json_file: Path | None) -> None:
    import hashlib

    from forklock.evals.runs.store import results_dir
    from forklock.evals.tokens.page import write_files
    from forklock.evals.tokens.report import tokens_view
    from forklock.sandbox.terminal import screen

    screen().print(tokens_view(result))
    write_json(json_file, result)
    digest = hashlib.sha256(result.model_dump_json(indent=1).encode()).hexdigest()[:8]
    own = results_dir("tokens") / f"{result.set_name}-{digest}"
    write_pages(lambda: write_files(result, maps, out or own))

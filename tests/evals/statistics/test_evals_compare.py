"""`evals compare` and `evals gate` on runs made up on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import made_up_run, random_rows, rows

from forklock.evals.contract import EvalFault, Verdict
from forklock.evals.results import EvalResult
from forklock.evals.runs.past import find_run, read_samples
from forklock.evals.statistics.comparison import Comparison, compare_runs
from forklock.evals.statistics.gate import decide

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    return tmp_path / "results" / "evals"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    from forklock.evals.commands.main import main

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["evals", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(ended.value.code or 0), out + err

    return run


def test_the_numbers_of_a_comparison(store: Path) -> None:
    a = made_up_run(store, rows([4, 2, 0, 1], 4))
    b = made_up_run(store, rows([4, 4, 1, 0], 4), adapter="coder/v1")
    found = compare_runs(a, b)
    assert found.effect.a == 7 / 16 and found.effect.b == 9 / 16 and found.effect.difference == 2 / 16
    assert [(f.question_id, f.change) for f in found.flips] == [("q1", 0.5), ("q2", 0.25), ("q3", -0.25)]
    assert found.changed == ("adapter (none → coder/v1)",) and found.warnings == ()
    assert [g.name for g in found.groups] == ["easy", "medium", "hard"]
    assert all(g.p_holm >= g.effect.p_value for g in found.groups)
    assert "sign-flip" in found.test and found.power.needed and found.power.smallest


def test_one_sample_a_problem_is_mcnemar(store: Path) -> None:
    a, b = made_up_run(store, rows([1, 0, 1], 1)), made_up_run(store, rows([1, 1, 0], 1), seed=1)
    found = compare_runs(a, b)
    assert found.test == "McNemar's exact test" and found.effect.p_value == 1
    assert found.changed == ()


def test_infrastructure_errors_do_not_count_and_are_said(store: Path) -> None:
    a = made_up_run(store, [[Verdict.PASSED, Verdict.INFRASTRUCTURE], [Verdict.INFRASTRUCTURE] * 2])
    b = made_up_run(store, rows([1, 2], 2), seed=1)
    found = compare_runs(a, b)
    assert found.effect.problems == 1 and found.effect.difference == -0.5
    assert found.a.left_out == 1 and found.a.infrastructure == 3
    assert "3 samples of A" in " ".join(found.warnings)


def test_the_same_run_twice(store: Path) -> None:
    a = made_up_run(store, rows([1, 0, 1], 1))
    found = compare_runs(a, a)
    assert "same run" in found.warnings[0] and found.power.needed is None and found.flips == ()


@pytest.mark.parametrize(
    ("passed", "margin", "outcome"),
    [
        ([4] * 200, 0.02, "not worse"),
        ([4] * 40, 0.02, "not enough evidence"),
        ([4] * 150 + [1] * 20, 0.02, "shown worse"),
        ([4] * 199 + [2], 0.05, "not worse"),
        ([4] * 200, 0.0, "not enough evidence"),
    ],
)
def test_the_gates_outcomes(store: Path, passed: list[int], margin: float, outcome: str) -> None:
    base = made_up_run(store, rows([4] * len(passed), 4))
    candidate = made_up_run(store, rows(passed, 4), adapter="coder/v1")
    verdict = decide(base, candidate, margin=margin)
    assert verdict.outcome == outcome and verdict.passed == (outcome == "not worse")


def test_the_gate_says_how_many_problems(store: Path) -> None:
    base, candidate = made_up_run(store, rows([1] * 40, 1)), made_up_run(store, rows([1] * 40, 1), seed=1)
    verdict = decide(base, candidate, margin=0.02)
    assert verdict.problems_needed is not None and 120 < verdict.problems_needed < 150
    assert f"about {verdict.problems_needed} problems needed" in verdict.reason


def test_the_commands_and_their_exit_codes(store: Path, command: Command, tmp_path: Path) -> None:
    base = made_up_run(store, rows([1] * 200, 1))
    equal = made_up_run(store, rows([1] * 200, 1), adapter="coder/v1")
    worse = made_up_run(store, rows([1] * 150 + [0] * 50, 1), adapter="coder/v2")
    broken = made_up_run(store, [[Verdict.INFRASTRUCTURE], *rows([1] * 199, 1)], adapter="coder/v3")
    code, said = command("compare", base.run_id, worse.run_id, "--flips", 3, "--json", tmp_path / "c.json")
    assert code == 0 and "-25.0 points" in said and "and 47 more" in said and "p < 0.001" in said
    found = Comparison.model_validate_json((tmp_path / "c.json").read_text())
    assert len(found.flips) == 50 and found.effect.difference == -0.25
    code, said = command("gate", base.run_id, equal.run_id, "--json", tmp_path / "g.json")
    assert code == 0 and "not worse" in said
    assert json.loads((tmp_path / "g.json").read_text())["outcome"] == "not worse"
    code, said = command("gate", base.run_id, worse.run_id)
    assert code == 1 and "shown worse" in said
    code, said = command("gate", base.run_id, equal.run_id, "--margin", 1)
    assert code == 1 and "not enough evidence" in said and "problems needed" in said
    code, said = command("gate", base.run_id, broken.run_id)
    assert code == 3 and "no verdict" in said


def test_other_problems_are_refused(store: Path, command: Command) -> None:
    base = made_up_run(store, rows([1, 1], 1))
    changed = made_up_run(store, rows([1, 0], 1), version="v2", preset="official-lcb")
    others = made_up_run(store, rows([1, 0], 1), prefix="r", seed=2)
    for subcommand in ("compare", "gate"):
        code, said = command(subcommand, base.run_id, changed.run_id)
        assert code == 2 and "differ in content" in said and "--force" in said
        code, said = command(subcommand, base.run_id, others.run_id)
        assert code == 2 and "in common" in said
        code, said = command(subcommand, base.run_id, "nothing")
        assert code == 2 and "no run 'nothing'" in said
    code, said = command("compare", base.run_id, changed.run_id, "--force")
    assert code == 0 and "2 things differ" in said and "versions differ" in said
    code, said = command("compare", base.run_id, base.run_id, "--json", "/no/such/folder/x.json")
    assert code == 2 and "folder" in said


def test_runs_are_found_by_beginning_file_and_folder(store: Path, tmp_path: Path) -> None:
    run = made_up_run(store, random_rows(6, 2, 0, 1))
    made_up_run(store, random_rows(6, 2, 0, 1), model="other")
    copied = tmp_path / "artefact.json"
    copied.write_bytes((run.folder / "result.json").read_bytes())
    for name in ("contests-coder", run.folder, run.folder / "result.json", copied):
        found = find_run(str(name))
        assert found.result == run and found.folder == run.folder
    with pytest.raises(EvalFault, match="several"):
        find_run("contests")
    copied.write_text('{"run_id": 1}')
    with pytest.raises(EvalFault, match="no result"):
        find_run(str(copied))


def test_samples_are_read_without_touching_the_store(store: Path) -> None:
    run = made_up_run(store, rows([1, 2], 2))
    path = run.folder / "samples.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": "half a li')
    before = path.read_bytes()
    found = read_samples(run.folder, {"q0"})
    assert list(found) == ["q0"] and path.read_bytes() == before
    verdicts = [s.judgement.verdict for s in found["q0"] if s.judgement]
    assert verdicts == [Verdict.PASSED, Verdict.WRONG_ANSWER]
    assert read_samples(run.folder / "nowhere", {"q0"}) == {}


def test_show_still_finds_runs(store: Path, command: Command) -> None:
    run: EvalResult = made_up_run(store, rows([1, 2], 2))
    code, said = command("show", run.run_id[:-2])
    assert code == 0 and "pass@2" in said

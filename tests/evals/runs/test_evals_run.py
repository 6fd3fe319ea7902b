"""The whole loop on a scripted engine: counting, caching, resuming, faults, the command."""

from __future__ import annotations

import json
import random
from contextlib import nullcontext
from pathlib import Path

import pytest
from scripted_answers import ScriptedAnswers

from forklock.evals.contract import EvalFault, ProblemSet, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.problems.sets import load_set
from forklock.evals.runs.run import EvalJob, run_eval
from forklock.evals.runs.store import Store
from forklock.models.contract import Decoding, FirstStage

STAGE = FirstStage.parse("1.6/20/0.8")
DECODING = Decoding(temperature=0.8, seed=3)


@pytest.fixture(autouse=True)
def _judge(shared_judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation that opens its own judge gets the shared one."""
    monkeypatch.setattr("forklock.evals.runs.run.Judge", lambda *_, **__: nullcontext(shared_judge))


@pytest.fixture
def problems() -> ProblemSet:
    return load_set("humaneval", limit=4)


def solutions() -> dict[str, str]:
    import gzip

    path = load_set.__globals__["_humaneval_path"]()
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return {r["entry_point"]: r["prompt"] + r["canonical_solution"] for r in records}


SOLUTIONS = solutions()


def sometimes(prompt: str, rng: random.Random) -> str:
    """Right, wrong, or no code, by the sample's own seed."""
    name = next(name for name in SOLUTIONS if f"def {name}(" in prompt)
    roll = rng.random()
    if roll < 0.5:
        return f"```python\n{SOLUTIONS[name]}\n```"
    return f"```python\ndef {name}(*args):\n    return None\n```" if roll < 0.8 else "I would rather not."


def test_numbers_add_up(tmp_path: Path, problems: ProblemSet) -> None:
    engine = ScriptedAnswers(sometimes)
    result = run_eval(engine, EvalJob(problems=problems, decoding=DECODING, n=8, ks=(1, 4, 8)), root=tmp_path)
    assert engine.made == result.made == 32 == sum(result.verdicts.values())
    assert set(result.verdicts) <= {Verdict.PASSED, Verdict.WRONG_ANSWER, Verdict.NO_CODE}
    assert result.pass_at[0].value == pytest.approx(result.verdicts[Verdict.PASSED] / 32)
    assert result.pass_at[0].value < result.pass_at[1].value <= result.pass_at[2].value
    assert result.completion_tokens == 640 and result.infrastructure == 0
    assert json.loads((result.folder / "result.json").read_text())["n"] == 8


def test_a_repeated_run_makes_nothing_and_a_longer_one_only_the_rest(
    tmp_path: Path, problems: ProblemSet
) -> None:
    first = run_eval(
        ScriptedAnswers(sometimes), EvalJob(problems=problems, decoding=DECODING, n=3), root=tmp_path
    )
    again = ScriptedAnswers(sometimes)
    second = run_eval(again, EvalJob(problems=problems, decoding=DECODING, n=3), root=tmp_path)
    assert again.made == 0 and second.problems == first.problems
    longer = ScriptedAnswers(sometimes)
    run_eval(longer, EvalJob(problems=problems, decoding=DECODING, n=5), root=tmp_path)
    assert longer.made == 8


@pytest.mark.parametrize(
    "change", [{"top_p": 0.9}, {"seed": 4}, {"max_tokens": 9}, {"temperature": 0.7}, {"virtual_ssd": STAGE}]
)
def test_a_changed_setting_is_never_a_hit(
    tmp_path: Path, problems: ProblemSet, change: dict[str, object]
) -> None:
    run_eval(ScriptedAnswers(sometimes), EvalJob(problems=problems, decoding=DECODING, n=1), root=tmp_path)
    other = ScriptedAnswers(sometimes)
    run_eval(
        other, EvalJob(problems=problems, decoding=DECODING.model_copy(update=change), n=1), root=tmp_path
    )
    assert other.made == 4


def test_interrupted_anywhere_the_numbers_are_the_same(tmp_path: Path, problems: ProblemSet) -> None:
    whole = run_eval(
        ScriptedAnswers(sometimes),
        EvalJob(problems=problems, decoding=DECODING, n=4),
        root=tmp_path / "whole",
    )
    for cut in (0, 7):
        root = tmp_path / str(cut)
        with pytest.raises(KeyboardInterrupt):
            run_eval(
                ScriptedAnswers(sometimes, die_after=cut),
                EvalJob(problems=problems, decoding=DECODING, n=4),
                root=root,
            )
        for file in root.glob("*/samples.jsonl"):
            with file.open("a") as torn:
                torn.write('{"key": "half a li')
        rest = ScriptedAnswers(sometimes)
        resumed = run_eval(rest, EvalJob(problems=problems, decoding=DECODING, n=4), root=root)
        assert rest.made == 16 - cut
        assert resumed.problems == whole.problems and resumed.pass_at == whole.pass_at
        assert any("torn" in note for note in resumed.notes)


def test_damage_in_the_middle_is_refused(tmp_path: Path, problems: ProblemSet) -> None:
    result = run_eval(
        ScriptedAnswers(sometimes), EvalJob(problems=problems, decoding=DECODING, n=1), root=tmp_path
    )
    path = result.folder / "samples.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "garbage", *lines[1:]]) + "\n")
    with pytest.raises(EvalFault, match="line 2"):
        run_eval(
            ScriptedAnswers(sometimes), EvalJob(problems=problems, decoding=DECODING, n=1), root=tmp_path
        )


def test_two_at_once_are_refused(tmp_path: Path, problems: ProblemSet) -> None:
    result = run_eval(
        ScriptedAnswers(sometimes), EvalJob(problems=problems, decoding=DECODING, n=1), root=tmp_path
    )
    from forklock.evals.runs.store import RunConfig

    config = RunConfig.model_validate_json((result.folder / "run.json").read_text())
    with Store(config, tmp_path), pytest.raises(EvalFault, match="another process"):
        run_eval(
            ScriptedAnswers(sometimes), EvalJob(problems=problems, decoding=DECODING, n=1), root=tmp_path
        )


def test_a_broken_judge_is_no_wrong_answer(
    tmp_path: Path, problems: ProblemSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "forklock.evals.judging.judge.driver_command", lambda: ("-c", "raise SystemExit('boom')")
    )
    broken = run_eval(
        ScriptedAnswers(sometimes), EvalJob(problems=problems, decoding=DECODING, n=2), root=tmp_path
    )
    assert set(broken.verdicts) <= {Verdict.INFRASTRUCTURE, Verdict.NO_CODE}
    monkeypatch.undo()
    engine = ScriptedAnswers(sometimes)
    mended = run_eval(engine, EvalJob(problems=problems, decoding=DECODING, n=2), root=tmp_path)
    assert engine.made == 0 and mended.infrastructure == 0


def test_bad_options(tmp_path: Path, problems: ProblemSet) -> None:
    with pytest.raises(EvalFault, match="pass@5"):
        run_eval(
            ScriptedAnswers(sometimes),
            EvalJob(problems=problems, decoding=DECODING, n=2, ks=(1, 5)),
            root=tmp_path,
        )
    with pytest.raises(EvalFault, match="preset"):
        run_eval(
            ScriptedAnswers(sometimes),
            EvalJob(problems=problems, decoding=DECODING, preset="x"),
            root=tmp_path,
        )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "nothing", "--model", "x"], 2, "no problem set"),
        (["run", "humaneval", "--model", "x", "-n", "1", "-k", "2"], 2, "pass@2"),
        (["run", "humaneval", "--model", "x", "--start", "soon"], 2, "YYYY-MM-DD"),
        (["run", "humaneval", "--model", "x", "--preset", "y"], 2, "preset"),
        (["run", "humaneval", "--model", "x", "--sandbox", "y"], 2, "sandbox"),
        (["run", "humaneval", "--model", "x", "--top-p", "0"], 2, "greater than 0"),
        (["run", "humaneval", "--model", "x", "--virtual-ssd", "1.6"], 2, "T/top_k/top_p"),
        (["run", "humaneval", "--model", "/no/such/folder"], 2, "error"),
        (["show", "nothing"], 2, "no run"),
        (["runs"], 0, "run"),
        (["sets"], 0, "humaneval"),
    ],
)
def test_the_command_speaks_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    from forklock.evals.commands.main import main

    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["evals", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert ended.value.code == code
    assert says in out + err and "Traceback" not in out + err


def test_the_command_runs_and_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from forklock.evals.commands.main import main

    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    monkeypatch.setattr("forklock.models.open_engine", lambda *_, **__: ScriptedAnswers(sometimes))
    arguments = [
        "run",
        "humaneval",
        "--model",
        "m",
        "--limit",
        "3",
        "-n",
        "4",
        "--json",
        str(tmp_path / "r.json"),
    ]
    monkeypatch.setattr("sys.argv", ["evals", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    shown = capfd.readouterr().out
    assert "pass@1" in shown and "pass@4" in shown and "passed" in shown
    run_id = json.loads((tmp_path / "r.json").read_text())["run_id"]
    monkeypatch.setattr("sys.argv", ["evals", "show", run_id])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0 and "pass@4" in capfd.readouterr().out

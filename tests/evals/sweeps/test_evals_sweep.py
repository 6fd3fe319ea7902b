"""Sweeps: the grid, the split, the rule, one opening of the test part; on a scripted engine and the real judge."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from evals_command import evals_command
from fastest import FASTEST
from scripted_answers import ScriptedAnswers
from test_evals_page import parsed
from test_evals_run import SOLUTIONS

from forklock.evals.contract import EvalFault, ProblemSet
from forklock.evals.problems.sets import load_set
from forklock.evals.runs.run import EvalJob, run_eval
from forklock.evals.statistics.stats import holm
from forklock.evals.sweeps.grid import (
    Axes,
    Cell,
    Plan,
    canonical,
    decoding_from,
    grid_of,
    numbers,
    settings_text,
    ssd_controls,
    stages,
)
from forklock.evals.sweeps.results import SweepResult
from forklock.evals.sweeps.sweep import SweepJob, parts, run_sweep, samples_planned
from forklock.models.contract import Completion, Decoding, FirstStage, ModelFault, Request
from forklock.sandbox import SandboxFault, open_sandbox

REST = Decoding(max_tokens=64, seed=3)
BASE = Cell(role="baseline", decoding=Decoding(temperature=0.2, top_p=0.95, max_tokens=64, seed=3))
GRID = grid_of(Axes(temperature=(0.5, 0.9, 1.4), top_k=(20,)), REST)


class Tempered(ScriptedAnswers):
    """Right with a chance that depends on the decoding: best at T 0.9 with top-k 20."""

    supports_virtual_ssd = True

    def __init__(self, *, die_after: int | None = None) -> None:
        super().__init__(self._say, die_after=die_after)
        self.asked: list[tuple[float, int, str]] = []

    def complete(
        self, requests: Sequence[Request], decoding: Decoding, **rest: object
    ) -> list[list[Completion]]:
        self.decoding = decoding
        return super().complete(requests, decoding, **rest)  # type: ignore[arg-type]

    def _say(self, prompt: str, rng: random.Random) -> str:
        name = next(name for name in SOLUTIONS if f"def {name}(" in prompt)
        self.asked.append((self.decoding.temperature, self.decoding.top_k, name))
        good = (self.decoding.temperature, self.decoding.top_k) == (0.9, 20) or rng.random() < 0.3
        return f"```python\n{SOLUTIONS[name]}\n```" if good else "I would rather not."


def plan(**changes: object) -> Plan:
    fields = {"baseline": BASE, "grid": GRID, "controls": (), "n": 2, "k": 1, "development": 0.6, **changes}
    return Plan.model_validate(fields)


def swept_by(engine: Tempered, problems: ProblemSet, fixed: Plan, folder: Path) -> SweepResult:
    job = SweepJob(problems=problems, plan=fixed, sandbox=FASTEST)
    return run_sweep(engine, job, root=folder / "runs", sweeps=folder / "sweeps")


@pytest.fixture(scope="module")
def problems() -> ProblemSet:
    return load_set("humaneval", limit=10)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    try:
        open_sandbox(folder).close()
    except SandboxFault as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")
    return folder


@pytest.fixture(scope="module")
def swept(home: Path, problems: ProblemSet) -> tuple[SweepResult, Tempered]:
    engine = Tempered()
    return swept_by(engine, problems, plan(), home), engine


def test_the_grid_is_every_distribution_once() -> None:
    axes = Axes(
        temperature=(0.9, 0, 0.5), top_k=(0, 20), min_p=(0.0, 0.1), virtual_ssd=stages("none, 1.6/20/0.8")
    )
    grid = grid_of(axes, REST)
    assert len(grid) == 1 + 2 * 2 * 2 * 2, "greedy is one cell, whatever is cut off"
    assert len({cell.decoding.digest() for cell in grid}) == len(grid)
    assert [cell.decoding.temperature for cell in grid][:9] == [0.9] * 8 + [0]
    assert all(cell.decoding.max_tokens == 64 and cell.decoding.seed == 3 for cell in grid)
    assert settings_text(grid[3].decoding) == "1.6/20/0.8 → T 0.9, min-p 0.1"


@pytest.mark.parametrize("text", ["", "a", "0.5;0.6", ","])
def test_axes_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="not a list"):
        numbers(text, float)
    with pytest.raises(ValueError, match="not a list"):
        numbers("0.5", int)
    with pytest.raises(ValueError, match="T/top_k/top_p"):
        stages("none,1.6")


def test_controls_are_the_papers() -> None:
    base, (train, virtual) = ssd_controls("qwen", REST)
    assert settings_text(base.decoding) == "T 1.1, top-k 20, top-p 0.8"
    assert settings_text(train.decoding) == "T 1.6, top-k 20, top-p 0.8"
    assert virtual.decoding == base.decoding.model_copy(
        update={"virtual_ssd": FirstStage.parse("1.6/20/0.8")}
    )
    assert decoding_from("greedy", REST) == canonical(REST.model_copy(update={"temperature": 0.0}))


def test_the_best_on_development_is_chosen_and_it_alone_meets_the_test(
    swept: tuple[SweepResult, Tempered], problems: ProblemSet
) -> None:
    result, engine = swept
    tuned, held_out = parts(problems, plan())
    assert tuned is not None and tuned.problems and held_out.problems
    names = [{p.entry_point for p in part.problems} for part in (tuned, held_out)]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 10
    assert result.chosen is not None and settings_text(result.chosen.decoding) == "T 0.9, top-k 20"
    on_test = {(t, k) for t, k, name in engine.asked if name in names[1]}
    assert on_test == {(0.2, 0), (0.9, 20)}, "a cell that was not chosen saw the test problems"
    first_test = next(i for i, (_, _, name) in enumerate(engine.asked) if name in names[1])
    assert all(name in names[1] for _, _, name in engine.asked[first_test:]), "test came before the choice"
    assert {(t, k) for t, k, _ in engine.asked[:first_test]} == {(0.2, 0)} | {
        (t, k) for t in (0.5, 0.9, 1.4) for k in (20,)
    }
    assert engine.made == samples_planned(problems, plan())


def test_statistics_are_paired_with_the_baseline_and_corrected(swept: tuple[SweepResult, Tempered]) -> None:
    result, _ = swept
    base, *others = result.development
    assert base.effect is None and base.p_holm is None and len(others) == 3
    p_values = [score.effect.p_value for score in others if score.effect]
    assert [score.p_holm for score in others] == holm(p_values)
    for score in others:
        assert score.effect is not None and score.effect.problems == result.development_problems
        assert score.effect.difference == pytest.approx(score.score.value - base.score.value)
    [reported] = [score for score in result.test if score.effect]
    assert reported.score.value == 1 and reported.p_holm == reported.effect.p_value  # type: ignore[union-attr]
    assert SweepResult.model_validate_json((result.folder / "sweep.json").read_text()) == result


def test_a_repeated_sweep_and_a_plain_run_share_the_samples(
    home: Path, problems: ProblemSet, swept: tuple[SweepResult, Tempered]
) -> None:
    again = Tempered()
    second = swept_by(again, problems, plan(), home)
    assert again.made == 0 and second == swept[0]
    plain = Tempered()
    run_eval(
        plain, EvalJob(problems=problems, decoding=GRID[1].decoding, n=2, sandbox=FASTEST), root=home / "runs"
    )
    assert plain.made == 0, "the chosen cell has all samples of both parts"


def test_a_finished_run_keeps_its_result(tmp_path: Path, home: Path, problems: ProblemSet) -> None:
    """A sweep looks at parts of the set: it must not overwrite what `evals run` found on the whole."""
    whole = run_eval(
        Tempered(),
        EvalJob(problems=problems, decoding=BASE.decoding, n=1, sandbox=FASTEST),
        root=tmp_path / "runs",
    )
    one = plan(grid=GRID[:1], n=1)
    swept_by(Tempered(), problems, one, tmp_path)
    assert len(json.loads((whole.folder / "result.json").read_text())["problems"]) == 10


def test_killed_in_the_middle_the_numbers_are_the_same(
    tmp_path: Path, problems: ProblemSet, swept: tuple[SweepResult, Tempered]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        swept_by(Tempered(die_after=21), problems, plan(), tmp_path)
    rest = Tempered()
    resumed = swept_by(rest, problems, plan(), tmp_path)
    assert rest.made == swept[1].made - 21
    assert (resumed.development, resumed.test) == (swept[0].development, swept[0].test)


def test_a_broken_judge_chooses_nothing(
    tmp_path: Path, home: Path, problems: ProblemSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "forklock.evals.judging.judge.driver_command", lambda: ("-c", "raise SystemExit('boom')")
    )
    engine = Tempered()
    with pytest.raises(EvalFault, match="no verdict") as caught:
        swept_by(engine, problems, plan(grid=GRID[:1], n=1), tmp_path)
    assert caught.value.exit_code == 3
    tuned, _ = parts(problems, plan())
    assert tuned is not None
    assert {name for _, _, name in engine.asked} == {p.entry_point for p in tuned.problems}


def test_a_second_look_at_the_test_problems_is_said(
    home: Path, problems: ProblemSet, swept: tuple[SweepResult, Tempered]
) -> None:
    with (home / "sweeps" / "opened.jsonl").open("a") as torn:
        torn.write('{"test": "half a li\n')
    other = swept_by(Tempered(), problems, plan(grid=GRID[:2]), home)
    assert "1 other sweep of this model" in other.warnings[0]
    assert not any("other sweep" in text for text in swept[0].warnings)


def test_controls_alone_take_all_problems(home: Path, problems: ProblemSet) -> None:
    base, controls = ssd_controls("qwen", REST)
    few = problems.model_copy(update={"problems": problems.problems[:3]})
    fixed = plan(baseline=base, grid=(), controls=controls, development=0.0, n=1)
    result = swept_by(Tempered(), few, fixed, home)
    assert result.chosen is None and result.development == () and result.test_problems == 3
    labels = [score.cell.label for score in result.test]
    assert labels == ["base, eval decoding", "base, train-time decoding", "virtual SSD"]
    assert [score.cell.decoding.effective_temperature for score in result.test] == pytest.approx(
        [1.1, 1.6, 1.76]
    )


def test_an_engine_without_virtual_ssd_is_refused_before_the_first_sample(
    tmp_path: Path, problems: ProblemSet
) -> None:
    engine = Tempered()
    engine.supports_virtual_ssd = False
    grid = grid_of(Axes(temperature=(0.5,), virtual_ssd=stages("none,1.6/20/0.8")), REST)
    with pytest.raises(ModelFault, match="two stages"):
        swept_by(engine, problems, plan(grid=grid), tmp_path)
    assert engine.made == 0


def test_too_few_problems_to_split(problems: ProblemSet) -> None:
    with pytest.raises(EvalFault, match="1 problems are"):
        parts(problems.model_copy(update={"problems": problems.problems[:1]}), plan())


def test_page_and_pictures(tmp_path: Path, swept: tuple[SweepResult, Tempered]) -> None:
    pytest.importorskip("matplotlib", reason="the `evals` extra is not installed")
    from forklock.evals.sweeps.page import write_files

    bad = "<script>alert(1)</script> $\\frac{1}$"
    hostile = swept[0].model_copy(update={"model": swept[0].model.model_copy(update={"name": bad})})
    files = write_files(hostile, tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["sweep.html", "heat.png", "temperature.png"]
    for file in files[1:]:
        assert file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 5000
    text = files[0].read_text()
    tags = parsed(text)
    assert not {"script", "img", "image", "link"} & set(tags.names) and not re.search("<script", text)
    assert len(tags.ids) == len(set(tags.ids)) and tags.names.count("svg") == 2
    assert "best of many" in text and "chosen on development" in text


def test_pictures_of_odd_grids(swept: tuple[SweepResult, Tempered]) -> None:
    """Panels for first stages, a greedy row over all columns, one cell alone, controls alone."""
    pytest.importorskip("matplotlib", reason="the `evals` extra is not installed")
    from forklock.evals.sweeps.page import heat_map, pictures

    result = swept[0]
    axes = Axes(temperature=(0, 0.9), top_k=(0, 5), virtual_ssd=stages("none,1.6/20/0.8"))
    grid = grid_of(axes, REST)
    scores = tuple(result.development[1].model_copy(update={"cell": cell}) for cell in grid)
    odd = result.model_copy(
        update={"plan": plan(grid=grid), "development": (result.development[0], *scores), "chosen": grid[0]}
    )
    drawn = {picture.name: picture.svg() for picture in pictures(odd)}
    assert "virtual SSD 1.6/20/0.8" in drawn["heat"] and drawn["heat"].count("baseline") == 0
    assert len(re.findall(r">16\.7<|>\d+\.\d<", drawn["heat"])) >= 8, "greedy fills its row in both panels"
    assert "<image" not in drawn["heat"], "the page's policy loads no images, inline ones neither"
    assert heat_map(result.model_copy(update={"plan": plan(grid=GRID[:1])})) is None
    alone = result.model_copy(update={"plan": plan(grid=()), "development": (), "chosen": None})
    assert [picture.name for picture in pictures(alone)] == ["temperature"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--temperature", "x"], "not a list"),
        (["--temperature", "9"], "less than or equal to 5"),
        (["--top-p", "0"], "greater than 0"),
        (["--top-k", "1.5"], "not a list"),
        (["--virtual-ssd", "1.6"], "T/top_k/top_p"),
        (["--preset", "ssd"], "ssd-control"),
        (["--preset", "ssd-control", "--adapter", "v1"], "bare base"),
        (["--preset", "ssd-control", "--baseline", "greedy"], "brings its own"),
        (["--preset", "ssd-control", "--development", "0.5"], "without a grid"),
        (["--family", "gpt"], "llama, qwen, thinking"),
        (["--baseline", "hot"], "T/top_k/top_p"),
        (["-n", "1", "-k", "2"], "pass@2"),
        (["--limit", "1"], "--development"),
        (["--prompts", "x"], "no such preset"),
        (["--out", __file__], "not a folder"),
        (["--json", "/no/such/file"], "not a folder"),
    ],
)
def test_bad_options_are_answered_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    code, said = command(tmp_path, monkeypatch, capfd, "--model", "x", *arguments)
    assert code == 2 and says in said


def test_the_command_on_a_real_engine(
    tmp_path: Path,
    home: Path,
    tiny_model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A tiny random model: grid, controls and virtual SSD for real, page and JSON written; then all from the cache."""
    pytest.importorskip("matplotlib", reason="the `evals` extra is not installed")
    out, file = tmp_path / "out", tmp_path / "sweep.json"
    flags = [
        "--model", tiny_model_dir, "--limit", 6, "-n", 1, "--max-tokens", 4, "--temperature", "0,0.8",
        "--virtual-ssd", "none,1.6/20/0.8", "--preset", "ssd-control", "--out", out, "--json", file,
        "--sandbox", FASTEST,
    ]  # fmt: skip
    code, said = command(tmp_path, monkeypatch, capfd, *flags)
    assert code == 0, said
    assert "virtual SSD: 1.6/20/0.8" in said and "no difference shown" in said
    result = SweepResult.model_validate_json(file.read_text())
    assert len(result.plan.grid) == 3 and len(result.test) == 4
    assert {path.name for path in out.iterdir()} == {"sweep.html", "heat.png", "temperature.png"}
    code, said = command(tmp_path, monkeypatch, capfd, *flags)
    assert code == 0 and "0 samples made now" in said and not re.search(r"[1-9]\d* samples made now", said)


command = partial(evals_command, "sweep")

"""evals: a sweep over decodings, tuned on one part of a set and reported on the other.

In: an open engine, a set, a `Plan`. Out: a `SweepResult`. The set is split by a hash of each question id. Grid
and baseline are measured on the development part, the plan's rule chooses, and only then the test part is
opened: for the baseline, the chosen cell and the fixed controls. Every cell is an evaluation of its own
(`evals.runs.run`), so samples are shared with `evals run` and a killed sweep goes on where it was. Not covered: search
strategies that skip cells.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evals.contract import EvalFault, ProblemSet
from evals.judging.judge import JudgeLimits
from evals.problems.sets import split
from evals.runs.prompts import Preset, preset_for
from evals.runs.run import EvalResult, PassAtK, Progress, pass_at, run_eval
from evals.runs.store import results_dir
from evals.statistics.comparison import Effect, Power, paired_effect, power_of
from evals.statistics.stats import holm, pass_at_k
from evals.sweeps.grid import Cell, Plan
from models.console import INFRASTRUCTURE
from models.contract import Engine, ModelIdentity
from sandbox import BackendName
from sandbox.files.atomic import write_atomic
from sandbox.files.jsonl import append_line, whole_lines
from sandbox.reading import parse_json

SPLIT = "development"
"""Name of the split: the one of self-distillation's gate, so what is test here was never tuned on there."""
DEVELOPMENT_SHARE = 0.6


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellScore(_Frozen):
    """One cell on one part of the set."""

    cell: Cell
    score: PassAtK
    effect: Effect | None
    """Minus the baseline, over problems; None for the baseline itself."""
    p_holm: float | None
    """Corrected for the number of cells compared with the baseline on this part."""
    tokens: int
    cut: int
    """Samples that hit the length limit."""
    run_id: str


class SweepResult(_Frozen):
    sweep_id: str
    folder: Path
    """Holds this as `sweep.json`, and the result of each cell under `development` and `test`."""
    set_name: str
    set_version: str
    model: ModelIdentity
    prompts: str
    plan: Plan
    development_problems: int
    test_problems: int
    rule: str
    development: tuple[CellScore, ...]
    """Baseline first, then the grid in its order; empty where nothing is tuned."""
    chosen: Cell | None
    test: tuple[CellScore, ...]
    """Baseline first, then what was chosen, then the controls."""
    power: Power | None
    """What the test problems could show of the first comparison."""
    warnings: tuple[str, ...]

    @property
    def baseline_chosen(self) -> bool:
        return self.chosen is not None and same(self.chosen, self.plan.baseline)


OnCell = Callable[[str, Cell, EvalResult], None]
"""Called with the part, the cell and its result, as each ends."""


@dataclass(frozen=True)
class _Bench:
    """What every cell is measured with."""

    engine: Engine
    prompts: Preset
    plan: Plan
    folder: Path
    root: Path | None
    sandbox: BackendName
    limits: JudgeLimits | None
    progress: Progress | None
    on_cell: OnCell | None

    def measure(self, part: str, problems: ProblemSet, cells: Sequence[Cell]) -> list[CellScore]:
        """Cells in order, the first being the baseline.

        Raises:
            EvalFault: samples without a verdict; nothing may be chosen or reported on them.
        """
        results = []
        for cell in cells:
            found = run_eval(
                self.engine, problems, cell.decoding, preset=self.prompts, n=self.plan.n, ks=(self.plan.k,),
                root=self.root, sandbox=self.sandbox, limits=self.limits, progress=self.progress,
                replace_result=False,
            )  # fmt: skip
            kept = self.folder / part / f"{found.run_id}.json"
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, found.model_dump_json(indent=1))
            results.append(found)
            if self.on_cell is not None:
                self.on_cell(part, cell, found)
        if missing := sum(found.infrastructure for found in results):
            fault = EvalFault(
                f"{missing} samples have no verdict: the judge failed", fix="give the same command again"
            )
            fault.exit_code = INFRASTRUCTURE
            raise fault
        return _scores(cells, results, self.plan.k)


def run_sweep(
    engine: Engine,
    problem_set: ProblemSet,
    plan: Plan,
    *,
    prompts: str = "auto",
    root: Path | None = None,
    sweeps: Path | None = None,
    sandbox: BackendName = "auto",
    limits: JudgeLimits | None = None,
    progress: Progress | None = None,
    on_cell: OnCell | None = None,
) -> SweepResult:
    """
    Args:
        prompts: a prompt preset, or `auto`.
        root: where samples are kept, as in `run_eval`.
        sweeps: where sweeps are kept; None is the user's cache.

    Raises:
        EvalFault: a part is empty, or samples have no verdict (exit code 3).
        ModelFault, SandboxFault: as in `run_eval`; all that was made is kept.
    """
    tuned, held_out = parts(problem_set, plan)
    check_engine(engine, plan)
    chosen_prompts = preset_for(problem_set, prompts)
    sweeps = sweeps or sweeps_dir()
    sweep_id = _sweep_id(engine, problem_set, plan, chosen_prompts)
    bench = _Bench(engine, chosen_prompts, plan, sweeps / sweep_id, root, sandbox, limits, progress, on_cell)
    development: list[CellScore] = []
    if tuned is not None:
        others = [cell for cell in plan.grid if not same(cell, plan.baseline)]
        development = bench.measure("development", tuned, [plan.baseline, *others])
    chosen = choose(plan, development)
    earlier = open_test(sweeps, sweep_id, engine, held_out, chosen_prompts)
    test = bench.measure("test", held_out, _reported(plan, chosen))
    first = next((score.effect for score in test if score.effect), None)
    result = SweepResult(
        sweep_id=sweep_id,
        folder=bench.folder,
        set_name=problem_set.name,
        set_version=problem_set.version,
        model=engine.identity,
        prompts=chosen_prompts,
        plan=plan,
        development_problems=len(tuned.problems) if tuned else 0,
        test_problems=len(held_out.problems),
        rule=plan.rule,
        development=tuple(development),
        chosen=chosen,
        test=tuple(test),
        power=power_of(first) if first else None,
        warnings=tuple(_warnings(plan, chosen, earlier)),
    )
    write_atomic(bench.folder / "sweep.json", result.model_dump_json(indent=1))
    return result


def sweeps_dir() -> Path:
    return results_dir("sweeps")


def parts(problem_set: ProblemSet, plan: Plan) -> tuple[ProblemSet | None, ProblemSet]:
    """(development, test); without a grid there is nothing to tune, and all problems are test.

    Raises:
        EvalFault: one of them is empty.
    """
    if not plan.grid:
        return None, problem_set
    tuned, held_out = split(problem_set, SPLIT, plan.development)
    if not (tuned.problems and held_out.problems):
        raise EvalFault(
            f"{len(problem_set.problems)} problems are {len(tuned.problems)} for development and "
            f"{len(held_out.problems)} for test",
            fix="take more problems (--limit), or another --development share",
        )
    return tuned, held_out


def samples_planned(problem_set: ProblemSet, plan: Plan) -> int:
    """Samples that the whole sweep looks at, made or stored, at most."""
    tuned, held_out = parts(problem_set, plan)
    others = [cell for cell in plan.grid if not same(cell, plan.baseline)]
    on_test = 1 + bool(plan.grid) + len(plan.controls)
    development = len(tuned.problems) * (1 + len(others)) if tuned else 0
    return plan.n * (development + len(held_out.problems) * on_test)


def check_engine(engine: Engine, plan: Plan) -> None:
    """Say before the first sample what the engine cannot do in the last cell.

    Raises:
        ModelFault: virtual SSD on an engine without it.
    """
    for cell in (plan.baseline, *plan.grid, *plan.controls):
        engine.refuse_virtual_ssd(cell.decoding)


def choose(plan: Plan, development: Sequence[CellScore]) -> Cell | None:
    """The plan's rule. None where there is no grid."""
    if not plan.grid:
        return None
    scores = {score.cell.decoding.digest(): score.score.value for score in development}
    return max(plan.grid, key=lambda cell: scores[cell.decoding.digest()])


def same(one: Cell, two: Cell) -> bool:
    """Whether two cells draw from the same distribution."""
    return one.decoding.digest() == two.decoding.digest()


def open_test(sweeps: Path, sweep_id: str, engine: Engine, held_out: ProblemSet, prompts: Preset) -> int:
    """Note that these test problems are looked at now; how many *other* sweeps of this model did so before."""
    key = _hash(engine.identity.model_dump_json(), held_out.version, prompts, *_ids(held_out))
    ledger = sweeps / "opened.jsonl"
    known: set[str] = set()
    for line in whole_lines(ledger):
        with contextlib.suppress(ValueError):  # torn by a kill
            row = parse_json(line)
            if isinstance(row, dict) and row.get("test") == key:
                known.add(str(row.get("sweep")))
    if sweep_id not in known:
        row = {"test": key, "sweep": sweep_id, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        ledger.parent.mkdir(parents=True, exist_ok=True)
        append_line(ledger, json.dumps(row).encode())
    return len(known - {sweep_id})


def _reported(plan: Plan, chosen: Cell | None) -> list[Cell]:
    """What is measured on the test problems, each distribution once, the baseline first."""
    cells = [plan.baseline]
    for cell in ([chosen] if chosen else []) + list(plan.controls):
        if not any(same(cell, known) for known in cells):
            cells.append(cell)
    return cells


def _scores(cells: Sequence[Cell], results: Sequence[EvalResult], k: int) -> list[CellScore]:
    rates = [_rates(result, k) for result in results]
    effects = [paired_effect(rates[0], other) for other in rates[1:]]
    adjusted = holm([effect.p_value for effect in effects])
    compared: list[tuple[Effect | None, float | None]] = [(None, None), *zip(effects, adjusted, strict=True)]
    return [
        CellScore(
            cell=cell,
            score=pass_at(result.problems, k),
            effect=effect,
            p_holm=p,
            tokens=result.completion_tokens,
            cut=result.cut,
            run_id=result.run_id,
        )
        for cell, result, (effect, p) in zip(cells, results, compared, strict=True)
    ]


def _rates(result: EvalResult, k: int) -> dict[str, float]:
    """pass@k per problem."""
    return {p.question_id: pass_at_k(p.judged, p.passed, k) for p in result.problems if p.judged >= k}


def _warnings(plan: Plan, chosen: Cell | None, earlier: int) -> list[str]:
    found = []
    if earlier:
        found.append(
            f"these test problems were looked at by {earlier} other sweep{'s' * (earlier > 1)} of this model: "
            "choosing among their reports is tuning on the test"
        )
    temperatures = sorted({cell.decoding.temperature for cell in plan.grid})
    if (
        chosen
        and len(temperatures) > 2
        and chosen.decoding.temperature in (temperatures[0], temperatures[-1])
    ):
        found.append(
            f"the chosen temperature, {chosen.decoding.temperature:g}, is at the edge of the grid: a wider grid may "
            "hold a better one"
        )
    return found


def _sweep_id(engine: Engine, problem_set: ProblemSet, plan: Plan, prompts: Preset) -> str:
    identity = engine.identity
    digest = _hash(
        identity.model_dump_json(), problem_set.version, prompts, plan.digest(), *_ids(problem_set)
    )
    name = identity.name.rstrip("/").rsplit("/", maxsplit=1)[-1]
    safe = "".join(c if c.isalnum() or c in "+.-" else "_" for c in f"{problem_set.name}-{name}")
    return f"{safe}-{digest[:8]}"


def _ids(problem_set: ProblemSet) -> list[str]:
    return [problem.question_id for problem in problem_set.problems]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()

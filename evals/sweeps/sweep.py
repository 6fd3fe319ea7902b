"""evals: a sweep over decodings, tuned on one part of a set and reported on the other.

Input: an open engine and a `SweepJob`. Output: a `SweepResult`. The set is split by a hash of each question id. Grid
and baseline are measured on the development part, and the plan's rule chooses a cell. Only then is the test part
measured: for the baseline, the chosen cell and the fixed controls. Every cell is an evaluation of its own
(`forklock.evals.runs.run`), so samples are shared with `evals run`, and a killed sweep continues where it stopped.
Not covered: search strategies that skip cells.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from forklock.evals.contract import EvalFault, ProblemSet
from forklock.evals.judging import JudgeLimits
from forklock.evals.problems.sets import split
from forklock.evals.results import EvalResult
from forklock.evals.runs import EvalJob, run_eval
from forklock.evals.runs.prompts import Preset, preset_for
from forklock.evals.runs.run import Progress
from forklock.evals.runs.store import results_dir
from forklock.evals.statistics.comparison import power_of
from forklock.evals.sweeps.grid import Cell, Plan
from forklock.evals.sweeps.results import CellScore, SweepResult, same, scored
from forklock.models.contract import Engine
from forklock.sandbox import BackendName
from forklock.sandbox.commands.console import INFRASTRUCTURE
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.jsonl import append_line, whole_lines
from forklock.sandbox.files.reading import parse_json

SPLIT = "development"
"""Name of the split. Self-distillation's gate uses the same, so nothing was tuned there on what is test here."""
DEVELOPMENT_SHARE = 0.6
"""Share of the problems that is tuned on, unless the user chooses another."""

OnCell = Callable[[str, Cell, EvalResult], None]
"""Called with the part, the cell and its result, as each cell ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepJob:
    """What is swept and how."""

    problems: ProblemSet
    plan: Plan
    prompts: str = "auto"
    """A prompt preset; `auto` chooses by the kind of tests."""
    sandbox: BackendName = "auto"
    """Backend of the judge."""
    limits: JudgeLimits = field(default_factory=JudgeLimits)
    """Limits of the judge."""

    def cell(self, problems: ProblemSet, cell: Cell) -> EvalJob:
        """Return the evaluation of one cell on a part of the set."""
        return EvalJob(
            problems=problems,
            decoding=cell.decoding,
            preset=preset_for(self.problems, self.prompts),
            n=self.plan.n,
            ks=(self.plan.k,),
            sandbox=self.sandbox,
            limits=self.limits,
        )


@dataclass(frozen=True)
class _Bench:
    """Measures cells."""

    engine: Engine
    job: SweepJob
    folder: Path
    root: Path | None
    progress: Progress | None
    on_cell: OnCell | None

    def measure(self, part: str, problems: ProblemSet, cells: Sequence[Cell]) -> list[CellScore]:
        """Measure cells in order; the first is the baseline.

        Raises:
            EvalFault: samples have no verdict, so nothing may be chosen or reported.
        """
        results = []
        for cell in cells:
            found = run_eval(
                self.engine,
                self.job.cell(problems, cell),
                root=self.root,
                progress=self.progress,
                replace_result=False,
            )
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
        return scored(cells, results, self.job.plan.k)


def run_sweep(
    engine: Engine,
    job: SweepJob,
    *,
    root: Path | None = None,
    sweeps: Path | None = None,
    progress: Progress | None = None,
    on_cell: OnCell | None = None,
) -> SweepResult:
    """Run a sweep.

    Args:
        root: folder of the samples, as in `run_eval`.
        sweeps: folder of the sweeps; None takes the user's.

    Raises:
        EvalFault: a part is empty, or samples have no verdict (exit code 3).
        ModelFault, SandboxFault: as in `run_eval`; everything that was made is stored.
    """
    plan, problem_set = job.plan, job.problems
    tuned, held_out = parts(problem_set, plan)
    check_engine(engine, plan)
    prompts = preset_for(problem_set, job.prompts)
    sweeps = sweeps or sweeps_dir()
    sweep_id = _sweep_id(engine, problem_set, plan, prompts)
    bench = _Bench(engine, job, sweeps / sweep_id, root, progress, on_cell)
    development: list[CellScore] = []
    if tuned is not None:
        others = [cell for cell in plan.grid if not same(cell, plan.baseline)]
        development = bench.measure("development", tuned, [plan.baseline, *others])
    chosen = choose(plan, development)
    earlier = open_test(sweeps, sweep_id, engine, held_out, prompts)
    test = bench.measure("test", held_out, _reported(plan, chosen))
    first = next((score.effect for score in test if score.effect), None)
    result = SweepResult(
        sweep_id=sweep_id,
        folder=bench.folder,
        set_name=problem_set.name,
        set_version=problem_set.version,
        model=engine.identity,
        prompts=prompts,
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
    """Return the folder of the user's sweeps."""
    return results_dir("sweeps")


def parts(problem_set: ProblemSet, plan: Plan) -> tuple[ProblemSet | None, ProblemSet]:
    """Return (development, test); without a grid nothing is tuned, and all problems are test.

    Raises:
        EvalFault: one of the parts is empty.
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
    """Return the largest number of samples that the whole sweep uses, made or stored."""
    tuned, held_out = parts(problem_set, plan)
    others = [cell for cell in plan.grid if not same(cell, plan.baseline)]
    on_test = 1 + bool(plan.grid) + len(plan.controls)
    development = len(tuned.problems) * (1 + len(others)) if tuned else 0
    return plan.n * (development + len(held_out.problems) * on_test)


def check_engine(engine: Engine, plan: Plan) -> None:
    """Check before the first sample that the engine supports every cell.

    Raises:
        ModelFault: a cell asks for virtual SSD, which the engine does not have.
    """
    for cell in (plan.baseline, *plan.grid, *plan.controls):
        engine.refuse_virtual_ssd(cell.decoding)


def choose(plan: Plan, development: Sequence[CellScore]) -> Cell | None:
    """Apply the plan's rule; None where there is no grid."""
    if not plan.grid:
        return None
    scores = {score.cell.decoding.digest(): score.score.value for score in development}
    return max(plan.grid, key=lambda cell: scores[cell.decoding.digest()])


def open_test(sweeps: Path, sweep_id: str, engine: Engine, held_out: ProblemSet, prompts: Preset) -> int:
    """Record that these test problems are used now; return how many *other* sweeps of this model used them before."""
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
    """Return the cells that are measured on the test problems: the baseline first, each distribution once."""
    cells = [plan.baseline]
    for cell in ([chosen] if chosen else []) + list(plan.controls):
        if not any(same(cell, known) for known in cells):
            cells.append(cell)
    return cells


def _warnings(plan: Plan, chosen: Cell | None, earlier: int) -> list[str]:
    found = []
    if earlier:
        found.append(
            f"these test problems were used by {earlier} other sweep{'s' * (earlier > 1)} of this model: "
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

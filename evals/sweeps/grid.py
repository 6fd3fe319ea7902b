"""evals: the decodings of a sweep: the grid that is tuned, the baseline, and fixed controls. Pure.

Input: the values of each axis. Output: a `Plan`, frozen before the first sample is drawn. It says what is tried, and by
which rule one cell is chosen. Not covered: running it (`forklock.evals.sweeps.sweep`).
"""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Annotated, Literal

from pydantic import Field

from forklock.evals.contract import Frozen
from forklock.models.contract import Decoding, FirstStage
from forklock.models.families import EVAL_TOP_K, EVAL_TOP_P, PRESETS

Role = Literal["baseline", "grid", "control"]
RULE = (
    "the grid's cell with the highest mean pass@{k} over the development problems, ties to the one named first; "
    "it alone is then measured on the test problems"
)


class Cell(Frozen):
    """One decoding and its role in the sweep."""

    role: Role
    decoding: Decoding
    label: str = ""
    """Name of a control or of the baseline, shown before its settings."""

    @property
    def name(self) -> str:
        """The label, if there is one, and the settings."""
        settings = settings_text(self.decoding)
        return f"{self.label}: {settings}" if self.label else settings


class Plan(Frozen):
    """Everything that is fixed before the sweep."""

    baseline: Cell
    grid: tuple[Cell, ...]
    """Cells in the order of the axes, temperature outermost; empty where nothing is tuned."""
    controls: tuple[Cell, ...]
    """Cells that are measured on the test problems in any case."""
    n: Annotated[int, Field(ge=1)]
    """Samples per problem."""
    k: Annotated[int, Field(ge=1)]
    """The pass@k that decides and is compared."""
    development: Annotated[float, Field(ge=0, lt=1)]
    """Share of the problems that the grid is tuned on; 0 where nothing is tuned."""

    @property
    def rule(self) -> str:
        """The rule in words."""
        return RULE.format(k=self.k) if self.grid else "nothing is chosen: all cells are fixed beforehand"

    def digest(self) -> str:
        """Return a digest of the whole plan."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Axes(Frozen):
    """The values of each axis, in the order in which they were given."""

    temperature: tuple[float, ...]
    top_k: tuple[int, ...] = (0,)
    top_p: tuple[float, ...] = (1.0,)
    min_p: tuple[float, ...] = (0.0,)
    virtual_ssd: tuple[FirstStage | None, ...] = (None,)


def grid_of(axes: Axes, base: Decoding) -> tuple[Cell, ...]:
    """Return every combination; each distribution occurs once, because truncation does not change greedy decoding.

    Args:
        base: has the settings that are no axis: `max_tokens`, `stop`, `seed`.
    """
    cells: dict[str, Cell] = {}
    for temperature, top_k, top_p, min_p, stage in product(
        axes.temperature, axes.top_k, axes.top_p, axes.min_p, axes.virtual_ssd
    ):
        fields = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        decoding = canonical(Decoding.model_validate({**_rest(base), **fields, "virtual_ssd": stage}))
        cells.setdefault(decoding.digest(), Cell(role="grid", decoding=decoding))
    return tuple(cells.values())


def canonical(decoding: Decoding) -> Decoding:
    """Reset the settings that do not change greedy decoding; other decodings stay as they are."""
    if decoding.temperature:
        return decoding
    return decoding.model_copy(update={"top_k": 0, "top_p": 1.0, "min_p": 0.0, "virtual_ssd": None})


def ssd_controls(family: str, base: Decoding) -> tuple[Cell, tuple[Cell, ...]]:
    """Return what self-distillation must beat, with the paper's settings for this family.

    The baseline is the base model at its eval decoding, which is all that the paper reports. The controls are the base
    model at the train-time decoding, and virtual SSD.
    """
    paper = PRESETS[family]
    ours = {"temperature": paper.eval_temperature, "top_k": EVAL_TOP_K, "top_p": EVAL_TOP_P}
    train = {"temperature": paper.temperature, "top_k": paper.top_k, "top_p": paper.top_p}
    evaluated = Decoding.model_validate({**_rest(base), **ours})
    return (
        Cell(role="baseline", label="base, eval decoding", decoding=evaluated),
        (
            Cell(
                role="control",
                label="base, train-time decoding",
                decoding=Decoding.model_validate({**_rest(base), **train}),
            ),
            Cell(
                role="control",
                label="virtual SSD",
                decoding=evaluated.model_copy(update={"virtual_ssd": paper.stage}),
            ),
        ),
    )


def settings_text(decoding: Decoding) -> str:
    """Describe a decoding in few words; settings that are off are left out."""
    if not decoding.temperature:
        return "greedy"
    stage = f"{decoding.virtual_ssd} → " if decoding.virtual_ssd else ""
    return f"{stage}T {decoding.temperature:g}{_cuts(decoding, ', ')}"


def truncation_text(decoding: Decoding, joint: str = ", ") -> str:
    """Describe the truncation at eval time; `all tokens` where there is none."""
    return _cuts(decoding, joint).removeprefix(joint) or "all tokens"


def numbers(text: str, kind: type[float] | type[int]) -> tuple[float, ...]:
    """Parse the values of an axis, a comma-separated list.

    Raises:
        ValueError: a part is no number, or there is none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = tuple(dict.fromkeys(kind(part) for part in parts))
    except ValueError:
        found = ()
    if not found:
        raise ValueError(f"{text!r} is not a list such as {'0,20' if kind is int else '0.6,0.9'}")
    return found


def stages(text: str) -> tuple[FirstStage | None, ...]:
    """Parse first stages such as `none,1.6/20/0.8`; `none` is plain decoding.

    Raises:
        ValueError: see `FirstStage.parse`.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(None if part == "none" else FirstStage.parse(part) for part in parts)) or (
        None,
    )


def decoding_from(text: str, base: Decoding) -> Decoding:
    """Parse a baseline, `T/top_k/top_p` or `greedy`; `base` has the other settings.

    Raises:
        ValueError: the text has another form.
    """
    if text.strip() in ("greedy", "0"):
        return canonical(base.model_copy(update={"temperature": 0.0, "virtual_ssd": None}))
    cut = FirstStage.parse(text)
    fields = {"temperature": cut.temperature, "top_k": cut.top_k, "top_p": cut.top_p}
    return Decoding.model_validate({**_rest(base), **fields})


def _cuts(decoding: Decoding, joint: str) -> str:
    parts = [
        f"top-k {decoding.top_k}" if decoding.top_k else "",
        f"top-p {decoding.top_p:g}" if decoding.top_p < 1 else "",
        f"min-p {decoding.min_p:g}" if decoding.min_p else "",
    ]
    return "".join(f"{joint}{part}" for part in parts if part)


def _rest(base: Decoding) -> dict[str, object]:
    return {"max_tokens": base.max_tokens, "stop": base.stop, "seed": base.seed}

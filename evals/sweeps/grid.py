"""evals: the decodings of a sweep: the grid that is tuned over, the baseline, and fixed controls. Pure.

In: the values of each axis. Out: a `Plan`, frozen before the first sample is drawn: what is tried, and the rule
by which one cell is chosen. Not covered: running it (`evals.sweeps.sweep`).
"""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.contract import Decoding, FirstStage
from models.families import EVAL_TOP_K, EVAL_TOP_P, PRESETS

Role = Literal["baseline", "grid", "control"]
RULE = (
    "the grid's cell with the highest mean pass@{k} over the development problems, ties to the one named first; "
    "it alone is then measured on the test problems"
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(_Frozen):
    """One decoding, and why it is in the sweep."""

    role: Role
    decoding: Decoding
    label: str = ""
    """What a control or the baseline is called, beside its settings."""

    @property
    def name(self) -> str:
        settings = settings_text(self.decoding)
        return f"{self.label}: {settings}" if self.label else settings


class Plan(_Frozen):
    """Everything that is fixed beforehand."""

    baseline: Cell
    grid: tuple[Cell, ...]
    """In the order of its axes, temperature outermost. Empty: nothing is tuned."""
    controls: tuple[Cell, ...]
    """Measured on the test problems whatever comes out."""
    n: Annotated[int, Field(ge=1)]
    """Samples per problem."""
    k: Annotated[int, Field(ge=1)]
    """The pass@k that decides and is compared."""
    development: Annotated[float, Field(ge=0, lt=1)]
    """Share of the problems that the grid is tuned on; 0 where nothing is tuned."""

    @property
    def rule(self) -> str:
        return RULE.format(k=self.k) if self.grid else "nothing is chosen: all cells are fixed beforehand"

    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Axes(_Frozen):
    """Values of each axis, in the order in which they were named."""

    temperature: tuple[float, ...]
    top_k: tuple[int, ...] = (0,)
    top_p: tuple[float, ...] = (1.0,)
    min_p: tuple[float, ...] = (0.0,)
    virtual_ssd: tuple[FirstStage | None, ...] = (None,)


def grid_of(axes: Axes, base: Decoding) -> tuple[Cell, ...]:
    """Every combination, each distribution once: what truncates makes no difference to greedy decoding.

    Args:
        base: gives what no axis names: `max_tokens`, `stop`, `seed`.
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
    """Greedy decoding without the settings that cannot matter to it."""
    if decoding.temperature:
        return decoding
    return decoding.model_copy(update={"top_k": 0, "top_p": 1.0, "min_p": 0.0, "virtual_ssd": None})


def ssd_controls(family: str, base: Decoding) -> tuple[Cell, tuple[Cell, ...]]:
    """What self-distillation must beat: (base at its eval decoding, (base at the train-time decoding, virtual
    SSD)), with the paper's settings for this family. The paper reports the first alone."""
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
    """A decoding in few words: what is off is not named."""
    if not decoding.temperature:
        return "greedy"
    stage = f"{decoding.virtual_ssd} → " if decoding.virtual_ssd else ""
    return f"{stage}T {decoding.temperature:g}{_cuts(decoding, ', ')}"


def truncation_text(decoding: Decoding, joint: str = ", ") -> str:
    """What is cut off at eval time, `all tokens` for nothing."""
    return _cuts(decoding, joint).removeprefix(joint) or "all tokens"


def numbers(text: str, kind: type[float] | type[int]) -> tuple[float, ...]:
    """The values of an axis from a comma-separated list.

    Raises:
        ValueError: not numbers, or none.
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
    """`none,1.6/20/0.8`: first stages, `none` for plain decoding.

    Raises:
        ValueError: see `FirstStage.parse`.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(None if part == "none" else FirstStage.parse(part) for part in parts)) or (
        None,
    )


def decoding_from(text: str, base: Decoding) -> Decoding:
    """A baseline from `T/top_k/top_p`, or `greedy`; the rest from `base`.

    Raises:
        ValueError: another form.
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

"""evals: token tables: what a model computes for each token of an answer, and the file that keeps them.

Input: scores of the in-process engine. Output: one `TokenTable` per answer, one line each in the model's file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forklock.evals.contract import EvalFault, Frozen
from forklock.models.contract import ModelIdentity
from forklock.sandbox.files.jsonl import append_line, as_json, parser, whole_lines

if TYPE_CHECKING:
    from forklock.models.engines.transformers_engine import TokenScores

LISTED = 20
"""Number of the most likely tokens that are kept of each place."""
KEY_LENGTH = 32


class TokenTable(Frozen):
    """One answer under one model: one number per token."""

    key: str
    logprob: tuple[float, ...]
    entropy: tuple[float, ...]
    """Nats."""
    rank: tuple[int, ...]
    """Rank of the token that stands there; 1 is the likeliest."""
    survivors: tuple[int, ...]
    kept_mass: tuple[float, ...]
    top_ids: tuple[tuple[int, ...], ...]
    top_logprobs: tuple[tuple[float, ...], ...]
    other_support: tuple[float, ...] | None = None
    """Mass on the tokens that survive under the *other* model, where one was given."""

    def support(self, place: int) -> tuple[int, ...]:
        """Return the ids that survive the cut, as far as they are listed."""
        return self.top_ids[place][: self.survivors[place]]


def table_of(key: str, scores: TokenScores) -> TokenTable:
    """Make the table of an answer from the engine's scores."""

    def floats(values: Any) -> list[float]:
        return [round(value, 5) for value in values.tolist()]

    watched = scores.watched_mass
    return TokenTable(
        key=key,
        logprob=tuple(floats(scores.logprob)),
        entropy=tuple(floats(scores.entropy)),
        rank=tuple(scores.rank.tolist()),
        survivors=tuple(scores.survivors.tolist()) if scores.survivors is not None else (),
        kept_mass=tuple(floats(scores.kept_mass)),
        top_ids=tuple(map(tuple, scores.top_ids.tolist())),
        top_logprobs=tuple(tuple(round(v, 4) for v in row) for row in scores.top_logprobs.tolist()),
        other_support=None if watched is None else tuple(floats(watched)),
    )


class TableFile:
    """The file of one model's tables, one per line; lines that a kill has torn are computed again."""

    def __init__(self, path: Path, wanted: frozenset[str]) -> None:
        self.path, self._wanted = path, wanted
        self.tables: dict[str, TokenTable] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for line in whole_lines(path):
                self._read(line)
        except OSError as error:
            raise EvalFault(
                f"cannot use {path}: {error.strerror}", fix="free some space or allow writing there"
            ) from error

    def add(self, table: TokenTable) -> None:
        """Append one table."""
        self.tables[table.key] = table
        try:
            append_line(self.path, as_json(table))
        except OSError as error:
            raise EvalFault(
                f"cannot write {self.path}: {error.strerror}", fix="free some space, run again"
            ) from error

    def _read(self, line: bytes) -> None:
        head = line[: len('{"key":"') + KEY_LENGTH].decode("ascii", "replace")
        if head.removeprefix('{"key":"') not in self._wanted:
            return
        if (table := _parse(line)) is not None:
            self.tables[table.key] = table


_parse = parser(TokenTable)


def file_name(model: ModelIdentity) -> str:
    """Return the name of the model's file of tables, without an ending."""
    name = (
        f"{model.name.rstrip('/').rsplit('/', maxsplit=1)[-1]}{'+' + model.adapter if model.adapter else ''}"
    )
    digest = hashlib.sha256(model.model_dump_json().encode()).hexdigest()[:8]
    return "".join(c if c.isalnum() or c in "+.-" else "_" for c in f"{name}-{digest}")

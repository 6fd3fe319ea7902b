"""Keeps the files of a round.

`<data>/rounds/<id>/` holds `round.json` (the recipe), the files that the stages made, and `<stage>.json` for each
finished stage: the digest of its inputs and of each output. A stage is done only while both still match, so a damaged
or edited file is made again, and everything after it, too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.jsonl import as_json, parser
from forklock.sandbox.files.reading import parse_json
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, STAGES, Recipe, RoundFault

Json = dict[str, Any]
Row = TypeVar("Row", bound=BaseModel)


class StageRecord(BaseModel):
    """The record of a finished stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    inputs: str
    """Digest of the recipe and of the previous stage's outputs."""
    outputs: dict[str, str]
    """File or folder in the round's directory -> digest of its content."""
    seconds: float
    """Wall-clock seconds of the run that finished it."""
    summary: Json = {}


def file_digest(path: Path) -> str:
    """Return the sha256 of a file; of a folder, that of its files' names and digests, sorted."""
    if path.is_dir():
        parts = [f"{p.relative_to(path)}\0{file_digest(p)}" for p in sorted(path.rglob("*")) if p.is_file()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_lines(path: Path, rows: Iterable[BaseModel]) -> None:
    """Write pydantic rows as JSON lines, all or nothing."""
    write_atomic(path, b"".join(as_json(row) + b"\n" for row in rows))


def read_lines(path: Path, kind: type[Row]) -> list[Row]:
    """Return the rows of a finished file.

    Raises:
        RoundFault: a line is none.
    """
    found = [parser(kind)(line) for line in path.read_bytes().splitlines()]
    rows = [row for row in found if row is not None]
    if len(rows) != len(found):
        raise RoundFault(
            f"{path} is damaged", fix=f"remove it, then `selfdistill refresh --resume {path.parent.name}`"
        )
    return rows


class RoundDir:
    """One round on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @classmethod
    def create(cls, root: Path, recipe: Recipe) -> RoundDir:
        """Make a folder named by the time and the recipe.

        Raises:
            RoundFault: it cannot be written.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = root / f"{stamp}-{recipe.digest()[:4]}"
        try:
            path.mkdir(parents=True)
            round_dir = cls(path)
            round_dir._write_round(
                {"recipe": recipe.model_dump(mode="json"), "recipe_digest": recipe.digest()}
            )
        except OSError as error:
            raise RoundFault(
                f"the round's folder {path} cannot be written: {error.strerror}",
                fix="free some space, or set FORKLOCK_HOME to a writable folder",
                exit_code=EXIT_INFRASTRUCTURE,
            ) from error
        return round_dir

    @property
    def recipe(self) -> Recipe:
        try:
            return Recipe.model_validate(self.read_round()["recipe"])
        except (KeyError, ValidationError) as error:
            raise RoundFault(
                f"round {self.id}: round.json holds no recipe that this version understands",
                fix=f"remove {self.path} and start a new round",
            ) from error

    def read_round(self) -> Json:
        try:
            loaded = dict(parse_json((self.path / "round.json").read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise RoundFault(
                f"round {self.id}: round.json is missing or damaged",
                fix=f"remove {self.path} and start a new round",
            ) from error
        return loaded

    def update_round(self, **fields: Any) -> None:
        """Add facts to round.json (the verdict, the adapter's version)."""
        self._write_round({**self.read_round(), **fields})

    def _write_round(self, content: Mapping[str, Any]) -> None:
        write_atomic(self.path / "round.json", json.dumps(content, indent=2) + "\n")

    def record(self, stage: str) -> StageRecord | None:
        """Return the record of a finished stage, or None. It is not checked against the files: see `done`."""
        path = self.path / f"{stage}.json"
        try:
            return StageRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def done(self, stage: str, inputs: str) -> StageRecord | None:
        """Return the record if the stage was finished on the same inputs and its outputs are intact."""
        record = self.record(stage)
        if record is None or record.inputs != inputs:
            return None
        for name, digest in record.outputs.items():
            path = self.path / name
            if not path.exists() or file_digest(path) != digest:
                return None
        return record

    def finish(
        self, stage: str, inputs: str, outputs: list[str], *, seconds: float, summary: Json
    ) -> StageRecord:
        digests = {name: file_digest(self.path / name) for name in outputs}
        record = StageRecord(
            stage=stage, inputs=inputs, outputs=digests, seconds=round(seconds, 3), summary=summary
        )
        write_atomic(self.path / f"{stage}.json", record.model_dump_json(indent=2) + "\n")
        return record

    def next_stage(self) -> str | None:
        """Return the first stage without a record; None when the round is finished."""
        return next((stage for stage in STAGES if self.record(stage) is None), None)

    def discard(self, *names: str) -> None:
        """Remove files or folders of a stage that is to be run again."""
        for name in names:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def list_rounds(root: Path) -> list[RoundDir]:
    """Return all rounds under `root`, oldest first."""
    if not root.is_dir():
        return []
    return [RoundDir(path) for path in sorted(root.iterdir()) if (path / "round.json").exists()]


def find_round(root: Path, round_id: str) -> RoundDir:
    """Return the round whose id is `round_id`, or starts or ends with it.

    Raises:
        RoundFault: no round matches, or several do.
    """
    rounds = list_rounds(root)
    exact = [r for r in rounds if r.id == round_id]
    found = exact or [r for r in rounds if r.id.startswith(round_id) or r.id.endswith(round_id)]
    if len(found) != 1:
        what = "no round" if not found else f"{len(found)} rounds"
        raise RoundFault(f"{what} match {round_id!r}", fix="`selfdistill status` lists them")
    return found[0]


def unfinished(root: Path, recipe: Recipe, *, any_seed: bool) -> RoundDir | None:
    """Return the newest unfinished round of this recipe, or None."""
    wanted = recipe.digest(but_seed=any_seed)
    for round_dir in reversed(list_rounds(root)):
        if round_dir.next_stage() is None:
            continue
        try:
            held = round_dir.recipe
        except RoundFault:
            continue
        if held.digest(but_seed=any_seed) == wanted:
            return round_dir
    return None

"""evals: samples and verdicts on disk, append-only, one folder per configuration.

Input: what shapes a sample's distribution (set version, model, adapter, decoding, preset). Output: a `Store` whose rows
survive kill -9: each line is flushed at once, and a torn last line is cut off and reported. More samples or problems
under the same configuration extend the same folder. Not covered: sharing a folder between processes; a second process
is refused.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from forklock.evals.contract import EvalFault, Judgement, Sample, Verdict
from forklock.models.contract import Decoding, ModelIdentity
from forklock.models.paths import cache_dir, data_dir
from forklock.sandbox.files.atomic import put_in_place, write_atomic
from forklock.sandbox.files.jsonl import DamagedLine, JsonLines, as_json, parser

Row = TypeVar("Row", bound=BaseModel)
ResultKind = Literal["evals", "sweeps", "tokens", "repo-evals"]


class RunConfig(BaseModel):
    """The configuration that a folder of samples belongs to; the number of samples and problems is not part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    set_name: str
    set_version: str
    model: ModelIdentity
    preset: str
    decoding: Decoding
    repair: int = 0
    """Largest number of repair turns."""

    @property
    def run_id(self) -> str:
        data = self.model_dump(mode="json", exclude={"decoding": {"n"}, "set_name": True})
        if not self.repair:
            del data["repair"]  # a later field: run ids without it stay the same
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        model = self.model.name.rstrip("/").rsplit("/", maxsplit=1)[-1]
        adapter = f"+{self.model.adapter.rsplit('/', maxsplit=1)[-1]}" if self.model.adapter else ""
        name = re.sub(r"[^\w.+-]+", "_", f"{self.set_name}-{model}{adapter}")
        return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Judged(BaseModel):
    """One verdict, and the judge and program that it belongs to (`judged_as`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    judge: str
    judgement: Judgement


class Store:
    """The samples and verdicts of one configuration. A context manager."""

    def __init__(self, config: RunConfig, root: Path | None = None) -> None:
        """
        Raises:
            EvalFault: the folder cannot be written, holds a damaged line that is not the last, or
                another process is using it.
        """
        self.config = config
        self.folder = (root or runs_dir()) / config.run_id
        self.notes: list[str] = []
        try:
            with ExitStack() as opened:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._samples_file = opened.enter_context(self._open("samples.jsonl", Sample))
                self._verdicts_file = opened.enter_context(self._open("verdicts.jsonl", Judged))
                write_atomic(self.folder / "run.json", config.model_dump_json(indent=1))
                self._opened = opened.pop_all()
        except BlockingIOError as error:
            raise EvalFault(
                f"another process is working on {config.run_id}", fix="wait for it, or end it"
            ) from error
        except OSError as error:
            raise EvalFault(
                f"cannot write {self.folder}: {error.strerror}", fix="free some space or allow writing there"
            ) from error
        self.samples = {row.key: row for row in self._samples_file.rows}
        self._judged = {row.key: row for row in self._verdicts_file.rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def add_sample(self, sample: Sample) -> None:
        """Store a sample without its judgement, unless there is one with its key."""
        if sample.key not in self.samples:
            self.samples[sample.key] = sample
            _append(self._samples_file, sample.model_copy(update={"judgement": None}))

    def add_judgement(self, key: str, judgement: Judgement, judge: str) -> None:
        """Store a verdict; `judge` is what `judged_as` returns."""
        row = Judged(key=key, judge=judge, judgement=judgement)
        self._judged[key] = row
        _append(self._verdicts_file, row)

    def judgement(self, key: str, judge: str) -> Judgement | None:
        """Return the stored verdict of this judge on this program, or None."""
        row = self._judged.get(key)
        return row.judgement if row is not None and row.judge == judge else None

    def passed(self, sample: Sample) -> bool:
        """Return whether the newest verdict on a sample, whichever judge's, is that it passed."""
        row = self._judged.get(sample.key)
        return row is not None and row.judgement.verdict is Verdict.PASSED

    def _open(self, name: str, kind: type[Row]) -> JsonLines[Row]:
        path = self.folder / name
        try:
            lines = JsonLines(path, parser(kind))
        except DamagedLine as error:
            raise EvalFault(
                error.args[0],
                fix=f"remove that line, or the folder {self.folder}; what is missing is made again",
            ) from error
        if lines.torn_bytes:
            self.notes.append(f"{name}: the torn last line was dropped")
        return lines


def judged_as(sample: Sample, stamp: str) -> str:
    """Return what a stored verdict on a sample belongs to: one judge with its limits, and one program."""
    return f"{stamp}/{hashlib.sha256((sample.code or '').encode()).hexdigest()[:12]}"


def runs_dir() -> Path:
    """Return the folder of the user's evaluations, which has one folder for each."""
    return results_dir("evals")


def results_dir(kind: ResultKind) -> Path:
    """Return the folder of one kind of results.

    Results are data, which no clean-up may delete. The first version kept them in the cache folder; they are moved from
    there on first use.

    Raises:
        EvalFault: results of the first version cannot be moved.
    """
    folder, old = data_dir() / "results" / kind, cache_dir() / kind
    if os.path.lexists(old):
        _move_results(old, folder)
    return folder


def _move_results(old: Path, folder: Path) -> None:
    """Move the entries of `old`; an entry that exists in `folder` stays where it was."""
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".moving"):
            for entry in sorted(old.iterdir()) if old.is_dir() else []:
                if not os.path.lexists(folder / entry.name):
                    _move_whole(entry, folder / entry.name)
            with contextlib.suppress(OSError):
                old.rmdir()
    except OSError as error:
        raise EvalFault(
            f"results of the first version in {old} cannot be moved to {folder}: {error.strerror}",
            fix="free some space or allow writing there, or move them yourself",
        ) from error


def _move_whole(source: Path, target: Path) -> None:
    """Move a file or folder whole or not at all, also between file systems."""
    try:
        put_in_place(source, target)
    except FileNotFoundError:
        return  # another process was first
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, part, symlinks=True)
        else:
            shutil.copy2(source, part, follow_symlinks=False)
        put_in_place(part, target)
        shutil.rmtree(source) if source.is_dir() else source.unlink()


def _append(file: JsonLines[Row], row: BaseModel) -> None:
    try:
        file.append(as_json(row))
    except OSError as error:
        raise EvalFault(
            f"cannot write {file.path}: {error.strerror}", fix="free some space, run again"
        ) from error

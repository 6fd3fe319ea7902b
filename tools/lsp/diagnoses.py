"""Diagnostics of a file, all of them or only those that the baseline does not have.

In: paths, unsaved texts. Out: `DiagnosticsAnswer`. The baseline is the workspace as it was when the servers were
opened, or at the last `set_baseline`. Not covered: which diagnostics count as the same (`answers.only_new`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from forklock.tools.contract import Diagnostic, DiagnosticsAnswer, Freshness
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker, PathLike
from forklock.tools.lsp.asking.verdicts import merge, unknown


class Diagnoses:
    """The diagnostics of one workspace."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._baselines: dict[Path, list[Diagnostic]] = {}

    def of(self, path: PathLike, text: str | None = None) -> DiagnosticsAnswer:
        """Everything that the servers say about this file as it is on disk, or as if it held `text`."""
        file = self._asker.inside(path)
        if file is None:
            return DiagnosticsAnswer(Freshness.UNAVAILABLE, detail=f"{path} is outside the workspace")
        with self._asker.lock:
            content = text if text is not None else self._asker.sources.read(file)
            if content is None:
                return DiagnosticsAnswer(Freshness.UNAVAILABLE, detail=f"{path} is not a text file")
            return self._asker.diagnose(file, {file: content})

    def new(
        self,
        texts: Mapping[PathLike, str | None] | Mapping[str, str | None],
        also: Sequence[PathLike] = (),
    ) -> DiagnosticsAnswer:
        """The diagnostics that these texts together add, in these files and in `also`. None: the text on disk."""
        with self._asker.lock:
            overlay: dict[Path, str] = {}
            for path, text in [*texts.items(), *((p, None) for p in also)]:
                file = self._asker.inside(path)
                content = self._asker.sources.read(file) if file is not None and text is None else text
                if file is None or content is None:
                    return DiagnosticsAnswer(
                        Freshness.UNAVAILABLE, detail=f"{path} is not a text file inside"
                    )
                overlay[file] = content
            return merge([self._new_in(file, overlay) for file in overlay])

    def _new_in(self, file: Path, overlay: Mapping[Path, str]) -> DiagnosticsAnswer:
        gone = [] if file in self._baselines else self._asker.sources.vanished()
        baseline = self._baseline_of(file) if not gone else []
        if isinstance(baseline, DiagnosticsAnswer):
            return baseline
        now = self._asker.diagnose(file, overlay)
        new = answers.only_new(now.items, baseline)
        if now.freshness is Freshness.FOUND and not new:
            # Partly answered (see `combine`) and nothing new in that part: not the same as clean.
            fresh = Freshness.CLEAN if not now.detail else Freshness.TIMED_OUT
            return replace(now, freshness=fresh, items=())
        if gone and new:
            path = answers.shown_path(gone[0], self._asker.root)
            note = f"{path} is gone since the baseline, so old diagnostics may be among these"
            return replace(now, items=new, detail="; ".join(p for p in (now.detail, note) if p))
        return replace(now, items=new)

    def _baseline_of(self, file: Path) -> list[Diagnostic] | DiagnosticsAnswer:
        """Diagnostics of the file at the baseline, in a workspace at the baseline."""
        if file not in self._baselines:
            text = self._asker.sources.baseline(file)
            if text is None:
                return []
            answer = self._asker.diagnose(file, self._asker.sources.differing() | {file: text})
            if answer.freshness not in (Freshness.CLEAN, Freshness.FOUND) or answer.detail:
                return replace(
                    answer, items=(), freshness=unknown(answer), detail=f"baseline: {answer.detail}"
                )
            self._baselines[file] = list(answer.items)
        return self._baselines[file]

    def set_baseline(self) -> None:
        """Make the present state of the files the baseline."""
        with self._asker.lock:
            self._asker.sources.set_baseline()
            self._baselines.clear()

"""The served tools that change files of the repository: edits behind the syntax gate, and tidying.

A refused edit is an answer with a reason, not an error, so that a model can fix it and try again. Nothing outside the
tree, in `.git` or in `.forklock` is written, and test files only where the user allows it.
"""

from __future__ import annotations

import difflib
import pathlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from forklock.agent.contract import AgentFault
from forklock.agent.driving.tools.excerpts import MAX_CHARS, clip
from forklock.agent.repo import file_at
from forklock.agent.serving.mcp.answers import Diagnostics, EditAnswer, TidyAnswer
from forklock.agent.serving.mcp.workbench import Workbench
from forklock.tools.contract import (
    Change,
    Edit,
    EditRefused,
    ReplaceFile,
    ReplaceSymbol,
    SearchReplace,
    ToolFault,
)
from forklock.tools.edits.apply import AppliedEdit, apply_edit
from forklock.tools.index.files import is_test_path
from forklock.tools.index.find import read_source, the_symbol
from forklock.tools.languages.known import check_syntax
from forklock.tools.languages.text import to_lf
from forklock.tools.lsp.commands import checked, diff_of, rename_verdict, the_action, the_rename, write
from forklock.tools.paths import resolve

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

Path = Annotated[str, Field(description="relative to the repository's root")]


class Writing:
    """The tools, for one workbench."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def replace_symbol(
        self,
        path: Path,
        symbol: Annotated[str, Field(description="name path: Class.method")],
        source: Annotated[
            str, Field(description="the whole definition; any indentation, imports may precede")
        ],
    ) -> EditAnswer:
        """Replace one definition. What would not parse is refused. Answers with new diagnostics."""
        return self._edit(ReplaceSymbol(path=path, name_path=symbol, source=source))

    def search_replace(self, path: Path, search: str, replace: str) -> EditAnswer:
        """Replace one passage; `search` must match in exactly one place. What would not parse is refused."""
        return self._edit(SearchReplace(path=path, search=search, replace=replace))

    def replace_file(self, path: Path, source: str) -> EditAnswer:
        """Write the whole text of a file, new or not. What would not parse is refused."""
        return self._edit(ReplaceFile(path=path, source=source))

    def rename(
        self,
        symbol: Annotated[str, Field(description="name path: Class.method")],
        new_name: Annotated[str, Field(description="the last part alone")],
        path: Annotated[str, Field(description='"" where the symbol is unique')] = "",
        partial: Annotated[bool, Field(description="write it though places stay uncovered")] = False,
    ) -> EditAnswer:
        """Rename a definition and every use, in all files or none. Refused with the places that it would not cover."""
        with self._bench.writing:
            intel = self._bench.intel()
            intel.sync()
            one = the_symbol(self._bench.root, symbol, path or None, lambda: intel)
            answer = the_rename(intel, one.name_path, new_name, one.path)
            verdict = whole = rename_verdict(answer)
            if len(whole) > MAX_CHARS:
                verdict = f"{clip(whole)}\n`references` lists all of them"
            if not (answer.complete or partial):
                message = f"nothing was written: {verdict}\nsee to these places first, or ask again with partial=true"
                return EditAnswer(False, one.path, message, "", "", None, verdict)
            return replace(self._written(intel, answer.changes[0], one.path), uncovered=verdict)

    def apply_action(
        self, path: Path, title: str, line: Annotated[int, Field(ge=0, description="0: the file")] = 0
    ) -> EditAnswer:
        """Carry out one of `code_actions`, by its title and with the same `line`."""
        read_source(self._bench.root, path)
        with self._bench.writing:
            intel = self._bench.intel()
            intel.sync()
            offered = checked(intel.changes.actions(path, line or None))
            return self._written(intel, the_action(offered, title), path)

    def _written(self, intel: Intel, change: Change, path: str) -> EditAnswer:
        try:
            for changed in change.texts:
                self._require_writable(changed)
            told = diff_of(intel, change)
            write(intel, self._bench.root, change)
        except EditRefused as refused:
            return EditAnswer(False, path, clip(refused.message), "", "", None)
        first = path if path in change.texts else next(iter(change.texts))
        return EditAnswer(True, path, "", clip(told), "", Diagnostics.of(intel.new_diagnostics(first)))

    def tidy(
        self, path: Path, apply: Annotated[bool, Field(description="false: only show the diff")] = False
    ) -> TidyAnswer:
        """Format (if the last commit's file was formatted) and apply safe lint fixes to what changed since it."""
        from forklock.tools.edits.tidy import format_text, lint_fix

        if apply and self._bench.options.read_only:
            raise ToolFault("the server is read-only", fix="leave `apply` out")
        with self._bench.writing:
            before, now = self._committed(path), read_source(self._bench.root, path)
            fixed = lint_fix(path, before, now, root=self._bench.root)
            tidied = format_text(path, before, fixed, root=self._bench.root)
            if apply and tidied != now:
                self._require_writable(path)
                apply_edit(self._bench.root, ReplaceFile(path=path, source=tidied))
                self._bench.intel().sync([path])
        return TidyAnswer(apply and tidied != now, _diff(path, now, tidied))

    def _committed(self, path: str) -> str | None:
        """Reads the file as of the last commit, with LF line ends; None where it is new."""
        try:
            return to_lf(file_at(self._bench.root, "HEAD", path).decode())
        except (AgentFault, UnicodeDecodeError):
            return None

    def _edit(self, edit: Edit) -> EditAnswer:
        try:
            with self._bench.writing:
                self._require_writable(edit.path)
                # Before the edit: what the servers see at their start is not new.
                intel = self._bench.intel() if _read_by_servers(edit.path, self._bench.root) else None
                applied = apply_edit(self._bench.root, edit)
        except EditRefused as refused:
            would_be = _around_fault(edit.path, refused.would_be) if refused.would_be else ""
            return EditAnswer(False, edit.path, clip(refused.message), "", would_be, None)
        return _applied(applied, intel)

    def _require_writable(self, path: str) -> None:
        """Raises EditRefused for a test, or a link to one."""
        target = resolve(self._bench.root, path).relative_to(self._bench.root).as_posix()
        if not self._bench.options.edit_tests and (is_test_path(path) or is_test_path(target)):
            raise EditRefused(
                f"{path} is a test: tests are read-only here, repair the code they check "
                "(the user may start the server with --edit-tests)"
            )


def _read_by_servers(path: str, root: pathlib.Path) -> bool:
    from forklock.tools.lsp.servers.table import SERVERS, servers_for

    return any(SERVERS[name].reads(pathlib.PurePosixPath(path)) for name in servers_for(root))


def _applied(edit: AppliedEdit, intel: Intel | None) -> EditAnswer:
    found = None
    if intel is not None:
        intel.sync([edit.path])
        found = Diagnostics.of(intel.new_diagnostics(edit.path))
    diff = _diff(edit.path, to_lf(edit.before or ""), to_lf(edit.after))
    return EditAnswer(True, edit.path, "", diff, "", found)


def _diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), path, path, n=1, lineterm="")
    return clip("\n".join(list(lines)[2:]), MAX_CHARS // 2)


def _around_fault(path: str, text: str) -> str:
    """Returns the would-be text, or the part around its first error where it is long."""
    problem = check_syntax(path, text)
    if len(text) <= MAX_CHARS or problem is None:
        return clip(text)
    lines = text.split("\n")
    return clip("\n".join(lines[max(0, problem.line - 30) : problem.line + 30]))

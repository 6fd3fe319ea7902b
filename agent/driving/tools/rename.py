"""Renames a definition in all files, by the language server; or says how to do it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from forklock.agent.driving.tools.checking import is_new_test
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.excerpts import MAX_CHARS, clip
from forklock.agent.driving.tools.find import places_of
from forklock.agent.driving.tools.forms import Rename
from forklock.agent.driving.tools.read import the_definition
from forklock.tools.contract import EditRefused, ReplaceFile, Symbol, ToolFault
from forklock.tools.edits.apply import apply_edits
from forklock.tools.lsp.commands import rename_verdict, the_rename

_PLACES = 40


def rename(context: Context, change: Rename) -> tuple[tuple[str, ...], str]:
    """Carry out a rename: all files or none.

    Returns:
        The files that were written, and what was done.

    Raises:
        EditRefused: no such definition, the name is taken, a test would have to change, or no server renames.
    """
    symbol = the_definition(context, change.symbol, change.path)
    intel = context.intel()
    if intel is None:
        raise _by_hand(context, symbol, change, "no language server runs")
    intel.sync()
    try:
        answer = the_rename(intel, symbol.name_path, change.new_name, symbol.path)
    except ToolFault as fault:
        if fault.fix.startswith("choose another name"):
            raise EditRefused(f"{fault.message}: {fault.fix}.") from fault
        raise _by_hand(context, symbol, change, fault.message) from fault
    texts = answer.changes[0].texts
    _require_writable(context, symbol, texts)
    apply_edits(context.root, [ReplaceFile(path=path, source=text) for path, text in texts.items()])
    done = f"Renamed {symbol.name_path} to {change.new_name} in {', '.join(texts)}."
    verdict = rename_verdict(answer)
    return tuple(texts), done if verdict == "complete" else f"{done}\n{clip(verdict, MAX_CHARS // 2)}"


def _require_writable(context: Context, symbol: Symbol, texts: Mapping[str, str]) -> None:
    if context.guard is None:
        return
    frozen = [
        path
        for path in texts
        if not is_new_test(context.guard, path)
        and context.guard.frozen.refusal(path, path, new=False) is not None
    ]
    if frozen:
        raise EditRefused(
            f"Nothing was renamed: {', '.join(frozen[:5])} would have to change, and tests are read-only here. "
            f"Keep {symbol.name_path} under its old name for them, beside the new one."
        )


def _by_hand(context: Context, symbol: Symbol, change: Rename, why: str) -> EditRefused:
    old = symbol.name_path.rpartition(".")[2]
    rows = list(islice(places_of(context, old), _PLACES + 1))
    more = ["  … and more"] if len(rows) > _PLACES else []
    listed = "\n".join([*rows[:_PLACES], *more])
    return EditRefused(
        f"Nothing was renamed: {why}. Rename {old} to {change.new_name} by hand, with an edit of each of these "
        f"lines:\n{listed}"
    )

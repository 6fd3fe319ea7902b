"""Tells a plan to an editor: what `agent plan --json` prints, as entries of the protocol's plan and a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acp.helpers import plan_entry, update_plan

from forklock.agent.serving.acp.diffs import fenced, inline
from forklock.agent.serving.acp.story import Update, message

_MOST_PLACES = 12
_MOST_REASONS = 4


def plan_updates(facts: Mapping[str, Any]) -> list[Update]:
    """The updates for a plan."""
    failed = _list(facts, "failed")
    places = [one for one in _list(facts, "places") if isinstance(one, dict)][:_MOST_PLACES]
    asked = [one for one in places if one.get("candidates")]
    entries = [
        plan_entry(f"Ask for {one['candidates']} candidates of {inline(str(one.get('place')), 80)}")
        for one in asked
    ]
    suite = facts.get("regression")
    parts = [
        f"The check {inline(str(facts.get('check', '')))}: {facts.get('passed', 0)} passed, {len(failed)} failed.",
        f"The suite that must not get worse: {inline(str(suite))}." if suite else "",
        *(_place(one) for one in places),
        "Nothing was asked and nothing is changed. In the mode *solve*, the same words start a run.",
    ]
    if not asked:
        parts.insert(-1, "No place could be tied to the failing check; say more, or give another check.")
    told: list[Update] = [update_plan(entries)] if entries else []
    return [*told, *message("\n\n".join(part for part in parts if part))]


def _list(facts: Mapping[str, Any], key: str) -> list[Any]:
    found = facts.get(key)
    return found if isinstance(found, list) else []


def _place(one: Mapping[str, Any]) -> str:
    count = one.get("candidates")
    what = one.get("refused") or (f"{count} candidates" if count else "not in the first step")
    score = one.get("score")
    rank = f" ({score:.2f})" if isinstance(score, float) else ""
    reasons = "\n".join(str(reason) for reason in _list(one, "reasons")[:_MOST_REASONS])
    head = f"{inline(str(one.get('place', '')), 120)}{rank}: {what}"
    return f"{head}\n\n{fenced(reasons)}" if reasons else head

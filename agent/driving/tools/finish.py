"""`finish`: ends the rollout. Refused once where the check fails and budget is left."""

from __future__ import annotations

from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.tools.checking import explain, judge, passes
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.excerpts import clip
from forklock.models.calls.contract import Parameter, Tool
from forklock.tools.contract import TestReport

SUMMARY_CHARS = 1000
_REFUSED = "Not finished yet. Repair it; if that cannot be done, call finish again and say why."

TOOL = Tool(
    "finish",
    "End the work, once the task is done and its check passes.",
    (
        Parameter(
            "summary",
            "string",
            "what was changed and why, in a sentence or two",
            also=("message", "answer", "reason", "result"),
        ),
    ),
)


def finish(context: Context, summary: str) -> ToolAnswer:
    """Answer a call.

    Raises:
        SandboxFault: the sandbox failed.
    """
    report = judge(context)
    words = clip(context.relative(summary.strip()), SUMMARY_CHARS)
    found = context.relative(explain(context.check, report, context.root))
    held = report if isinstance(report, TestReport) else None
    if not passes(context.check, report) and not context.finish_refused and context.may_go_on():
        context.finish_refused = True
        return ToolAnswer(f"{_REFUSED}\n{found}", "refused", report=held)
    return ToolAnswer(found, "ok", finished=words, report=held)

"""`ending`: `rewrite` with more and more of the present code already in the answer.

Code that is likely right is kept, and the rest of the body, with its mistake, is out of sight.
"""

from __future__ import annotations

from forklock.agent.asking.chat import chat, fenced, header_of, read_chat, rewrite_closing
from forklock.agent.asking.way import Asked, Question, Way


def ask(question: Question) -> Asked | None:
    """Each turn begins the answer at the next statement, and after the last one at the first again."""
    if not question.is_function or not question.material.engine.supports_prefill:
        return None
    later = question.openings[1:]
    opening = later[question.turn % len(later)] if later else header_of(question)
    closing = rewrite_closing(question, "Write {name} anew")
    return chat(question, closing, fenced(question, opening), hides_code=True)


WAY = Way("ending", ask, read_chat)

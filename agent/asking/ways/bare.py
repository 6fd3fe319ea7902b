"""`bare`: `rewrite` without the failure's text and without what is known of the code around.

What is known can also lead a small model astray (docs/decisions/0007).
"""

from __future__ import annotations

from forklock.agent.asking.chat import chat, fenced, header_of, read_chat, rewrite_closing
from forklock.agent.asking.way import Asked, Question, Way


def ask(question: Question) -> Asked | None:
    """The answer begins with the function's header."""
    if not question.is_function:
        return None
    closing = rewrite_closing(question, "Write {name} anew", with_path=False)
    opening = fenced(question, header_of(question))
    return chat(question, closing, opening, hides_code=True, is_bare=True)


WAY = Way("bare", ask, read_chat)

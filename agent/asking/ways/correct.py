"""`correct`: a bare chat that shows the code and asks for the corrected function."""

from __future__ import annotations

from forklock.agent.asking.chat import chat, fenced, header_of, read_chat, rewrite_closing
from forklock.agent.asking.way import Asked, Question, Way


def ask(question: Question) -> Asked | None:
    """The answer begins with the function's header."""
    if not question.is_function:
        return None
    closing = rewrite_closing(question, "Correct {name}", with_path=False)
    return chat(question, closing, fenced(question, header_of(question)), is_bare=True)


WAY = Way("correct", ask, read_chat)

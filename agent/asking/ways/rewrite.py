"""`rewrite`: a chat that shows header and docstring, and asks for the whole function.

The present body is hidden, since a small model copies what it is shown.
"""

from __future__ import annotations

from forklock.agent.asking.chat import chat, fenced, header_of, read_chat, rewrite_closing
from forklock.agent.asking.way import Asked, Question, Way


def ask(question: Question) -> Asked | None:
    """The answer begins with the function's header."""
    if not question.is_function:
        return None
    closing = rewrite_closing(question, "Write {name} anew")
    return chat(question, closing, fenced(question, header_of(question)), hides_code=True)


WAY = Way("rewrite", ask, read_chat, instead="repair")

"""`repair`: a chat that shows the code, and a failed attempt where there is one, and asks for a diagnosis first.

It works for every place and every protocol, so the other ways fall back to it.
"""

from __future__ import annotations

from forklock.agent.asking.chat import chat, read_chat
from forklock.agent.asking.way import Asked, Question, Way


def ask(question: Question) -> Asked:
    """The answer begins with the diagnosis, in the form of the run's protocol."""
    protocol, place = question.material.protocol, question.place
    return chat(question, protocol.ask(place), protocol.begin(place))


WAY = Way("repair", ask, read_chat, instead="repair")

"""How a problem is put to the model, and how a program is read out of its answer.

The format is LiveCodeBench's official one (system words, `### Question / ### Format / ### Answer`), for
training prompts and gate alike, so that both speak the same way.
In: a `Problem`, an answer's text. Out: a `Request`, a program or None.
"""

from __future__ import annotations

import re

from evals.contract import Problem
from models.contract import Request

SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will "
    "generate a correct Python program that matches the specification and passes all tests."
)
_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code "
    "within delimiters."
)
_STDIN = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on "
    "the sample inputs). Enclose your code within delimiters as follows."
)
_BLOCK = re.compile(r"```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


def request_for(problem: Problem) -> Request:
    """The chat that asks for a program."""
    if problem.starter_code:
        form = f"{_WITH_STARTER}\n```python\n{problem.starter_code.rstrip()}\n```"
    else:
        form = f"{_STDIN}\n```python\n# YOUR CODE HERE\n```"
    user = (
        f"### Question:\n{problem.prompt.strip()}\n\n### Format: {form}\n\n"
        "### Answer: (use the provided format with backticks)\n"
    )
    return Request.chat(user, system=SYSTEM)


def program_of(text: str, problem: Problem) -> str | None:
    """The last fenced block that defines the entry point, else the last block; None where there is none.
    A block that the length limit cut open counts: whether it runs is for the tests to say."""
    blocks = [block for block in _BLOCK.findall(text) if block.strip()]
    if not blocks:
        return None
    name = problem.entry_point
    named = [b for b in blocks if name and re.search(rf"^\s*(?:def|class)\s+{re.escape(name)}\b", b, re.M)]
    return str((named or blocks)[-1])

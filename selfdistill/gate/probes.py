"""Asks a few instructions with deterministic checks, to see whether an adapter still follows instructions.

In: an engine. Out: how many of `PROBES` it follows at temperature 0. They cover what training on code is known to
damage (SSD lowered HumanEval-Shell and AIME of small models): output formats, short answers, JSON, no code.
Not covered: quality of prose, other languages, long conversations.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from forklock.models.contract import Decoding, Engine, Request
from forklock.sandbox.files.reading import parse_python

GREEDY = Decoding(temperature=0.0, max_tokens=96)


@dataclass(frozen=True)
class Probe:
    instruction: str
    followed: Callable[[str], bool]


def run_probes(engine: Engine) -> int:
    """Return the number of `PROBES` that the engine follows."""
    answers = engine.complete([Request.chat(probe.instruction) for probe in PROBES], GREEDY)
    return sum(probe.followed(samples[0].text) for probe, samples in zip(PROBES, answers, strict=True))


def fenced(text: str) -> str | None:
    """Return the only Python block of a text, or None."""
    found = re.findall(r"```(?:python|py)?\n(.*?)```", text, re.DOTALL)
    return found[0] if len(found) == 1 else None


def parses(code: str | None) -> bool:
    """Return whether the code is Python with at least one statement."""
    if not code:
        return False
    try:
        return bool(parse_python(code).body)
    except SyntaxError:
        return False


def _defines(text: str, name: str) -> bool:
    code = fenced(text)
    if code is None or not parses(code):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in parse_python(code).body)


def _json_keys(text: str, keys: set[str]) -> bool:
    body = fenced(text.replace("```json", "```python")) or text
    try:
        value = json.loads(body.strip())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and set(value) == keys


def _bullets(text: str, count: int) -> bool:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return len(lines) == count and all(line.startswith("- ") for line in lines)


PROBES: tuple[Probe, ...] = (
    Probe(
        "Answer with one word, yes or no: is 7 a prime number?",
        lambda text: re.fullmatch(r"\W*(yes|no)\W*", text.strip(), re.IGNORECASE) is not None,
    ),
    Probe(
        "Write a Python function named `add_two` that returns its argument plus two. "
        "Give one Python code block.",
        lambda text: _defines(text, "add_two"),
    ),
    Probe(
        "Rename this function to `area` and give the whole function in one Python code block.\n"
        "```python\ndef f(width, height):\n    return width * height\n```",
        lambda text: _defines(text, "area"),
    ),
    Probe(
        'Reply with a JSON object with the keys "path" and "line" for line 3 of a.py, and nothing else.',
        lambda text: _json_keys(text, {"path", "line"}),
    ),
    Probe(
        "List three colours, one on each line, each line beginning with '- '. Write nothing else.",
        lambda text: _bullets(text, 3),
    ),
    Probe(
        "In one sentence and without any code: what is a Python list?",
        lambda text: bool(text.strip()) and "```" not in text,
    ),
    Probe(
        "Repeat this word exactly and write nothing else: forklock",
        lambda text: text.strip().strip("\"'`.").lower() == "forklock",
    ),
    Probe(
        "What is 12 + 30? Answer with the number only.",
        lambda text: text.strip().rstrip(".") == "42",
    ),
)

"""evals: how a model is asked to solve a problem. Pure.

Input: a problem and a preset. Output: a `Request`. `coder-chat` is our own preset, for instruct models and every kind
of set. `humaneval-chat` is EvalPlus's instruction without its opening of the answer. `official-lcb` is LiveCodeBench's
own wording, `official-qwen-coder` that of Qwen2.5-Coder's evaluation scripts for HumanEval and MBPP.
`forklock.evals.runs.extract` reads the answers. Not covered: few-shot prompts for base models.
"""

from __future__ import annotations

from typing import Literal, get_args

from forklock.evals.contract import EvalFault, Problem, ProblemSet
from forklock.evals.runs.extract import OPENING, Preset, extract_code
from forklock.models.contract import Request

__all__ = ["PRESETS", "Preset", "as_preset", "default_preset", "extract_code", "preset_for", "request_for"]

PRESETS: tuple[Preset, ...] = get_args(Preset)

_LCB_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will "
    "generate a correct Python program that matches the specification and passes all tests."
)
_LCB_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code "
    "within delimiters."
)
_LCB_WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on "
    "the sample inputs). Enclose your code within delimiters as follows. Ensure that when the python "
    "program runs, it reads the inputs, runs the algorithm and writes output to STDOUT."
)
_QWEN_CODER_SYSTEM = "You are an intelligent programming assistant to produce Python algorithmic solutions"
_QWEN_CODER_STOPS = ("\nif __name__", "\ndef main(", "\nprint(", "\n#", "\n```")
_CODER_SYSTEM = "You are a careful Python programmer. Answer with one complete program in one code block."


def request_for(problem: Problem, preset: Preset = "coder-chat") -> Request:
    """Return the chat that asks for a solution of `problem`."""
    if preset == "official-lcb":
        return Request.chat(_official(problem), system=_LCB_SYSTEM)
    if preset == "humaneval-chat":
        return Request.chat(_complete(problem))
    if preset == "official-qwen-coder":
        asked = Request.chat(_qwen_coder(problem), system=_QWEN_CODER_SYSTEM, prefill=f"{OPENING}\n")
        return asked.model_copy(update={"stop": _QWEN_CODER_STOPS})
    return Request.chat(_ours(problem), system=_CODER_SYSTEM)


def as_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        EvalFault: there is no such preset.
    """
    for preset in PRESETS:
        if preset == name:
            return preset
    raise EvalFault(f"no such preset: {name}", fix=f"one of {', '.join(PRESETS)}")


def default_preset(kind: Literal["stdin", "functional", "assert"]) -> Preset:
    """Return the preset that `--preset auto` takes for tests of this kind."""
    return "humaneval-chat" if kind == "assert" else "coder-chat"


def preset_for(problems: ProblemSet, name: str) -> Preset:
    """Return the preset of that name; `auto` chooses by the set.

    Raises:
        EvalFault: there is no such preset.
    """
    return default_preset(problems.problems[0].tests[0].kind) if name == "auto" else as_preset(name)


def _official(problem: Problem) -> str:
    format_, code = (
        (_LCB_WITH_STARTER, problem.starter_code)
        if problem.starter_code
        else (_LCB_WITHOUT_STARTER, "# YOUR CODE HERE")
    )
    return (
        f"### Question:\n{problem.prompt}\n\n### Format: {format_}\n```python\n{code}\n```\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )


def _complete(problem: Problem) -> str:
    return (
        "Please provide a self-contained Python script that solves the following problem in a markdown code "
        f"block:\n```python\n{(problem.prompt or problem.starter_code).strip()}\n```\n"
    )


def _qwen_coder(problem: Problem) -> str:
    code = (problem.prompt or problem.starter_code).strip()
    return f"Can you complete the following Python function?\n```python\n{code}\n```\n"


def _ours(problem: Problem) -> str:
    if problem.tests[0].kind == "stdin":
        ask = "Write a Python program that reads the input from stdin and prints the answer to stdout."
        return f"{problem.prompt.strip()}\n\n{ask}"
    if problem.tests[0].kind == "assert" and problem.platform != "leetcode":
        code = problem.prompt.strip()
        return f"Complete this function. Give the whole function, imports included.\n\n```python\n{code}\n```"
    ask = "Complete this class; give all of it, in one Python code block."
    return f"{problem.prompt.strip()}\n\n{ask}\n\n```python\n{problem.starter_code.rstrip()}\n```"

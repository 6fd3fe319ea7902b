"""Chooses a round's prompts and gate problems together, and checks that they are disjoint.

In: a recipe. Out: a `Choice`; the same recipe gives the same one. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forklock.evals.contract import ProblemSet
from forklock.selfdistill.contract import Prompt, Recipe, RoundFault
from forklock.selfdistill.data import prompts as prompt_pool


@dataclass(frozen=True, slots=True)
class Choice:
    recipe: Recipe
    prompts: list[Prompt]
    gate: ProblemSet


def choose_prompts(recipe: Recipe, cwd: Path, *, tests_needed: bool) -> Choice:
    """Choose the prompts to sample from and the problems of the gate.

    Args:
        cwd: the repository of `runs` where none is named.
        tests_needed: refuse prompts that have no tests.

    Raises:
        RoundFault: nothing is found, a prompt is a gate problem, or the arm needs tests and a prompt has none.
        EvalFault: a problem set cannot be loaded.
    """
    gate = prompt_pool.gate_problems(recipe.gate_set, recipe.gate_limit, seed=recipe.seed)
    chosen = prompt_pool.collect(
        recipe.prompts, recipe.limit, seed=recipe.seed, cwd=cwd, gate=gate, model=recipe.model
    )
    prompt_pool.refuse_overlap(chosen, gate)
    if tests_needed and not all(prompt.problem_id for prompt in chosen):
        raise RoundFault(
            f"arm {recipe.arm} needs tests, and prompts from past runs and tasks have none here",
            fix="name problem sets only, for example --prompts humaneval",
        )
    return Choice(recipe, chosen, gate)

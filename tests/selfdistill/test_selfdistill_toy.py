"""The paper's toy model, reproduced: teacher 8.32 %, student 13.77 % (arXiv 2604.01193)."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the toy needs the `local` extra")


@pytest.fixture(scope="module")
def toy() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "bench" / "ssd_toy.py"))


def test_the_paper_s_figures(toy: dict[str, Any]) -> None:
    teacher = toy["teacher"]()
    chance, temperature = toy["best"](teacher, step=0.002)
    assert chance == pytest.approx(0.0832, abs=2e-4) and temperature == pytest.approx(0.639, abs=0.003)
    chance, temperature = toy["best"](toy["ideal"](teacher, toy["TRAIN"]), step=0.002)
    assert chance == pytest.approx(0.1377, abs=1e-4) and temperature == pytest.approx(2.091, abs=0.005)


def test_a_trained_student_gains_and_the_placebo_does_not(toy: dict[str, Any]) -> None:
    teacher = toy["teacher"]()
    base, _ = toy["best"](teacher)
    gain, _ = toy["best"](toy["trained"](teacher, toy["TRAIN"]))
    placebo, _ = toy["best"](
        toy["trained"](teacher, toy["TRAIN"].model_copy(update={"temperature": 1.0, "top_p": 1.0}))
    )
    assert gain > 1.5 * base
    assert placebo == pytest.approx(base, rel=0.05)

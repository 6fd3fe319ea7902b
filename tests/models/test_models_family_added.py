"""The page that says how to add a model family is true: its example is added to the list."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from test_models_families import test_a_family_is_complete, test_a_profile_is_one_that_can_be_followed

from forklock.models.families import UNKNOWN, known, profile_of

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
_FIRST = "FAMILIES: tuple[Family, ...] = ("


def test_the_family_of_the_page_is_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    section = PAGE.read_text("utf-8").partition("## How to add a model family\n")[2].partition("\n## ")[0]
    module = ModuleType("forklock.models.families.phi")
    exec(section.partition("```python\n")[2].partition("```")[0], module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    test_a_family_is_complete(module.PHI)
    test_a_profile_is_one_that_can_be_followed(module.PHI)

    source = Path(known.__file__).read_text("utf-8")
    line = "from forklock.models.families.phi import PHI\n"
    longer = ModuleType("known")
    exec(source.replace(_FIRST, f"{line}{_FIRST}PHI, "), longer.__dict__)
    assert profile_of("microsoft/Phi-4-mini") is UNKNOWN
    assert longer.profile_of("microsoft/Phi-4-mini") is module.PHI.profile
    assert longer.FAMILIES[1:] == known.FAMILIES and longer.CATALOGUE == known.CATALOGUE

"""The page that says how to add a way of asking is true: its example is added, and a run asks that way."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from scripted import ScriptedEngine, begin
from shop import RIGHT

from forklock.agent.asking.ways import WAYS
from forklock.agent.contract import AgentFault, Outcome
from forklock.agent.log import ModelAsked
from forklock.agent.session import execute
from forklock.agent.settings import AgentSettings

PAGE = Path(__file__).parents[3] / "docs" / "design.md"


def example() -> ModuleType:
    """The file that the page tells to write."""
    section = PAGE.read_text("utf-8").split("## How to add a way of asking\n")[1].split("\n## ")[0]
    found = re.search(r" *```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    module = ModuleType("example")
    exec(textwrap.dedent(found[1]), module.__dict__)
    return module


def test_the_example_of_the_page_is_a_way(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = example().WAY
    with pytest.raises(AgentFault, match=f"no way of asking is called '{way.name}'"):
        AgentSettings.load(repo, styles=[way.name])
    monkeypatch.setitem(WAYS, way.name, way)
    engine = ScriptedEngine(lambda *_: RIGHT.partition('"""\n   ')[2] + "```")
    run = begin(repo, engine, styles=[way.name], width=1, steps=1)
    assert execute(run, engine).outcome is Outcome.SOLVED
    [asked] = [event for event in run.log.read().events if isinstance(event, ModelAsked)]
    assert "another algorithm" in run.log.text(asked.messages[-1].content)
    assert run.log.read().events[0].options["styles"] == [way.name]  # type: ignore[union-attr]

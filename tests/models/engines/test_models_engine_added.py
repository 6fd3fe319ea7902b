"""The page that says how to add an engine is true: its example is added, opened, asked and listed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest
from typer.testing import CliRunner

from forklock.models import Completion, Decoding, FirstStage, ModelFault, Request, open_engine
from forklock.models.commands.engines import app as engines_app
from forklock.models.engines import open as opening
from forklock.models.settings.models import ModelSettings

PAGE = Path(__file__).parents[3] / "docs" / "engines.md"
ASKED = Request.chat("Say something.")


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine of the page: its module, and its line in the list."""
    section = PAGE.read_text("utf-8").partition("## How to add an engine\n")[2].partition("\n## ")[0]
    name = "forklock.models.engines.canned.opening"
    module = ModuleType(name)
    exec(section.partition("```python\n")[2].partition("```")[0], module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    added = {**opening.ENGINES, "canned": "canned.opening:KIND"}
    monkeypatch.setattr(opening, "ENGINES", MappingProxyType(added))


def test_without_its_line_there_is_no_such_engine(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="no such engine: canned"):
        open_engine("./answer.txt", engine="canned")
    with pytest.raises(ModelFault, match="canned"):
        ModelSettings.load(tmp_path, engine="canned")


def test_the_engine_of_the_page_is_an_engine(
    canned: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFault, match="is no file"):
        open_engine("./answer.txt", engine="canned")
    Path("answer.txt").write_text("forty-two")
    seen: list[tuple[int, int, Completion]] = []
    with open_engine("./answer.txt", engine="canned") as engine:
        found = engine.complete([ASKED, ASKED], Decoding(n=2), on_completion=lambda *one: seen.append(one))
        assert [[one.text for one in row] for row in found] == [["forty-two"] * 2] * 2
        assert [one[:2] for one in seen] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert "".join(engine.stream(ASKED, Decoding())) == "forty-two"
        assert engine.count_tokens(ASKED) > 0 and engine.identity.engine == "canned"
        with pytest.raises(ModelFault, match="two stages"):
            engine.complete([ASKED], Decoding(virtual_ssd=FirstStage.parse("1.6/20/0.8")))


def test_commands_and_settings_know_the_engine_of_the_page(canned: None, tmp_path: Path) -> None:
    assert ModelSettings.load(tmp_path, engine="canned").engine == "canned"
    listed = CliRunner().invoke(engines_app, ["list"])
    assert listed.exit_code == 0 and "canned" in listed.output and "answers with a file" in listed.output

"""The rules of the house are measured rightly: circles, floors, and lengths of functions."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "house.py"
_spec = importlib.util.spec_from_file_location("house", SCRIPT)
assert _spec is not None and _spec.loader is not None
house = importlib.util.module_from_spec(_spec)
sys.modules["house"] = house  # dataclasses look their module up
_spec.loader.exec_module(house)


def test_circles_are_found_whole_and_once() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "x": {"y"}, "y": {"x"}}
    assert house.circles(graph) == [["a", "b", "c"], ["x", "y"]]
    assert house.circles({"a": {"b"}, "b": set()}) == []


def test_floors_are_the_longest_chain_and_a_circle_is_one() -> None:
    assert house.floors({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": set()}) == 3
    assert house.floors({"a": {"b"}, "b": {"a", "c"}, "c": set()}) == 2


def test_wings_are_taken_as_one() -> None:
    graph = {
        "r.one.a": {"r.two.b", "r.one.c", "other"},
        "r.one.c": set(),
        "r.two.b": {"r.top"},
        "r.top": set(),
    }
    assert house.within(graph, "r") == {"r.one": {"r.two"}, "r.two": {"r.top"}, "r.top": set()}


def test_a_function_is_as_long_as_its_body_and_commands_are_known(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(house, "ROOT", tmp_path)
    file = tmp_path / "m.py"
    file.write_text(
        "def plain(\n    a,\n    b,\n):\n    x = 1\n\n    return x\n\n\n"
        "def command(a: Annotated[str, typer.Option()]):\n    return a\n"
    )
    found = {one.place: (one.lines, one.is_command) for one in house.functions(file)}
    assert found == {"m.py:1 plain": (3, False), "m.py:10 command": (1, True)}

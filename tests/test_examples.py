"""The example library and its seeded bugs: each bug fails its own tests and no others."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from warm import warm_run

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from make_bug import bug_names, load_bug, make


def failing(folder: Path) -> set[str]:
    """Ids of the tests that fail in `folder`."""
    report = folder / "report.xml"
    warm_run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"], cwd=folder
    )
    found: set[str] = set()
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            found.add(f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}")
    return found


def test_the_clean_library_passes(tmp_path: Path) -> None:
    make(None, tmp_path / "clean")
    assert failing(tmp_path / "clean") == set()


@pytest.mark.parametrize("name", bug_names())
def test_each_bug_fails_its_own_tests_alone(tmp_path: Path, name: str) -> None:
    make(name, tmp_path / name)
    bug = load_bug(name)
    assert failing(tmp_path / name) == set(bug.fails)
    assert bug.task.strip() and bug.symbol.rsplit(".", 1)[-1] in (tmp_path / name / bug.file).read_text()


def test_there_are_bugs_of_every_difficulty() -> None:
    assert {load_bug(name).difficulty for name in bug_names()} == {"easy", "medium", "hard"}
    assert len(bug_names()) >= 6

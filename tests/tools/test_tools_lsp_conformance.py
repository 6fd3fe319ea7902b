"""One suite for every Python server, on the real programs: same questions, same promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tools.contract import DiagnosticsAnswer, Freshness, LookupAnswer
from tools.lsp import Intel, open_intel
from tools.lsp.servers import SERVERS, find_program

SHAPES = '''\
"""Shapes."""


class Shape:
    """Something with an area."""

    def __init__(self, name: str) -> None:
        self.name = name

    def area(self) -> float:
        """Its area."""
        return 0.0


def scale(shape: Shape, by: float) -> float:
    """The area, scaled."""
    return shape.area() * by
'''
USE = """\
from pkg.shapes import Shape, scale


def report(shape: Shape) -> str:
    größe = "🙂"; total = scale(shape, 2.0)
    return f"{shape.name}: {total} {größe}"
"""


def missing(name: str) -> pytest.MarkDecorator:
    absent = find_program(SERVERS[name].argv[0]) is None
    return pytest.mark.skipif(absent, reason=f"{name} is not installed: {SERVERS[name].fix}")


@pytest.fixture(scope="module", params=[pytest.param(n, marks=missing(n)) for n in ("ty", "basedpyright")])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shapes.py").write_text(SHAPES)
    (package / "use.py").write_text(USE)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "demo"\nversion = "0"\n')
    return tmp_path


@pytest.fixture
def intel(root: Path, server: str) -> Iterator[Intel]:
    with open_intel(root, servers=(server, "ruff"), timeout_s=30.0, start_s=40.0) as one:
        yield one
        family = [psutil.Process(pid) for pid in one.pids.values()]
        family += [child for p in family for child in p.children(recursive=True)]
    _, alive = psutil.wait_procs(family, timeout=3)
    assert not alive


def names(answer: LookupAnswer) -> list[str]:
    return [place.name_path for place in answer.locations]


def messages(answer: DiagnosticsAnswer) -> str:
    return " | ".join(d.message for d in answer.items)


def test_look_ups(intel: Intel) -> None:
    """One server start for all of them: each is a line of the contract."""
    column = USE.split("\n")[4].index("scale")  # after a letter of two bytes and one of two UTF-16 units
    found = intel.definition("pkg/use.py", 5, column)
    assert found.freshness is Freshness.FOUND
    assert (found.locations[0].path, found.locations[0].name_path) == ("pkg/shapes.py", "scale")
    assert found.locations[0].snippet.startswith("def scale(") and "by" in found.locations[0].snippet

    uses = intel.references_of("Shape.area")
    assert ("pkg/shapes.py", 17, "scale") in [(p.path, p.line, p.name_path) for p in uses.locations]
    assert "area() * by" in uses.locations[-1].snippet

    assert "float" in intel.hover_of("scale").text
    asked = USE.replace("shape.name", "shape.")
    line = asked.split("\n")[5]
    members = intel.completion("pkg/use.py", 6, line.index("shape.") + 6, text=asked).text
    assert {"area", "name"} <= {m.split(":")[0] for m in members.split("\n")}

    assert {"Shape", "Shape.area", "scale"} <= set(names(intel.document_symbols("pkg/shapes.py")))
    assert "scale" in names(intel.workspace_symbols("scale"))

    nothing = intel.definition("pkg/shapes.py", 2, 0)
    assert (nothing.freshness, nothing.locations) == (Freshness.CLEAN, ())


def test_diagnostics_are_of_exactly_this_content(intel: Intel, root: Path) -> None:
    assert intel.diagnostics("pkg/use.py").freshness is Freshness.CLEAN
    wrong = USE.replace("2.0", '"twice"')
    for _ in range(3):  # dirty, clean, dirty: never the answer before
        assert "twice" in messages(intel.diagnostics("pkg/use.py", wrong))
        assert intel.diagnostics("pkg/use.py", USE).freshness is Freshness.CLEAN
    assert (root / "pkg/use.py").read_text() == USE
    assert "scale" in names(intel.definition("pkg/use.py", 5, USE.split("\n")[4].index("scale")))


def test_only_new_diagnostics_for_many_candidates_of_one_file(intel: Intel, root: Path) -> None:
    old = USE + "\n\ndef broken() -> int:\n    return 'no'\n"
    (root / "pkg/use.py").write_text(old)
    intel.sync(["pkg/use.py"])
    intel.set_baseline()
    assert intel.diagnostics("pkg/use.py").freshness is Freshness.FOUND
    assert intel.new_diagnostics("pkg/use.py", "# moved\n\n" + old).freshness is Freshness.CLEAN
    for n in range(8):
        bad = intel.new_diagnostics("pkg/use.py", old.replace("2.0", f'"v{n}"'))
        assert bad.freshness is Freshness.FOUND and f"v{n}" in messages(bad) and len(bad.items) == 1
        assert bad.items[0].symbol == "report"
        assert intel.new_diagnostics("pkg/use.py", old).freshness is Freshness.CLEAN
    twice = old.replace("return 'no'", "return 'no'\n    return 'no'")
    assert len([d for d in intel.new_diagnostics("pkg/use.py", twice).items if "int" in d.message]) in (0, 1)


def test_change_in_a_dependency_shows_in_its_importer(intel: Intel, root: Path) -> None:
    assert intel.new_diagnostics("pkg/use.py").freshness is Freshness.CLEAN
    shapes = root / "pkg/shapes.py"

    shapes.write_text(SHAPES.replace("by: float", "by: str"))  # what a command did, in a file never opened
    intel.sync(["pkg/shapes.py"])
    assert intel.new_diagnostics("pkg/use.py").freshness is Freshness.FOUND

    shapes.write_text(SHAPES)
    intel.sync()
    assert intel.new_diagnostics("pkg/use.py").freshness is Freshness.CLEAN

    unsaved = {"pkg/shapes.py": SHAPES.replace("by: float", "by: str")}
    both = intel.new_diagnostics_of(unsaved, also=["pkg/use.py"])
    assert {d.path for d in both.items} >= {"pkg/use.py"}
    assert intel.new_diagnostics("pkg/use.py").freshness is Freshness.CLEAN  # the overlay is gone


def test_baseline_is_of_the_whole_workspace(intel: Intel, root: Path) -> None:
    """The importer is first asked about after the dependency broke it: still new."""
    (root / "pkg/shapes.py").write_text(SHAPES.replace("by: float", "by: str"))
    intel.sync(["pkg"])
    assert intel.new_diagnostics("pkg/use.py").freshness is Freshness.FOUND
    intel.set_baseline()
    assert intel.new_diagnostics("pkg/use.py").freshness is Freshness.CLEAN


def test_new_and_deleted_files(intel: Intel, root: Path) -> None:
    fresh = intel.new_diagnostics("pkg/extra.py", "def f() -> int:\n    return 'x'\n")
    assert fresh.freshness is Freshness.FOUND
    assert not (root / "pkg/extra.py").exists()
    (root / "pkg/shapes.py").unlink()
    intel.sync(["pkg/shapes.py"])
    broken = intel.new_diagnostics("pkg/use.py")
    assert broken.freshness is Freshness.FOUND and "gone since the baseline" in broken.detail


def test_deleted_dependency_of_a_file_asked_about_before(intel: Intel, root: Path) -> None:
    assert intel.new_diagnostics("pkg/use.py").freshness is Freshness.CLEAN
    (root / "pkg/shapes.py").unlink()
    intel.sync()
    broken = intel.new_diagnostics("pkg/use.py")
    assert broken.freshness is Freshness.FOUND and not broken.detail


# --- not about a server: ty and ruff -------------------------------------------------------------------


@pytest.fixture
def quick(root: Path) -> Iterator[Intel]:
    with open_intel(root) as one:
        yield one


def test_ruff_says_errors_only_unless_the_repo_has_its_own_mind(root: Path) -> None:
    text = "import os, sys\n\n\ndef f(x:list=[]):\n    return undefined_name\n"
    with open_intel(root, servers=("ruff",)) as one:
        codes = {d.code for d in one.diagnostics("pkg/use.py", text).items}
    assert codes == {"F401", "F821"}
    (root / "ruff.toml").write_text('lint.select = ["B"]\n')
    with open_intel(root, servers=("ruff",)) as one:
        assert {d.code for d in one.diagnostics("pkg/use.py", text).items} == {"B006"}


def test_ruff_alone_answers_no_look_ups(root: Path) -> None:
    with open_intel(root, servers=("ruff",)) as one:
        assert one.definition("pkg/use.py", 5, 26).freshness is Freshness.UNAVAILABLE


def test_syntax_error_is_said_once(quick: Intel) -> None:
    items = quick.diagnostics("pkg/use.py", "def (:\n").items
    assert items and len({d.message for d in items}) == len(items)


def test_names(quick: Intel, root: Path) -> None:
    assert quick.definition_of("area").locations[0].name_path == "Shape.area"
    assert "no definition" in quick.definition_of("volume").detail
    (root / "pkg/more.py").write_text("def scale() -> None: ...\n")
    quick.sync(["pkg/more.py"])
    ambiguous = quick.references_of("scale")
    assert "pkg/more.py:scale" in ambiguous.detail and "pkg/shapes.py:scale" in ambiguous.detail
    assert names(quick.definition_of("scale", "pkg/more.py")) == ["scale"]


def test_ladder(quick: Intel) -> None:
    whole = quick.definition_of("Shape")
    assert "return 0.0" in whole.locations[0].snippet and not whole.detail
    short = quick.definition_of("Shape", max_chars=90)
    assert short.locations[0].snippet == 'class Shape:\n    """Something with an area."""'
    bare = quick.definition_of("Shape", max_chars=5)
    assert (bare.locations[0].snippet, bare.locations[0].line) == ("", 4)


def test_installed_packages_resolve(quick: Intel) -> None:
    text = "from rich.table import Table\n\nTable\n"
    found = quick.definition("pkg/use.py", 3, 0, text=text)
    assert found.locations and found.locations[0].path.endswith("rich/table.py")
    assert found.locations[0].path.startswith("/")


def test_several_threads(quick: Intel) -> None:
    wrong: list[object] = []

    def work(n: int) -> None:
        for _ in range(5):
            answer = quick.new_diagnostics("pkg/use.py", USE.replace("2.0", f'"t{n}"'))
            if f"t{n}" not in messages(answer):
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

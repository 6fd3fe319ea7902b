"""Traced runs of real tests in a real sandbox, and what localisation makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from forklock.sandbox import Limits, Policy, Sandbox, open_sandbox
from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
from forklock.sandbox.interpreters.policy import python_policy
from forklock.tools.localise.localise import localise
from forklock.tools.testing.run import run_tests
from forklock.tools.testing.spectrum import Spectrum, TestTrace, trace_tests

COMMAND = ["python", "-m", "pytest", "-q"]
LIBRARY = """\
def guilty(x):
    return x + 1


def shared(x):
    if x < 0:
        return -x
    return x


def bystander(x):
    return guilty(x) if x is None else x


class Box:
    def open(self, x):
        return [guilty(n) for n in (shared(x),)][0]
"""
TESTS = """\
import threading
import pytest
from lib import Box, bystander, guilty, shared

@pytest.fixture
def prepared():
    return shared(3)

def test_wrong(prepared):
    assert guilty(prepared) == 3

def test_wrong_in_a_box():
    assert Box().open(-1) == 1

def test_right():
    assert shared(1) == 1

def test_also_right():
    assert bystander(2) == 2

def test_in_a_thread():
    thread = threading.Thread(target=shared, args=(-5,))
    thread.start()
    thread.join()
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    if problem := bubblewrap.why_not():
        pytest.skip(f"bubblewrap: {problem[0]}. Fix: {problem[1]}")
    root = tmp_path / "repo"
    root.mkdir()
    (root / "lib.py").write_text(LIBRARY)
    (root / "test_lib.py").write_text(TESTS)
    with open_sandbox(
        root, python_policy(root, Policy(limits=Limits(wall_s=60))), backend="bubblewrap"
    ) as opened:
        yield opened


def test_each_test_has_the_functions_that_it_entered(sandbox: Sandbox) -> None:
    spectrum = trace_tests(sandbox, COMMAND)
    assert spectrum is not None
    assert [(t.test_id, t.failed) for t in spectrum.traces] == [
        ("test_lib.py::test_wrong", True),
        ("test_lib.py::test_wrong_in_a_box", True),
        ("test_lib.py::test_right", False),
        ("test_lib.py::test_also_right", False),
        ("test_lib.py::test_in_a_thread", False),
    ]
    wrong, box, right, also, thread = (t.entered["lib.py"] for t in spectrum.traces)
    assert wrong == {1, 5}, "the fixture's too"
    assert {1, 5, 16} <= box <= {1, 5, 16, 17}, "a comprehension may be a function of its own"
    assert (right, also, thread) == ({5}, {11}, {5})
    assert {path for t in spectrum.traces for path in t.entered} == {"lib.py"}, (
        "tests and packages are left out"
    )
    assert not list(sandbox.root.glob(".forklock-report-*"))


def test_suspicion_is_ochiais(sandbox: Sandbox) -> None:
    spectrum = trace_tests(sandbox, COMMAND)
    assert spectrum is not None
    lines = spectrum.suspicion()["lib.py"]
    assert lines[1] == 1.0
    assert lines[5] == pytest.approx(2 / math.sqrt(2 * 4))
    assert lines[16] == pytest.approx(1 / math.sqrt(2))
    assert 11 not in lines, "no failing test enters it"


def test_localisation_leads_with_what_only_failing_tests_run(sandbox: Sandbox) -> None:
    report = run_tests(sandbox, COMMAND)
    spectrum = trace_tests(sandbox, COMMAND)
    suspects = localise(sandbox.root, task="Results are wrong", report=report, spectrum=spectrum)
    assert suspects[0].symbol.name_path == "guilty"
    ranks = [s.symbol.name_path for s in suspects]
    assert "bystander" not in ranks or ranks.index("bystander") > ranks.index("shared")


@pytest.mark.parametrize(
    "command",
    [["python", "-m", "unittest", "-q"], ["true"], ["python", "-m", "pytest", "-q", "-k", "right"],
     ["python", "-m", "pytest", "-q", "no_such_file.py"]],
    ids=["unittest", "other", "nothing-fails", "nothing-runs"],
)  # fmt: skip
def test_no_spectrum_where_there_is_none(sandbox: Sandbox, command: list[str]) -> None:
    assert trace_tests(sandbox, command) is None


def test_no_spectrum_where_time_runs_out(sandbox: Sandbox) -> None:
    (sandbox.root / "test_slow.py").write_text("def test_slow():\n    while True: pass\n")
    assert trace_tests(sandbox, COMMAND, timeout_s=3) is None


def test_a_forged_file_is_no_trace(sandbox: Sandbox) -> None:
    forged = """
import os
def test_forges():
    with open(os.environ["FORKLOCK_SPECTRUM_OUT"], "a") as f:
        f.write('nonsense\\n{"id": 1}\\n{"id": "x", "failed": true, "files": {"lib.py": ["a"]}}\\n[]\\n')
        f.write("[" * 100000 + "\\n")
    assert False
"""
    (sandbox.root / "test_forge.py").write_text(forged)
    spectrum = trace_tests(sandbox, COMMAND)
    assert spectrum is not None
    assert {t.test_id.partition("::")[0] for t in spectrum.traces} == {"test_forge.py", "test_lib.py"}


def test_a_test_that_dies_leaves_what_was_written(sandbox: Sandbox) -> None:
    (sandbox.root / "test_zz.py").write_text("import os\ndef test_dies():\n    os._exit(3)\n")
    spectrum = trace_tests(sandbox, COMMAND)
    assert spectrum is not None
    assert len(spectrum.traces) == 5


def test_what_all_failing_and_no_passing_tests_enter_is_surest() -> None:
    traces = (
        TestTrace("a", True, {"m.py": frozenset({1, 2})}),
        TestTrace("b", True, {"m.py": frozenset({2, 3})}),
        TestTrace("c", False, {"m.py": frozenset({3, 4})}),
    )
    found = Spectrum(traces).suspicion()["m.py"]
    assert max(found, key=lambda line: found[line]) == 2
    assert found[3] == pytest.approx(0.5)
    assert 4 not in found

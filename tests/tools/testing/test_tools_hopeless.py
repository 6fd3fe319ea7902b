"""Checks that can never pass are refused at once, and none that the code may be to blame for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forklock.sandbox import Policy, Sandbox, open_sandbox, workspace_policy
from forklock.tools.testing.hopeless import Hopeless, why_hopeless
from forklock.tools.testing.run import run_tests

pytestmark = [pytest.mark.timeout(300), pytest.mark.hostile("setup")]

CHECK = "python -m pytest -q test_shop.py"
FILES = {
    "shop.py": "def total(prices):\n    return sum(prices[1:])\n",
    "test_shop.py": "import unittest\nfrom shop import total\n\n\nclass Shop(unittest.TestCase):\n"
    "    def test_total(self):\n        assert total([1, 2]) == 3\n",
    "test_skipped.py": "import pytest\n\n\n@pytest.mark.skip\ndef test_a():\n    pass\n",
    "test_lacks.py": "import no_such_library\n\n\ndef test_a():\n    pass\n",
    "pkg/own.py": "def f():\n    return 1\n",
    "pkg/tests/test_own.py": "import own\n\n\ndef test_own():\n    assert own.f() == 2\n",
    "Makefile": "check:\n\tpython -m unittest -q test_shop\nbroken:\n\tno-such-program-here\n",
    "package.json": '{"name": "x", "scripts": {"test": "python -m unittest -q test_shop"}}\n',
    "check.sh": "python -m unittest -q test_shop\n",
}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    with open_sandbox(tmp_path, workspace_policy(tmp_path, Policy()), backend="bubblewrap") as opened:
        yield opened


def why(sandbox: Sandbox, command: str, *, cwd: str = ".", task: str = "") -> Hopeless | None:
    with sandbox.fork() as fork:
        report = run_tests(fork, command, timeout_s=60, cwd=cwd)
        return why_hopeless(command, report, fork.root, cwd=cwd, task=task)


RUNNERS = ("python -m pytest -q", "python -m pytest", "python -m unittest", "python", "sh", "make", "make -f")
WRONG_WORDS = ("test_missing.py", "tests/test_missing.py", "pkg/shop_test.py", "nothing/at/all")
OTHERS = [
    "python -m pytest -q test_shop.py::Shop::test_ttal", "python -m pytest -q test_shop.py::Shp",
    "python -m pytest -q test_shop.py -k nothing", "python -m pytest -q test_shop.py -m nomark",
    "python -m pytest --no-such-option test_shop.py", "python -m pytest -p no_such_plugin test_shop.py",
    "python -m pytest -q test_skipped.py", "python -m pytest -q test_lacks.py", "python -m pytest -q . --ignore=pkg",
    "python -m pytest -c missing.ini test_shop.py", "python -m unittest test_shop.Shp",
    "python -m unittest test_shop.Shop.nope",    "python -m unittest discover -s nowhere",
    "python -m unittest --no-such-option test_shop",
    "python -m unittest -k nope test_shop",
    "python -m no_such_module_here", "make chek", "make broken", "make -C nowhere check", "no-such-program -x",
    "./check.sh",
]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [WRONG_WORDS[0], *(pytest.param(w, marks=pytest.mark.slow) for w in WRONG_WORDS[1:])]
)
def test_a_check_of_a_file_that_is_not_there_is_refused(
    sandbox: Sandbox, tried: Callable[[int], None], wrong: str
) -> None:
    are_refused(sandbox, tried, [f"{runner} {wrong}" for runner in RUNNERS])


def test_a_check_that_can_never_pass_is_refused(sandbox: Sandbox, tried: Callable[[int], None]) -> None:
    npm = ["npm run tset", "npm --prefix pkg test"] if shutil.which("npm") else []
    are_refused(sandbox, tried, [*OTHERS, *npm])


def are_refused(sandbox: Sandbox, tried: Callable[[int], None], commands: list[str]) -> None:
    found = {
        command: why(sandbox, command)
        for command in commands
        if shutil.which("make") or "make" not in command
    }
    tried(len(found))
    assert not [command for command, reason in found.items() if reason is None]
    assert all(reason and reason.fix and command in reason.message for command, reason in found.items())


def test_the_runners_own_words_are_in_the_refusal(sandbox: Sandbox) -> None:
    reason = why(sandbox, "python -m pytest -q test_shop.py::Shop::test_ttal")
    assert reason is not None and "not found" in reason.message and "test_ttal" in reason.message
    reason = why(sandbox, "python -m pytest -q test_lacks.py")
    assert (
        reason is not None and "no_such_library is not installed" in reason.message and ".venv" in reason.fix
    )
    reason = why(sandbox, "python -m pytest -q test_shop.py", cwd="pkg")
    assert reason is not None and "pkg/, where you are" in reason.fix


@pytest.mark.parametrize(
    ("files", "command", "task"),
    [
        ({}, CHECK, ""),
        ({}, "python -m unittest test_shop", ""),
        ({}, "sh check.sh", ""),
        ({}, "make check", ""),
        # the task is to make it importable, to write what is imported, or to write the module
        ({"shop.py": "def total(:\n"}, CHECK, ""),
        ({"shop.py": "def totl(p): pass\n"}, "python -m pytest -q test_shop.py::Shop::test_total", ""),
        ({"shop.py": "def totl(p): pass\n"}, "python -m unittest test_shop.Shop.test_total", ""),
        ({"shop.py": "import colections\ndef total(p): return sum(p)\n"}, CHECK, ""),
        ({"shop.py": "import sys; sys.exit(1)\n"}, CHECK, ""),
        ({"shop.py": "import sys; sys.exit(1)\n"}, "python -m unittest test_shop", ""),
        ({"shop.py": "import os; os.abort()\n"}, CHECK, ""),
        ({"conftest.py": "import shop\n", "shop.py": "1/0\n"}, CHECK, ""),
        ({"test_shop.py": "import basket\ndef test_a(): basket.f()\n"}, CHECK, "write the module basket"),
        ({"store/__init__.py": "", "test_shop.py": "import store.basket\ndef test_a(): pass\n"}, CHECK, ""),
        ({"shop.py": "def total(p):\n    import no_such_helper\n"}, CHECK, ""),
        ({"shop.py": "open('missing.txt')\n", "run.py": "import shop\n"}, "python run.py", ""),
    ],
)  # fmt: skip
def test_what_the_code_may_be_to_blame_for_is_a_task(
    sandbox: Sandbox, files: dict[str, str], command: str, task: str
) -> None:
    (sandbox.root / "test_lacks.py").unlink()
    shutil.rmtree(sandbox.root / "pkg")
    for path, text in files.items():
        (sandbox.root / path).parent.mkdir(exist_ok=True)
        (sandbox.root / path).write_text(text)
    assert why(sandbox, command, task=task) is None


def test_paths_are_those_of_where_the_command_runs(sandbox: Sandbox) -> None:
    """Frames are of the repository, ids are the runner's; the same command at the top finds nothing."""
    with sandbox.fork() as fork:
        report = run_tests(fork, "PYTHONPATH=. python -m pytest -q tests/test_own.py", cwd="pkg")
    (failure,) = report.failures
    assert failure.test_id.endswith("tests/test_own.py::test_own")
    assert failure.frames[-1].path == "pkg/tests/test_own.py"
    assert report.plan is not None and report.plan.tests == ("pkg/tests/test_own.py",)
    assert why(sandbox, "python -m pytest -q tests/test_own.py") is not None


def test_a_folder_of_the_packages_name_is_not_taken_for_the_package(sandbox: Sandbox) -> None:
    """In `libs/shapes/src/shapes/`, what is to be on the path is `src`, said from where the command runs."""
    files = {
        "libs/shapes/src/shapes/__init__.py": "",
        "libs/shapes/src/shapes/area.py": "def area(a):\n    return 2 * a\n",
        "libs/shapes/checks/test_area.py": "from shapes.area import area\n\n\n"
        "def test_area():\n    assert area(3) == 9\n",
    }
    for path, text in files.items():
        (sandbox.root / path).parent.mkdir(parents=True, exist_ok=True)
        (sandbox.root / path).write_text(text)
    reason = why(sandbox, "python -m pytest -q test_area.py", cwd="libs/shapes/checks")
    assert reason is not None and "in libs/shapes/src/" in reason.message
    assert "PYTHONPATH=../src python -m pytest -q test_area.py" in reason.fix
    assert (
        why(sandbox, "PYTHONPATH=../src python -m pytest -q test_area.py", cwd="libs/shapes/checks") is None
    )

"""Tests, `conftest.py`s and settings that mean to pass without passing: what the runner's verdict makes of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import needs

from forklock.sandbox import ExecResult, Policy, Sandbox, SandboxUnavailable, open_sandbox
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.testing.logs import read_cargo, read_go
from forklock.tools.testing.reports import read_junit, read_suites, read_unittest
from forklock.tools.testing.run import _output, run_tests

pytestmark = pytest.mark.hostile("judge")

PYTEST = f"{sys.executable} -m pytest -q"
UNITTEST = f"{sys.executable} -m unittest"
ONE_FAILS = "def test_a(): pass\ndef test_b(): assert 0\n"
FOLDER = "import glob, os, shutil\nfolder = lambda: glob.glob('.forklock-report-*')[0]\n"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    readable = tuple(p for p in (Path(sys.prefix), Path(sys.base_prefix)) if not p.is_relative_to("/usr"))
    try:
        opened = open_sandbox(tmp_path, Policy(readable=readable), backend="bubblewrap")
    except SandboxUnavailable as reason:
        pytest.skip(f"BUBBLEWRAP IS NOT HERE, the test runner was not tested: {reason}")
    with opened:
        yield opened


def run(sandbox: Sandbox, files: dict[str, str], command: str = PYTEST) -> TestReport:
    for name, text in files.items():
        (sandbox.root / name).write_text(text)
    report = run_tests(sandbox, command)
    assert not [path.name for path in sandbox.root.iterdir() if path.name.startswith(".forklock-report")]
    return report


@pytest.mark.parametrize(
    "conftest",
    [
        "import pytest\n@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session): session.exitstatus = 0\n",
        "import os\ndef pytest_sessionfinish(): os._exit(0)\n",
        "import os\ndef pytest_unconfigure(): os._exit(0)\n",
        "import atexit, os\natexit.register(lambda: os._exit(0))\n",
        FOLDER + "import atexit\natexit.register(lambda: shutil.rmtree(folder()) or os._exit(0))\n",
    ],
)
def test_a_conftest_that_changes_how_the_run_ends(sandbox: Sandbox, conftest: str) -> None:
    report = run(sandbox, {"test_a.py": ONE_FAILS, "conftest.py": conftest})
    assert report.status is TestStatus.FAILED
    assert "test_a.py::test_b" not in report.passed


@pytest.mark.parametrize(
    ("addopts", "status"),
    [
        ("--junitxml=own.xml -o junit_family=xunit2 -o junit_logging=all -p no:terminal", TestStatus.FAILED),
        ("--setup-plan", TestStatus.NOT_COLLECTED),
        ("--setup-only", TestStatus.NOT_COLLECTED),
        ("--collect-only", TestStatus.NOT_COLLECTED),
        ("--no-such-option", TestStatus.NOT_COLLECTED),
    ],
)
def test_settings_of_the_repo(sandbox: Sandbox, addopts: str, status: TestStatus) -> None:
    report = run(sandbox, {"test_a.py": ONE_FAILS, "pytest.ini": f"[pytest]\naddopts = {addopts}\n"})
    assert report.status is status, report
    if status is TestStatus.FAILED:
        assert report.passed == {"test_a.py::test_a"}
        assert [failure.test_id for failure in report.failures] == ["test_a.py::test_b"]


@pytest.mark.parametrize("program", ["pytest.py", "unittest.py"])
def test_a_module_in_place_of_the_runner(sandbox: Sandbox, program: str) -> None:
    command = f"{sys.executable} -m {program.removesuffix('.py')}"
    report = run(sandbox, {"test_a.py": ONE_FAILS, program: "print('1 passed in 0.01s')\n"}, command)
    assert report.status is not TestStatus.PASSED
    assert not report.passed


@pytest.mark.parametrize(
    "body",
    [
        "import pytest; pytest.exit('enough', returncode=0)",
        "shutil.rmtree(folder()); os.symlink('/etc', folder_was); os._exit(0)",
        "shutil.rmtree(folder()); open(folder_was, 'w').close(); os._exit(0)",
        "os.mkfifo(folder() + '/report'); os._exit(0)",
        "os.symlink('/dev/zero', folder() + '/report'); os._exit(0)",
        "open(folder() + '/report', 'wb').truncate(100_000_000); os._exit(0)",
    ],
)
def test_a_test_that_ends_the_run_its_own_way(sandbox: Sandbox, body: str) -> None:
    text = f"{FOLDER}def test_a(): pass\ndef test_b():\n    folder_was = folder()\n    {body}\ndef test_c(): assert 0\n"
    report = run(sandbox, {"test_a.py": text})
    assert report.status is TestStatus.FAILED, report
    assert not {"test_a.py::test_b", "test_a.py::test_c", ""} & report.passed


def test_a_test_that_goes_on_in_a_child(sandbox: Sandbox) -> None:
    """The child may come to the end of the run and report it; how the parent ended counts."""
    text = "import os\ndef test_a(): os.fork() and os._exit(1)\ndef test_b(): assert 0\n"
    report = run(sandbox, {"test_a.py": text})
    assert report.status is TestStatus.FAILED, report
    assert "test_a.py::test_b" not in report.passed


def test_a_repo_without_reports_has_not_passed(sandbox: Sandbox) -> None:
    files = {"test_a.py": "def test_a(): pass\n", "pytest.ini": "[pytest]\naddopts = -p no:junitxml\n"}
    assert run(sandbox, files).status is TestStatus.FAILED


def test_outcomes_that_are_neither(sandbox: Sandbox) -> None:
    text = """
import pytest
def test_a(): pass
@pytest.mark.xfail
def test_fails(): assert 0
@pytest.mark.xfail
def test_passes(): pass
@pytest.mark.xfail(strict=True)
def test_strict(): pass
@pytest.mark.skip
def test_skipped(): pass
@pytest.fixture
def torn():
    yield
    raise ValueError("at its end")
def test_torn(torn): pass
"""
    report = run(sandbox, {"test_a.py": text})
    assert report.passed == {"test_a.py::test_a", "test_a.py::test_passes"}
    assert {failure.test_id for failure in report.failures} == {
        "test_a.py::test_strict",
        "test_a.py::test_torn",
    }


def test_bytes_of_any_kind_and_very_many_of_them(sandbox: Sandbox) -> None:
    text = r"""
import os, pytest
def test_a(): os.write(1, b"\xff\xfe\x00\x1b[31m\x85" * 1_000_000)
@pytest.mark.parametrize("p", ["\udc80", "\x00", "\x1b[3m", "a\nb", "]]>", "&amp;"])
def test_b(p): assert p == "\ud800 \x00"
def test_c():
    print("y" * 20_000_000)
    assert 0
"""
    report = run(sandbox, {"test_a.py": text}, f"{PYTEST} -s")
    assert report.passed == {"test_a.py::test_a"}
    assert len(report.failures) == 7
    assert len(report.output) < 100_000


def test_thousands_of_tests(sandbox: Sandbox) -> None:
    text = "import unittest\nclass T(unittest.TestCase): pass\nfor n in range(5000):\n"
    text += "    setattr(T, f'test_{n}', lambda self: None)\n"
    report = run(sandbox, {"test_a.py": text}, UNITTEST)
    assert (report.status, len(report.passed)) == (TestStatus.PASSED, 5000)


@pytest.mark.parametrize(
    "body",
    [
        "open(folder() + '/report', 'w').write('[' * 200_000); os._exit(0)",
        "import sys; sys.exit(0)",
        "import atexit; atexit.register(lambda: os._exit(0)); self.fail()",
        "os.write(1, b'\\xff'); self.fail('\\udc80')",
    ],
)
def test_unittest(sandbox: Sandbox, body: str) -> None:
    text = f"{FOLDER}import unittest\nclass T(unittest.TestCase):\n    def test_b(self): {body}\n"
    report = run(sandbox, {"test_a.py": text}, UNITTEST)
    assert report.status is TestStatus.FAILED
    assert not report.passed


def test_reports_that_are_nested_too_deep() -> None:
    suites = "<testsuites>" + "<testsuite name='a'>" * 5000 + "<testcase name='x'/>" + "</testsuite>" * 5000
    found = read_suites(suites + "</testsuites>", "/w")
    assert found is None or not found.passed
    assert read_junit(suites, "/w") is None
    assert read_unittest("[" * 200_000, "/w") is None


LONG = [
    "\n" * 300_000,
    " " * 300_000 + "at",
    "at " + "/ " * 150_000,
    "at " + "( " * 150_000,
    "❯ " + "a " * 150_000,
    "a" * 300_000,
    "File " * 60_000,
    'File "' + "x" * 300_000,
    "x.py:" * 60_000,
    "panicked at " * 30_000 + "x" * 300_000,
    "--- FAIL: " * 30_000,
    "\x1b[" * 150_000,
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("told", LONG, ids=range(len(LONG)))
def test_what_tests_print_costs_us_no_more_than_it_is_long(told: str) -> None:
    quoted = told.replace("\x1b", "").replace('"', "&quot;")
    case = f"<testcase name='t' classname='c' file='c.py'><failure message=''>{quoted}</failure></testcase>"
    suite = f"<testsuites><testsuite tests='1'>{case}</testsuite></testsuites>"
    for read in (read_junit, read_suites):
        found = read(suite, "/w")
        assert found is not None
        assert len(found.failures) == 1
    cargo = f"/r run 101 p\nfailed t\n/r said\n---- t stdout ----\n{told}\n"
    go = f"/r run true /w\nTestA\n/r said\n=== RUN   TestA\n{told}\n--- FAIL: TestA (0.00s)\n/r end 1\n"
    for one in (read_cargo(cargo, "/w"), read_go(go, "/w")):
        assert one is not None
        assert len(one.failures) == 1
    result = ExecResult(0, None, False, False, told.encode(), b"", False, 0, 0, 0)
    assert len(_output(result)) < 100_000


@needs("node")
@pytest.mark.parametrize(
    "body",
    ["process.exit(0)", "process.reallyExit(0)", "process.kill(process.pid, 'SIGKILL')", "while (true) {}"],
)
def test_node(sandbox: Sandbox, body: str) -> None:
    text = f"const {{test}} = require('node:test');\ntest('a', () => {{}});\ntest('b', () => {{ {body} }});\n"
    (sandbox.root / "a.test.js").write_text(text)
    report = run_tests(sandbox, "node --test --test-timeout=2000 a.test.js", timeout_s=20)
    assert "b" not in report.passed
    if "xit" not in body:  # of a file that ends itself with 0, node says that it passed, and names no test
        assert report.status is not TestStatus.PASSED


@needs("ctest")
def test_ctest(sandbox: Sandbox) -> None:
    """Output that is no UTF-8, ends CDATA, or is more than the report keeps; a test that is not there."""
    text = """
add_test(good "/bin/true")
add_test(bytes "/bin/sh" "-c" "printf '\\\\377\\\\0]]></system-out></testcase><testcase name=\\"forged\\"/>'; exit 3")
add_test(many "/bin/sh" "-c" "head -c 3000000 /dev/zero; exit 1")
add_test(missing "/no/such/program")
"""
    (sandbox.root / "CTestTestfile.cmake").write_text(text)
    report = run_tests(sandbox, "ctest --test-dir .")
    assert report.status is TestStatus.FAILED
    assert report.passed <= {"good"}

"""The test runner in a real sandbox: what it believes, and what it does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import needs

from forklock.sandbox import Policy, Sandbox, SandboxUnavailable, open_sandbox
from forklock.tools.contract import TestFailure, TestReport, TestStatus, ToolFault
from forklock.tools.testing.command import detect_test_command, parse_command
from forklock.tools.testing.reports import frames, read_junit, read_suites, read_unittest
from forklock.tools.testing.run import compare, is_solved, run_tests

PYTEST = f"{sys.executable} -m pytest -q"
UNITTEST = f"{sys.executable} -m unittest"

MODULE = "def inner(x):\n    return x / 0\n\n\ndef f(x):\n    return inner(x)\n"
MIXED = """
import unittest, pytest
from m import f
class T(unittest.TestCase):
    def test_a(self): self.assertEqual(f(1), 2)
    def test_ok(self): print("== 5 passed in 0.1s ==")
@pytest.mark.parametrize("p", ["a b", "[x]::y"])
def test_p(p): assert p == "a b"
@pytest.fixture
def fx(): return f(2)
def test_fx(fx): pass
@pytest.mark.skip
def test_skipped(): pass
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    readable = tuple(p for p in (Path(sys.prefix), Path(sys.base_prefix)) if not p.is_relative_to("/usr"))
    (tmp_path / "m.py").write_text(MODULE)
    try:
        opened = open_sandbox(tmp_path, Policy(readable=readable), backend="bubblewrap")
    except SandboxUnavailable as reason:
        pytest.skip(f"BUBBLEWRAP IS NOT HERE, the test runner was not tested: {reason}")
    with opened:
        yield opened


def write(sandbox: Sandbox, **files: str) -> None:
    for name, text in files.items():
        (sandbox.root / f"{name}.py").write_text(text)


def left_over(sandbox: Sandbox) -> list[str]:
    return [
        file.name
        for file in sandbox.root.iterdir()
        if "report" in file.name or file.name.startswith(".pytest")
    ]


def test_pytest_ids_messages_and_frames(sandbox: Sandbox) -> None:
    write(sandbox, test_m=MIXED)
    report = run_tests(sandbox, f"{PYTEST} test_m.py")
    assert report.status is TestStatus.FAILED
    assert report.exit_code == 1
    assert report.passed == {"test_m.py::T::test_ok", "test_m.py::test_p[a b]"}
    by_id = {failure.test_id: failure for failure in report.failures}
    assert set(by_id) == {"test_m.py::T::test_a", "test_m.py::test_p[[x]::y]", "test_m.py::test_fx"}
    assert by_id["test_m.py::T::test_a"].message == "ZeroDivisionError: division by zero"
    places = [(frame.path, frame.line, frame.function) for frame in by_id["test_m.py::T::test_a"].frames]
    assert places == [("test_m.py", 5, "test_a"), ("m.py", 6, "f"), ("m.py", 2, "inner")]
    assert left_over(sandbox) == []


def test_unittest_ids_messages_and_frames(sandbox: Sandbox) -> None:
    write(
        sandbox,
        test_u="import unittest\nfrom m import f\nclass T(unittest.TestCase):\n"
        "    def test_a(self): f(1)\n    def test_ok(self): pass\n"
        "    def test_sub(self):\n        for i in (1, 2):\n"
        "            with self.subTest(i=i): self.assertEqual(i, 1)\n"
        "    @unittest.expectedFailure\n    def test_x(self): self.fail()\n",
    )
    report = run_tests(sandbox, f"X=1 {UNITTEST} test_u")
    assert report.status is TestStatus.FAILED
    assert report.passed == {"test_u.T.test_ok", "test_u.T.test_x"}
    by_id = {failure.test_id: failure for failure in report.failures}
    assert [frame.line for frame in by_id["test_u.T.test_a"].frames] == [4, 6, 2]
    assert "2 != 1" in by_id["test_u.T.test_sub"].message


@pytest.mark.parametrize("command", [f"{PYTEST} test_g.py", f"{UNITTEST} test_g"])
def test_passed(sandbox: Sandbox, command: str) -> None:
    write(sandbox, test_g="import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n")
    report = run_tests(sandbox, command)
    assert (report.status, len(report.passed), report.total) == (TestStatus.PASSED, 1, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nope\n", "test_b.py"),
        ("def f(:\n", "test_b.py"),
        ("x = 1\n", "test_b.py"),
        ("def test_a(): pass\n", "test_b.py -k nothing"),
        ("def test_a(): pass\n", "missing.py"),
        ("def test_a(): pass\n", "--no-such-option"),
        ("import pytest\n@pytest.mark.skip\ndef test_a(): pass\n", "test_b.py"),
    ],
)
def test_not_collected(sandbox: Sandbox, text: str, words: str) -> None:
    write(sandbox, test_b=text)
    assert run_tests(sandbox, f"{PYTEST} {words}").status is TestStatus.NOT_COLLECTED


def test_a_collection_error_has_its_message_and_frame(sandbox: Sandbox) -> None:
    write(sandbox, test_b="import nope\n")
    (failure,) = run_tests(sandbox, f"{PYTEST} test_b.py").failures
    assert (failure.test_id, failure.frames[-1].line) == ("test_b.py", 1)
    assert "No module named 'nope'" in failure.message
    report = run_tests(sandbox, f"{UNITTEST} test_b")
    assert report.status is TestStatus.NOT_COLLECTED
    assert "No module named 'nope'" in report.failures[0].message


@pytest.mark.parametrize("runner", [f"{PYTEST} test_e.py", f"{UNITTEST} test_e"])
@pytest.mark.parametrize(
    "body",
    [
        "print('1 passed in 0.01s', flush=True); import os; os._exit(0)",
        "import os, sys; sys.stderr.write('test_a (test_e.T.test_a) ... ok\\n\\nRan 1 test\\n\\nOK\\n');"
        " os._exit(0)",
        "open('report', 'w').write('<testsuites><testsuite><testcase name=\"a\"/></testsuite></testsuites>');"
        " import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_a_program_that_ends_itself_has_not_passed(sandbox: Sandbox, runner: str, body: str) -> None:
    write(sandbox, test_e=f"import unittest\nclass T(unittest.TestCase):\n    def test_a(self): {body}\n")
    report = run_tests(sandbox, runner)
    assert report.status is TestStatus.FAILED
    assert report.passed == frozenset()


def test_a_link_in_place_of_the_report_is_not_followed(sandbox: Sandbox) -> None:
    write(
        sandbox,
        test_l="import glob, os\ndef test_a():\n    d = glob.glob('.forklock-report-*')[0]\n"
        "    os.symlink('/etc/hostname', d + '/report')\n    os._exit(0)\n",
    )
    assert run_tests(sandbox, f"{PYTEST} test_l.py").status is TestStatus.FAILED
    assert left_over(sandbox) == []


def test_time_out_and_missing_program(sandbox: Sandbox) -> None:
    write(sandbox, test_t="import time\ndef test_a(): time.sleep(60)\n")
    assert run_tests(sandbox, f"{PYTEST} test_t.py", timeout_s=3).status is TestStatus.TIMED_OUT
    assert run_tests(sandbox, "no-such-program -x").status is TestStatus.NOT_STARTED
    assert run_tests(sandbox, ["sh", "-c", "exit 3"]).status is TestStatus.FAILED
    assert run_tests(sandbox, ["sh", "-c", "exit 0"]).status is TestStatus.PASSED


def test_the_users_own_report_option_does_not_take_ours_away(sandbox: Sandbox) -> None:
    write(sandbox, test_g="def test_a(): pass\n")
    report = run_tests(sandbox, f"{PYTEST} --junitxml=own.xml --tb=long test_g.py")
    assert report.passed == {"test_g.py::test_a"}


def test_an_edit_within_the_same_second_is_seen(sandbox: Sandbox) -> None:
    write(sandbox, test_g="from m import f\ndef test_a(): assert f(1) == 1\n", m="def f(x): return 2\n")
    assert run_tests(sandbox, f"{PYTEST} test_g.py").status is TestStatus.FAILED
    write(sandbox, m="def f(x): return 1\n")
    assert run_tests(sandbox, f"{PYTEST} test_g.py").status is TestStatus.PASSED


# --- commands --------------------------------------------------------------------------------------


def test_commands_are_split_without_a_shell() -> None:
    command = parse_command(
        "PYTHONPATH=src:. A='b c' python -W error -m pytest -k 'a and (b or c)' \"x[1|2]\""
    )
    assert command.env == {"PYTHONPATH": "src:.", "A": "b c"}
    assert command.argv[-1] == "x[1|2]"
    assert (command.runner, command.at) == ("pytest", 5)


@pytest.mark.parametrize(
    "command",
    [
        "a && b",
        "a; b",
        "a | b",
        "a > f",
        "a < f",
        "echo $(id)",
        'echo "$(id)"',
        "echo `id`",
        "(a)",
        "echo $HOME",
        "a\nb",
    ],
)
def test_what_only_a_shell_can_do_is_refused_with_the_way_out(command: str) -> None:
    with pytest.raises(ToolFault) as caught:
        parse_command(command)
    assert "script" in caught.value.fix


@pytest.mark.parametrize("command", ["", "  ", "A=1", "echo 'open"])
def test_no_command_at_all(command: str) -> None:
    with pytest.raises(ToolFault):
        parse_command(command)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pytest.ini": "[pytest]\n"}, "python -m pytest -q"),
        ({"tests/test_a.py": ""}, "python -m pytest -q"),
        ({"tests/test_a.py": "", "src/p/__init__.py": ""}, "python -m pytest -q"),
        ({"test_a.py": "import unittest\n"}, "python -m unittest"),
        ({"test_a.py": "import pytest\n"}, "python -m pytest -q"),
        ({"a.py": ""}, None),
        ({"package.json": '{"scripts": {"test": "node --test src"}}'}, "node --test src"),
        ({"package.json": '{"scripts": {"test": "node --test && rm x"}}'}, None),
        ({"package.json": '{"scripts": {"test": "vitest run src"}}'}, "vitest run src"),
        (
            {"package.json": '{"scripts": {"test": "vitest"}}', "node_modules/.bin/vitest": ""},
            "node_modules/.bin/vitest",
        ),
        ({"package.json": '{"scripts": {"test": "npx vitest"}}'}, "npx vitest"),
        ({"package.json": '{"scripts": {"test": "npx jest"}}'}, None),
        (
            {"package.json": "[]", "build/CTestTestfile.cmake": ""},
            "ctest --test-dir build --output-on-failure",
        ),
        ({"Cargo.toml": ""}, "cargo test --offline"),
        ({"go.mod": ""}, "go test ./..."),
    ],
)
def test_the_command_is_guessed_from_the_repo(
    tmp_path: Path, files: dict[str, str], expected: str | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert detect_test_command(tmp_path) == expected


# --- other runners ---------------------------------------------------------------------------------


NODE = """
const {test, describe, it} = require('node:test'); const assert = require('node:assert');
const {f} = require('./m.js');
test('adds', () => { console.log('<testcase name="forged"/>'); assert.strictEqual(f(1), 2); });
describe('group', () => {
  it('fails', () => { assert.strictEqual(f(2), 4); });
  it.skip('skipped', () => {});
  it('adds', () => {});
});
"""


@needs("node")
def test_node_ids_messages_and_frames(sandbox: Sandbox) -> None:
    (sandbox.root / "m.js").write_text("exports.f = (x) => x + 1;\n")
    (sandbox.root / "a.test.js").write_text(NODE)
    before = run_tests(sandbox, "node --test a.test.js")
    assert before.status is TestStatus.FAILED and before.exit_code == 1
    assert before.passed == {"adds", "group > adds"}
    [failure] = before.failures
    assert failure.test_id == "group > fails" and "3 !== 4" in failure.message
    assert [(frame.path, frame.line) for frame in failure.frames] == [("a.test.js", 6)]
    assert not left_over(sandbox)

    (sandbox.root / "m.js").write_text("exports.f = (x) => 2 * x;\n")
    after = run_tests(sandbox, "node --test a.test.js")
    assert after.status is TestStatus.PASSED and is_solved(before, after)


@needs("node")
def test_a_file_that_node_cannot_read_is_no_test_of_its_own(sandbox: Sandbox) -> None:
    file = sandbox.root / "a.test.js"
    file.write_text("const {test} = require('node:test'); test('t', () => {}")
    before = run_tests(sandbox, "node --test a.test.js")
    assert before.status is TestStatus.FAILED and not before.passed
    file.write_text(file.read_text() + ");")
    assert is_solved(before, run_tests(sandbox, "node --test a.test.js"))


@needs("node")
@pytest.mark.parametrize(
    "words", ["--test-reporter=tap --test-reporter-destination=x.tap", "--test-name-pattern=adds"]
)
def test_the_users_own_words_for_node(sandbox: Sandbox, words: str) -> None:
    (sandbox.root / "m.js").write_text("exports.f = (x) => 2 * x;\n")
    (sandbox.root / "a.test.js").write_text(NODE)
    report = run_tests(sandbox, f"node --test {words} a.test.js")
    assert report.status is TestStatus.PASSED and {"adds", "group > adds"} <= report.passed


VITEST = """
import { describe, expect, it, test } from 'vitest'
import { sum } from './sum.js'
describe('sums', () => {
  it('adds', () => { console.log('<testcase name="forged"/>'); expect(sum(1, 2)).toBe(3) })
  it('has zero', () => { expect(sum(0, 0)).toBe(0) })
})
test('large', () => { expect(sum(101, 2)).toBe(103) })
test.skip('later', () => {})
"""
SUM = "export function sum(a, b) {\n  if (a > 100) throw new Error('too large')\n  return a - b\n}\n"


@pytest.fixture(scope="module")
def vitest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with vitest installed."""
    folder = tmp_path_factory.mktemp("vitest")
    (folder / "package.json").write_text('{"type": "module", "devDependencies": {"vitest": "^3"}}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    if subprocess.run(command, cwd=folder, check=False, timeout=300).returncode:
        pytest.skip("npm COULD NOT INSTALL vitest: its runner was not tested")
    return folder


@pytest.mark.slow
@needs("npm")
@pytest.mark.parametrize("command", ["node_modules/.bin/vitest run", "npx vitest --reporter verbose"])
def test_vitest_ids_messages_and_frames(sandbox: Sandbox, vitest: Path, command: str) -> None:
    shutil.copytree(vitest, sandbox.root, symlinks=True, dirs_exist_ok=True)
    (sandbox.root / "sum.js").write_text(SUM)
    (sandbox.root / "sum.test.js").write_text(VITEST)
    before = run_tests(sandbox, command)
    assert before.status is TestStatus.FAILED and before.passed == {"sum.test.js > sums > has zero"}
    adds, large = before.failures
    assert adds.test_id == "sum.test.js > sums > adds" and "expected -1 to be 3" in adds.message
    assert [(frame.path, frame.line) for frame in adds.frames] == [("sum.test.js", 5)]
    assert [(f.path, f.line, f.function) for f in large.frames] == [
        ("sum.test.js", 8, ""),
        ("sum.js", 2, "sum"),
    ]
    assert not left_over(sandbox)

    (sandbox.root / "sum.js").write_text("export const sum = (a, b) => a + b\n")
    assert is_solved(before, run_tests(sandbox, command))


@needs("npm")
def test_a_file_that_vitest_cannot_read(sandbox: Sandbox, vitest: Path) -> None:
    shutil.copytree(vitest, sandbox.root, symlinks=True, dirs_exist_ok=True)
    (sandbox.root / "a.test.js").write_text("import { test } from 'vitest'\ntest('t', () => {")
    before = run_tests(sandbox, "node_modules/.bin/vitest run")
    assert before.status is not TestStatus.PASSED and not before.passed


CTEST = """
add_test(good "/bin/true")
add_test(bad "/bin/sh" "-c" "echo '<testcase name=\\"forged\\"/>'; exit 3")
add_test(off "/bin/true")
set_tests_properties(off PROPERTIES DISABLED TRUE)
"""


@needs("ctest")
def test_ctest(sandbox: Sandbox) -> None:
    (sandbox.root / "CTestTestfile.cmake").write_text(CTEST)
    before = run_tests(sandbox, "ctest --test-dir .")
    assert before.status is TestStatus.FAILED and before.passed == {"good"}
    assert [failure.test_id for failure in before.failures] == ["bad"]
    one = run_tests(sandbox, "ctest --test-dir . -R good")
    assert one.status is TestStatus.PASSED and one.passed == {"good"}
    assert run_tests(sandbox, "ctest --test-dir . -R nothing").status is TestStatus.NOT_COLLECTED
    (sandbox.root / "CTestTestfile.cmake").write_text(CTEST.replace("exit 3", "exit 0"))
    assert is_solved(before, run_tests(sandbox, "ctest --test-dir ."))


# --- reports ---------------------------------------------------------------------------------------


def test_entities_are_refused() -> None:
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><testsuites><testcase name="&b;"/></testsuites>'
    )
    assert read_junit(bomb, "/w") is None


@given(st.text(max_size=200))
def test_no_report_text_makes_the_readers_fail(text: str) -> None:
    read_junit(text, "/w")
    read_junit(f"<testsuites>{text}</testsuites>", "/w")
    read_unittest(text, "/w")
    read_suites(f"<testsuites>{text}</testsuites>", "/w")


def test_frames_leave_libraries_and_the_outside_out() -> None:
    text = (
        "/w/src/a.py:3: in f\n../lib/b.py:4: in g\n/usr/lib/python3/c.py:5: in h\n.venv/x/d.py:6: in i\n"
        'E   x\n  File "/w/e.py", line 7, in k\n  File "<string>", line 1, in z\n'
    )
    assert [(f.path, f.line, f.function) for f in frames(text, "/w")] == [
        ("src/a.py", 3, "f"),
        ("e.py", 7, "k"),
    ]


# --- before and after ------------------------------------------------------------------------------


def report(passed: str, failed: str, status: TestStatus | None = None) -> TestReport:
    failures = tuple(TestFailure(f"t.py::{name}", "") for name in failed)
    status = status or (TestStatus.FAILED if failed else TestStatus.PASSED)
    return TestReport(status, frozenset(f"t.py::{name}" for name in passed), failures)


def test_comparison() -> None:
    change = compare(report("ab", "cd"), report("ac", "de"))
    ids = [
        [i[-1] for i in part]
        for part in (change.fixed, change.broken, change.still_failing, change.new_failures)
    ]
    assert ids == [["c"], ["b"], ["d"], ["e"]]


@pytest.mark.parametrize(
    ("before", "after", "solved"),
    [
        (report("a", "b"), report("ab", ""), True),
        (report("a", "b"), report("b", ""), False),  # a passing test has vanished
        (report("a", "b"), report("a", ""), False),  # the failing test has vanished
        (report("a", "b"), report("a", "b"), False),
        (report("a", "b"), report("ab", "", TestStatus.TIMED_OUT), False),
        (report("", ""), report("", ""), True),  # exit codes alone
        (
            TestReport(TestStatus.NOT_COLLECTED, failures=(TestFailure("tests/t.py", "import error"),)),
            report("ab", ""),
            True,
        ),
    ],
)
def test_solved(before: TestReport, after: TestReport, solved: bool) -> None:
    assert is_solved(before, after) is solved

"""cargo's and go's tests in a real sandbox with the real compilers: what is believed, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import needs

from forklock.sandbox import Sandbox, SandboxUnavailable, open_sandbox, workspace_policy
from forklock.tools.contract import TestStatus
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.logs import read_cargo, read_go
from forklock.tools.testing.run import is_solved, run_tests


@contextmanager
def project(root: Path, files: dict[str, str]) -> Iterator[Sandbox]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    try:
        opened = open_sandbox(root, workspace_policy(root), backend="bubblewrap")
    except SandboxUnavailable as reason:
        pytest.skip(f"BUBBLEWRAP IS NOT HERE, the test runner was not tested: {reason}")
    with opened:
        yield opened


CARGO = {
    "Cargo.toml": '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n',
    "src/lib.rs": """
pub fn add(a: i32, b: i32) -> i32 {
    if a > 100 { panic!("too large"); }
    a - b
}
#[cfg(test)]
mod tests {
    #[test] fn adds() { println!("ok tests::forged\\n/x run 0 demo"); assert_eq!(super::add(1, 2), 3, "sum"); }
    #[test] fn zero() { assert_eq!(super::add(0, 0), 0); }
    #[test] #[ignore] fn later() {}
}
""",
    "tests/outer.rs": "#[test]\nfn large() {\n    assert_eq!(demo::add(101, 2), 103);\n}\n",
}
RIGHT = "pub fn add(a: i32, b: i32) -> i32 { a + b }\n#[cfg(test)]"


@needs("cargo", "--version")
def test_cargo(tmp_path: Path) -> None:
    command = "cargo test --offline --no-fail-fast"
    with project(tmp_path, CARGO) as sandbox:
        before = run_tests(sandbox, command, timeout_s=300)
        assert before.status is TestStatus.FAILED, before.output
        assert before.passed == {"demo > tests::zero"}
        adds, large = before.failures
        assert adds.test_id == "demo > tests::adds" and "sum" in adds.message and "left: -1" in adds.message
        assert ("src/lib.rs", 8) in [(f.path, f.line) for f in adds.frames]
        assert large.test_id == "outer > large" and "too large" in large.message
        assert ("src/lib.rs", 3) in [(f.path, f.line) for f in large.frames]

        lib = tmp_path / "src" / "lib.rs"
        lib.write_text(RIGHT + CARGO["src/lib.rs"].partition("#[cfg(test)]")[2])
        after = run_tests(sandbox, command, timeout_s=300)
        assert is_solved(before, after), after
        one = run_tests(sandbox, f"{command} large", timeout_s=300)
        assert (one.status, one.passed) == (TestStatus.PASSED, {"outer > large"})
        assert run_tests(sandbox, f"{command} none", timeout_s=300).status is TestStatus.NOT_COLLECTED

        lib.write_text(lib.read_text().replace("println!", "std::process::exit(0); println!"))
        exits = run_tests(sandbox, command, timeout_s=300)
        assert not is_solved(before, exits), "a program that ends itself has not passed its tests"
        lib.write_text("pub fn add(")
        assert run_tests(sandbox, command, timeout_s=300).status is TestStatus.NOT_COLLECTED


GO = {
    "go.mod": "module example.com/demo\n\ngo 1.19\n",
    "sum.go": 'package demo\n\nfunc Sum(a, b int) int {\n\tif a > 100 {\n\t\tpanic("large")\n\t}\n\treturn a - b\n}\n',
    "sum_test.go": """package demo

import (
	"fmt"
	"testing"
)

func TestSum(t *testing.T) {
	fmt.Println("--- PASS: TestForged (0.00s)")
	fmt.Println("--- PASS: TestSum (0.00s)")
	t.Run("small", func(t *testing.T) {
		if Sum(1, 2) != 3 {
			t.Errorf("got %d", Sum(1, 2))
		}
	})
	t.Run("zero", func(t *testing.T) {})
}
func TestNoNewline(t *testing.T) { fmt.Print("x") }
func TestSkip(t *testing.T)      { t.Skip("later") }
func ExampleSum() {
	fmt.Println(Sum(1, 0))
	// Output: 1
}
""",
    "inner/i_test.go": """package inner

import (
	"testing"

	"example.com/demo"
)

func TestLarge(t *testing.T) { demo.Sum(101, 2) }
func TestAfter(t *testing.T) {}
""",
}


EXITS = 'package demo\n\nimport "syscall"\n\nfunc Sum(a, b int) int { syscall.Exit(0); return 0 }\n'


@pytest.mark.slow
@needs("go")
def test_go(tmp_path: Path) -> None:
    with project(tmp_path, GO) as sandbox:
        before = run_tests(sandbox, "go test ./...", timeout_s=300)
        assert before.status is TestStatus.FAILED, before.output
        assert before.passed == {". > TestNoNewline", ". > ExampleSum", ". > TestSum/zero"}
        failures = {failure.test_id: failure for failure in before.failures}
        assert set(failures) == {". > TestSum", ". > TestSum/small", "inner > TestLarge"}
        small, large = failures[". > TestSum/small"], failures["inner > TestLarge"]
        assert "got -1" in small.message and ("sum_test.go", 13) in [(f.path, f.line) for f in small.frames]
        assert "large" in large.message and ("sum.go", 5) in [(f.path, f.line) for f in large.frames]

        (tmp_path / "sum.go").write_text("package demo\n\nfunc Sum(a, b int) int { return a + b }\n")
        after = run_tests(sandbox, "go test ./...", timeout_s=300)
        assert is_solved(before, after), after
        one = run_tests(sandbox, "go test -run TestSum/small .", timeout_s=300)
        assert (one.status, one.passed) == (TestStatus.PASSED, {". > TestSum", ". > TestSum/small"})
        assert run_tests(sandbox, "go test -run None ./...", timeout_s=300).status is TestStatus.NOT_COLLECTED

        (tmp_path / "sum.go").write_text(EXITS)
        assert not is_solved(before, run_tests(sandbox, "go test ./...", timeout_s=300))
        (tmp_path / "sum.go").write_text("package demo\n\nfunc Sum(")
        assert run_tests(sandbox, "go test ./...", timeout_s=300).status is TestStatus.NOT_COLLECTED


def test_marks_of_newer_go_are_told_from_what_tests_print() -> None:
    text = (
        "/r run test2json /w/p\nTestA\nTestB\n/r said\n\x16=== RUN   TestA\n--- PASS: TestB (0.00s)\n"
        "x\x16--- FAIL: TestA (0.00s)\n\x16=== RUN   TestB\n/r end 1\n"
    )
    results = read_go(text, "/w")
    assert results and not results.passed
    assert {failure.test_id for failure in results.failures} == {"p > TestA", "p > TestB"}, (
        "B did not come to its end"
    )


@pytest.mark.parametrize(
    ("command", "runner", "at"),
    [
        ("cargo +nightly test -q x", "cargo", 3),
        ("cargo --config a=1 t", "cargo", 4),
        ("cargo nextest run", "other", 0),
        ("go test ./...", "go", 2),
        ("go vet", "other", 0),
    ],
)
def test_commands(command: str, runner: str, at: int) -> None:
    parsed = parse_command(command)
    assert (parsed.runner, parsed.at) == (runner, at)


OURS = ["/r run 0 a", "/r said", "/r end 0", "/r", ""]
THEIRS = ["ok x", "failed", "=== RUN   TestA", "--- FAIL: TestA (0.00s)", "TestA"]
LINES = st.lists(st.sampled_from([*OURS, *THEIRS]) | st.text(max_size=20))


@given(LINES)
def test_no_log_makes_the_readers_fail(lines: list[str]) -> None:
    read_cargo("\n".join(lines), "/w")
    read_go("\n".join(lines), "/w")

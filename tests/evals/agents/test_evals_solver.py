"""Our own agent on problem sets: problems as repositories, and the agent's command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forklock.evals.agents.problem_repo import SOLUTION, TESTS, files_of
from forklock.evals.agents.solver_engine import SolverEngine
from forklock.evals.commands.main import app
from forklock.evals.contract import EvalFault, Problem, TestCase
from forklock.evals.runs.extract import extract_code
from forklock.evals.runs.prompts import request_for
from forklock.models.contract import Decoding, FinishReason

STARTER = "class Solution:\n    def double(self, n: int, names: List[str]) -> List[int]:\n        "


def case(kind: str, given: str, output: str, *, public: bool) -> TestCase:
    return TestCase.model_validate({"kind": kind, "input": given, "output": output, "public": public})


CALLED = Problem(
    question_id="1",
    title="double",
    prompt="Return [n, n].",
    starter_code=STARTER,
    entry_point="double",
    tests=(
        case("functional", '1\n["it\'s"]', "[1, 1]", public=True),
        case("functional", "77\n[]", "[77, 77]", public=False),
    ),
)
SCRIPT = Problem(
    question_id="2",
    title="double",
    prompt="Print n twice.",
    tests=(
        case("stdin", "1\n", "1 1\n", public=True),
        case("stdin", "2\n", "2 2\n", public=True),
        case("stdin", "77\n", "77 77\n", public=False),
    ),
)
RIGHT = {
    "1": "        return [n, n]",
    "2": "    import sys\n    n = int(sys.stdin.buffer.readline())\n    print(n, n)",
}


def run_tests(folder: Path, files: dict[str, str]) -> int:
    for name, text in files.items():
        (folder / name).write_text(text)
    return subprocess.run([sys.executable, "-m", "pytest", "-q", TESTS], cwd=folder, check=False).returncode


@pytest.mark.parametrize("problem", [CALLED, SCRIPT], ids=["functional", "stdin"])
def test_public_tests_fail_on_the_stub_and_pass_on_a_solution(tmp_path: Path, problem: Problem) -> None:
    files = files_of(problem)
    assert not any("77" in text for text in files.values()), "a hidden test is in reach"
    assert run_tests(tmp_path, files) == 1
    stub = next(line for line in files[SOLUTION].splitlines() if "raise NotImplementedError" in line)
    files[SOLUTION] = files[SOLUTION].replace(stub, RIGHT[problem.question_id])
    assert run_tests(tmp_path, files) == 0


def test_problems_that_no_agent_can_work_on_are_refused() -> None:
    hidden = CALLED.model_copy(update={"tests": CALLED.tests[1:]})
    with pytest.raises(EvalFault, match="no public tests"):
        files_of(hidden)
    with pytest.raises(EvalFault, match="cannot be completed"):
        files_of(CALLED.model_copy(update={"starter_code": "class Solution:\n  def f(:"}))


FAKE = """
import json, pathlib, sys
repo = pathlib.Path(sys.argv[sys.argv.index("--repo") + 1])
task = pathlib.Path(sys.argv[-1].removeprefix("@")).read_text()
(repo / "solution.py").write_text(f"# {task.splitlines()[-1]} {sys.argv[sys.argv.index('--seed') + 1]}\\n" + CODE)
print("not the last line")
print(json.dumps({"tokens": {"prompt": 30, "completion": 4}}))
"""


def engine(tmp_path: Path, code: str, *problems: Problem) -> SolverEngine:
    made = SolverEngine("--width 3", problems, "coder-chat", model="m", sandbox="auto")
    fake = tmp_path / "agent.py"
    fake.write_text(FAKE.replace("CODE", repr(code)))
    made._words[1:4] = [str(fake)]
    return made


def test_answers_are_what_the_agent_left_of_each_problem(tmp_path: Path) -> None:
    made = engine(tmp_path, "x = 1\n", CALLED, SCRIPT)
    assert made.identity.name == "agent solve m --width 3"
    asked = [request_for(one, "coder-chat").model_copy(update={"seed": 5}) for one in (SCRIPT, CALLED)]
    seen: list[int] = []
    found = made.complete(asked, Decoding(), on_tokens=seen.append)
    codes = [extract_code(row[0].text, "coder-chat", SCRIPT) for row in found]
    assert codes == ["# Print n twice. 5\nx = 1", "# Return [n, n]. 5\nx = 1"]
    assert (found[0][0].prompt_tokens, found[0][0].completion_tokens, seen) == (30, 4, [4, 4])


def test_an_agent_out_of_time_leaves_what_it_had(tmp_path: Path) -> None:
    made = engine(tmp_path, "", SCRIPT)
    made.timeout_s = 0.5
    made._words[1] = str(Path(made._words[1]).with_name("slow.py"))
    Path(made._words[1]).write_text("import time; time.sleep(60)")
    (answer,) = made.complete([request_for(SCRIPT, "coder-chat")], Decoding(seed=1))[0]
    assert answer.finish_reason is FinishReason.LENGTH and "raise NotImplementedError" in answer.text
    assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--agent", "forklock"], "which model"),
        (["--agent", "forklock", "--model", "m", "--repair", "1"], "sees the public tests"),
        (["--agent", "cat {statement_file}", "--model", "m"], "either another agent or a model"),
    ],
)
def test_what_does_not_go_together_is_said(flags: list[str], message: str) -> None:
    shown = CliRunner().invoke(app, ["run", "humaneval", *flags])
    assert shown.exit_code == 2 and message in " ".join(re.sub("[^a-z ]", " ", shown.output).split())

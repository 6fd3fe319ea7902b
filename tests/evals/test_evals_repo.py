"""Whole agents on repo tasks: a made-up repository, real git, real sandbox, scripted agents."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.trial import TrialReport
from evals.contract import EvalFault
from evals.repo_run import AgentUnderTest, RepoStore, TaskResult, _passes, run_tasks
from evals.repo_tasks import RepoTask, find_repository, read_tasks
from sandbox import SandboxFault, open_sandbox

Command = Callable[..., tuple[int, str]]

WRONG = "def total(prices):\n    return sum(prices[1:])\n"
RIGHT = "def total(prices):\n    return sum(prices)\n"
OLD_TEST = "from shop import total\n\n\ndef test_none():\n    assert total([]) == 0\n"
NEW_TEST = OLD_TEST + "\n\ndef test_total():\n    assert total([1, 2]) == 3\n"


@pytest.fixture(autouse=True)
def _sandbox(tmp_path: Path) -> None:
    try:
        open_sandbox(tmp_path).close()
    except SandboxFault as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")


def git(repo: Path, *words: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *name, *words], cwd=repo, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repos(tmp_path: Path) -> Path:
    repo = tmp_path / "repos" / "some+shop"
    repo.mkdir(parents=True)
    git(repo, "init", "-q")
    for number, (source, test) in enumerate([(WRONG, OLD_TEST), (RIGHT, NEW_TEST)]):
        (repo / "shop.py").write_text(source)
        (repo / "test_shop.py").write_text(test)
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", f"step {number}")
    return repo.parent


@pytest.fixture
def record(repos: Path) -> dict[str, Any]:
    repo = repos / "some+shop"
    return {
        "task_id": "shop-1", "repo": "some/shop", "base_commit": git(repo, "rev-parse", "HEAD~1"),
        "fix_commit": git(repo, "rev-parse", "HEAD"), "problem_statement": "total() forgets the first price; it's bad",
        "test_files": ["test_shop.py"], "test_command": "python -m pytest -q test_shop.py",
        "FAIL_TO_PASS": ["test_shop.py::test_total"], "PASS_TO_PASS": ["test_shop.py::test_none"],
    }  # fmt: skip


def task_of(record: dict[str, Any]) -> RepoTask:
    return RepoTask.model_validate(record)


def python_agent(code: str) -> str:
    return shlex.join([sys.executable, "-c", code, "{statement_file}", "{statement}"])


def run(record: dict[str, Any], repos: Path, tmp_path: Path, agent: str, **more: float) -> TaskResult:
    tested = AgentUnderTest(agent, **more)
    (result,) = run_tasks([task_of(record)], tested, RepoStore(tested, tmp_path / "runs"), repos=repos)
    return result


@pytest.mark.parametrize(("agent", "outcome"), [("reference", "resolved"), ("none", "not resolved")])
def test_the_controls(record: dict[str, Any], repos: Path, tmp_path: Path, agent: str, outcome: str) -> None:
    assert run(record, repos, tmp_path, agent).outcome == outcome


def test_an_agent_that_repairs_is_believed_only_by_the_hidden_tests(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, pathlib; assert pathlib.Path(sys.argv[1]).read_text() == sys.argv[2]; "
        f"pathlib.Path('shop.py').write_text({RIGHT!r}); "
        "pathlib.Path('test_shop.py').write_text('def test_total(): 1/0')"
    )
    result = run(record, repos, tmp_path, python_agent(code))
    assert result.outcome == "resolved" and result.agent_exit == 0
    assert "test_shop.py" not in result.diff


def test_neither_the_fix_nor_the_hidden_tests_are_in_reach(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    code = (
        "import subprocess, sys; log = subprocess.run(['git', 'log', '--all', '--oneline'], capture_output=True, "
        "text=True).stdout; text = open('test_shop.py').read(); "
        "open('seen.txt', 'w').write(str(len(log.splitlines())) + str('test_total' in text))"
    )
    assert "+1False" in run(record, repos, tmp_path, python_agent(code)).diff


def test_committed_work_counts_and_the_broken_is_named(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    code = (
        "import subprocess as s; open('shop.py', 'w').write('def total(prices):\\n    return 3\\n'); "
        "s.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qam', 'done'], check=True)"
    )
    result = run(record, repos, tmp_path, python_agent(code))
    assert result.outcome == "not resolved"
    assert result.fixed == ("test_shop.py::test_total",) and result.broken == ("test_shop.py::test_none",)


def test_links_lead_the_hidden_tests_nowhere(record: dict[str, Any], repos: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.py"
    victim.write_text("mine")
    record |= {"test_files": ["sub/test_shop.py"], "test_command": "python -m pytest -q sub/test_shop.py"}
    code = f"import os; os.mkdir('x'); os.symlink({str(tmp_path)!r}, 'sub'); os.symlink({str(victim)!r}, 'y')"
    result = run(record, repos, tmp_path, python_agent(code))
    assert result.outcome != "resolved"
    assert victim.read_text() == "mine" and not (tmp_path / "test_shop.py").exists()


@pytest.mark.parametrize(
    ("code", "outcome"), [("raise SystemExit(7)", "agent failed"), ("pass", "no change")]
)
def test_an_agent_that_does_nothing(
    record: dict[str, Any], repos: Path, tmp_path: Path, code: str, outcome: str
) -> None:
    assert run(record, repos, tmp_path, python_agent(code)).outcome == outcome


def test_an_agent_that_hangs_is_ended_with_its_children(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    code = (
        "import subprocess, time; child = subprocess.Popen(['sleep', '300']); "
        f"open({str(pid)!r}, 'w').write(str(child.pid)); time.sleep(300)"
    )
    result = run(record, repos, tmp_path, python_agent(code), timeout_s=2.0)
    assert result.outcome == "agent failed" and result.reason == "out of time"
    state = Path(f"/proc/{pid.read_text()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_a_result_is_kept_and_a_torn_one_is_made_again(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    assert run(record, repos, tmp_path, "none").outcome == "not resolved"
    store = RepoStore(AgentUnderTest("none"), tmp_path / "runs")
    assert set(store.results) == {"shop-1"}
    file = store.folder / "results.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    assert RepoStore(AgentUnderTest("none"), tmp_path / "runs").results == {}
    assert run(record, repos, tmp_path, "none").outcome == "not resolved"


def test_swe_bench_records(record: dict[str, Any], repos: Path, tmp_path: Path) -> None:
    repo = repos / "some+shop"
    swe = {
        "instance_id": "some__shop-1", "repo": "some/shop", "base_commit": record["base_commit"],
        "problem_statement": "total() forgets the first price",
        "patch": git(repo, "diff", "HEAD~1", "--", "shop.py") + "\n",
        "test_patch": git(repo, "diff", "HEAD~1", "--", "test_shop.py") + "\n",
        "FAIL_TO_PASS": json.dumps(record["FAIL_TO_PASS"]), "PASS_TO_PASS": json.dumps(record["PASS_TO_PASS"]),
    }  # fmt: skip
    assert run(swe, repos, tmp_path, "reference").outcome == "resolved"
    assert run(swe, repos, tmp_path, "none").outcome == "not resolved"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repo": "../../etc"}, "line 1: repo"),
        ({"base_commit": "--upload-pack=x"}, "line 1: base_commit"),
        ({"test_files": ["../x.py"]}, "leaves the repository"),
        ({"FAIL_TO_PASS": []}, "FAIL_TO_PASS"),
        ({"fix_commit": None}, "no hidden tests"),
    ],
)
def test_bad_records_are_named(
    record: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(record | change) + "\n")
    with pytest.raises(EvalFault, match=message):
        read_tasks(path)


@pytest.mark.parametrize(
    ("passed", "failed", "holds"),
    [
        ({"t.py::t[a - b]", "t.py::t[a - c]"}, set(), True),
        ({"t.py::t[a - b]"}, {"t.py::t[a - c]"}, False),
        ({"t.py::t[ab]"}, set(), False),
        (set(), set(), False),
    ],
)
def test_an_id_that_was_cut_stands_for_all_that_begin_so(
    passed: set[str], failed: set[str], holds: bool
) -> None:
    report = TrialReport("passed", frozenset(passed), dict.fromkeys(failed, "no"), "", 0.0)
    assert _passes("t.py::t[a", report) is holds


def test_a_missing_commit_is_no_verdict(record: dict[str, Any], repos: Path, tmp_path: Path) -> None:
    result = run(record | {"base_commit": "0" * 40}, repos, tmp_path, "none")
    assert result.outcome == "infrastructure error"


def test_a_repository_may_be_bare(record: dict[str, Any], repos: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare" / "some+shop"
    bare.parent.mkdir()
    git(tmp_path, "clone", "-q", "--bare", str(repos / "some+shop"), str(bare))
    assert find_repository(task_of(record), bare.parent) == bare
    assert run(record, bare.parent, tmp_path, "reference").outcome == "resolved"


def test_the_command(
    record: dict[str, Any],
    repos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from evals.cli import main

    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(record) + "\n")
    out = tmp_path / "out.json"
    words = ["evals", "run", "repo", "--tasks", str(path), "--repos", str(repos), "--agent", "reference"]
    for arguments, code in (
        ([*words, "--json", str(out)], 0),
        (words[:3], 2),
        ([*words[:-1], "no-such-thing"], 2),
    ):
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = "".join(capfd.readouterr())
        assert (ended.value.code or 0) == code and "Traceback" not in printed
        if code == 0:
            assert "resolved 1 of 1" in printed
    assert json.loads(out.read_text())[0]["outcome"] == "resolved"

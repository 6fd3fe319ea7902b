"""Whole agents on repo tasks: a made-up repository, real git, real sandbox, scripted agents."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastest import FASTEST

from forklock.agent.repo.checkout import TrialReport, check_out
from forklock.agent.repo.guard import changes_of_the_runner
from forklock.evals.agents.results import RepoStore, TaskResult
from forklock.evals.agents.run import AgentUnderTest, forklock_command, run_tasks
from forklock.evals.agents.tasks import RepoTask, find_repository, read_tasks
from forklock.evals.agents.verdicts import passes
from forklock.evals.commands.repo import RepoCommand
from forklock.evals.contract import EvalFault
from forklock.evals.judging.judge import Judge

Command = Callable[..., tuple[int, str]]

WRONG = "def total(prices):\n    return sum(prices[1:])\n"
RIGHT = "def total(prices):\n    return sum(prices)\n"
OLD_TEST = "from shop import total\n\n\ndef test_none():\n    assert total([]) == 0\n"
NEW_TEST = OLD_TEST + "\n\ndef test_total():\n    assert total([1, 2]) == 3\n"


@pytest.fixture(autouse=True)
def _sandbox(shared_judge: Judge) -> None:
    """Skips where no sandbox is."""


def git(repo: Path, *words: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *name, *words], cwd=repo, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def made_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("shop") / "some+shop"
    repo.mkdir()
    git(repo, "init", "-q")
    for number, (source, test) in enumerate([(WRONG, OLD_TEST), (RIGHT, NEW_TEST)]):
        (repo / "shop.py").write_text(source)
        (repo / "test_shop.py").write_text(test)
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", f"step {number}")
    return repo


@pytest.fixture
def repos(made_repo: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the repository."""
    shutil.copytree(made_repo, tmp_path / "repos" / "some+shop")
    return tmp_path / "repos"


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
    store = RepoStore(agent, tmp_path / "runs")
    (result,) = run_tasks([task_of(record)], tested, store, repos=repos, backend=FASTEST)
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


def test_what_an_agent_leaves_running_is_ended_and_its_noise_is_cut(
    record: dict[str, Any], repos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forklock.evals.agents.process.MOST_OUTPUT_BYTES", 1000)
    pid = tmp_path / "pid"
    code = (
        "import os, subprocess; child = subprocess.Popen(['sleep', '300'], start_new_session=True); "
        f"open({str(pid)!r}, 'w').write(str(child.pid)); os.write(1, b'x' * 100_000)"
    )
    assert run(record, repos, tmp_path, python_agent(code)).outcome == "no change"
    state = Path(f"/proc/{pid.read_text()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
    (log,) = (tmp_path / "runs").glob("*/logs/*.txt")
    assert log.stat().st_size == 1000


REPAIR = f"import os, pathlib, shutil, subprocess as s; pathlib.Path('shop.py').write_text({RIGHT!r}); "
NAME = "'-c', 'user.name=a', '-c', 'user.email=a@b', '-c', 'core.hooksPath=/dev/null'"


@pytest.mark.parametrize(
    "code",
    [
        f"s.run(['git', {NAME}, 'commit', '-qa', '--amend', '-m', 'x'], check=True)",
        pytest.param("shutil.rmtree('.git')", marks=pytest.mark.slow),
        "shutil.rmtree('.git'); s.run(['git', 'init', '-q'], check=True)",
        "os.mkdir('sub'); s.run(['git', 'init', '-q', 'sub'], check=True)",
        pytest.param("open('notes.txt', 'wb').write(b'caf\\xe9\\n')", marks=pytest.mark.slow),
        "open('.gitattributes', 'w').write('* filter=x\\n'); s.run(['git', 'config', 'filter.x.clean', 'false'])",
    ],
    ids=["amends", "no git", "git anew", "a repository inside", "no utf-8", "a filter"],
)
def test_an_answer_is_what_is_in_the_tree_whatever_became_of_git(
    record: dict[str, Any], repos: Path, tmp_path: Path, code: str
) -> None:
    result = run(record, repos, tmp_path, python_agent(REPAIR + code))
    assert result.outcome == "resolved", result
    assert RepoStore(python_agent(REPAIR + code), tmp_path / "runs").results["shop-1"] == result


CALLS_ALL_PASSED = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    found = yield
    found.get_result().outcome = "passed"
"""


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"conftest.py": CALLS_ALL_PASSED}, marks=pytest.mark.slow),
        {"cheat.py": CALLS_ALL_PASSED, "pytest.ini": "[pytest]\naddopts = -p cheat\n"},
        pytest.param(
            {
                "cheat.py": CALLS_ALL_PASSED,
                "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p cheat'\n",
            },
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"cheat.py": CALLS_ALL_PASSED, "setup.cfg": "[tool:pytest]\naddopts = -p cheat\n"},
            marks=pytest.mark.slow,
        ),
        {"pytest/__main__.py": "", "pytest/__init__.py": "raise SystemExit(0)\n"},
    ],
    ids=["conftest", "pytest.ini", "pyproject", "setup.cfg", "pytest itself"],
)
def test_how_tests_are_run_is_not_the_agents_to_say(
    record: dict[str, Any], repos: Path, tmp_path: Path, files: dict[str, str]
) -> None:
    code = f"import pathlib\nfor n, t in {files!r}.items():\n    p = pathlib.Path(n); p.parent.mkdir(exist_ok=True); "
    result = run(record, repos, tmp_path, python_agent(code + "p.write_text(t)"))
    assert result.outcome in ("not resolved", "no change")
    assert set(result.left_out) == set(files) - {"cheat.py"}


def test_settings_that_are_not_of_tests_are_the_agents() -> None:
    before = {
        "pyproject.toml": b"[tool.pytest.ini_options]\naddopts = '-q'\n",
        "pluggy/__init__.py": b"",
        "pluggy": b"",
    }
    after = {
        "pyproject.toml": before["pyproject.toml"] + b"[project]\nname = 'x'\n",
        "setup.cfg": b"[metadata]\n",
    }
    changed = ["pyproject.toml", "setup.cfg", "pluggy/__init__.py", "src/shop.py", "docs/tox.txt"]
    assert changes_of_the_runner(changed, before.get, after.get) == []
    broken = {"pyproject.toml": b"[", "setup.cfg": b"x"}
    assert changes_of_the_runner([*changed, "a/conftest.py", "src/_pytest.py"], before.get, broken.get) == [
        "pyproject.toml", "setup.cfg", "a/conftest.py", "src/_pytest.py",
    ]  # fmt: skip


def test_files_that_releases_leave_out_are_checked_out(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    repo = repos / "some+shop"
    (repo / ".gitattributes").write_text("test_shop.py export-ignore\nshop.py export-subst\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "releases")
    check_out(repo, git(repo, "rev-parse", "HEAD"), tmp_path / "out")
    assert (tmp_path / "out" / "test_shop.py").read_text() == NEW_TEST
    assert not list((repo / ".git" / "objects" / "info").glob("alternates"))


def test_what_the_known_fix_does_not_do_here_is_no_verdict_on_an_agent(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    """And when it is tried again, the agent's answer is still there."""
    repo, times = repos / "some+shop", tmp_path / "times"
    lazy = "\n\ndef test_more():\n    import no_such_module_here\n"
    (repo / "test_shop.py").write_text(NEW_TEST + lazy)
    git(repo, "commit", "-qam", "a module that is not here")
    record |= {"fix_commit": git(repo, "rev-parse", "HEAD")}
    record["PASS_TO_PASS"] += ["test_shop.py::test_more"]
    agent = python_agent(f"{REPAIR}open({str(times)!r}, 'a').write('x')")
    for _ in range(2):
        result = run(record, repos, tmp_path, agent)
        assert result.outcome == "infrastructure error" and "no_such_module_here" in result.reason
        assert "sum(prices)" in result.diff and times.read_text() == "x"


def test_a_command_that_cannot_be_run_ends_no_evaluation(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    ended = run(record | {"test_command": "cd x && pytest"}, repos, tmp_path, "none")
    assert ended.outcome == "infrastructure error" and "shell" in ended.reason


def test_a_task_that_has_changed_is_run_again(record: dict[str, Any], repos: Path, tmp_path: Path) -> None:
    assert run(record, repos, tmp_path, "none").to_keep == 1
    assert run(record | {"PASS_TO_PASS": []}, repos, tmp_path, "none").to_keep == 0
    store = RepoStore("none", tmp_path / "runs")
    assert store.holds(task_of(record | {"PASS_TO_PASS": []}), store.results["shop-1"].asked)


def test_missing_repositories_are_known_before_any_work(
    record: dict[str, Any], repos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "forklock.evals.agents.tasks._clone", lambda *_: (_ for _ in ()).throw(EvalFault("cannot be cloned"))
    )
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    store = RepoStore("none", tmp_path / "runs")
    tasks = [task_of(record), task_of(record | {"task_id": "other", "repo": "no/where"})]
    with pytest.raises(EvalFault, match="cannot be cloned"):
        run_tasks(tasks, AgentUnderTest("none"), store, repos=repos)
    assert store.results == {}


def test_tests_that_are_moved_or_removed_are_hidden(record: dict[str, Any]) -> None:
    patch = (
        "diff --git a/t/old.py b/t/new.py\nsimilarity index 100%\nrename from t/old.py\nrename to t/new.py\n"
        "diff --git a/gone.py b/gone.py\ndeleted file mode 100644\n--- a/gone.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
    )
    task = task_of({**record, "fix_commit": None, "test_files": [], "test_patch": patch})
    assert task.hidden_files == ("t/old.py", "t/new.py", "gone.py")


def test_a_result_is_kept_and_a_torn_one_is_made_again(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    assert run(record, repos, tmp_path, "none").outcome == "not resolved"
    store = RepoStore("none", tmp_path / "runs")
    assert set(store.results) == {"shop-1"}
    file = store.folder / "results.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    assert RepoStore("none", tmp_path / "runs").results == {}
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
    assert passes("t.py::t[a", report) is holds


@pytest.mark.hostile("answers")
@pytest.mark.parametrize(
    "code",
    [
        "open('shop.py', 'w').write('import os; os._exit(127)')",
        pytest.param("open('shop.py', 'w').write('import os; os._exit(126)')", marks=pytest.mark.slow),
        pytest.param("open('shop.py', 'w').write('raise SystemExit(5)')", marks=pytest.mark.slow),
        pytest.param("open('shop.py', 'w').write('import nothing_like_it')", marks=pytest.mark.slow),
        pytest.param(
            "open('shop.py', 'w').write('import os; os.kill(os.getpid(), 9)')", marks=pytest.mark.slow
        ),
        "import os; os.remove('test_shop.py'); os.mkdir('test_shop.py'); open('test_shop.py/x', 'w').write('x')",
    ],
)
def test_no_answer_takes_itself_out_of_the_score(
    record: dict[str, Any], repos: Path, tmp_path: Path, code: str
) -> None:
    """Where the known fix is judged, so is the answer: its failure is never an infrastructure error."""
    assert run(record, repos, tmp_path, python_agent(code)).outcome in ("not resolved", "no change")


@pytest.mark.hostile("answers")
def test_nor_by_a_file_on_the_way_to_a_hidden_test(
    record: dict[str, Any], repos: Path, tmp_path: Path
) -> None:
    record |= {"test_files": ["sub/test_shop.py"], "test_command": "python -m pytest -q sub/test_shop.py"}
    repo = repos / "some+shop"
    (repo / "sub").mkdir()
    (repo / "sub" / "test_shop.py").write_text(NEW_TEST)
    (repo / "conftest.py").write_text("")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "moved")
    record |= {"fix_commit": git(repo, "rev-parse", "HEAD")}
    record |= {"FAIL_TO_PASS": ["sub/test_shop.py::test_total"], "PASS_TO_PASS": []}
    code = "open('sub', 'w').write('a file'); open('shop.py', 'w').write('def total(prices): return 0')"
    assert run(record, repos, tmp_path, python_agent(code)).outcome == "not resolved"


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
    from forklock.evals.commands.main import main

    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(record) + "\n")
    out = tmp_path / "out.json"
    words = ["evals", "run", "repo", "--tasks", str(path), "--repos", str(repos), "--agent", "reference"]
    for arguments, code in (
        ([*words, "--json", str(out)], 0),
        (words[:3], 2),
        ([*words[:-1], "no-such-thing"], 2),
        ([*words, "-n", "4"], 2),
        ([*words, "--model", "m"], 2),
        (["evals", "run", "made-up", "--only", "a", "--model", "m"], 2),
    ):
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = "".join(capfd.readouterr())
        assert (ended.value.code or 0) == code and "Traceback" not in printed
        if code == 0:
            assert "resolved 1 of 1" in printed
    assert json.loads(out.read_text())[0]["outcome"] == "resolved"


def test_our_agent_takes_the_flags_that_are_given_to_it() -> None:
    words = shlex.split(forklock_command("m", "none", "--width 16 --regression 'python -m pytest'"))
    assert words[-4:] == ["--width", "16", "--regression", "python -m pytest"]
    with pytest.raises(EvalFault, match="No closing quotation"):
        forklock_command("m", "none", "--width '16")


def test_with_statements_alone_our_agent_writes_its_own_tests() -> None:
    words = shlex.split(forklock_command("m", "none", statements=True))
    assert words[words.index("--write-test") + 1] == "always" and "--no-keep-test" in words
    assert not {"--test", "--unverified", "{test_command}"} & set(words)
    asked = RepoCommand(None, None, "some-agent {statement}", None, "none", 60.0, "auto", statements=True)
    with pytest.raises(EvalFault, match="for our own agent"):
        asked.tested()

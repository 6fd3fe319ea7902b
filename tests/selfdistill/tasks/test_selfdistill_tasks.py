"""Tasks of a small repository: made, proven and judged in a real sandbox, by the command that users give."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from till import git, make_till
from typer.testing import CliRunner

from forklock.agent.repo import apply_diff
from forklock.selfdistill.cli import app
from forklock.selfdistill.tasks.contract import RepairTask, TaskFault
from forklock.selfdistill.tasks.judge import TaskJudge, open_judge
from forklock.selfdistill.tasks.store import TaskStore

pytestmark = pytest.mark.slow  # seconds on a machine that is free, minutes on a busy one
SUITE = "python -m pytest -q"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskStore]:
    """A repository whose tasks were made, in a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORKLOCK_HOME", str(tmp_path_factory.mktemp("home")))
        root = make_till(tmp_path_factory.mktemp("repos") / "till-repo", flaky=True)
        done = CliRunner().invoke(app, ["tasks", str(root), "--test", SUITE, "--limit", "5"])
        assert done.exit_code == 0, done.output
        yield TaskStore.of(root)


def tasks_of(store: TaskStore) -> dict[str, list[RepairTask]]:
    found: dict[str, list[RepairTask]] = {}
    for task in store.tasks(store.current()):
        found.setdefault(task.kind, []).append(task)
    return found


@pytest.fixture(scope="module")
def judge(made: TaskStore) -> Iterator[TaskJudge]:
    with open_judge(made.root) as judge:
        yield judge


def test_red_and_flaky_tests_are_excluded_by_name(made: TaskStore) -> None:
    ground = made.current()
    assert ground is not None
    assert ground.excluded.get("tests/test_till.py::test_red") == "fails"
    assert ground.excluded.get("tests/test_till.py::test_flaky", "passes only sometimes") in (
        "fails",
        "passes only sometimes",
    )
    assert "tests/test_till.py::test_red" not in ground.tests
    assert ground.traced and "till/prices.py:total" in ground.reach
    assert [ground.tests[i] for i in ground.reach["till/words.py:parsed"]] == [
        "tests/test_till.py::test_parsed"
    ]


def test_tasks_of_each_kind_are_valid_and_whole(made: TaskStore) -> None:
    found = tasks_of(made)
    assert {"history", "removal", "mutation"} <= set(found)
    (history,) = found["history"]
    assert history.places == ("till/words.py:label",) and history.fail_to_pass == (
        "tests/test_till.py::test_long_label_is_cut",
    )
    assert (
        "Cut labels that are too long for the shelf" in history.statement and "#12" not in history.statement
    )
    assert "Signed-off" not in history.statement
    for task in (task for tasks in found.values() for task in tasks):
        assert task.fail_to_pass and not set(task.fail_to_pass) & set(task.pass_to_pass)
        assert "tests/test_till.py" in task.command and task.test_files == ("tests/test_till.py",)
        assert not [line for line in task.bug.split("\n") if line.startswith("+++ b/tests")]
        assert (made.root / "till" / "words.py").read_text().startswith('"""Labels')


def test_no_two_tasks_break_the_same_in_the_same_way(made: TaskStore) -> None:
    seen = set()
    for tasks in tasks_of(made).values():
        for task in tasks:
            key = (task.fail_to_pass, json.dumps(made.answers(task), sort_keys=True))
            assert key not in seen
            seen.add(key)


def test_no_definition_is_in_two_splits(made: TaskStore) -> None:
    by_place: dict[str, set[str]] = {}
    for tasks in tasks_of(made).values():
        for task in tasks:
            for place in task.places:
                by_place.setdefault(place, set()).add(task.split)
    assert all(len(names) == 1 for names in by_place.values())


def test_again_does_nothing_twice(made: TaskStore) -> None:
    tried, tasks = made.tried(), made.tasks()
    done = CliRunner().invoke(app, ["tasks", str(made.root), "--test", SUITE, "--limit", "5"])
    assert done.exit_code == 0 and "suite: running" not in done.output
    assert made.tried() == tried and made.tasks() == tasks


def test_one_process_at_a_time(made: TaskStore) -> None:
    with made.making(), pytest.raises(TaskFault, match="another `selfdistill tasks`"), made.making():
        pass


def test_list_and_show(made: TaskStore) -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["tasks", "list", "--repo", str(made.root)])
    (history,) = tasks_of(made)["history"]
    assert (
        history.task_id in listed.output
        and "rejected:" in listed.output
        and "till/words.py:label" in listed.output
    )
    rows = json.loads(runner.invoke(app, ["tasks", "list", "--json", "--repo", str(made.root)]).output)
    assert {row["task_id"] for row in rows} == {task.task_id for task in made.tasks()}
    shown = runner.invoke(app, ["tasks", "show", "history", "--repo", str(made.root)])
    assert "Cut labels" in shown.output and "text[:8]" not in shown.output
    assert (
        "text[:8]"
        in runner.invoke(app, ["tasks", "show", "history", "--fix", "--repo", str(made.root)]).output
    )
    missing = runner.invoke(app, ["tasks", "show", "nosuch", "--repo", str(made.root)])
    assert isinstance(missing.exception, TaskFault)


# -- the judge ------------------------------------------------------------------------------------------------------


def repair(judge: TaskJudge, task: RepairTask, path: str, old: str, new: str) -> str:
    """The diff of a repair that puts `new` in the place of `old` in the broken code."""
    with judge.base.fork() as fork:
        apply_diff(fork.root, task.bug)
        broken = (fork.root / path).read_text()
        assert old in broken, broken
        (judge_copy := fork.root / path).write_text(broken.replace(old, new, 1))
        whole = fork.diff()
        assert judge_copy.exists()
    return turned(judge, task, whole)


def turned(judge: TaskJudge, task: RepairTask, whole: str) -> str:
    """A diff against the broken code, from one against the original."""
    from forklock.agent.repo.checkout import Baseline
    from forklock.sandbox import scratch
    from forklock.selfdistill.tasks.export import broken_state

    with scratch() as folder:
        broken_state(judge.base, task, folder / "work")
        first = Baseline(folder / "work", folder / "kept")
        for part in ("till", "tests"):
            for file in (folder / "work" / part).glob("*.py"):
                file.write_bytes((judge.base.root / part / file.name).read_bytes())
        if whole:
            apply_diff(folder / "work", whole)
        return first.diff()


@pytest.fixture(scope="module")
def history(made: TaskStore) -> RepairTask:
    return tasks_of(made)["history"][0]


def test_the_reference_is_right(made: TaskStore, judge: TaskJudge) -> None:
    for tasks in tasks_of(made).values():
        verdict = judge(tasks[0], tasks[0].fix)
        assert verdict.right, (tasks[0].task_id, verdict)


def test_another_way_to_write_it_is_right(judge: TaskJudge, history: RepairTask) -> None:
    diff = repair(judge, history, "till/words.py", "name.strip().upper()", "name.strip()[:8].upper()")
    verdict = judge(history, diff)
    assert verdict.outcome == "right" and verdict.compared > 3, verdict


def test_passing_the_tests_is_not_enough(judge: TaskJudge, history: RepairTask) -> None:
    diff = repair(
        judge, history, "till/words.py", "name.strip().upper()", 'name.strip().upper().split(" ")[0]'
    )
    verdict = judge(history, diff)
    assert verdict.outcome == "differs" and "label(" in verdict.reason, verdict


def test_what_does_not_repair_fails(judge: TaskJudge, history: RepairTask) -> None:
    assert judge(history, "").outcome == "fails"
    diff = repair(judge, history, "till/words.py", "name.strip().upper()", "name.upper()")
    verdict = judge(history, diff)
    assert verdict.outcome == "fails" and "test_l" in verdict.reason
    assert (
        "does not apply" in judge(history, "no diff").reason or judge(history, "no diff").outcome == "fails"
    )


@pytest.mark.hostile("judge")
@pytest.mark.parametrize("way", ["the test", "a plug-in"])
def test_a_repair_cannot_change_its_judge(judge: TaskJudge, history: RepairTask, way: str) -> None:
    path, text = {
        "the test": ("tests/test_till.py", "def test_long_label_is_cut():\n    pass\n"),
        "a plug-in": (
            "conftest.py",
            "import pytest\n\n\ndef pytest_collection_modifyitems(items):\n    items.clear()\n",
        ),
    }[way]
    with judge.base.fork() as fork:
        apply_diff(fork.root, history.bug)
        (fork.root / path).write_text(text)
        cheat = fork.diff()
    diff = "".join("diff --git" + part for part in cheat.split("diff --git")[1:] if f"b/{path}" in part)
    assert judge(history, diff).outcome == "fails"


def test_a_changed_repository_is_noticed(made: TaskStore, judge: TaskJudge, history: RepairTask) -> None:
    other = history.model_copy(update={"ground": "0" * 16})
    with pytest.raises(TaskFault, match="another state"):
        judge(other, "")
    with pytest.raises(TaskFault, match="no such tasks"), open_judge(made.root, "0" * 16):
        pass


# -- export ---------------------------------------------------------------------------------------------------------


def test_exported_records_are_what_evals_runs(made: TaskStore, tmp_path: Path) -> None:
    from forklock.evals.agents.results import RepoStore
    from forklock.evals.agents.run import AgentUnderTest, run_tasks
    from forklock.evals.agents.tasks import read_tasks

    done = CliRunner().invoke(
        app, ["tasks", "export", "--to", str(tmp_path / "out"), "--repo", str(made.root)]
    )
    assert done.exit_code == 0, done.output
    records = read_tasks(tmp_path / "out" / "tasks.jsonl")
    assert {record.task_id for record in records} == {task.task_id for task in made.tasks()}
    one = [record for record in records if record.task_id.startswith(("history", "removal"))][:2]
    for agent, outcome in (("reference", "resolved"), ("none", "not resolved")):
        tested = AgentUnderTest(agent)
        store = RepoStore(agent, tmp_path / agent)
        results = run_tasks(one, tested, store, repos=tmp_path / "out" / "repos")
        assert [result.outcome for result in results] == [outcome] * len(one), [r.reason for r in results]


def test_one_task_is_exported_as_a_repository(made: TaskStore, tmp_path: Path, history: RepairTask) -> None:
    words = ["tasks", "export", history.task_id, "--to", str(tmp_path / "one"), "--repo", str(made.root)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "agent solve" in done.output, done.output
    assert "text[:8]" not in (tmp_path / "one" / "till" / "words.py").read_text()
    assert git(tmp_path / "one", "rev-list", "--count", "HEAD") == "1"
    assert (tmp_path / "one.md").read_text().strip() == history.statement
    assert isinstance(CliRunner().invoke(app, words).exception, TaskFault), "it is not overwritten"


# -- prompts --------------------------------------------------------------------------------------------------------


def test_a_round_asks_about_practice_tasks(
    made: TaskStore, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forklock.selfdistill.data.prompts import collect

    monkeypatch.setenv("FORKLOCK_AGENT__DIAGNOSTICS", "false")
    spec = f"tasks:{made.root}"
    found = collect(spec, 4, seed=0, cwd=Path("/"), model=str(tiny_weights))
    practice = {task.task_id: task for task in made.tasks(made.current()) if task.split == "practice"}
    assert found and {prompt.prompt_id.split("/")[1] for prompt in found} <= set(practice)
    assert all(prompt.source == "tasks" and prompt.statement for prompt in found)
    assert collect(spec, 4, seed=0, cwd=Path("/"), model=str(tiny_weights)) == found, "what was asked is kept"


# -- kills ----------------------------------------------------------------------------------------------------------


def test_killed_anywhere_it_goes_on_and_makes_the_same(tmp_path: Path) -> None:
    root = make_till(tmp_path / "till-repo")
    env = {**os.environ, "FORKLOCK_HOME": str(tmp_path / "home")}
    words = [
        str(Path(sys.executable).with_name("selfdistill")),
        "tasks",
        str(root),
        "--test",
        SUITE,
        "--limit",
        "3",
    ]
    for pause in (2.0, 6.0, 9.0):
        process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(words, env=env, capture_output=True, check=False).returncode == 0
    whole = {**env, "FORKLOCK_HOME": str(tmp_path / "another")}
    assert subprocess.run(words, env=whole, capture_output=True, check=False).returncode == 0
    found = []
    for home in ("home", "another"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FORKLOCK_HOME", str(tmp_path / home))
            store = TaskStore.of(root)
            keys = [row.key for row in store.tried()]
            assert len(keys) == len(set(keys)), "nothing was tried twice"
            found.append({task.task_id for task in store.tasks()})
    assert found[0] == found[1] and len(found[0]) == 3

"""Judging and generation on a real cluster of two nodes on this machine, a worker killed in the middle."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from forklock.evals.agents.command_engine import AgentEngine
from forklock.evals.cluster import RayEngine, RayJudge
from forklock.evals.contract import Problem, ProblemSet, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.runs.run import EvalJob, run_eval
from forklock.models.contract import Decoding
from forklock.sandbox import SandboxUnavailable

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'forklock[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    try:
        Judge().close()
    except SandboxUnavailable as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")
    root = str(Path(__file__).resolve().parents[2] / "src")
    os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    made.add_node(num_cpus=1, object_store_memory=100 << 20)
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()


def kill_one(task: str, found: list[int]) -> None:
    """End one worker that is at `task`, as an operator's kill -9 or a lost machine would."""
    until = time.monotonic() + 120
    while not found and time.monotonic() < until:
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [""])[0].startswith(f"ray::{task}"):
                time.sleep(0.5)  # into its work
                os.kill(process.pid, signal.SIGKILL)
                found.append(process.pid)
                return
        time.sleep(0.02)


def problem() -> Problem:
    tests = tuple(TestCase(kind="stdin", input=str(i), output=str(2 * i), public=not i) for i in range(3))
    return Problem(question_id="q", title="q", prompt="Print the double.", tests=tests)


def test_judging_loses_nothing_with_a_worker(cluster: Any) -> None:
    right = "import time\ntime.sleep(0.15)\nprint(2 * int(input()))"
    codes: list[str | None] = [right, "print(1)", None, "1/0"] * 6
    attempts = [(problem(), code) for code in codes]
    came: list[int] = []
    killed: list[int] = []
    killer = threading.Thread(target=kill_one, args=("_judge_batch", killed))
    killer.start()
    with RayJudge() as judge:
        found = judge.judge_many(attempts, on_result=lambda index, _: came.append(index))
    killer.join()
    assert killed, "no worker was at work"
    wanted = [Verdict.PASSED, Verdict.WRONG_ANSWER, Verdict.NO_CODE, Verdict.EXCEPTION]
    assert [judgement.verdict for judgement in found] == wanted * 6
    assert sorted(came) == list(range(len(attempts)))
    nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    assert len(nodes) == 2


AGENT = """
import pathlib, sys, time
time.sleep(0.4)
pathlib.Path(sys.argv[2]).write_text("```python\\nprint(2 * int(input()))  # " + sys.argv[3] + "\\n```")
"""


def test_generation_loses_nothing_with_a_worker(cluster: Any, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(AGENT)
    command = f"{sys.executable} {script} {{statement_file}} {{answer_file}} {{seed}}"
    here = AgentEngine(command)
    problems = ProblemSet(name="doubles", version="1", problems=(problem(),))
    decoding = Decoding(temperature=0.5, seed=3)
    local = run_eval(here, EvalJob(problems=problems, decoding=decoding, n=8), root=tmp_path / "local")
    killed: list[int] = []
    killer = threading.Thread(target=kill_one, args=("_ask_batch", killed))
    killer.start()
    engine = RayEngine({"agent": command, "timeout_s": 60.0}, here.identity, here.context_tokens)
    with RayJudge() as judge:
        found = run_eval(
            engine, EvalJob(problems=problems, decoding=decoding, n=8), root=tmp_path / "ray", judge=judge
        )
    killer.join()
    assert killed, "no worker was at work"
    assert found.pass_at[0].value == 1 and found.made == 8 and found.problems == local.problems
    keys = [
        {line.split('"key":"')[1][:64] for line in (run.folder / "samples.jsonl").read_text().splitlines()}
        for run in (local, found)
    ]
    assert keys[0] == keys[1] and len(keys[0]) == 8

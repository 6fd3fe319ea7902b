"""The benches of `agent solve`: their tables, their tasks, and the proxy and the copies that peers run behind."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from forklock.sandbox.backends.open import why_not

pytest.importorskip("scipy", reason="intervals need the `evals` extra")
sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from peers import Job
from solve import table
from solve_contest import OURS, PEERS, Contest, contend, restore_tests
from solve_proxy import Meter, Proxy, asked_upstream, serving
from solve_rows import Row, report
from solve_tasks import Task, example_tasks, quixbugs_tasks, sampled

PROGRAM = '''def doubled(n):
    return n + 2


"""
Double a number.
"""
'''


def row(task: str, outcome: str, right: bool) -> dict[str, Any]:
    return {
        "task": task, "model": "m", "width": 1, "seed": 0, "outcome": outcome, "detail": "", "seconds": 1.0, "steps": 1,
        "tokens": {"prompt": 1, "completion": 2}, "right": right, "wrong": "" if right else "f(1): 2, not 3",
        "diff": "-a\n+b",
    }  # fmt: skip


def test_the_table_counts_what_is_right_and_shows_what_is_wrong() -> None:
    rows = [
        row("a", "solved", True), row("b", "solved", False), row("c", "passes, in doubt", True),
        row("d", "out of time", False),
    ]  # fmt: skip
    text = table(rows)
    assert "passes: 3 of 4" in text and "called solved: 2 of 4" in text and "- right: 2 of 4" in text
    assert (
        "right among those called solved: 1 of 2" in text
        and "called solved among those right: 1 of 2" in text
    )
    assert text.count("```diff") == 1 and "f(1): 2, not 3" in text
    assert "0 of 0" in table([row("d", "out of time", False)])


def test_a_sample_is_nobodys_choice() -> None:
    tasks = example_tasks()
    few = sampled(tasks, 5)
    assert len(few) == 5 and few == sampled(list(reversed(tasks)), 5)
    assert len(sampled(tasks, None)) == len(tasks)


@pytest.fixture
def quixbugs(tmp_path: Path) -> Path:
    for folder, text in (
        ("python_programs", PROGRAM),
        ("correct_python_programs", PROGRAM.replace("n + 2", "2 * n")),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "doubled.py").write_text(text)
    (tmp_path / "json_testcases").mkdir()
    cases = [[[2], 4], [[3], 6], [[50], 100]]
    (tmp_path / "json_testcases" / "doubled.json").write_text("\n".join(map(json.dumps, cases)))
    return tmp_path


def test_a_program_shows_one_failing_case_and_hides_the_others(quixbugs: Path, tmp_path: Path) -> None:
    (task,) = quixbugs_tasks(quixbugs, tmp_path / "scratch")
    task.make(tmp_path / "repo")
    test = (tmp_path / "repo" / "test_doubled.py").read_text()
    assert "doubled(3) == 6" in test and "50" not in test
    assert (
        "Double a number" in task.statement and "Double" not in (tmp_path / "repo" / "doubled.py").read_text()
    )
    assert "2 of 3 cases, such as doubled(3): 6, not 5" in task.wrong(tmp_path / "repo")
    (tmp_path / "repo" / "doubled.py").write_text("def doubled(n):\n    return 6 if n == 3 else 0\n")
    assert "2 of 3 cases" in task.wrong(tmp_path / "repo")
    (tmp_path / "repo" / "doubled.py").write_text("def doubled(n):\n    return n + n\n")
    assert task.wrong(tmp_path / "repo") == ""
    (tmp_path / "repo" / "doubled.py").write_text("import os\n\n\ndef doubled(n):\n    os._exit(0)\n")
    assert "3 of 3 cases" in task.wrong(tmp_path / "repo")


# -- the proxy ----------------------------------------------------------------------------------------------


class Scripted(ThreadingHTTPServer):
    """A server that streams `words`, a token each, to every sample of every request, as vLLM does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.words = ["one", " two", " three"]
        self.bodies: list[dict[str, Any]] = []


class _Answers(BaseHTTPRequestHandler):
    server: Scripted

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._json({"data": [{"id": "scripted", "owned_by": "vllm", "max_model_len": 8192}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._json({"tokens": list(range(50))})
            return
        self.server.bodies.append(body)
        chat = "messages" in body
        self.send_response(200)
        self.end_headers()
        count = range(body.get("n") or 1)
        for number, word in enumerate([*self.server.words, ""]):
            for index in count:
                said = {"delta": {"content": word}} if chat else {"text": word}
                last = number == len(self.server.words)
                choice = {"index": index, **said, "token_ids": [] if last else [number], "logprobs": None}
                self._event(choices=[{**choice, "finish_reason": "stop" if last else None}])
        made = len(count) * len(self.server.words)
        self._event(choices=[], usage={"prompt_tokens": 50, "completion_tokens": made})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, **words: Any) -> None:
        self.wfile.write(f"data: {json.dumps({'id': 'x', 'model': 'scripted', **words})}\n\n".encode())

    def _json(self, content: dict[str, Any]) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(scripted: Scripted) -> Iterator[Proxy]:
    with serving(f"http://127.0.0.1:{scripted.server_address[1]}/v1") as proxy:
        yield proxy


def chat(url: str, **more: Any) -> httpx.Response:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}], **more}
    return httpx.post(f"{url}/chat/completions", json=body, trust_env=False)


def test_tokens_are_counted_and_the_budget_ends_an_answer_in_the_middle(proxy: Proxy) -> None:
    meter = Meter(tokens=5)
    with proxy.metered(meter) as url:
        first = chat(url).json()
        assert first["choices"][0]["message"]["content"] == "one two three"
        assert (meter.prompt, meter.completion, meter.requests) == (50, 3, 1)
        second = chat(url).json()["choices"][0]
        assert (second["message"]["content"], second["finish_reason"]) == ("one two", "length")
        third = chat(url)
        assert third.status_code == 400 and "5 generated tokens" in third.json()["error"]["message"]
    assert (meter.completion, meter.refused) == (5, 1)
    assert httpx.get(f"{url}/models", trust_env=False).status_code == 404


def test_samples_that_are_cut_end_by_their_length_in_a_stream_too(proxy: Proxy) -> None:
    with proxy.metered(Meter(tokens=4)) as url:
        body = {"model": "scripted", "prompt": [1, 2], "n": 2, "stream": True}
        answer = httpx.post(f"{url}/completions", json=body, trust_env=False)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    texts = ["", ""]
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == ["one two", "one two"]
    assert [choice["finish_reason"] for choice in events[-1]["choices"]] == ["length", "length"]
    assert answer.text.rstrip().endswith("[DONE]")


def test_a_run_without_time_is_refused(proxy: Proxy) -> None:
    with proxy.metered(Meter(seconds=0)) as url:
        assert chat(url).status_code == 400


def test_truncation_is_left_to_the_servers_processor() -> None:
    asked = asked_upstream({"temperature": 0.7, "top_k": 20, "top_p": 1.0, "seed": 1}, True)
    assert asked["vllm_xargs"] == {"forklock_top_k": 20} and "top_k" not in asked and "seed" not in asked
    assert "vllm_xargs" not in asked_upstream({"temperature": 0, "top_k": 20}, True)
    as_it_is = asked_upstream({"top_k": 20, "seed": 1}, False)
    assert (as_it_is["top_k"], as_it_is["seed"]) == (20, 1)


# -- agents -------------------------------------------------------------------------------------------------

CHEATS = r"""
import json, pathlib, sys, urllib.request
url, number = sys.argv[1:]
body = {"model": "scripted", "messages": []}
words = {"Content-Type": "application/json"}
asked = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode(), words)
urllib.request.urlopen(asked).read()
program = pathlib.Path("doubled.py")
if number == "0":
    pathlib.Path("test_doubled.py").write_text("def test_doubled():\n    assert True\n")
    pathlib.Path("tests").symlink_to("/tmp")
else:
    program.write_text(program.read_text().replace("n + 2", "2 * n"))
"""


class ScriptedPeer:
    """A peer that changes the test in its first try, and repairs the program in its second one."""

    name = "scripted"

    def files(self, job: Job) -> Mapping[str, str]:
        return {"run.py": CHEATS}

    def command(self, job: Job) -> list[str]:
        return ["python3", f"{job.settings}/run.py", job.url, str(job.number)]

    def variables(self, job: Job) -> Mapping[str, str]:
        return {}


@pytest.fixture
def doubled(quixbugs: Path, tmp_path: Path) -> Task:
    (task,) = quixbugs_tasks(quixbugs, tmp_path / "scratch")
    return task


@pytest.fixture
def contest(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contest:
    if why_not("bubblewrap"):
        pytest.skip("peers run under bubblewrap")
    monkeypatch.setitem(PEERS, "scripted", ScriptedPeer())
    (tmp_path / "peers" / "scripted").mkdir(parents=True)
    return Contest(proxy, "scripted", 8192, tmp_path / "peers", python="/usr/bin")


def test_a_peer_gains_nothing_from_changing_the_test_and_is_tried_again(
    contest: Contest, doubled: Task
) -> None:
    row = contend(contest, doubled, "scripted", "tokens 100", 0, 60.0)
    assert row.passed and row.right and row.tries == 2, row
    assert row.generated_tokens == 6 and row.requests == 2 and "2 * n" in row.diff


def test_a_peer_that_asks_nothing_is_given_up(contest: Contest, doubled: Task, tmp_path: Path) -> None:
    class Idle(ScriptedPeer):
        def command(self, job: Job) -> list[str]:
            return ["sh", "-c", "echo broken; exit 3"]

    PEERS["scripted"] = Idle()
    row = contend(contest, doubled, "scripted", "tokens 100", 0, 60.0)
    assert not row.passed and "asked nothing in 3 tries: exit code 3: broken" in row.outcome


@pytest.mark.slow
def test_our_agent_works_behind_the_proxy(contest: Contest, doubled: Task, scripted: Scripted) -> None:
    scripted.words = ["```python\n", "def doubled(n):\n", "    return 2 * n\n", "```"]
    row = contend(contest, doubled, OURS, "tokens 400", 0, 240.0)
    assert row.passed and row.right and row.sure is not None, row
    assert row.generated_tokens and row.requests == len(scripted.bodies)


def test_a_tree_gets_the_original_tests_and_loses_its_links(tmp_path: Path) -> None:
    original, tree = tmp_path / "original", tmp_path / "tree"
    for folder in (original, tree):
        (folder / "tests").mkdir(parents=True)
        (folder / "tests" / "test_a.py").write_text(folder.name)
        (folder / "program.py").write_text(folder.name)
    (tree / "conftest.py").write_text("")
    (tree / "link").symlink_to("/etc")
    restore_tests(tree, original)
    assert (tree / "tests" / "test_a.py").read_text() == "original"
    assert (tree / "program.py").read_text() == "tree"
    assert sorted(path.name for path in tree.iterdir()) == ["program.py", "tests"]


def contest_row(agent: str, task: str, right: bool) -> Row:
    return Row(
        task=task, agent=agent, budget="tokens 9", model="m", seed=0, passed=True, right=right, outcome="x", tries=1,
        wrong="" if right else "f(1): 2, not 3", requests=1, prompt_tokens=5, generated_tokens=9, seconds=1.0,
        diff="-a",
    )  # fmt: skip


def test_the_table_sets_agents_side_by_side() -> None:
    rows = [contest_row(OURS, task, True) for task in "abcd"]
    rows += [contest_row("aider", task, task == "a") for task in "abcd"]
    text = report(rows)
    assert "| forklock | 4 of 4, 100 % [51, 100] | 4 of 4" in text
    assert "| aider | 4 of 4, 100 % [51, 100] | 1 of 4, 25 % [5, 70]" in text
    assert "right, forklock minus aider: +75 points" in text and "4 tasks" in text
    assert text.count("```diff") == 3 and "| b | right | wrong |" in text

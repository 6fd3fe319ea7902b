"""Whole runs with a scripted model, a real sandbox, real tests and a real language server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from scripted import Script, ScriptedEngine, begin
from shop import QUICK, RIGHT, TEST, WRONG

from forklock.agent.contract import AgentFault, Hop, Outcome
from forklock.agent.log import CandidateRuled, ModelAnswered, NoteMade, RunEnded, RunLog, StepEnded
from forklock.agent.log.runs import find
from forklock.agent.loop import Report
from forklock.agent.repo import apply_diff, inspect_repo
from forklock.agent.session import execute, reopen
from forklock.models.contract import Request

pytestmark = pytest.mark.timeout(180)


def solve(repo: Path, script: Script, **flags: object) -> tuple[Report, RunLog, ScriptedEngine]:
    engine = ScriptedEngine(script)
    engine.supports_prefill = bool(flags.pop("prefill", False))
    test = str(flags.pop("test", QUICK))
    verified = bool(flags.pop("verified", True))
    prepared = begin(repo, engine, test, verified=verified, **{"width": 4, **flags})
    return execute(prepared, engine), prepared.log, engine


def fenced(code: str) -> str:
    return f"```python\n{code}```"


def rulings(log: RunLog) -> list[CandidateRuled]:
    return [event for event in log.read().events if isinstance(event, CandidateRuled)]


def test_a_right_candidate_among_wrong_ones_is_found(repo: Path) -> None:
    before = {path: path.read_bytes() for path in repo.iterdir() if path.is_file()}
    answers = ["no code here", fenced("def total(x:\n"), fenced(WRONG.format(n=1)), fenced(RIGHT)]
    report, log, _ = solve(repo, lambda _r, i: answers[i % 4], width=8, diagnostics=True, test=TEST)
    assert report.outcome is Outcome.SOLVED
    assert {Hop.TESTS, Hop.PARSE, Hop.EDIT, Hop.SOLVED} >= {Hop(r.hop) for r in rulings(log)}
    assert {path: path.read_bytes() for path in before} == before
    apply_diff(repo, report.diff)
    assert "sum(prices)" in (repo / "shop.py").read_text()


def test_equal_programs_are_judged_once(repo: Path) -> None:
    same = [
        fenced(WRONG.format(n=1)),
        fenced(WRONG.format(n=1).replace("return", "return  # why\\\n       ")),
    ]
    _, log, _ = solve(repo, lambda _r, _i: same[0], steps=1)
    hops = Counter(r.hop for r in rulings(log))
    assert hops["tests"] == 1 and hops["duplicate"] + hops["edit"] == 3


def test_tests_are_read_only(repo: Path) -> None:
    block = (
        "test_shop.py\n<<<<<<< SEARCH\n    assert total([1, 2, 3]) == 6\n=======\n    pass\n>>>>>>> REPLACE"
    )
    report, log, _ = solve(repo, lambda _r, _i: block, protocol="search-replace", steps=1)
    assert report.outcome is Outcome.STEPS and report.diff == ""
    assert all("read-only" in log.text(r.reason) for r in rulings(log))


def test_breaking_what_passed_is_no_solution(repo: Path) -> None:
    (repo / "test_other.py").write_text(
        "from shop import total\n\n\ndef test_empty():\n    assert total([]) == 0\n"
    )
    subprocess.run(["git", "add", "-A"], cwd=repo, check=True)
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "more"], cwd=repo, check=True
    )
    breaks = fenced("def total(prices):\n    prices[0]\n    return sum(prices)\n")
    report, log, _ = solve(
        repo,
        lambda _r, _i: breaks,
        steps=1,
        regression="python -m pytest -q test_other.py test_shop.py",
        test=TEST,
    )
    assert report.outcome is not Outcome.SOLVED
    assert "regression" in {r.hop for r in rulings(log)}


def test_progress_is_built_upon(repo: Path) -> None:
    """Two bugs, one repair a step: the second step starts from the better tree."""
    (repo / "shop.py").write_text((repo / "shop.py").read_text().replace("else 0", "else 1"))
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "second bug"],
        cwd=repo,
        check=True,
    )
    mean = "def mean(prices):\n    return total(prices) / len(prices) if prices else 0\n"

    def script(request: Request, _number: int) -> str:
        asked = request.messages[-1].content
        return fenced(mean if "`mean` in `shop.py`" in asked.rsplit("# The code to repair", 1)[-1] else RIGHT)

    report, log, _ = solve(repo, script, styles=["repair"], steps=4)
    assert report.outcome is Outcome.SOLVED
    assert any(e.advanced for e in log.read().events if isinstance(e, StepEnded))
    assert "sum(prices)" in report.diff and "else 0" in report.diff


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        ({"steps": 1}, Outcome.STEPS),
        ({"max_tokens_total": 50}, Outcome.TOKENS),
        ({"seconds": 0.001}, Outcome.SECONDS),
        ({"steps": 9}, Outcome.STUCK),
    ],
)
def test_each_limit_is_named(repo: Path, flags: dict[str, object], outcome: Outcome) -> None:
    report, log, _ = solve(repo, lambda _r, _i: fenced(WRONG.format(n=7)), **flags)
    assert report.outcome is outcome
    assert isinstance(log.read().events[-1], RunEnded)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("python -m pytest -q test_shop.py::Shop::test_empty", "passes already"),
        ("no-such-program --flag", "cannot be started"),
    ],
)
def test_checks_that_cannot_serve_are_refused(repo: Path, test: str, message: str) -> None:
    with pytest.raises(AgentFault, match=message):
        solve(repo, lambda _r, _i: "", test=test)
    end = find(repo, "last").read().events[-1]
    assert isinstance(end, RunEnded) and end.outcome == "fault"


def test_a_module_that_the_sandbox_lacks_is_refused_or_named_once(repo: Path) -> None:
    """Refused where the tests cannot even be read; where one test lacks it the others may still tell something."""
    check = repo / "test_shop.py"
    text = check.read_text()
    check.write_text(text.replace("assert mean([2", "import no_such_module_here; assert mean([2"))
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *identity, "commit", "-qam", "x"], cwd=repo, check=True)
    _, log, _ = solve(repo, lambda _r, _i: fenced(WRONG.format(n=7)), steps=1)
    notes = [event.text for event in log.read().events if isinstance(event, NoteMade)]
    assert sum("misses the module no_such_module_here" in note for note in notes) == 1
    check.write_text(f"import no_such_module_here\n{text}")
    subprocess.run(["git", *identity, "commit", "-qam", "x"], cwd=repo, check=True)
    with pytest.raises(AgentFault, match="no_such_module_here is not installed"):
        solve(repo, lambda _r, _i: "")


def test_a_dirty_tree_is_refused_unless_allowed(repo: Path) -> None:
    (repo / "shop.py").write_text((repo / "shop.py").read_text() + "\n# note\n")
    with pytest.raises(AgentFault, match="uncommitted"):
        solve(repo, lambda _r, _i: "")


def test_hanging_candidates_are_ended(repo: Path) -> None:
    loop = fenced("def total(prices):\n    while True:\n        pass\n")
    report, log, _ = solve(repo, lambda _r, _i: loop, steps=1, test_timeout_s=5.0)
    assert report.outcome is Outcome.STEPS
    assert "out of time" in log.text(next(r for r in rulings(log) if r.hop == "tests").reason)


KILLED = """
    import sys, time
    sys.path[:0] = [{tests!r}]
    from pathlib import Path
    from shop import WRONG
    from scripted import ScriptedEngine, begin
    from forklock.agent.session import execute

    def script(_request, number):
        time.sleep(0.3)
        print(number, flush=True)
        return "```python\\n" + WRONG.format(n=100 + number) + "```"  # no n that is right by chance

    repo = Path({repo!r})
    engine = ScriptedEngine(script)
    execute(begin(repo, engine, statement="total() forgets", width=8), engine)
"""


def test_kill_and_resume_asks_only_for_what_is_missing(repo: Path) -> None:
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), repo=str(repo))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "5":
                break
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    log = find(repo, "last")
    kept = [e for e in log.read().events if isinstance(e, ModelAnswered)]
    assert 5 <= len(kept) < 8
    judged = len(rulings(log))

    missing = 8 - len(kept)
    engine = ScriptedEngine(lambda _r, i: fenced(RIGHT if i >= missing else WRONG.format(n=100 + i)))
    report = execute(reopen(log, inspect_repo(repo)), engine)
    assert report.outcome is Outcome.SOLVED
    assert engine.calls[0] == missing
    answers = [(e.step, e.request, e.sample) for e in log.read().events if isinstance(e, ModelAnswered)]
    assert len(answers) == len(set(answers))
    indices = [(r.step, r.index) for r in rulings(log)]
    assert len(indices) == len(set(indices)) and len(indices) >= judged


def test_an_ended_run_is_not_resumed(repo: Path) -> None:
    _, log, _ = solve(repo, lambda _r, _i: fenced(RIGHT))
    with pytest.raises(AgentFault, match="has ended"):
        reopen(log, inspect_repo(repo))


def test_the_same_seed_asks_the_same_questions(repo: Path) -> None:
    asked = [solve(repo, lambda _r, _i: fenced(WRONG.format(n=3)), steps=2)[2].requests for _ in range(2)]
    assert asked[0] == asked[1]


def test_without_a_failing_check_the_change_that_most_agree_on_is_taken(repo: Path) -> None:
    check = "python -m pytest -q test_shop.py::Shop::test_empty"
    answers = [WRONG.format(n=5), RIGHT, RIGHT.replace("sum(prices)", "sum(list(prices))"), RIGHT]
    report, log, _ = solve(
        repo, lambda _r, i: fenced(answers[i % 4]), test=check, verified=False, width=4, steps=1
    )
    assert report.outcome is Outcome.UNVERIFIED
    assert "sum(prices)" in report.diff and "+ 5" not in report.diff
    assert {r.hop for r in rulings(log)} == {"unverified", "duplicate"}
    assert log.read().events[-1].outcome == "unverified"  # type: ignore[union-attr]


def test_without_a_failing_check_what_breaks_something_is_never_taken(repo: Path) -> None:
    check = "python -m pytest -q test_shop.py::Shop::test_empty"
    broken = "def total(prices):\n    raise ValueError\n"
    mean = "def mean(prices):\n    raise ValueError\n"
    report, _, _ = solve(
        repo, lambda r, _i: fenced(mean if "`mean`" in r.messages[-1].content else broken), test=check,
        verified=False, steps=1,
    )  # fmt: skip
    assert report.outcome in (Outcome.UNVERIFIED, Outcome.STEPS)
    assert "-    return total(prices)" not in report.diff

"""`run` and `finish`: commands in the sandbox, what they may write, and when a rollout may end."""

from __future__ import annotations

from pathlib import Path

import pytest
from toolboxes import Box, Ground

from forklock.agent.driving.tools.find import KINDS
from forklock.tools.contract import TestStatus

FIX = {"path": "shop.py", "old": "    for price in prices[1:]:", "new": "    for price in prices:"}


def test_the_check_is_run_without_a_command(box: Box) -> None:
    answer = box("run")
    assert answer.kind == "failed"
    assert answer.report is not None
    assert answer.report.status is TestStatus.FAILED
    assert "1 of 3 tests pass" in answer.text
    assert "test_shop.Shop.test_total" in answer.text
    box("edit", **FIX)
    assert box("run", command="python -m unittest test_shop").kind == "ok"


def test_a_command_runs_in_a_shell_of_the_sandbox(box: Box) -> None:
    answer = box("run", command="echo one && echo two | tr a-z A-Z; ls *.py | head -1")
    assert answer.text.splitlines() == ["exit code 0", "one", "TWO", "long.py"]
    assert box("run", command="exit 3").kind == "failed"
    assert "exit code 127" in box("run", command="no-such-program").text
    assert "Syntax error" in box("run", command="echo 'open").text
    assert box("run", command="echo \0").kind == "refused"


def test_what_a_command_wrote_is_noticed(box: Box) -> None:
    answer = box(
        "run", command="echo x > made.txt; echo '# more' >> shop.py; mkdir __pycache__; touch __pycache__/a"
    )
    assert answer.wrote == ("made.txt", "shop.py"), "and not what git ignores"
    assert "wrote: made.txt, shop.py" in answer.text
    assert box("run", command="cat shop.py").wrote == ()


@pytest.mark.hostile("judge")
@pytest.mark.parametrize(
    "command",
    [
        "echo > test_shop.py", "rm test_shop.py", "echo > conftest.py", "mv test_shop.py test_other.py",
        "chmod +x test_shop.py", "ln -sf shop.py test_shop.py", "printf '[pytest]\\n' > pytest.ini",
    ],
)  # fmt: skip
def test_a_command_that_touches_what_judges_is_undone(box: Box, command: str) -> None:
    box("edit", path="other.py", content="x = 1\n")
    before = box.box.diff()
    answer = box("run", command=f"echo y > beside.txt; {command}")
    assert answer.kind == "refused"
    assert "Undone" in answer.text
    assert box.box.diff() == before, "what was edited before stays"
    assert "passes (3 tests)" in box("edit", **FIX).text, "and the rollout goes on"
    assert box("run", command="ls").text.count("beside.txt") == 0


def test_a_test_that_a_command_wrote_is_one_of_its_own(box: Box) -> None:
    answer = box(
        "run", command="printf 'def test_a():\\n    pass\\n' > test_extra.py; python -m compileall -q ."
    )
    assert answer.kind == "ok"
    assert box.box.own_tests == ("test_extra.py",)
    assert "passes (3 tests)" in box("edit", **FIX).text


@pytest.mark.hostile("terminal")
def test_output_is_cleaned_and_capped(box: Box) -> None:
    answer = box(
        "run", command=r"printf '\033[31mred\033[0m \033]0;t\007 \302\233'; yes long line | head -100000"
    )
    assert "\x1b" not in answer.text
    assert "red" in answer.text
    assert len(answer.text) < 7000
    assert "characters …" in answer.text
    assert str(box.fork.root) not in box("run", command="pwd; echo $PWD/shop.py").text


@pytest.mark.hostile("sandbox")
def test_there_is_no_network_and_nothing_outside(box: Box) -> None:
    code = "import socket; socket.create_connection(('1.1.1.1', 53), 2)"
    assert box("run", command=f'python -c "{code}"').kind == "failed"
    assert box("run", command="echo x > /etc/forklock-test").kind == "failed"


def test_an_endless_command_is_ended(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forklock.agent.driving.tools.run.TIMEOUT_S", 1.0)
    answer = box("run", command="sleep 60 & sleep 60")
    assert answer.kind == "failed"
    assert "ran out of time" in answer.text


# --- finish ----------------------------------------------------------------------------------------


def test_finish_is_refused_once_while_the_check_fails(box: Box) -> None:
    first = box("finish", summary="done")
    assert first.kind == "refused"
    assert first.finished is None
    assert "1 of 3 tests pass" in first.text
    second = box("finish", summary="cannot be \x1bdone")
    assert second.finished == "cannot be \\x1bdone"


def test_finish_ends_at_once_where_the_check_passes(box: Box) -> None:
    box("edit", **FIX)
    answer = box("finish", summary="All prices are summed.")
    assert answer.finished == "All prices are summed."
    assert "passes" in answer.text


def test_finish_ends_at_once_without_budget(shop_ground: Ground) -> None:
    with shop_ground.rollout(may_go_on=lambda: False) as box:
        assert box("finish", summary="no time").finished == "no time"


def test_the_check_is_not_run_twice_for_one_state(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box("edit", **FIX)
    monkeypatch.setattr("forklock.agent.judging.guard.Guard.run", None)
    assert box("finish", summary="x").finished == "x"


@pytest.mark.hostile("sandbox")
def test_a_folder_that_became_a_link_is_read_by_no_tool(box: Box, tmp_path: Path) -> None:
    """Commands make links whose ends are in the sandbox; the tools that read on the host do not follow them."""
    secret = tmp_path / "host"
    secret.mkdir()
    (secret / "key.txt").write_text("PRIVATE opens the door\n")
    (secret / "key.py").write_text("PRIVATE = 'opens the door'\n")
    box("run", command="mkdir d && touch d/key.txt d/key.py")
    box("find", query="nothing", kind="text")
    box("run", command=f"rm -r d && ln -s {secret} d")
    for kind in KINDS:
        assert "opens" not in box("find", query="PRIVATE", kind=kind).text
    assert "opens" not in box("read", path="d/key.txt").text

"""Diffs that go to a pipe are the log's own bytes: `git apply` takes them out of whatever stands around."""

from __future__ import annotations

from pathlib import Path

import pytest
from ran import agent, git, git_apply, solved

from forklock.agent.log import CandidateRuled, ModelAnswered, ModelAsked, StepStarted
from forklock.agent.log.candidates import candidates_of
from forklock.sandbox.terminal import screen
from forklock.tools.lsp.commands import _diff


@pytest.fixture
def windows(repo: Path) -> Path:
    """A repository with Windows line ends, whose function has a very long line with unusual characters."""
    source = (
        (repo / "shop.py")
        .read_text()
        .replace("    result = 0\n", f"    result = 0  # {'long ' * 40}\u200b\x0c\n")
    )
    (repo / "shop.py").write_bytes(source.replace("\n", "\r\n").encode())
    git(repo, "commit", "-qam", "x")
    return repo


@pytest.mark.parametrize("words", [["--diff"], [], ["--candidate", "ONE"], ["--candidate", "ONE", "--diff"]])
def test_what_show_prints_to_a_pipe_is_applied_by_git(windows: Path, words: list[str]) -> None:
    log = solved(windows)
    right = next(e for e in log.read().events if isinstance(e, CandidateRuled) and e.hop == "solved")
    words = [word.replace("ONE", f"{right.step}.{right.index}") for word in words]
    out = agent("show", "last", *words, cwd=windows).raw
    assert git_apply(windows, out) == ""
    after = (windows / "shop.py").read_bytes()
    assert b"sum(prices)\r\n" in after and after.count(b"\r\n") == after.count(b"\n")


def test_a_spliced_candidate_has_the_answer_that_it_came_from() -> None:
    one = {"step": 1, "digest": "d"}
    asked = ModelAsked(
        **one, request=1, place="p", messages=[], prefill="", decoding={"n": 2}, prompt_tokens=1
    )
    answer = ModelAnswered(**one, request=1, sample=1, text="t", finish_reason="stop", prompt_tokens=1,
                           completion_tokens=1, seconds=1.0)  # fmt: skip
    ruled = CandidateRuled(step=1, index=7, place="p", hop="tests", reason="", diff="", new_diagnostics=0,
                           tests_passed=0, tests_failed=1, broken=0, seconds=0.0)  # fmt: skip
    found = candidates_of([StepStarted(step=1, requests=2, samples=4), asked, answer, ruled])
    assert [(one.name, one.is_spliced, one.answered) for one in found] == [
        ("1.3", False, answer),
        ("1.7", True, answer),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\r\nb\r\nc\r\n", "a\r\nB\r\nc\r\n"), ("a\nb", "a\nB"), ("a\nb", "a\nb\n"), ("a\nb\n", "a\nB\n"),
        ("a\x0cx\nb\n", "A\x0cx\nb\n"), ("\ufeffa\nb\n", "\ufeffc\nb\n"),
    ],
)  # fmt: skip
def test_a_rename_s_diff_is_applied_by_git(tmp_path: Path, before: str, after: str) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "f").write_bytes(before.encode())
    assert git_apply(tmp_path, f"{_diff('f', before, after)}\n".encode()) == ""
    assert (tmp_path / "f").read_bytes() == after.encode()


def test_a_diff_without_a_last_line_end_gets_one(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    screen().print_diff("-a\r\n+b")
    screen(quiet=True).print_diff("-a")
    assert capfdbinary.readouterr().out == b"-a\r\n+b\n"

"""The list of backends: one line makes a backend known everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from forklock.agent.settings import AgentSettings
from forklock.sandbox import Policy, SandboxFault, SandboxUnavailable, check_backend, open_sandbox
from forklock.sandbox.backends import open as opening
from forklock.sandbox.backends.base import Backend, Command, Outcome, Problem
from forklock.sandbox.backends.open import BACKENDS, backend_class, choose, why_not
from forklock.sandbox.contract import Sandbox
from forklock.sandbox.linux.pump import Finished

BROKEN: Problem = ("the echo is broken", "mend the echo")


class EchoSandbox(Backend):
    """Prints the words of a command and runs nothing: the least that a backend is."""

    backend = "echo"
    trouble: Problem | None = None

    @classmethod
    def problem(cls, image: str | None = None) -> Problem | None:
        return cls.trouble

    def _run(self, command: Command) -> Outcome:
        words = " ".join([*command.argv, command.environment(self.policy)["GIVEN"]])
        return Outcome(
            -9, Finished(0, True, words.encode(), b"", False, command.timeout_s, None, None), oom_killed=True
        )


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> type[EchoSandbox]:
    module = ModuleType("forklock.sandbox.backends.echo")
    module.EchoSandbox = EchoSandbox  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "forklock.sandbox.backends.echo", module)
    monkeypatch.setattr(opening, "BACKENDS", {"echo": "echo:EchoSandbox"})
    monkeypatch.setattr(EchoSandbox, "trouble", None)
    return EchoSandbox


@pytest.mark.parametrize("name", BACKENDS)
def test_the_list_leads_to_classes_of_that_name(name: str) -> None:
    assert backend_class(name).backend == name
    assert issubclass(backend_class(name), Sandbox)
    assert check_backend(name) == AgentSettings(sandbox=name).sandbox == name


def test_host_is_never_taken_by_itself() -> None:
    assert [name for name in BACKENDS if not backend_class(name).isolates] == ["host"]


def test_a_backend_is_a_class_and_a_line(echo: type[EchoSandbox], tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    assert choose(Policy()) == "echo"
    assert AgentSettings(sandbox="echo").sandbox == "echo"
    policy = Policy(env={"GIVEN": "policy"})
    with open_sandbox(tmp_path / "repo", policy, forks_in=tmp_path / "forks") as sandbox:
        assert sandbox.backend == "echo"
        result = sandbox.exec(["a", "b"], env={"GIVEN": "call"}, timeout_s=3)
        assert (result.stdout, result.wall_s) == (b"a b call", 3)
        assert (result.exit_code, result.signal) == (None, 9)
        assert result.oom_killed and not result.timed_out, "out of memory is the reason, not the timeout"
        assert sandbox.exec(["a"]).wall_s == policy.limits.wall_s
        with pytest.raises(ValueError, match="empty"):
            sandbox.exec([])
        with pytest.raises(ValueError, match="leaves the workspace"):
            sandbox.exec(["a"], cwd="..")
        with sandbox.fork() as fork:
            (Path(fork.root) / "new").write_text("x\n")
            assert "new" in fork.diff() and not sandbox.diff()
    with pytest.raises(SandboxFault, match="closed"):
        sandbox.exec(["a"])


def test_without_one_that_works_each_reason_is_named(
    echo: type[EchoSandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echo, "trouble", BROKEN)
    assert why_not("echo") == BROKEN
    with pytest.raises(SandboxUnavailable, match="echo is broken") as caught:
        choose(Policy())
    assert "mend the echo" in caught.value.fix


def test_an_unknown_name_is_refused_with_the_list() -> None:
    for refused in (lambda: check_backend("dokcer"), lambda: AgentSettings(sandbox="dokcer")):
        with pytest.raises(ValueError, match="docker, bubblewrap, host"):
            refused()

"""What lies in a repository is not the user's word: runs, settings and links that somebody else put there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripted import ScriptedEngine
from shop import RIGHT, TEST

from forklock.agent.cli import app
from forklock.agent.contract import AgentFault
from forklock.agent.log import CandidateRuled, LogFault, RunEnded, RunLog, RunStarted
from forklock.agent.log.runs import adopt, find, iter_runs, new_run, repo_key, require_own, require_tested
from forklock.agent.log.source import recorded_source, require_same, source_of
from forklock.agent.repo import inspect_repo
from forklock.agent.session import Assignment, execute, prepare, reopen
from forklock.agent.settings import AgentSettings
from forklock.models.web.endpoints import endpoint_of_provider
from forklock.sandbox.commands.console import _exit_code

FUTURE = "99991231-235959-ffffff"
DIFF = """diff --git a/shop.py b/shop.py
--- a/shop.py
+++ b/shop.py
@@ -1,2 +1,2 @@
-def total(prices):
+import evil
     \"\"\"Sum of the prices.\"\"\"
"""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def agent(*args: str, cwd: Path, **env: str) -> Done:
    """`agent` in this process: the same code as the command's, and ten times as fast."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(cwd)
        for name, value in {"COLUMNS": "240", **env}.items():
            patch.setenv(name, value)
        code = _exit_code(lambda *, standalone_mode: app(list(args), standalone_mode=standalone_mode))
    return Done(code, out.getvalue(), err.getvalue())


def started(repo: Path, run_id: str = FUTURE, **changes: object) -> RunStarted:
    canary = f"touch {repo.parent / 'canary'}"
    options = {
        "width": 1, "limits": {}, "decoding": {}, "protocol": "symbol", "styles": ["bare"], "prompt_tokens": 500,
        "test_timeout_s": 5.0, "notes": "", "sandbox": "host", "diagnostics": False,
    }  # fmt: skip
    base: dict[str, object] = {
        "run_id": run_id, "task": "t", "repo": str(repo), "base_commit": None, "test_command": canary,
        "regression_command": canary, "options": options, "model": '{"name": "m", "engine": "hosted"}',
        "source": {"model": "http://127.0.0.1:9/v1", "engine": "hosted", "adapter": "none"},
    }  # fmt: skip
    return RunStarted.model_validate(base | changes)


def write_log(log: RunLog, *events: object) -> RunLog:
    log.open_for_append()
    for event in events:
        log.append(event)  # type: ignore[arg-type]
    log.close()
    return log


def ended(outcome: str = "solved") -> RunEnded:
    return RunEnded(outcome=outcome, detail="", diff=DIFF, steps=1, prompt_tokens=1, completion_tokens=1,
                    cost_usd=None, seconds=1.0)  # fmt: skip


def ruled(diff: str = DIFF, hop: str = "solved") -> CandidateRuled:
    return CandidateRuled(step=1, index=0, place="shop.py", hop=hop, reason="", diff=diff, new_diagnostics=0,
                          tests_passed=1, tests_failed=0, broken=0, seconds=0.0)  # fmt: skip


PLANTED = {
    "run": lambda repo: repo / ".forklock/runs" / FUTURE,
    "run by key": lambda repo: repo / ".forklock/runs" / repo_key(repo) / FUTURE,
    "state": lambda repo: repo / "state/runs" / repo_key(repo) / FUTURE,
    "dot state": lambda repo: repo / ".forklock/state/runs" / repo_key(repo) / FUTURE,
    "local state": lambda repo: repo / ".local/state/forklock/runs" / repo_key(repo) / FUTURE,
}


@pytest.mark.hostile("state")
@pytest.mark.parametrize("place", PLANTED)
def test_a_run_that_the_repository_brings_is_nobodys(
    repo: Path, place: str, tried: Callable[[int], None]
) -> None:
    write_log(RunLog(PLANTED[place](repo)), started(repo), ruled(), ended())
    unfinished = PLANTED[place](repo).with_name("99991231-235959-fffffe")
    write_log(RunLog(unfinished), started(repo, unfinished.name))
    before = (repo / "shop.py").read_text()
    commands = (
        [["solve", "--resume", run] for run in ("last", FUTURE, unfinished.name, "9999")]
        + [["apply", run, *force] for run in ("last", FUTURE) for force in ([], ["--force"])]
        + [["show", "last"]]
    )
    for command in commands:
        done = agent(*command, cwd=repo)
        assert done.returncode == 2 and "Traceback" not in done.stderr, (command, done.stderr)
    assert FUTURE not in agent("runs", cwd=repo).stdout
    assert not (repo.parent / "canary").exists() and (repo / "shop.py").read_text() == before
    tried(len(commands) + 1)


@pytest.mark.hostile("state")
def test_runs_left_in_the_repository_are_told_of_and_come_in_by_name_only(repo: Path) -> None:
    write_log(RunLog(repo / ".forklock/runs" / FUTURE), started(repo), ruled(), ended())
    said = agent("runs", cwd=repo).stdout
    assert "1 runs lie in" in said and "--adopt" in said
    assert FUTURE in agent("runs", "--adopt", str(repo), cwd=repo).stdout
    listed = agent("runs", cwd=repo).stdout
    assert FUTURE in listed and "adopted" in listed
    assert "evil" in agent("show", FUTURE, "--diff", cwd=repo).stdout
    for command in (
        ["solve", "--resume", FUTURE],
        ["solve", "--resume", "last"],
        ["apply", FUTURE],
        ["apply", "last"],
    ):
        done = agent(*command, cwd=repo)
        assert done.returncode == 2, command
    assert not (repo.parent / "canary").exists() and "evil" not in (repo / "shop.py").read_text()
    assert agent("apply", FUTURE, "--force", cwd=repo).returncode == 0, "the user said so"


@pytest.mark.hostile("state")
def test_adopting_copies_events_and_texts_and_nothing_else(repo: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 3000)
    source = RunLog(tmp_path / "given" / "20260101-000000-abcdef")
    source.open_for_append()
    text = source.store("long " * 1000)
    source.append(started(repo, "20260101-000000-abcdef", task=text))
    source.close()
    (source.folder / "blobs" / ("0" * 64)).symlink_to(secret)
    (source.folder / "repo").symlink_to(secret)
    assert adopt(repo, source.folder) == ["20260101-000000-abcdef"] and adopt(repo, source.folder) == []
    copy = find(repo, "20260101")
    assert copy.adopted and copy.text(text) == "long " * 1000
    names = {str(path.relative_to(copy.folder)) for path in copy.folder.rglob("*") if path.is_file()}
    assert names == {"events.jsonl", f"blobs/{text.removeprefix('sha256:')}"}


LINKS = {
    "state": lambda home, key: home / "state",
    "runs": lambda home, key: home / "state/runs",
    "repository's folder": lambda home, key: home / "state/runs" / key,
    "run": lambda home, key: home / "state/runs" / key / "20260101-000000-abcdef",
    "log": lambda home, key: home / "state/runs" / key / "20260101-000000-abcdef/events.jsonl",
}
WAYS = ("link", "writable by others", "of another user")


@pytest.mark.hostile("state")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", LINKS)
def test_folders_of_runs_are_the_users_alone(repo: Path, tmp_path: Path, place: str, way: str) -> None:
    log = write_log(new_run(repo, "20260101-000000-abcdef"), started(repo, "20260101-000000-abcdef"))
    path = LINKS[place](tmp_path / "home", repo_key(repo))
    if way == "link":
        if place == "state":
            return  # where a link of the user's own may lead, as to another disk
        elsewhere = tmp_path / "elsewhere"
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
    elif place == "log":
        return  # its folder's matter
    elif way == "writable by others":
        path.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        pytest.skip("only root can give a folder away")
    with pytest.raises((LogFault, AgentFault)) as caught:
        require_own(find(repo, "last"), repo)
    assert caught.value.fix
    done = agent("solve", "--resume", "last", cwd=repo)
    assert done.returncode == 2 and "Traceback" not in done.stderr, log.folder


@pytest.mark.hostile("state")
def test_new_folders_are_closed_to_others(repo: Path, tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        log = write_log(new_run(repo, "20260101-000000-abcdef"), started(repo, "20260101-000000-abcdef"))
    finally:
        os.umask(previous)
    for folder in (log.folder, log.folder.parent, log.folder.parent.parent, log.folder / "blobs"):
        assert folder.stat().st_mode & 0o077 == 0, folder
    assert log.path.stat().st_mode & 0o077 == 0


@pytest.mark.hostile("state")
@pytest.mark.parametrize("link", ["folder", "file", "gitignore", "runs"])
def test_nothing_is_written_into_the_repository_or_through_it(repo: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    if link == "folder":
        (repo / ".forklock").symlink_to(outside)
    elif link == "file":
        (repo / ".forklock").symlink_to(outside / "file")
    else:
        (repo / ".forklock").mkdir()
        (repo / ".forklock" / (".gitignore" if link == "gitignore" else "runs")).symlink_to(outside)
    files = {path for path in repo.rglob("*") if ".git" not in path.parts}
    engine = ScriptedEngine(lambda _r, _i: f"```python\n{RIGHT}```")
    engine.supports_prefill = False
    settings = AgentSettings.load(repo, width=1, regression="none", diagnostics=False)
    assignment = Assignment("fix", inspect_repo(repo), TEST, settings, allow_dirty=True)
    execute(prepare(assignment, engine.identity, preset="weak"), engine)
    assert agent("runs", cwd=repo).returncode == 0
    assert {path for path in repo.rglob("*") if ".git" not in path.parts} == files
    assert [path.name for path in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "mine"


@pytest.mark.hostile("state")
def test_a_state_folder_inside_the_repository_is_refused(repo: Path, tried: Callable[[int], None]) -> None:
    inside = [repo / ".home", repo / "a" / "b", repo]
    for home in inside:
        write_log(RunLog(home / "state/runs" / repo_key(repo) / FUTURE), started(repo), ended())
        (home / "state/runs" / repo_key(repo) / "repo").write_text(str(repo))
        for command in (["solve", "--resume", "last"], ["apply", "last"], ["runs"]):
            done = agent(*command, cwd=repo, FORKLOCK_HOME=str(home))
            assert done.returncode == 2 and "lies in the repository" in done.stderr, done.stderr
    tried(len(inside) * 3)


@pytest.mark.hostile("state")
def test_a_log_that_is_another_runs_or_repositorys_is_refused(
    repo: Path, tried: Callable[[int], None]
) -> None:
    name = "20260101-000000-abcdef"
    log = new_run(repo, name)
    others = [
        started(repo, "20260101-000000-000000"), started(repo.parent, name), started(repo / "sub", name),
        started(repo, "../" + name), started(repo, name).model_copy(update={"repo": f"{repo}/../repo"}),
        started(repo, name).model_copy(update={"repo": ""}), started(repo, name).model_copy(update={"repo": "\0"}),
    ]  # fmt: skip
    for other in others:
        log.path.unlink(missing_ok=True)
        write_log(RunLog(log.folder), other)
        with pytest.raises(LogFault, match="is that of run"):
            reopen(RunLog(log.folder), inspect_repo(repo))
    tried(len(others))


@pytest.mark.hostile("state")
def test_runs_of_one_repository_are_not_anothers(repo: Path, tmp_path: Path) -> None:
    write_log(new_run(repo, "20260101-000000-abcdef"), started(repo, "20260101-000000-abcdef"))
    moved = tmp_path / "elsewhere" / "repo"
    shutil.copytree(repo, moved)
    assert list(iter_runs(moved)) == []
    folder = new_run(repo, "20260101-000000-abcdee").folder.parent
    folder.rename(folder.with_name(repo_key(moved)))
    with pytest.raises(LogFault, match="not of"):
        list(iter_runs(moved))
    assert agent("runs", cwd=repo / ".git").returncode == 2


@pytest.mark.parametrize(
    "run_id",
    ["", "..", "../..", "/", "/etc", ".", "*", "last/..", "a\nb", "adopted", "repo", "2026?"],
)
@pytest.mark.hostile("state")
def test_a_run_is_found_by_its_id_and_by_nothing_else(repo: Path, run_id: str) -> None:
    write_log(new_run(repo, "20260101-000000-abcdef"), started(repo, "20260101-000000-abcdef"))
    with pytest.raises(AgentFault, match="no run"):
        find(repo, run_id)


def test_runs_are_found_from_a_subfolder_by_id_beginning_and_last(repo: Path) -> None:
    for number in (1, 2):
        name = f"2026010{number}-000000-abcdef"
        write_log(new_run(repo, name), started(repo, name))
    (repo / "sub").mkdir()
    assert "20260102-000000-abcdef" in agent("runs", cwd=repo / "sub").stdout
    assert find(repo, "last").folder.name.startswith("20260102") and find(repo, "20260101").folder.exists()
    with pytest.raises(AgentFault, match="more than one"):
        find(repo, "2026")


@pytest.mark.hostile("state")
def test_only_a_diff_that_was_tested_is_applied(repo: Path, tried: Callable[[int], None]) -> None:
    other = DIFF.replace("evil", "worse")
    wrong = [[], [ruled(other)], [ruled(hop="tests")], [ruled(hop="duplicate"), ruled(other)]]
    for number, rulings in enumerate(wrong):
        log = write_log(new_run(repo, f"20260101-00000{number}-abcdef"), started(repo), *rulings, ended())
        with pytest.raises(LogFault, match="not what was tested"):
            require_tested(log, ended())
    log = write_log(new_run(repo, "20260102-000000-abcdef"), started(repo), ruled(), ended())
    require_tested(log, ended())
    tried(len(wrong))


# -- the model and the server of a resumed run ------------------------------------------------------------


def opened(name: str = "m", engine: str = "hosted", endpoint: str = "") -> ScriptedEngine:
    made = ScriptedEngine(lambda _r, _i: "", name=name)
    made.identity = made.identity.model_copy(update={"engine": engine})
    made.endpoint = endpoint
    return made


@pytest.mark.hostile("state")
def test_a_run_goes_on_at_the_server_it_began_with_or_stops(repo: Path, tried: Callable[[int], None]) -> None:
    began = opened("m", "hosted", "http://127.0.0.1:8000/v1")
    source = source_of("http://user:secret@127.0.0.1:8000/v1#m", "auto", began)
    assert "secret" not in source.model_dump_json()
    first = started(repo, model=began.identity.model_dump_json(), source=source)
    require_same(first, began)
    others = [
        opened("m", "hosted", endpoint)
        for endpoint in (
            "",
            "openai",
            "openai OPENAI_BASE_URL=http://127.0.0.1:8000/v1",
            "http://127.0.0.1:8001/v1",
            "http://127.0.0.2:8000/v1",
            "https://127.0.0.1:8000/v1",
            "http://127.0.0.1:8000/v2",
            "http://127.0.0.1:8000/v1/",
        )
    ]
    others += [opened(name, kind, began.endpoint) for name, kind in (("n", "hosted"), ("m", "vllm"))]
    for other in others:
        with pytest.raises(AgentFault, match="began"):
            require_same(first, other)
    for model in ("", "{}", "[]", "null", '{"name": 1}', "[" * 5000):
        with pytest.raises(LogFault, match="names no model"):
            require_same(started(repo, model=model, source=source), began)
    with pytest.raises(LogFault, match="does not say"):
        recorded_source(started(repo, source=None))
    tried(len(others) + 7)


@pytest.mark.hostile("state")
def test_a_run_of_a_local_server_that_is_gone_goes_to_no_provider(repo: Path) -> None:
    name = "20260101-000000-abcdef"
    write_log(new_run(repo, name), started(repo, name))
    keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    done = agent("solve", "--resume", "last", cwd=repo, **keys)
    assert done.returncode in (2, 3) and "127.0.0.1:9" in done.stderr, done.stderr
    other = agent("solve", "--resume", "last", "--model", "openai/gpt-4o", cwd=repo, **keys)
    assert other.returncode == 2 and "began with" in other.stderr, other.stderr
    assert [event.type for event in RunLog(find(repo, name).folder).read().events] == ["run_started"]


@pytest.mark.hostile("state")
@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("openai", "OPENAI_BASE_URL"), ("openai", "OPENAI_API_BASE"), ("text-completion-openai", "OPENAI_BASE_URL"),
        ("ollama", "OLLAMA_API_BASE"), ("ollama_chat", "OLLAMA_HOST"), ("azure", "AZURE_API_BASE"),
        ("hosted_vllm", "HOSTED_VLLM_API_BASE"), ("lm_studio", "LM_STUDIO_API_BASE"),
        ("anthropic", "ANTHROPIC_BASE_URL"), ("vertex_ai", "VERTEXAI_LOCATION"),
    ],
)  # fmt: skip
def test_a_variable_that_names_the_server_is_part_of_the_endpoint(provider: str, variable: str) -> None:
    local = endpoint_of_provider(
        provider, None, {variable: "http://user:secret@127.0.0.1:1/v1", "PATH": "/bin"}
    )
    assert local != endpoint_of_provider(provider, None, {"PATH": "/bin"})
    assert "secret" not in local and "127.0.0.1" in local


@pytest.mark.parametrize("engine", ["hosted"])
def test_the_open_hosted_engine_says_where_it_goes(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("litellm")
    from forklock.models.engines.open import open_engine

    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with open_engine("openai/gpt-4o", engine=engine) as local:
        assert "127.0.0.1:9" in local.endpoint
    monkeypatch.delenv("OPENAI_BASE_URL")
    with open_engine("openai/gpt-4o", engine=engine) as provider:
        assert "127.0.0.1" not in provider.endpoint


@pytest.mark.hostile("state")
def test_json_of_a_resumed_run_cannot_be_of_another_shape(repo: Path, tried: Callable[[int], None]) -> None:
    good = started(repo).options
    broken: list[object] = [{}, dict.fromkeys(good)]
    for key in good:
        wrong = ({"a": [1]}, [[[]]], "\0") if key != "notes" else ({"a": [1]}, [[[]]])
        broken += [good | {key: value} for value in wrong]
    for key in ("sandbox", "diagnostics"):
        broken.append({name: value for name, value in good.items() if name != key})
    others = {"sandbox": "none", "protocol": "x", "styles": ["x"], "limits": {"x": 1}}
    broken += [good | {key: value} for key, value in others.items()]
    name = "20260101-000000-abcdef"
    log = new_run(repo, name)
    for options in broken:
        log.path.unlink(missing_ok=True)
        write_log(RunLog(log.folder), started(repo, name, options=json.loads(json.dumps(options))))
        with pytest.raises(LogFault):
            reopen(RunLog(log.folder), inspect_repo(repo))
    tried(len(broken))

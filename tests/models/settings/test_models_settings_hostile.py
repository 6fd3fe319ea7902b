"""No file of a repository widens what the user said: settings, in every section and of every field."""

from __future__ import annotations

import importlib
import json
import math
import os
import pkgutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock import agent, evals, models, sandbox, selfdistill, tools
from forklock.agent.contract import AgentFault
from forklock.agent.settings import AgentSettings
from forklock.models.contract import ModelFault
from forklock.models.engines.open import open_engine
from forklock.models.settings import ModelSettings, RoomSettings, find_settings_file


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("FORKLOCK_"):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FORKLOCK_HOME", str(folder))
    return folder


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / ".git").mkdir(parents=True)
    return folder


def rooms_of_settings() -> list[type[RoomSettings]]:
    """Every subclass in the product: all modules named `settings` are imported first."""
    for package in (agent, evals, models, sandbox, selfdistill, tools):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.rpartition(".")[2].startswith("settings"):
                importlib.import_module(found.name)
    kept = [cls for cls in RoomSettings.__subclasses__() if cls.__module__.startswith("forklock.")]
    assert len(kept) >= 3
    return kept


ROOMS = rooms_of_settings()
FIELDS = [(room, key) for room in ROOMS for key in room.model_fields]
MUST_BE_THE_USERS = {
    "model", "engine", "adapter", "device", "threads", "sandbox", "prompts",
    "gate_set", "gate_limit", "gate_n", "arm", "lr",
}  # fmt: skip
"""Whatever room has a field of such a name: weights, servers, sandboxes, paths, and what a gate asks for."""
BUDGET = ("step", "seconds", "tokens", "width", "cost", "timeout", "limit", "epochs", "rank")


@pytest.mark.hostile("state")
def test_every_field_says_what_a_repository_may_do_with_it(tried: Callable[[int], None]) -> None:
    for room in ROOMS:
        assert set(room.repository_may) == set(room.model_fields), room
    for room, key in FIELDS:
        rule = room.repository_may[key]
        assert rule == "no" or key not in MUST_BE_THE_USERS, (room, key)
        if any(word in key for word in BUDGET):
            assert rule in ("no", "lower"), (room, key)
    tried(len(FIELDS))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.section)
def test_flags_that_a_fix_names_exist(room: type[RoomSettings]) -> None:
    import typer.main

    from forklock.agent.cli import app as agent_app
    from forklock.selfdistill.cli import app as selfdistill_app

    app, command = (selfdistill_app, "refresh") if room.section == "selfdistill" else (agent_app, "solve")
    known = {
        option
        for parameter in typer.main.get_command(app).commands[command].params
        for option in parameter.opts
    }  # type: ignore[attr-defined]
    assert set(room.flags) <= set(room.model_fields)
    assert set(room.flags.values()) <= known


VALUES: tuple[Any, ...] = (
    "host", "docker", "auto", "none", "", "x", "http://127.0.0.1:1/v1", "openai/gpt-4o", "./weights", "/etc", "~",
    "$HOME", "../..", "vllm", "hosted", "true", "a\x1b]52;c;aGk=\x07", "runs:/", "cuda", "current", "search-replace",
    True, False, 0, 1, -1, 2, 15, 16, 17, 10**12, 0.0, 0.5, 1e-9, 1.0, 4.5, math.inf, -math.inf, math.nan, [], ["bare"],
    ["repair", "rewrite"], ["x"], {}, {"a": 1},
)  # fmt: skip


def toml(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return "{a = 1}" if isinstance(value, dict) and value else json.dumps(value)


def wider(room: type[RoomSettings], key: str, now: Any, before: Any) -> bool:
    """Whether `now` is more than `before`, by a reading of its own: not the code's."""
    if now == before:
        return False
    rule = room.repository_may[key]
    if rule == "no":
        return True
    if rule == "lower":
        least = math.inf if before is None else before
        return now is None or not math.isfinite(now) or now > least
    return rule == "command" and now.strip() in ("", "none")


@pytest.mark.hostile("state")
@pytest.mark.parametrize("name", ["forklock.toml", "pyproject.toml"])
@pytest.mark.parametrize(("room", "key"), FIELDS, ids=lambda part: getattr(part, "section", part))
def test_no_file_of_the_repository_widens_what_is_in_force(
    repo: Path, room: type[RoomSettings], key: str, name: str, tried: Callable[[int], None]
) -> None:
    before = getattr(room.load(repo), key)
    prefix = "tool.forklock." if name == "pyproject.toml" else ""
    refused = 0
    for value in VALUES:
        (repo / name).write_text(f"[{prefix}{room.section}]\n{key} = {toml(value)}\n")
        try:
            loaded = room.load(repo)
        except Exception as fault:
            assert isinstance(fault, room.fault) and fault.fix and str(repo / name) in fault.message  # type: ignore[arg-type,attr-defined]
            assert "\x1b" not in fault.message
            refused += 1
            continue
        assert not wider(room, key, getattr(loaded, key), before), value
        others = [other for other in room.model_fields if other != key]
        assert all(getattr(loaded, other) == getattr(room.load(repo / ".git"), other) for other in others[:3])
    assert refused, "a field that takes everything is classified wrongly"
    tried(len(VALUES))


simple = st.one_of(st.sampled_from(VALUES), st.integers(-5, 10**6), st.floats(), st.text(max_size=8))


@pytest.mark.hostile("state")
@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.section)
def test_no_set_of_settings_widens_either(
    tmp_path_factory: pytest.TempPathFactory,
    home: Path,
    room: type[RoomSettings],
    tried: Callable[[int], None],
) -> None:
    """Several settings at once, beside a user's file of any content."""
    count = 0
    own = {"agent": {"width": 4, "sandbox": "bubblewrap", "diagnostics": False, "cost_usd": 1.0},
           "models": {"threads": 1, "model": "./w"}, "selfdistill": {"limit": 2}}  # fmt: skip
    lines = [f"{key} = {toml(value)}" for key, value in own[room.section].items()]
    folder = tmp_path_factory.mktemp("repo")
    (folder / ".git").mkdir()

    @given(st.dictionaries(st.sampled_from(list(room.model_fields)), simple, max_size=4), st.booleans())
    def widen(said: dict[str, Any], with_own: bool) -> None:
        nonlocal count
        count += 1
        (home / "forklock.toml").write_text("\n".join([f"[{room.section}]", *lines] if with_own else []))
        (folder / "forklock.toml").unlink(missing_ok=True)
        before = room.load(folder)
        body = [f"{key} = {toml(value)}" for key, value in said.items()]
        (folder / "forklock.toml").write_text("\n".join([f"[{room.section}]", *body]))
        try:
            now = room.load(folder)
        except Exception as fault:
            assert isinstance(fault, room.fault)  # type: ignore[arg-type]
            return
        for key in room.model_fields:
            assert not wider(room, key, getattr(now, key), getattr(before, key)), key
            assert key in said or getattr(now, key) == getattr(before, key)

    widen()
    tried(count)


@pytest.mark.hostile("state")
def test_the_users_flag_and_variable_overrule_the_repository(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "forklock.toml").write_text(
        '[models]\nmodel = "openai/evil"\nthreads = 9999\nengine = "hosted"\n[agent]\nmax_tokens = 9999\n'
    )
    monkeypatch.setenv("FORKLOCK_MODELS__ENGINE", "auto")
    loaded = ModelSettings.load(repo, model="mine", threads=5)
    assert (loaded.model, loaded.threads, loaded.engine) == ("mine", 5, "auto")
    assert AgentSettings.load(repo, max_tokens=50).max_tokens == 50


FILES: dict[str, bytes] = {
    "deep": b"a = " + b"[" * 100_000,
    "deep tables": b"[" + b".".join([b"a"] * 50_000) + b"]\n",
    "deep key": b".".join([b"a"] * 50_000) + b" = 1\n",
    "deep key within": b"a = {" + b".".join([b"a"] * 50_000) + b" = 1}\n",
    "deep inline": b"a = " + b"{a = " * 20_000,
    "big number": b"[agent]\ntop_k = " + b"9" * 20_000 + b"\n",
    "infinite": b"[agent]\ntop_p = inf\n", "nan": b"[agent]\ntemperature = nan\n",
    "not utf-8": b"\xff", "nul": b"\0", "garbage": os.urandom(64) + b"\xff=", "text": b"]",
    "utf-16": "[agent]".encode("utf-16"),
    "huge": b"#" * (5 << 20), "long line": b"a" * (1 << 20), "dates": b"[agent]\ntop_k = 1979-05-27\n",
    "list of tables": b"[[agent]]\ntop_k = 1\n", "not a table": b"agent = 1\n",
    "key": b'[agent]\n"\\u001b]52;c;" = 1\n',
    "section": b'["\\u001b]52;c;"]\n',
}  # fmt: skip


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("whose", ["repository's", "project's", "user's"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_settings_file_is_a_fault(repo: Path, home: Path, file: str, whose: str) -> None:
    data = FILES[file]
    if whose == "project's":
        path = repo / "pyproject.toml"
        if file not in (
            "huge",
            "deep",
            "deep inline",
            "not utf-8",
            "nul",
            "garbage",
            "text",
            "utf-16",
            "long line",
        ):
            data = data.replace(b"[agent]", b"[tool.forklock.agent]").replace(
                b"[[agent]]", b"[[tool.forklock.agent]]"
            )
            data = data.replace(b"agent = 1", b"[tool.forklock]\nagent = 1").replace(
                b'["', b'[tool.forklock."'
            )
    else:
        path = (home if whose == "user's" else repo) / "forklock.toml"
    path.write_bytes(data)
    began = time.process_time()
    with pytest.raises(AgentFault) as caught:
        AgentSettings.load(repo)
    assert time.process_time() - began < 5
    assert caught.value.fix and len(caught.value.message) < 2000 and "\x1b" not in caught.value.message


@pytest.mark.hostile("damage")
def test_any_bytes_are_settings_or_a_fault(
    tmp_path_factory: pytest.TempPathFactory, tried: Callable[[int], None]
) -> None:
    folder = tmp_path_factory.mktemp("repo")
    (folder / ".git").mkdir()
    good = b'[models]\nthreads = 3\n[agent]\nstyles = ["bare"]\nwidth = 2\ntop_k = 3\ntemperature = 0.5\n'
    count = 0

    @given(st.binary(max_size=30), st.integers(0, len(good)), st.integers(0, 20))
    def load(extra: bytes, at: int, gone: int) -> None:
        nonlocal count
        count += 1
        (folder / "forklock.toml").write_bytes(good[:at] + extra + good[at + gone :])
        for room in ROOMS:
            try:
                room.load(folder)
            except Exception as fault:
                assert isinstance(fault, room.fault)  # type: ignore[arg-type]

    load()
    tried(count)


@pytest.mark.hostile("state")
@pytest.mark.parametrize("name", ["forklock.toml", "pyproject.toml"])
@pytest.mark.parametrize("kind", ["link out", "link in", "fifo", "folder", "device", "loop"])
def test_a_settings_file_that_is_none(repo: Path, tmp_path: Path, name: str, kind: str) -> None:
    prefix = "tool.forklock." if name == "pyproject.toml" else ""
    content = f"[{prefix}agent]\ntop_k = 3\n"
    path = repo / name
    (tmp_path / "outside.toml").write_text(content)
    (repo / "inside.toml").write_text(content)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {
            "link out": "../outside.toml",
            "link in": "inside.toml",
            "device": "/dev/zero",
            "loop": name,
        }
        path.symlink_to(targets[kind])
    try:
        top_k = AgentSettings.load(repo).top_k
    except AgentFault as fault:
        assert kind == "link out" and name == "forklock.toml", fault.message
        return
    assert top_k == (3 if kind == "link in" else 20)


@pytest.mark.hostile("state")
def test_the_users_file_in_a_repository_is_not_the_users(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / "forklock.toml").write_text('[models]\nmodel = "openai/evil"\n')
    monkeypatch.setenv("FORKLOCK_HOME", str(repo))
    with pytest.raises(ModelFault, match="not taken for your word"):
        ModelSettings.load(repo)


@pytest.mark.hostile("state")
def test_other_users_files_above_a_folder_without_repository_do_not_count(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    (tmp_path / "work").mkdir()
    (tmp_path / "forklock.toml").write_text("[agent]\ntop_k = 3\n")
    assert AgentSettings.load(tmp_path / "work").top_k == 3
    os.chown(tmp_path / "forklock.toml", 65534, 65534)
    assert AgentSettings.load(tmp_path / "work").top_k == 20
    assert find_settings_file(tmp_path / "work") is None


# -- names of models ------------------------------------------------------------------------------------

NAMES = (
    "openai/gpt-4o",
    "anthropic/claude",
    "ollama/qwen",
    "weights",
    "a/b/c",
    "openai",
    "gpt-4o",
    ".hidden/x",
    "qwen2.5-coder-0.5b",
)


@pytest.mark.hostile("state")
@pytest.mark.parametrize("engine", ["auto", "transformers", "hosted", "vllm"])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_here_is_never_taken_for_a_model_by_its_bare_name(
    repo: Path, name: str, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder holds a config that names itself, so that taking it would be seen in the message."""
    monkeypatch.chdir(repo)
    folder = repo / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("taken{")
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    try:
        open_engine(name, engine=engine).close()
    except ModelFault as fault:
        assert "config.json" not in fault.message
        if engine == "auto" and "/" in name:
            assert f"./{name}" in fault.fix
    with pytest.raises(ModelFault, match=r"config\.json"):
        open_engine(f"./{name}", engine="transformers")


@pytest.mark.hostile("state")
@pytest.mark.parametrize("spec", ["current", "adapter", "a/b", "20260101-000000-000000", "none"])
def test_a_folder_here_is_never_taken_for_an_adapter_by_its_bare_name(
    repo: Path, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forklock.models.adapters import resolve_adapter

    monkeypatch.chdir(repo)
    (repo / spec).mkdir(parents=True)
    (repo / spec / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    try:
        assert resolve_adapter("base", spec) is None
    except ModelFault as fault:
        assert "adapter_model" not in fault.message and "adapter_config" not in fault.message
    with pytest.raises(ModelFault, match="adapter_model"):
        resolve_adapter("base", f"./{spec}")


@pytest.mark.hostile("damage")
@pytest.mark.parametrize(
    "name", ["\0", "./a\0b", "a/b\0", "~nobody-here/x", "./" + "x" * 5000, "\udcff/x", "./\udcff"]
)
def test_names_that_are_no_paths(name: str) -> None:
    for engine in ("auto", "transformers"):
        with pytest.raises(ModelFault):
            open_engine(name, engine=engine)  # type: ignore[arg-type]

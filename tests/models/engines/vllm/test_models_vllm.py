"""The vLLM engine: truncation against a plain reference, the watchdog, faults; a real server where marked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from forklock.models import Decoding, ModelFault, Request
from forklock.models.engines.vllm import install as vllm_install
from forklock.models.engines.vllm.install import Environment
from forklock.models.engines.vllm.server import PLUGIN, ServerPlan, VllmServer, start_server

WATCHDOG = Path(vllm_install.__file__).with_name("watchdog.py")


def _python() -> Path:
    found = vllm_install.find()
    if found is None:
        pytest.skip(f"no vLLM environment: run {vllm_install.INSTALL_COMMAND}")
    return found.python


@pytest.mark.parametrize("top_k", [0, 1, 5, 700])
@pytest.mark.parametrize("top_p", [1e-6, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("min_p", [0.0, 0.2])
def test_truncation_keeps_what_the_definition_keeps(
    monkeypatch: pytest.MonkeyPatch, top_k: int, top_p: float, min_p: float
) -> None:
    torch = pytest.importorskip("torch", reason="the `local` extra is not installed")
    monkeypatch.syspath_prepend(str(PLUGIN))
    from forklock_truncation import truncate

    logits = torch.randn(3, 2000, generator=torch.Generator().manual_seed(1)) * 3
    kept = truncate(logits.clone(), [top_k] * 3, [top_p] * 3, [min_p] * 3).isfinite()
    for row in range(3):
        assert kept[row].nonzero().flatten().tolist() == _reference(logits[row].tolist(), top_k, top_p, min_p)


def _reference(logits: list[float], top_k: int, top_p: float, min_p: float) -> list[int]:
    """By the words of the definition, in plain Python."""
    import math

    ranked = sorted(range(len(logits)), key=lambda token: -logits[token])[: top_k or None]
    weights = [math.exp(logits[token]) for token in ranked]
    total, mass, kept = sum(weights), 0.0, []
    for token, weight in zip(ranked, weights, strict=True):
        if kept and mass / total >= top_p and top_p < 1:
            break
        kept.append(token)
        mass += weight
    top = logits[ranked[0]]
    return sorted(token for token in kept if math.exp(logits[token] - top) >= min_p)


def test_rows_without_truncation_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="the `local` extra is not installed")
    monkeypatch.syspath_prepend(str(PLUGIN))
    from forklock_truncation import truncate

    logits = torch.randn(2, 50)
    cut = truncate(logits.clone(), [0, 3], [1.0, 1.0], [0.0, 0.0])
    assert torch.equal(cut[0], logits[0])
    assert int(cut[1].isfinite().sum()) == 3


def test_the_watchdog_ends_the_group_when_its_parent_is_killed() -> None:
    sleeper = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    holder = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-I', {str(WATCHDOG)!r}, sys.executable, '-c', {sleeper!r}],"
        " stdin=subprocess.PIPE, start_new_session=True)\n"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        watchdog = psutil.Process(int(parent.stdout.readline()))
        family = _wait_for(lambda: found if len(found := watchdog.children(recursive=True)) == 2 else None)
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs([watchdog, *family], timeout=15)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def _wait_for(look):  # type: ignore[no-untyped-def]
    for _ in range(100):
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("did not happen within 10 s")


def test_a_wished_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        plan = ServerPlan(
            tmp_path,
            "m",
            Environment(Path(sys.executable), "cpu", "0", managed=False),
            port=taken.getsockname()[1],
        )
        with pytest.raises(ModelFault, match="in use"):
            start_server(plan)


def test_the_server_takes_as_many_stop_strings_as_a_continuation_has(tmp_path: Path) -> None:
    plan = ServerPlan(tmp_path, "m", Environment(Path(sys.executable), "cuda", "0", managed=False))
    assert int(plan.variables()["VLLM_MAX_STOP_STRINGS"]) > 100  # Python's have some 60; vLLM's default is 4


def test_an_interpreter_without_vllm_dies_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    bare = Path(sys.executable)
    if vllm_install._inspect(bare) is not None:
        pytest.skip("this very interpreter has vLLM")
    plan = ServerPlan(tmp_path, "m", Environment(bare, "cpu", "0", managed=False))
    with pytest.raises(ModelFault, match="No module named 'vllm'"):
        start_server(plan)


def test_a_wrong_interpreter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm_install.PYTHON_VARIABLE, "/bin/false")
    with pytest.raises(ModelFault, match="/bin/false"):
        vllm_install.find()


def test_no_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    monkeypatch.setitem(vllm_install.NEEDED_BYTES, "cpu", 2**60)
    with pytest.raises(ModelFault, match="GiB"):
        vllm_install.install(lambda _: None, build="cpu")


def test_an_unfinished_environment_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    (vllm_install.vllm_dir() / "bin").mkdir(parents=True)
    (vllm_install.vllm_dir() / "bin" / "python").touch()
    assert vllm_install._managed() is None
    assert vllm_install.remove()
    assert not vllm_install.remove()


def test_engines_cli_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from forklock.models.commands.engines import app

    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    run = CliRunner().invoke
    assert run(app, ["list"]).exit_code == 0
    assert run(app, ["install", "nothing"]).exit_code == 2
    assert run(app, ["install", "vllm", "--build", "tpu"]).exit_code == 2
    assert run(app, ["remove", "vllm"]).exit_code == 0


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_a_bad_flag_ends_the_start_with_the_log(tiny_model_dir: Path) -> None:
    from forklock.models.engines.vllm.opening import open_vllm

    _python()
    with pytest.raises(ModelFault, match="no-such-flag"):
        open_vllm(str(tiny_model_dir), extra=("--no-such-flag",))


@pytest.mark.vllm
@pytest.mark.real
@pytest.mark.timeout(900)
def test_an_adapter_changes_the_words_and_the_identity(tmp_path: Path) -> None:
    """One server with an adapter, attached to as the base and as the adapter; then it is killed."""
    from tiny import make_tiny_adapter

    from forklock.models.catalogue.catalogue import resolve_model
    from forklock.models.engines.vllm.engine import VllmEngine
    from forklock.models.engines.vllm.opening import open_vllm

    _python()
    try:
        folder = resolve_model(os.environ.get("FORKLOCK_TEST_SMOLLM2", "smollm2-135m")).folder
    except ModelFault as fault:
        pytest.skip(f"{fault.message} {fault.fix}")
    adapter = make_tiny_adapter(folder, tmp_path / "adapter")
    decoding, chat = Decoding(temperature=0, max_tokens=16), Request.chat("Say something about cats.")
    engine = open_vllm(str(folder), adapter=adapter)
    assert isinstance(engine, VllmEngine)
    with engine, open_vllm(engine.url, adapter=None) as base:
        [[with_adapter]], [[without]] = engine.complete([chat], decoding), base.complete([chat], decoding)
        assert with_adapter.text != without.text
        assert with_adapter.model.adapter is not None and without.model.adapter is None
        server = engine._owned
        assert isinstance(server, VllmServer)
        _kill_soon(server)
        with pytest.raises(ModelFault, match=r"died|broke off|gone"):
            engine.complete([chat] * 8, Decoding(temperature=1.0, max_tokens=2000))


def _kill_soon(server: VllmServer) -> None:
    import threading

    def kill() -> None:
        for process in psutil.Process(server.process.pid).children(recursive=True):
            process.kill()

    threading.Timer(3.0, kill).start()

"""The event log: torn tails, blobs, redaction, old and new schemas."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.agent.log import SCHEMA, LogFault, NoteMade, RunLog, RunStarted, read_events
from forklock.agent.log.redact import redact


def started(**changes: object) -> RunStarted:
    base: dict[str, object] = {
        "run_id": "r1", "task": "t", "repo": "/r", "base_commit": None, "test_command": "x",
        "regression_command": None, "options": {}, "model": "{}",
    }  # fmt: skip
    return RunStarted.model_validate(base | changes)


def open_log(folder: Path) -> RunLog:
    log = RunLog(folder)
    log.open_for_append()
    log.append(started())
    return log


def test_events_come_back_in_order(tmp_path: Path) -> None:
    log = open_log(tmp_path / "run")
    for number in range(5):
        log.append(NoteMade(text=str(number)))
    read = log.read()
    assert [e.text for e in read.events if isinstance(e, NoteMade)] == list("01234")
    assert not read.torn


@given(cut=st.integers(min_value=1, max_value=60))
def test_a_log_cut_anywhere_keeps_its_whole_lines(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    log = open_log(tmp_path_factory.mktemp("run"))
    log.append(NoteMade(text="first"))
    log.append(NoteMade(text="last"))
    log.close()
    whole = log.path.read_bytes()
    last_line = len(whole.splitlines(keepends=True)[-1])
    log.path.write_bytes(whole[:-cut])
    read = log.read()
    if cut < last_line:
        assert [e.text for e in read.events if isinstance(e, NoteMade)] == ["first"]
        assert read.torn
    again = RunLog(log.folder)
    again.open_for_append()
    again.append(NoteMade(text="after"))
    assert [e.text for e in again.read().events if isinstance(e, NoteMade)][-1] == "after"
    assert not again.read().torn


def test_damage_in_the_middle_is_said_with_its_line(tmp_path: Path) -> None:
    log = open_log(tmp_path / "run")
    log.append(NoteMade(text="a"))
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0] + b"{broken\n" + lines[1])
    with pytest.raises(LogFault, match="line 2"):
        log.read()


def test_a_newer_schema_is_refused_and_unknown_fields_are_not(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run")
    log.open_for_append()
    log.append(started(schema_version=SCHEMA + 1))
    with pytest.raises(LogFault, match="newer"):
        log.read()
    line = json.loads(started().model_dump_json()) | {"added_later": 1}
    log.path.write_text(json.dumps(line) + "\n")
    assert len(log.read().events) == 1


def test_long_texts_are_kept_once(tmp_path: Path) -> None:
    log = open_log(tmp_path / "run")
    text = "x" * 5000
    assert log.store(text) == log.store(text)
    assert log.text(log.store(text)) == text
    assert len(list((log.folder / "blobs").iterdir())) == 1


def test_a_damaged_or_missing_blob_is_a_fault(tmp_path: Path) -> None:
    log = open_log(tmp_path / "run")
    reference = log.store("y" * 5000)
    blob = log.folder / "blobs" / reference.removeprefix("sha256:")
    blob.write_text("z" * 5000)
    with pytest.raises(LogFault, match="damaged"):
        log.text(reference)
    blob.unlink()
    with pytest.raises(LogFault, match="gone"):
        log.text(reference)


@given(st.text(max_size=3000))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    log = open_log(tmp_path_factory.mktemp("run"))
    assert log.text(log.store(text)) == redact(text)


def test_a_thousand_requests_take_linear_space(tmp_path: Path) -> None:
    log = open_log(tmp_path / "run")
    prompt = "p" * 20_000
    for _ in range(1000):
        log.append(NoteMade(text=log.store(prompt)))
    size = sum(file.stat().st_size for file in log.folder.rglob("*") if file.is_file())
    assert size < 200_000 + 20_000


@pytest.mark.parametrize(
    "secret",
    [
        "sk-" + "a1" * 20, "ghp_" + "A" * 36, "AKIA" + "B" * 16, "hf_" + "c" * 34,
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_secrets_do_not_reach_the_disk(tmp_path: Path, secret: str) -> None:
    log = open_log(tmp_path / "run")
    log.append(NoteMade(text=log.store(f"key={secret} end")))
    log.append(NoteMade(text=log.store("x" * 3000 + secret)))
    stored = b"".join(file.read_bytes() for file in log.folder.rglob("*") if file.is_file())
    assert secret.encode() not in stored
    assert "[redacted]" in redact(secret)


def test_a_kill_in_the_middle_of_writing_loses_no_whole_event(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        from forklock.agent.log import NoteMade, RunLog
        from pathlib import Path
        log = RunLog(Path({str(tmp_path / "run")!r}))
        log.open_for_append()
        number = 0
        while True:
            log.append(NoteMade(text=f"{{number}} " + "x" * 800))
            print(number, flush=True)
            number += 1
        """
    )
    open_log(tmp_path / "run").close()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        time.sleep(1.5)
        os.kill(process.pid, signal.SIGKILL)
        said = [int(line) for line in process.stdout.read().split("\n")[:-1]]
    numbers = [int(e.text.split()[0]) for e in read_events(tmp_path / "run" / "events.jsonl").events[1:]]  # type: ignore[union-attr]
    assert numbers[: len(said)] == said
    assert numbers == list(range(len(numbers)))

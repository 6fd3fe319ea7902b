"""Damage to a log: whatever happens to its bytes, it is read as it was written up to a line, or raises LogFault."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from forklock.agent.contract import AgentFault
from forklock.agent.log import (
    BaselineTaken,
    CandidateRuled,
    Event,
    LogFault,
    MessageRef,
    ModelAnswered,
    ModelAsked,
    ModelSource,
    NoteMade,
    PlacesRanked,
    RunEnded,
    RunLog,
    RunStarted,
    StepEnded,
    StepStarted,
    TestsChosen,
    TestTried,
)
from forklock.agent.log.candidates import candidate_named
from forklock.agent.log.recorded import Recorded
from forklock.agent.log.runs import new_run, require_tested
from forklock.agent.log.view import describe, print_candidate, run_row, story, summary
from forklock.agent.repo import inspect_repo
from forklock.agent.session import elapsed, options_from_json, reopen, spent
from forklock.models.contract import ModelIdentity
from forklock.sandbox.terminal import screen

OPTIONS = {
    "width": 1, "limits": {}, "decoding": {}, "protocol": "symbol", "styles": ["bare"], "prompt_tokens": 500,
    "test_timeout_s": 5.0, "notes": "", "sandbox": "auto", "diagnostics": False,
}  # fmt: skip
REPORT = '{"status": "failed", "passed": [], "failures": [], "output": "", "wall_s": 1.0}'


def whole_run(folder: Path, repo: str = "/r") -> RunLog:
    """A log with an event of nearly every kind, and two blobs."""
    log = RunLog(folder)
    log.open_for_append()
    long, diff = log.store("long " * 400), log.store("-a\n+b\n" * 400)
    ref = MessageRef(role="user", content=long)
    for event in (
        RunStarted(run_id=folder.name, task="t", repo=repo, base_commit=None, test_command="x", regression_command=None,
                   options=OPTIONS, model='{"name": "m", "engine": "transformers"}',
                   source=ModelSource(model="m", engine="transformers", adapter="none")),
        BaselineTaken(command="x", report=REPORT),
        PlacesRanked(places=[{"path": "a.py", "name_path": "f", "score": 0.5, "reasons": ["r"]}]),
        TestTried(sample=0, name="test_f", verdict="kept", source=long, digest="d", entered=["a.py:1"], reach=0.5),
        TestsChosen(path="tests/test_f.py", source=long, diff=diff, command="pytest", samples=1,
                    tests=[{"name": "test_f", "samples": 1, "says": "f() should be 1"}], rejected={"passes now": 1}),
        StepStarted(step=1, requests=1, samples=1),
        ModelAsked(step=1, request=0, digest="d", place="a.py:f", messages=[ref], prefill="", decoding={"n": 1},
                   prompt_tokens=3),
        ModelAnswered(step=1, request=0, sample=0, digest="d", text=long, finish_reason="stop", prompt_tokens=3,
                      completion_tokens=4, seconds=0.5),
        CandidateRuled(step=1, index=0, place="a.py:f", hop="solved", reason="", diff=diff, new_diagnostics=0,
                       tests_passed=1, tests_failed=0, broken=0, seconds=0.1),
        StepEnded(step=1, best=0, advanced=False),
        NoteMade(text="note ü \udcff"),
        RunEnded(outcome="solved", detail="", diff=diff, steps=1, prompt_tokens=3, completion_tokens=4, cost_usd=None,
                 seconds=1.0),
    ):  # fmt: skip
        log.append(event)
    log.close()
    return log


def use_all(log: RunLog) -> tuple[Event, ...]:
    """Everything that reads a log: lists, stories, the accounts and answers of a resumed run."""
    events = log.read().events
    run_row(log)
    summary(events)
    Console(file=io.StringIO(), width=200).print(story(log, events))
    with contextlib.suppress(LogFault):
        print_candidate(screen(), log, candidate_named(events, log.folder.name, "1.0"))
    elapsed(events), spent(events)
    Recorded.of(events, log, ModelIdentity(name="m", engine="transformers"))
    for event in events:
        if isinstance(event, RunStarted):
            options_from_json(event.options, log)
        if isinstance(event, RunEnded):
            require_tested(log, event)
    return events


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunLog, bytes, tuple[Event, ...]]:
    log = whole_run(tmp_path_factory.mktemp("damage") / "20260101-000000-abcdef")
    return log, log.path.read_bytes(), use_all(log)


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "double", "swap"]),
        st.integers(0, 10_000),
        st.integers(1, 255),
    ),
    min_size=1,
    max_size=3,
)


def damaged(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    out = bytearray(data)
    for way, where, byte in changes:
        at = where % max(len(out), 1)
        if way == "flip":
            out[at : at + 1] = bytes([out[at] ^ byte]) if out else b""
        elif way == "insert":
            out[at:at] = bytes([byte]) * (byte % 5 + 1)
        elif way == "delete":
            del out[at : at + byte]
        else:
            lines = bytes(out).splitlines(keepends=True)
            one, two = where % len(lines or [b""]), byte % len(lines or [b""])
            if lines and way == "double":
                lines.insert(two, lines[one])
            elif lines:
                lines[one], lines[two] = lines[two], lines[one]
            out = bytearray(b"".join(lines))
    return bytes(out)


@pytest.mark.hostile("damage")
def test_damage_anywhere_in_a_log(
    whole: tuple[RunLog, bytes, tuple[Event, ...]], tried: Callable[[int], None]
) -> None:
    log, data, events = whole
    count = 0

    @given(edits)
    def damage(changes: list[tuple[str, int, int]]) -> None:
        nonlocal count
        count += 1
        log.path.write_bytes(damaged(data, changes))
        try:
            read = use_all(log)
        except LogFault as fault:
            assert fault.fix
            return
        assert read == events[: len(read)], "what is read is what was written"

    try:
        damage()
    finally:
        log.path.write_bytes(data)
    tried(count)


@pytest.mark.hostile("damage")
def test_every_single_bit_of_a_log(
    whole: tuple[RunLog, bytes, tuple[Event, ...]], tried: Callable[[int], None]
) -> None:
    log, data, events = whole
    places = range(0, len(data), 7)
    try:
        for at in places:
            log.path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
            try:
                read = log.read().events
            except LogFault:
                continue
            assert read == events[: len(read)]
    finally:
        log.path.write_bytes(data)
    tried(len(places))


@pytest.mark.hostile("damage")
def test_damage_anywhere_in_a_blob(
    whole: tuple[RunLog, bytes, tuple[Event, ...]], tried: Callable[[int], None]
) -> None:
    log, _, _ = whole
    count = 0
    for blob in (log.folder / "blobs").iterdir():
        data = blob.read_bytes()
        changed = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), 97)]
        for other in [*changed, b"", data[:-1], data + b"\n"]:
            count += 1
            blob.write_bytes(other)
            with pytest.raises(LogFault, match="damaged"):
                log.text(f"sha256:{blob.name}")
        blob.write_bytes(data)
    tried(count)


REFERENCES = (
    "",
    "..",
    "../events.jsonl",
    "/etc/passwd",
    "0" * 63,
    "0" * 65,
    "A" * 64,
    "\0",
    "a/" * 32,
    "٠" * 64,
    "0" * 64,
)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_leads_to_a_blob_of_the_run_and_nowhere_else(tmp_path: Path, reference: str) -> None:
    log = whole_run(tmp_path / "run")
    with pytest.raises(LogFault):
        log.text(f"sha256:{reference}")


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "socket", "huge", "device"])
@pytest.mark.parametrize("file", ["log", "blob"])
def test_files_that_are_none(tmp_path: Path, kind: str, file: str) -> None:
    log = whole_run(tmp_path / "run")
    blob = next((log.folder / "blobs").iterdir())
    path = log.path if file == "log" else blob
    content = path.read_bytes()
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "target").write_bytes(content)
        path.symlink_to(tmp_path / "target")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
    else:
        os.mknod(path, 0o140600)
    with pytest.raises(LogFault):
        log.read() if file == "log" else log.text(f"sha256:{blob.name}")
    if file == "log":
        with pytest.raises(LogFault):
            RunLog(log.folder).open_for_append()


LINES = {
    "garbage": b"garbage", "empty": b"", "nul": b"\0" * 100, "null": b"null", "list": b"[]", "number": b"1e999",
    "deep list": b"[" * 200_000, "deep object": b'{"type":' * 100_000,
    "deep inside": b'{"type": "run_started", "options": '
    + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", "long": b'{"type": "' + b"x" * 5_000_000 + b'"}',
    "not utf-8": b'{"type": "note_made", "text": "\xff\xfe"}', "no type": b"{}", "unknown type": b'{"type": "x"}',
    "half pair": b'{"type": "note_made", "text": "\\ud800"}',
    "other first": b'{"type": "note_made", "text": "a"}',
    "infinity": b'{"type": "note_made", "at": 1e999, "text": "a"}',
    "nan": b'{"type": "note_made", "at": NaN, "text": "a"}',
    "big": b'{"type": "step_started", "step": ' + b"9" * 10_000 + b', "requests": 1, "samples": 1}',
}  # fmt: skip
FIELDS: tuple[object, ...] = (
    None,
    [],
    {},
    [[]],
    "",
    "x",
    -1,
    10**30,
    1.5,
    True,
    "sha256:x",
    "\0",
    {"a": {"b": []}},
)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("where", ["first", "middle"])
@pytest.mark.parametrize("line", LINES)
def test_lines_of_another_kind(tmp_path: Path, line: str, where: str) -> None:
    log = whole_run(tmp_path / "20260101-000000-abcdef")
    lines = log.path.read_bytes().splitlines(keepends=True)
    at = 0 if where == "first" else 3
    log.path.write_bytes(b"".join(lines[:at]) + LINES[line] + b"\n" + b"".join(lines[at:]))
    with pytest.raises(LogFault, match=f"line {at + 1}|begin with"):
        log.read()
    assert run_row(log)[1] == "damaged"
    with pytest.raises(LogFault):
        RunLog(log.folder).open_for_append()


@pytest.mark.hostile("damage")
def test_fields_of_another_type(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """Logs without checksums, as the first version wrote them: every field of every event, with every wrong value."""
    log = whole_run(tmp_path / "20260101-000000-abcdef")
    records = [json.loads(line) for line in log.path.read_bytes().splitlines()]
    for record in records:
        del record["sum"]
    count = 0
    for number, record in enumerate(records):
        for key in record:
            for value in (*FIELDS, ...):
                changed = (
                    {k: v for k, v in record.items() if k != key} if value is ... else record | {key: value}
                )
                lines = [*records[:number], changed, *records[number + 1 :]]
                log.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
                count += 1
                with contextlib.suppress(LogFault):
                    use_all(log)
    tried(count)


@pytest.mark.hostile("damage")
def test_a_log_of_the_first_version_loads_and_goes_on_with_checksums(tmp_path: Path) -> None:
    log = whole_run(tmp_path / "20260101-000000-abcdef")
    events = log.read().events
    old = [
        {k: v for k, v in json.loads(line).items() if k != "sum"}
        for line in log.path.read_bytes().splitlines()
    ]
    log.path.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert log.read().events == events
    again = RunLog(log.folder)
    again.open_for_append()
    again.append(NoteMade(text="one"))
    again.append(NoteMade(text="two"))
    again.close()
    assert len(log.read().events) == len(events) + 2
    data = log.path.read_bytes()
    log.path.write_bytes(data.replace(b'"one"', b'"won"'))
    with pytest.raises(LogFault, match=f"line {len(events) + 1}"):
        log.read()


@pytest.mark.hostile("damage")
def test_a_damaged_run_is_refused_where_it_is_resumed(repo: Path, tried: Callable[[int], None]) -> None:
    name = "20260101-000000-abcdef"
    log = whole_run(new_run(repo, name).folder, str(repo))
    data = log.path.read_bytes()
    lines = data.splitlines(keepends=True)
    cases = [b"", b"\n", data[:50], b"".join(lines[1:]), b"".join(lines[:3]) + b"{}\n" + b"".join(lines[4:])]
    for case in cases:
        log.path.write_bytes(case)
        with pytest.raises((LogFault, AgentFault)) as caught:
            reopen(RunLog(log.folder), inspect_repo(repo))
        assert caught.value.fix
    tried(len(cases))


@pytest.mark.parametrize(
    ("hop", "reason", "told"),
    [
        ("parse", "no block is there. One valid block:\n\na.py\n<<<<<<< SEARCH\n>>>>>>> REPLACE", "no block is there."),
        ("tests", "t.py::test\nassert [3] == [2]\n  \n  At index 0 diff: 3 != 2\n  Use -v to get more diff",
         "test: assert [3] == [2]"),
        ("tests", "t.py::test\nAssertionError: assert 6 == 5\n +  where 6 = f()", 
         "test: AssertionError: assert 6 == 5, where 6 = f()"),
        ("tests", "  only\n  indented", "indented"),
        ("edit", "refused: no such file", "refused: no such file"),
        ("edit", "", ""),
    ],
)  # fmt: skip
def test_a_fallen_candidates_line_says_what_was_wrong(
    tmp_path: Path, hop: str, reason: str, told: str
) -> None:
    log = RunLog(tmp_path / "run")
    log.open_for_append()
    event = CandidateRuled(
        step=1, index=0, place="a.py:f", hop=hop, reason=log.store(reason), diff=log.store(""), new_diagnostics=0,
        tests_passed=0, tests_failed=0, broken=0, seconds=0.1,
    )  # fmt: skip
    line = describe(event, log, whole=True)
    log.close()
    assert line is not None and line.plain.split(hop, 1)[1].strip() == told

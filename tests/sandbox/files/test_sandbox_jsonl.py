"""JSON-lines files: kills between and inside writes, torn lines, two writers, a full disk, damage, checksums."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from forklock.sandbox.files.jsonl import (
    DamagedLine,
    JsonLines,
    append_line,
    as_json,
    parser,
    scan,
    seal,
    whole_lines,
)
from forklock.sandbox.files.reading import Unreadable


class Row(BaseModel):
    number: int
    text: str = ""


parse = parser(Row)


def line(number: int, text: str = "") -> bytes:
    return as_json(Row(number=number, text=text))


def numbers(path: Path, *, sealed: bool = False) -> list[int]:
    return [row.number for row in scan(path.read_bytes(), parse, sealed=sealed).rows]


WRITER = """
import sys
from pathlib import Path
from forklock.sandbox.files.jsonl import JsonLines, append_line
path, how = Path(sys.argv[1]), sys.argv[2]
body = lambda n: b'{"number":%d,"text":"%s"}' % (n, b"x" * (n % 50_000))
if how == "each":
    for n in range(10**9):
        append_line(path, body(n), durable=n % 50 == 0)
        print(n, flush=True)
with JsonLines(path, lambda raw: raw, sealed=how == "sealed", cut_damage=True) as lines:
    for n in range(len(lines.rows), 10**9):
        lines.append(body(n))
        print(n, flush=True)
"""


@pytest.mark.parametrize("how", ["held", "sealed", "each"])
def test_kill_9_at_any_moment_keeps_every_line_that_was_written(how: str, tmp_path: Path) -> None:
    path, random_ = tmp_path / "rows.jsonl", random.Random(how)
    for _ in range(4):
        path.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), how], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline())]
            time.sleep(random_.uniform(0, 0.2))
            writer.send_signal(signal.SIGKILL)
            said += [int(word) for word in writer.stdout.read().split("\n")[:-1]]
        found = numbers(path, sealed=how == "sealed")
        assert found == list(range(len(found))) and len(found) > said[-1], (
            "what was said to be written is there"
        )
        with JsonLines(path, parse, sealed=how == "sealed") as lines:
            assert [row.number for row in lines.rows] == found
            lines.append(line(-1))
        assert numbers(path, sealed=how == "sealed") == [*found, -1]


@given(count=st.integers(0, 4), cut=st.integers(0, 200), sealed=st.booleans())
def test_cut_anywhere_the_whole_lines_stay(
    tmp_path_factory: pytest.TempPathFactory, count: int, cut: int, sealed: bool
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    with JsonLines(path, parse, sealed=sealed) as lines:
        for number in range(count):
            lines.append(line(number, "é\n"))
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    survived = list(range(path.read_bytes().count(b"\n")))
    assert len(list(whole_lines(path))) == len(survived)
    with JsonLines(path, parse, sealed=sealed) as lines:
        assert [row.number for row in lines.rows] == survived
        lines.append(line(9))
    assert numbers(path, sealed=sealed) == [*survived, 9]


def test_a_torn_line_is_cut_off_by_the_next_append_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_line(path, line(1))
    for torn in (b'{"number": 2', b'{"text":"' + b"x" * 200_000):
        with path.open("ab") as file:
            file.write(torn)
        append_line(path, line(3), durable=True)
        assert numbers(path)[-1] == 3 and torn not in path.read_bytes()
    path.write_bytes(b"torn from its beginning on")
    append_line(path, line(4))
    assert path.read_bytes() == line(4) + b"\n"


def test_a_second_writer_is_refused_while_the_first_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    first = JsonLines(path, parse)
    first.append(line(1))
    with path.open("ab") as file:
        file.write(b'{"number"')  # as of a write under way
    with pytest.raises(BlockingIOError, match="another process is writing it") as caught:
        JsonLines(path, parse)
    assert caught.value.filename == str(path)
    assert path.read_bytes().endswith(b'{"number"'), "what the first one writes is not taken for torn"
    first.close()
    with JsonLines(path, parse) as second:
        second.append(line(2))
    assert numbers(path) == [1, 2]


def test_writers_of_single_lines_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    code = (
        "import sys; from pathlib import Path; from forklock.sandbox.files.jsonl import append_line\n"
        'for n in range(50): append_line(Path(sys.argv[1]), b\'{"number":%d,"text":"%s"}\' % (n, b\'x\' * 9000))'
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert sorted(numbers(path)) == sorted([*range(50)] * 3)


@pytest.mark.parametrize("how", ["held", "each"])
def test_a_full_disk_leaves_whole_lines(how: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    code = """
import json, resource, sys
from pathlib import Path
from forklock.sandbox.files.jsonl import JsonLines, append_line
path, how = Path(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
lines = JsonLines(path, lambda raw: raw) if how == "held" else None
made = 0
try:
    for n in range(100):
        body = b'{"number":%d,"text":"%s"}' % (n, b"x" * 90)
        lines.append(body) if lines else append_line(path, body)
        made += 1
except OSError as error:
    print(made, path.stat().st_size)
if lines:
    try:
        lines.append(b'{"number":-1}')  # a short one still has room
        print("short one written")
    except OSError:
        print("short one refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), how], capture_output=True, text=True, check=True
    )
    made = int(done.stdout.split()[0])
    assert made == 8, done.stdout
    assert path.read_bytes().endswith(b"\n")
    short = [-1] if "short one written" in done.stdout else []
    assert numbers(path) == [*range(made), *short]


def test_damage_before_the_last_line_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    data = line(1) + b"\n{broken\n" + line(3) + b"\n"
    path.write_bytes(data)
    with pytest.raises(DamagedLine, match="line 2") as caught:
        JsonLines(path, parse)
    assert caught.value.line == 2 and path.read_bytes() == data
    with JsonLines(path, parse, cut_damage=True) as lines:
        assert [row.number for row in lines.rows] == [1] and lines.torn_bytes == len(data) - len(line(1)) - 1
    assert path.read_bytes() == line(1) + b"\n"


def test_a_sealed_file_finds_lines_that_were_changed_dropped_doubled_or_moved(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with JsonLines(path, parse, sealed=True) as lines:
        for number in range(4):
            lines.append(line(number))
    whole = path.read_bytes().splitlines(keepends=True)
    one, two, three, four = whole
    for damaged in ([one, two.replace(b'"number":1', b'"number":7'), three, four], [one, three, four],
                    [one, two, two, three, four], [two, one, three, four], [one, three, two, four]):  # fmt: skip
        assert scan(b"".join(damaged), parse, sealed=True).damaged is not None
    body, chain = line(9), b""
    first, chain = seal(body, chain)
    assert json.loads(first)["sum"] == chain.decode()


def test_a_file_of_before_without_checksums_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line(1) + b"\n" + line(2) + b"\n")
    with JsonLines(path, parse, sealed=True) as lines:
        lines.append(line(3))
    assert numbers(path, sealed=True) == [1, 2, 3]


def test_a_private_file_is_the_users_alone_and_no_link(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    JsonLines(path, parse, private=True).close()
    assert path.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with pytest.raises(OSError):
        JsonLines(link, parse, private=True)
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(Unreadable, match="no regular file"):
        JsonLines(tmp_path / "pipe.jsonl", parse)


def test_half_a_surrogate_pair_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with JsonLines(path, parse) as lines:
        lines.append(as_json(Row(number=1, text="a\udcffb")))
    assert numbers(path) == [1]


def test_after_it_is_closed_nothing_is_written(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "rows.jsonl", parse)
    lines.close()
    lines.close()
    with pytest.raises(OSError, match="closed"):
        lines.append(line(1))


def test_a_child_that_lives_on_does_not_hold_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = JsonLines(path, parse)
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        lines.append(line(1))
        lines.close()
        with JsonLines(path, parse) as again:
            assert [row.number for row in again.rows] == [1]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

"""Servers that hang, crash, lie and flood: the right freshness, in bounded time, and nothing left running."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from forklock.sandbox.backends.bubblewrap.contained import why_not_contained
from forklock.sandbox.linux.cgroups import writable_parents
from forklock.tools.contract import Freshness, ToolFault
from forklock.tools.lsp import Intel, open_intel
from forklock.tools.lsp.servers import table
from forklock.tools.lsp.servers.server import Server, Settings
from forklock.tools.lsp.wire import process
from forklock.tools.lsp.wire.connection import Connection
from forklock.tools.lsp.wire.process import Launch

pytestmark = pytest.mark.hostile("servers")

EVIL = Path(__file__).parents[1].joinpath("evil_server.py")
TEXT = "def f(): ...\nx = f()\n"


LANGUAGES = {".py": "python"}


class Evil(Server):
    """`evil_server.py`, told to misbehave in one way."""

    name = "evil"
    languages = LANGUAGES
    fix = "be good"

    def __init__(
        self,
        mode: str,
        arg: str = "",
        quiet: float | None = None,
        script: Path = EVIL,
        settings: Settings | None = None,
    ) -> None:
        self.argv = (sys.executable, str(script), mode, arg)
        self.settles_after_s = quiet
        self._settings = settings or {}

    def settings(self, root: Path, python: Path | None) -> Settings:
        return self._settings


class Ghost(Server):
    """A server whose program is not installed."""

    name = "ghost"
    argv = ("no-such-language-server",)
    languages = LANGUAGES
    fix = "install the ghost"


@pytest.fixture
def intel(tmp_path: Path) -> Iterator[Callable[..., Intel]]:
    (tmp_path / "m.py").write_text(TEXT)
    opened: list[Intel] = []

    def start(*servers: Server, timeout_s: float = 5.0, start_s: float = 5.0) -> Intel:
        opened.append(Intel(servers, Launch(tmp_path, start_s=start_s), timeout_s=timeout_s))
        return opened[-1]

    before = {p.pid for p in psutil.Process().children(recursive=True)}
    yield start
    for one in opened:
        one.close()
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_behaves_when_told_to(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("good"))
    found = one.definition("m.py", 2, 4)
    assert (found.freshness, found.locations[0].name_path) == (Freshness.FOUND, "f")
    assert one.diagnostics("m.py").freshness is Freshness.CLEAN
    bad = one.diagnostics("m.py", TEXT + "bad = 1\n")
    assert bad.freshness is Freshness.FOUND and [d.line for d in bad.items] == [3]


def test_hanging_start_is_unavailable_with_a_reason(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("hang-initialize"), start_s=0.7)
    with within(4):
        answer = one.definition("m.py", 2, 4)
    assert answer.freshness is Freshness.UNAVAILABLE
    assert "did not start" in answer.detail and "by hand" in answer.detail
    with within(0.5):  # and it is not tried again
        assert one.diagnostics("m.py").freshness is Freshness.UNAVAILABLE


def test_question_shorter_than_the_start_times_out(intel: Callable[..., Intel]) -> None:
    with within(4):
        assert (
            intel(Evil("hang-initialize"), timeout_s=0.4).definition("m.py", 2, 4).freshness
            is Freshness.TIMED_OUT
        )


def test_initialize_that_cannot_be_read_is_unavailable(intel: Callable[..., Intel]) -> None:
    with within(5):
        assert intel(Evil("bad-initialize")).definition("m.py", 2, 4).freshness is Freshness.UNAVAILABLE


def test_hanging_request_times_out_and_the_next_document_still_works(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("hang-request"), timeout_s=1.0)
    assert one.diagnostics("m.py").freshness is Freshness.CLEAN  # started
    with within(3):
        assert one.definition("m.py", 2, 4).freshness is Freshness.TIMED_OUT
    assert one.diagnostics("m.py", "bad\n").freshness is Freshness.FOUND


def test_hanging_again_and_again_ends_in_one_restart(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("hang-request"), timeout_s=1.0)
    assert one.diagnostics("m.py").freshness is Freshness.CLEAN
    first = one.pids["evil"]
    for _ in range(3):
        assert one.definition("m.py", 2, 4).freshness is Freshness.TIMED_OUT
    assert one.diagnostics("m.py", "bad\n").freshness is Freshness.FOUND
    assert one.pids["evil"] != first


def test_late_answer_to_a_cancelled_request_reaches_nobody(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("late"), timeout_s=1.0)
    assert one.diagnostics("m.py").freshness is Freshness.CLEAN
    assert one.definition("m.py", 2, 4).freshness is Freshness.TIMED_OUT
    found = one.definition("m.py", 2, 4)
    assert (found.freshness, found.locations[0].line) == (Freshness.FOUND, 1)


def test_one_crash_is_repaired_with_documents_reopened(intel: Callable[..., Intel], tmp_path: Path) -> None:
    one = intel(Evil("crash-once", f"2:{tmp_path / 'crashed'}"))
    assert one.diagnostics("m.py", "bad\n").freshness is Freshness.FOUND
    found = one.definition("m.py", 2, 4)
    assert (tmp_path / "crashed").exists()
    assert found.freshness is Freshness.FOUND
    assert one.diagnostics("m.py", "bad\n").freshness is Freshness.FOUND


def test_crash_while_idle_is_noticed(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("good"))
    assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND
    os.kill(one.pids["evil"], signal.SIGKILL)
    assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND
    os.kill(one.pids["evil"], signal.SIGKILL)
    with within(3):
        last = one.definition("m.py", 2, 4)
    assert last.freshness is Freshness.UNAVAILABLE and "crashed twice" in last.detail


def test_second_crash_is_final_and_quotes_the_server(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("crash", "2"))
    with within(5):
        answer = one.definition("m.py", 2, 4)
    assert answer.freshness is Freshness.UNAVAILABLE
    assert "out of spite" in answer.detail and "be good" in answer.detail


def test_crash_while_waiting_for_a_publish(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("silent"), timeout_s=3.0)
    assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND
    os.kill(one.pids["evil"], signal.SIGKILL)
    with within(5):
        assert one.diagnostics("m.py").freshness is Freshness.TIMED_OUT  # restarted, and silent again


@pytest.mark.parametrize("mode", ["flood-stderr", "garbage"])
def test_noise_does_not_block_an_answer(intel: Callable[..., Intel], mode: str) -> None:
    with within(10):
        assert intel(Evil(mode)).definition("m.py", 2, 4).freshness is Freshness.FOUND


def test_stream_that_cannot_be_read_counts_as_a_crash(intel: Callable[..., Intel]) -> None:
    with within(8):
        answer = intel(Evil("garbage-stream")).definition("m.py", 2, 4)
    assert answer.freshness is Freshness.UNAVAILABLE


@pytest.mark.parametrize("mode", ["bad-answer", "error"])
def test_answer_that_is_none_is_unavailable_at_once(intel: Callable[..., Intel], mode: str) -> None:
    one = intel(Evil(mode))
    assert one.diagnostics("m.py").freshness is Freshness.CLEAN
    with within(2):
        answer = one.definition("m.py", 2, 4)
    assert answer.freshness is Freshness.UNAVAILABLE and answer.detail


def test_server_that_cancels_is_asked_again(intel: Callable[..., Intel]) -> None:
    assert intel(Evil("cancelled-twice")).definition("m.py", 2, 4).freshness is Freshness.FOUND


# --- memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "where"), [(True, ""), (False, ""), (False, "child")])
def test_a_server_that_eats_memory_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: bool, where: str
) -> None:
    """By the kernel, or where no control group can be made by us; no second one is started to eat as much."""
    if not group:
        monkeypatch.setattr(process, "make_group", lambda **_limits: None)
    elif writable_parents() is None:
        pytest.skip("NO CONTROL GROUP CAN BE MADE HERE")
    (tmp_path / "m.py").write_text(TEXT)
    trusted = why_not_contained(tmp_path) is not None
    server = Evil("eat", f"4000:{where}", script=Path(shutil.copy(EVIL, tmp_path)))
    with Intel([server], Launch(tmp_path, trusted=trusted, memory_mb=300), timeout_s=60.0) as one:
        assert one.diagnostics("m.py").freshness is Freshness.CLEAN
        family = psutil.Process(one.pids["evil"])
        with PeakOf(family) as peak:
            answer = one.definition("m.py", 2, 4)
        assert answer.freshness is Freshness.UNAVAILABLE
        assert "more than 300 MB of memory" in answer.detail and "FORKLOCK_SERVER_MB" in answer.detail
        assert peak.mb < 1000
        with within(1):
            assert one.diagnostics("m.py").freshness is Freshness.UNAVAILABLE
        assert not family.is_running()


def test_memory_within_the_bound_is_nobody_s_business(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(TEXT)
    with Intel([Evil("eat", "100")], Launch(tmp_path, memory_mb=400)) as one:
        assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND


def test_the_bound_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_SERVER_MB", "1234")
    assert process.bound_mb() == 1234
    monkeypatch.delenv("FORKLOCK_SERVER_MB")
    assert process.bound_mb() == min(8192, psutil.virtual_memory().total // 2**21)


class PeakOf:
    """The most megabytes that a process and its children held while the block ran."""

    def __init__(self, process: psutil.Process) -> None:
        self.mb = 0.0
        self._process = process
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> PeakOf:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            with contextlib.suppress(psutil.Error):
                family = (self._process, *self._process.children(recursive=True))
                self.mb = max(self.mb, sum(p.memory_info().rss for p in family) / 1e6)


# --- published diagnostics ---------------------------------------------------------------------------


def test_publish_of_an_older_version_is_no_answer(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("stale-only"), timeout_s=1.5)
    with within(4):
        answer = one.diagnostics("m.py")
    assert (answer.freshness, answer.items) == (Freshness.TIMED_OUT, ())


def test_publish_of_the_right_version_is_waited_for(intel: Callable[..., Intel]) -> None:
    answer = intel(Evil("stale-then-right")).diagnostics("m.py", "ok\nbad\n")
    assert [d.message for d in answer.items] == ["bad line: bad"]


def test_unversioned_publish_is_not_trusted_unless_the_table_says_how(intel: Callable[..., Intel]) -> None:
    assert (
        intel(Evil("unversioned"), timeout_s=1.0).diagnostics("m.py", "ok\n").freshness is Freshness.TIMED_OUT
    )
    patient = intel(Evil("unversioned", quiet=0.4))
    assert patient.diagnostics("m.py", "ok\n").freshness is Freshness.CLEAN
    assert patient.diagnostics("m.py", "ok\n").freshness is Freshness.CLEAN  # same version, nothing published


def test_publish_before_a_change_elsewhere_is_not_reused(intel: Callable[..., Intel], tmp_path: Path) -> None:
    one = intel(Evil("good"))
    (tmp_path / "other.py").write_text("")
    before = one.diagnostics("m.py").version
    one.sync([tmp_path / "other.py"])
    after = one.diagnostics("m.py")
    assert after.freshness is Freshness.CLEAN
    assert before is not None and after.version is not None and after.version > before


def test_silent_server_times_out_and_never_reads_as_clean(intel: Callable[..., Intel]) -> None:
    answer = intel(Evil("silent"), timeout_s=0.8).new_diagnostics("m.py", "bad\n")
    assert answer.freshness is Freshness.TIMED_OUT and "baseline" in answer.detail


def test_what_one_server_found_counts_when_another_is_dead(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("good"), Evil("crash", "1"))
    found = one.diagnostics("m.py", "bad\n")
    assert found.freshness is Freshness.FOUND and "crashed" in found.detail
    assert one.diagnostics("m.py", "fine\n").freshness is Freshness.UNAVAILABLE  # half an all-clear is none


# --- another server ------------------------------------------------------------------------------------


def test_a_server_that_is_added_as_the_docs_say_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (EVIL.parents[2] / "docs" / "language-servers.md").read_text()
    code = textwrap.dedent(page.partition("## How to add")[2].split("```")[1].removeprefix("python\n"))
    made: dict[str, Any] = {"__name__": "zls"}
    exec(code, made)
    server: Server = made["Zls"]()
    monkeypatch.setitem(table.SERVERS, server.name, server)
    monkeypatch.setattr(table, "_LIST", (*table._LIST, server))
    assert table.servers_for_file("m.zig", tmp_path) == ("zls",)
    (tmp_path / "m.zig").write_text("fn f() void {}\n")
    with open_intel(tmp_path, servers=("zls",)) as one:
        absent = one.diagnostics("m.zig")
    assert absent.freshness is Freshness.UNAVAILABLE and server.fix in absent.detail
    monkeypatch.setattr(type(server), "argv", (sys.executable, str(EVIL), "good"))
    with open_intel(tmp_path, servers=("zls",), trusted=True) as one:
        assert one.diagnostics("m.zig").freshness is Freshness.CLEAN
        assert one.diagnostics("m.zig", "bad\n").freshness is Freshness.FOUND
        assert one.definition("m.zig", 1, 3).freshness is Freshness.FOUND


# --- requests of the server --------------------------------------------------------------------------


def test_requests_of_the_server_are_answered(tmp_path: Path, intel: Callable[..., Intel]) -> None:
    heard = tmp_path / "heard.json"
    settings = {"python": {"analysis": {"mode": "strict"}}}
    one = intel(Evil("asks", str(heard), settings=settings))
    assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND
    end = time.monotonic() + 5
    while not heard.exists() and time.monotonic() < end:
        time.sleep(0.02)
    replies = json.loads(heard.read_text())
    assert replies["evil-1"]["result"] == [{"mode": "strict"}, None]
    assert all(
        replies[f"evil-{n}"].get("result") is None and "error" not in replies[f"evil-{n}"] for n in (2, 3, 4)
    )
    assert replies["evil-5"]["result"]["applied"] is False
    assert replies["evil-6"]["error"]["code"] == -32601
    assert replies["evil-7"]["result"][0]["uri"] == tmp_path.as_uri()
    assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND  # its `exit` did not end us


# --- life and death ----------------------------------------------------------------------------------


def test_missing_program(
    tmp_path: Path, intel: Callable[..., Intel], caplog: pytest.LogCaptureFixture
) -> None:
    one = intel(Ghost())
    for answer in (
        one.definition("m.py", 2, 4),
        one.diagnostics("m.py"),
        one.new_diagnostics("m.py", "x = 1\n"),
    ):
        assert answer.freshness is Freshness.UNAVAILABLE
        assert "not installed" in answer.detail and "install the ghost" in answer.detail
    assert sum("not installed" in r.message for r in caplog.records) == 1


def test_shutdown_that_is_ignored_is_enforced_on_the_whole_group(intel: Callable[..., Intel]) -> None:
    one = intel(Evil("ignore-shutdown"))
    assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND
    server = psutil.Process(one.pids["evil"])
    family = [server, *server.children(recursive=True)]
    assert len(family) == 2
    with within(6):
        one.close()
    _, alive = psutil.wait_procs(family, timeout=2)
    assert not alive
    assert one.definition("m.py", 2, 4).freshness is Freshness.UNAVAILABLE
    one.close()  # twice is fine


def test_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(TEXT)
    program = f"""
        import sys, time
        sys.path.insert(0, {str(EVIL.parents[2])!r})
        from pathlib import Path
        from forklock.tools.lsp import Intel
        from forklock.tools.lsp.servers.server import Server
        from forklock.tools.lsp.wire.process import Launch
        class Evil(Server):
            name, languages, fix = "evil", {{".py": "python"}}, ""
            argv = (sys.executable, {str(EVIL)!r}, "ignore-shutdown")
        one = Intel([Evil()], Launch(Path({str(tmp_path)!r})))
        one.definition("m.py", 2, 4)
        print(one.pids["evil"], flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    children = server.children()
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([server], timeout=3)
    for child in children:  # the server's own child is not ours to promise; end it here
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    parent.stdout.close()
    assert not alive


CLOSED = """
def at_once():
    open_one("hang-initialize").close()

def while_it_starts():
    one = open_one("hang-initialize")
    started()
    one.close()

def too_slowly():
    one = open_one("ignore-shutdown")
    started()
    one.close(within=0.0)

def before_the_end_could_begin():
    open_one("hang-initialize").close(within=0.0)

def interrupted():
    one = open_one("ignore-shutdown")
    one.definition("m.py", 2, 4)
    background.Background.run = interrupt
    with contextlib.suppress(KeyboardInterrupt):
        one.close()

for way in (at_once, while_it_starts, too_slowly, before_the_end_could_begin, interrupted):
    way()
    assert "forklock-lsp" not in [thread.name for thread in threading.enumerate()], way
    assert not psutil.Process().children(), (way, psutil.Process().children())
"""
NEVER_CLOSED = 'one = open_one("hang-initialize"); started()'
FORGOTTEN = 'open_one("hang-initialize"); started(); gc.collect()'


@pytest.mark.parametrize(
    "ending", [CLOSED, NEVER_CLOSED, FORGOTTEN], ids=["closed", "never closed", "forgotten"]
)
def test_no_task_and_no_process_is_left_at_the_end(tmp_path: Path, ending: str) -> None:
    """However the servers and the interpreter end. Of a task that is left asyncio says that it was destroyed."""
    (tmp_path / "m.py").write_text(TEXT)
    program = f"""
import contextlib, gc, sys, threading, time
sys.path.insert(0, {str(EVIL.parents[2])!r})
from pathlib import Path
import psutil
from forklock.tools.lsp import Intel
from forklock.tools.lsp.asking import asker
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire import background
from forklock.tools.lsp.wire.process import Launch

class Evil(Server):
    name, languages, fix = "evil", {{".py": "python"}}, ""

    def __init__(self, mode):
        self.argv = (sys.executable, {str(EVIL)!r}, mode)

class One(Intel):
    def close(self, within=10.0):
        asker.CLOSE_S = within
        super().close()

def open_one(mode):
    return One([Evil(mode)], Launch(Path({str(tmp_path)!r})), timeout_s=20.0)

def started():
    while not psutil.Process().children():
        time.sleep(0.01)

def interrupt(self, work, *_):
    work.close()
    raise KeyboardInterrupt

{ending}
print("ended", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_threads_and_descriptors_do_not_pile_up(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(TEXT)
    me = psutil.Process()

    def once() -> None:
        with Intel([Evil("good")], Launch(tmp_path)) as one:
            assert one.definition("m.py", 2, 4).freshness is Freshness.FOUND

    once()
    before = (me.num_threads(), me.num_fds())
    for _ in range(4):
        once()
    end = time.monotonic() + 3  # asyncio's waiting threads end a moment after their process
    while me.num_threads() > before[0] and time.monotonic() < end:
        time.sleep(0.05)
    assert me.num_threads() <= before[0] and me.num_fds() <= before[1] + 1


def test_bad_names_are_the_caller_s_fault(tmp_path: Path) -> None:
    with pytest.raises(ToolFault, match="no language server 'nope'"):
        open_intel(tmp_path, servers=("nope",))
    with pytest.raises(ToolFault, match="not a folder"):
        open_intel(tmp_path / "nowhere")


def test_paths_outside_are_refused(intel: Callable[..., Intel], tmp_path: Path) -> None:
    one = intel(Evil("good"))
    (tmp_path / "link.py").symlink_to("/etc/hosts")
    for path in ("../x.py", "/etc/hosts", "link.py", "absent.py", "a\0b.py"):
        assert one.definition(path, 1, 0).freshness is Freshness.UNAVAILABLE
        assert one.diagnostics(path).freshness is Freshness.UNAVAILABLE


def test_connection_keeps_few_documents_open(tmp_path: Path) -> None:
    connection = Connection(Evil("good"), Launch(tmp_path))
    for n in range(100):
        connection.documents.settle({tmp_path / f"{n}.py": "x"}, lambda _p: "x")
    assert len(connection.documents) <= 49


@pytest.mark.parametrize("way", ["plain", "link", "up", "link inside"])
def test_a_server_cannot_have_the_user_s_other_files_read(
    intel: Callable[..., Intel], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, way: str
) -> None:
    secret = tmp_path_factory.mktemp("home") / "key.py"
    secret.write_text("def f(): return 'the secret'\n")
    named = secret
    if way == "link":
        named = tmp_path_factory.mktemp("elsewhere") / "link.py"
        named.symlink_to(secret)
    if way == "link inside":
        named = tmp_path / "l.py"
        named.symlink_to(secret)
    if way == "up":
        named = tmp_path / ".." / os.path.relpath(secret, tmp_path.parent)
    answer = intel(Evil("elsewhere", named.as_uri())).definition("m.py", 2, 4)
    assert "secret" not in str(answer), answer
    assert all(place.path.startswith("(library) ") for place in answer.locations)

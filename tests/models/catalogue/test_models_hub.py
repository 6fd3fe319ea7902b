"""Models of the hub: pulled by name from a hub-like server, resumed after a kill, refused where they are unsafe."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_server import Hub, serve_hub

from forklock.models.catalogue import hub as hub_module
from forklock.models.catalogue import hub_pull
from forklock.models.catalogue.catalogue import resolve_model, verify
from forklock.models.catalogue.download import DiskFull
from forklock.models.catalogue.hub_here import check_hub, hub_folder, is_hub_name, pulled_hub
from forklock.models.catalogue.hub_pull import Declined, Offer, pull_hub, remove_hub
from forklock.models.contract import ModelFault
from forklock.models.engines.open import is_local, require_there
from forklock.sandbox.terminal.progress import Progress

QUIET = Progress(quiet=True)
NAME = "Tiny/Model-1B"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def hub(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    with serve_hub(Hub.of_folder(tiny_model_dir)) as server:
        server.files |= {
            "model.py": b"raise SystemExit",
            "pytorch_model.bin": b"pickle",
            "README.md": b"# Tiny",
        }
        server.files["original/consolidated.00.pth"] = b"pickle"
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def pull(accept=lambda _: True, revision: str = "main") -> Path:  # type: ignore[no-untyped-def]
    return pull_hub(NAME, accept=accept, revision=revision, progress=QUIET)


def refused(words: str) -> ModelFault:
    with pytest.raises(ModelFault, match=words) as caught:
        pull()
    assert not hub_folder(NAME).exists() and caught.value.fix
    return caught.value


# -- what works ---------------------------------------------------------------------------------------------


def test_a_model_is_pulled_shown_checked_and_removed(hub: Hub, tiny_model_dir: Path) -> None:
    offers: list[Offer] = []
    folder = pull(lambda offer: offers.append(offer) or True)
    held = {path.name for path in folder.iterdir()}
    assert "model.safetensors" in held and not held & {"model.py", "pytorch_model.bin", "README.md"}
    assert (folder / "model.safetensors").read_bytes() == (tiny_model_dir / "model.safetensors").read_bytes()
    shown = " ".join(offers[0].lines())
    assert "licence apache-2.0" in shown and NAME in shown and "memory" in shown
    assert not offers[0].must_be_accepted
    sent = dict(hub.sent)
    assert pull() == folder and hub.sent == sent, "a whole model is not fetched again"
    verify(NAME, progress=QUIET)
    assert [record.commit for record in pulled_hub()] == [hub.commit]
    assert not list(folder.parent.glob(".pulling*"))
    assert remove_hub(NAME, progress=QUIET) > 1_000 and not folder.exists()
    with pytest.raises(ModelFault, match="not on this machine"):
        remove_hub(NAME, progress=QUIET)


def test_a_pulled_model_is_resolved_by_its_name_and_counts_as_local(hub: Hub) -> None:
    assert not is_local(NAME)
    with pytest.raises(ModelFault, match="no model") as caught:
        resolve_model(NAME)
    assert f"agent models pull {NAME}" in caught.value.fix
    folder = pull()
    found = resolve_model(NAME)
    assert (found.name, found.folder) == ("Tiny--Model-1B", folder) and len(found.revision) == 64
    assert is_local(NAME) and not is_local("openai/gpt-oss-20b") and is_local("Qwen/Qwen3-4B-Instruct-2507")


def test_a_model_that_another_command_names_is_fetched_if_its_licence_is_open(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    require_there("openai/gpt-oss-20b", "auto")
    hub.licence = "llama3.1"
    with pytest.raises(Declined, match="licence of Tiny/Model-1B") as caught:
        require_there(NAME, "transformers")
    assert f"agent models pull {NAME}" in caught.value.fix and not hub_folder(NAME).exists()
    hub.licence = "mit"
    require_there(NAME, "transformers")
    assert hub_folder(NAME).is_dir() and "licence mit" in capsys.readouterr().err


def test_the_in_process_engine_runs_it(hub: Hub) -> None:
    from forklock.models import Decoding, Request, open_engine

    pull()
    with open_engine(NAME, adapter=None, device="cpu") as engine:
        (answers,) = engine.complete([Request(text="a")], Decoding(temperature=0, max_tokens=2))
    assert answers[0].completion_tokens == 2


def test_large_files_come_from_another_host_and_the_token_stays(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token, hub.lfs_from = "hf_secret", 1_000
    refused("terms must be accepted")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve_hub(Hub(hub.files)) as cdn:
        hub.cdn = cdn.url
        pull()
        assert cdn.seen and all(not token for _, token in cdn.seen)
    assert ("/api/models/Tiny/Model-1B/revision/main", "Bearer hf_secret") in hub.seen


def test_a_licence_that_is_not_open_is_asked_for(hub: Hub) -> None:
    hub.licence = "llama3.1"
    asked: list[Offer] = []
    with pytest.raises(Declined):
        pull(lambda offer: bool(asked.append(offer)))
    assert asked[0].must_be_accepted and "model.safetensors" not in hub.sent
    assert pull().is_dir()


def test_weights_in_parts_are_taken_by_their_index(hub: Hub) -> None:
    weights = hub.files.pop("model.safetensors")
    names = [name for name in _tensors(weights)]
    hub.files["model-00001-of-00001.safetensors"] = hub.files["stray.safetensors"] = weights
    hub.files["consolidated.safetensors"] = weights
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    hub.files["model.safetensors.index.json"] = json.dumps(index).encode()
    held = {path.name for path in pull().glob("*.safetensors")}
    assert held == {"model-00001-of-00001.safetensors"}


def _tensors(weights: bytes) -> list[str]:
    size = int.from_bytes(weights[:8], "little")
    return [name for name in json.loads(weights[8 : 8 + size]) if name != "__metadata__"]


def test_dropped_connections_are_resumed(hub: Hub) -> None:
    hub.drop_after = 30_000
    pull()
    size = len(hub.files["model.safetensors"])
    assert hub.sent["model.safetensors"] <= size + 8 * 4096


CHILD = """
import sys
from forklock.models.catalogue.hub_pull import pull_hub
from forklock.sandbox.terminal.progress import Progress
pull_hub(sys.argv[1], accept=lambda _: True, progress=Progress(quiet=True))
"""


def test_a_killed_pull_is_resumed(hub: Hub) -> None:
    hub.pause_s = 0.02
    size = len(hub.files["model.safetensors"])
    child = subprocess.Popen([sys.executable, "-c", CHILD, NAME])
    end = time.monotonic() + 120
    while hub.sent.get("model.safetensors", 0) < min(40_000, size // 2):
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not hub_folder(NAME).exists()
    before, hub.pause_s = dict(hub.sent), 0.0
    seen: list[Offer] = []
    pull(lambda offer: seen.append(offer) or True)
    assert seen[0].here > 20_000 and "to fetch" in seen[0].lines()[0]
    again = hub.sent["model.safetensors"] - before["model.safetensors"]
    # A kill may lose what was sent and not yet read: a few blocks, as many as the sockets hold.
    assert again < size and hub.sent["config.json"] == before["config.json"]


def test_another_commit_starts_over(hub: Hub) -> None:
    with pytest.raises(Declined):
        pull(lambda _: False)
    hub.commit = "f" * 40
    assert pull() == check_hub(NAME)
    assert pulled_hub()[0].commit == "f" * 40


def test_damage_is_found_and_named(hub: Hub) -> None:
    folder = pull()
    config = folder / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    with pytest.raises(ModelFault, match="damaged") as caught:
        resolve_model(NAME)
    assert f"agent models remove {NAME}" in caught.value.fix
    pull()
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelFault, match=r"damaged: model\.safetensors"):
        verify(NAME, progress=QUIET)


# -- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.hostile("damage")
def test_a_wrong_hash_is_refused(hub: Hub, name: str) -> None:
    entry = hub._entry(name, hub.files[name] if name == "config.json" else bytes(len(hub.files[name])))
    entry["blobId"] = "0" * 40
    hub.siblings.append(entry)
    refused(rf"{name} does not match its (sha256|hash), twice")


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/config.json", "a/../../b", "..\\config.json", "con\nfig.json", "", 7, None]
)
@pytest.mark.hostile("weights")
def test_names_that_lead_elsewhere_are_refused(hub: Hub, name: object) -> None:
    hub.siblings.append({"rfilename": name, "size": 1, "blobId": "0" * 40})
    refused("has a file with the name")


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": True},
        {"size": "9"},
        {"blobId": "xyz"},
        {"size": 1 << 50},
        {"lfs": {"sha256": "no"}},
    ],
)
def test_strange_sizes_and_hashes_are_refused(hub: Hub, change: dict[str, object]) -> None:
    hub.siblings.append(hub._entry("config.json", hub.files["config.json"]) | change)
    refused("no usable size and hash")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.hostile("damage")
def test_a_file_without_end_is_cut_and_refused(hub: Hub, name: str, home: Path) -> None:
    hub.endless = frozenset({name})
    refused("does not match")
    left = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    assert left < 2 * sum(map(len, hub.files.values()))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.hostile("weights")
def test_a_model_that_needs_code_is_refused_before_its_weights_are_fetched(hub: Hub, name: str) -> None:
    settings = json.loads(hub.files[name]) | {"auto_map": {"AutoModelForCausalLM": "model.Evil"}}
    hub.files[name] = json.dumps(settings).encode()
    refused("needs code of its own")
    assert "model.safetensors" not in hub.sent


def test_pickle_files_and_gguf_files_alone_are_refused(hub: Hub) -> None:
    del hub.files["model.safetensors"]
    refused("pickle files")
    del hub.files["pytorch_model.bin"], hub.files["original/consolidated.00.pth"]
    hub.files["model.gguf"] = b"GGUF"
    refused("GGUF files")


@pytest.mark.parametrize(
    ("endpoint", "target", "allowed"),
    [
        ("https://hub.example", "https://cdn.example/x", True),
        ("https://hub.example", "http://cdn.example/x", False),
        ("https://hub.example", "https://127.0.0.1/x", False),
        ("https://hub.example", "https://169.254.169.254/latest", False),
        ("https://hub.example", "https://10.1.2.3/x", False),
        ("https://hub.example", "https://localhost/x", False),
        ("http://10.0.0.1:80", "http://10.0.0.2/x", True),
        ("http://mirror.example", "http://mirror.example/x", True),
        ("http://mirror.example", "http://other.example/x", False),
    ],
)
@pytest.mark.hostile("weights")
def test_redirects_into_private_networks_are_refused(
    endpoint: str, target: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    request = httpx.Request("GET", target)
    if allowed:
        hub_module._check_address(request)
        return
    with pytest.raises(ModelFault, match="refused"):
        hub_module._check_address(request)


def test_redirects_to_what_is_no_web_address_are_refused(hub: Hub) -> None:
    hub.cdn, hub.lfs_from = "file:///etc/passwd", 1_000
    refused("redirects to file")


def test_a_redirect_that_never_ends_is_refused(hub: Hub) -> None:
    hub.lfs_from = 1_000
    hub.cdn = f"{hub.url}/{NAME}/resolve/{hub.commit}/model.safetensors"
    refused("leads nowhere")


def test_an_index_that_names_other_files_is_refused(hub: Hub) -> None:
    hub.files["model.safetensors.index.json"] = b'{"weight_map": {"a": "../../x.safetensors"}}'
    refused("names weights that it does not have")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "terms"), (403, "terms"), (404, "no model"), (500, "answered 500")]
)
def test_refusals_of_the_hub_say_what_to_do(hub: Hub, status: int, words: str) -> None:
    hub.status = status
    refused(words)


def test_what_is_no_hub_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commit = "main"
    refused("not the hub's")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused("does not answer")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("switched off")


def test_too_little_space_is_said_before_the_weights_are_fetched(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_pull, "free_bytes", lambda _: 1_000)
    with pytest.raises(DiskFull, match="bytes are needed"):
        pull()
    assert "model.safetensors" not in hub.sent


def test_names_of_the_hub() -> None:
    assert is_hub_name("Qwen/Qwen3-4B") and is_hub_name(" a/b ")
    for text in ("qwen", "a/b/c", "../b", "a/..", "./a", "/a", "a/", "http://x/y", "~/a", "a/b..c"):
        assert not is_hub_name(text), text


# -- the command --------------------------------------------------------------------------------------------


def agent(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).with_name("agent")), "models", *words]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)


def test_the_commands_pull_list_and_remove(hub: Hub) -> None:
    hub.licence = "llama3.1"
    asked = agent("pull", NAME, stdin="n\n")
    assert asked.returncode != 0 and "licence llama3.1" in asked.stdout and not hub_folder(NAME).exists()
    done = agent("pull", NAME, "--yes")
    assert done.returncode == 0 and str(hub_folder(NAME)) in done.stdout.replace("\n", ""), done.stderr
    row = next(line for line in agent("list").stdout.splitlines() if NAME in line)
    assert "llama3.1" in row and "yes" in row
    assert agent("remove", NAME, "--yes").returncode == 0 and not hub_folder(NAME).exists()

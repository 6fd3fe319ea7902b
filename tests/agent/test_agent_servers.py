"""`agent solve` with servers as users have them, as typed: it works at once, or says so before anything runs."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from evil_model_server import evil_server
from shop import QUICK
from small_server import said, small_server
from warm import warm_run

from forklock.agent.contract import Outcome

ANSWER = """shop.py
<<<<<<< SEARCH
    for price in prices[1:]:
=======
    for price in prices:
>>>>>>> REPLACE
"""
HOST = ("--sandbox", "host", "--regression", "none", "--no-diagnostics", "--width", "2")


def solve(repo: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("agent")),
        "solve",
        "fix total",
        "--test",
        QUICK,
        *HOST,
        *args,
    ]
    places = {"COLUMNS": "240", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return warm_run(command, cwd=repo, env=os.environ | places | env)


@pytest.mark.hostile("setup")
def test_a_plain_server_solves_without_further_flags(repo: Path) -> None:
    with small_server(lambda _body: said(ANSWER)) as server:
        done = solve(
            repo, "--model", server.url, HTTP_PROXY="http://127.0.0.1:9", ALL_PROXY="socks5://127.0.0.1:9"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "takes no top_k: top_k = 20 is left out" in done.stdout
    assert all("top_k" not in body for body in server.bodies)


@pytest.mark.hostile("setup")
def test_a_local_program_solves_without_a_key(repo: Path) -> None:
    with small_server(lambda _body: said(ANSWER), models=("coder:latest",)) as server:
        done = solve(repo, "--model", "ollama/coder", OLLAMA_API_BASE=server.url.removesuffix("/v1"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.hostile("setup")
def test_a_providers_model_solves_without_further_flags(repo: Path) -> None:
    pytest.importorskip("litellm")
    with small_server(lambda _body: said(ANSWER)) as server:
        key = {
            "OPENAI_API_KEY": "sk-none-0123456789",
            "OPENAI_API_BASE": server.url,
            "OPENAI_BASE_URL": server.url,
        }
        done = solve(repo, "--model", "openai/m", **key)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.hostile("setup")
def test_what_the_user_asked_for_is_a_fault_before_anything_runs(repo: Path) -> None:
    with small_server(lambda _body: said(ANSWER)) as server:
        done = solve(repo, "--model", server.url, "--top-k", "20")
        by_variable = solve(repo, "--model", server.url, FORKLOCK_AGENT__TOP_K="20")
    for one in (done, by_variable):
        assert one.returncode not in (0, 1) and "does not truncate by top_k" in one.stderr, one.stderr
        assert "run  " not in one.stdout
    assert server.bodies == []


@pytest.mark.hostile("weights")
@pytest.mark.parametrize("behaviour", ["keep_alive_comments", "trickled_body", "silence"])
def test_seconds_bind_whatever_the_server_does(repo: Path, behaviour: str) -> None:
    began = time.monotonic()
    with evil_server(behaviour, ("/completions",)) as url:
        done = solve(repo, "--model", url, "--seconds", "8", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads(done.stdout)["outcome"] == Outcome.SECONDS.value
    assert time.monotonic() - began < 45


@pytest.mark.hostile("weights")
def test_tokens_bind_where_a_server_counts_none(repo: Path) -> None:
    numbers = itertools.count(2)

    def wrong(_body: dict[str, Any]) -> tuple[int, Any]:
        return said(ANSWER.replace("prices:\n>", f"prices[{next(numbers)}:]:\n>"), usage=None)

    with small_server(wrong) as server:
        done = solve(repo, "--model", server.url, "--tokens", "3000", "--steps", "50", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads(done.stdout)["outcome"] == Outcome.TOKENS.value
    assert len(server.bodies) < 40

"""A way out of a sandbox without network: allowed hosts are reached, others and everything beside it are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_sandbox_egress import server

from forklock.sandbox import Policy, open_sandbox, workspace_policy
from forklock.sandbox.images import egress
from forklock.sandbox.images.way_out import open_way_out

pytestmark = pytest.mark.hostile("sandbox")
CODE = """
import socket, sys, urllib.request
port = sys.argv[1]
print(urllib.request.urlopen(f"http://localhost:{port}/a").read().decode())
try:
    urllib.request.urlopen(f"http://elsewhere.invalid:{port}/")
except urllib.request.HTTPError as error:
    print(error.code)
try:
    socket.create_connection(("127.0.0.1", int(port)), 2)
except OSError:
    print("no network")
sys.exit(7)
"""


def test_a_command_reaches_allowed_hosts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as port, open_way_out(["localhost"]) as way:
        monkeypatch.setattr(egress, "_PORTS", {"CONNECT": port, "http": port})
        policy = way.policy(workspace_policy(tmp_path, Policy()))
        assert not policy.network
        with open_sandbox(tmp_path, policy, backend="bubblewrap") as sandbox:
            result = sandbox.exec(way.words(["python3", "-c", CODE, str(port)]))
    said = result.stdout.decode().splitlines()
    assert said[0].startswith("/a localhost"), result.stderr.decode()
    assert said[1:] == ["403", "no network"]
    assert result.exit_code == 7
    assert way.egress.refused == ["elsewhere.invalid"]
    assert not way.folder.exists()

"""A language server that misbehaves as told: `evil_server.py MODE [ARG]`. Standard library only.

Well-behaved otherwise: it answers a definition with the first line of the document, and publishes one
diagnostic per line that holds the word `bad`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

MODE = sys.argv[1]
ARG = sys.argv[2] if len(sys.argv) > 2 else ""
OUT = sys.stdout.buffer
texts: dict[str, tuple[int, str]] = {}
replies: dict[str, dict] = {}
replied = threading.Condition()
requests = 0


def send(message: dict, prefix: bytes = b"") -> None:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    OUT.write(prefix + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    OUT.flush()


def receive() -> dict | None:
    length = 0
    while (line := sys.stdin.buffer.readline()).strip():
        if line.lower().startswith(b"content-length"):
            length = int(line.split(b":")[1])
    return json.loads(sys.stdin.buffer.read(length)) if length else None


def publish(uri: str, version: int | None, text: str) -> None:
    items = [
        {"range": span(n, 0, 3), "severity": 1, "code": "bad", "message": f"bad line: {line.strip()}"}
        for n, line in enumerate(text.split("\n"))
        if "bad" in line
    ]
    params = {"uri": uri, "diagnostics": items} | ({} if version is None else {"version": version})
    send({"method": "textDocument/publishDiagnostics", "params": params})


def span(line: int, start: int, end: int) -> dict:
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


def changed(uri: str, version: int, text: str) -> None:
    texts[uri] = (version, text)
    match MODE:
        case "stale-only":
            publish(uri, version - 1, "bad old news")
        case "stale-then-right":
            publish(uri, version - 1, "bad old news")
            threading.Timer(0.2, publish, (uri, version, text)).start()
        case "unversioned":
            publish(uri, None, "bad old news")
            threading.Timer(0.05, publish, (uri, None, text)).start()
        case "silent":
            pass
        case _:
            publish(uri, version, text)


def ask_client() -> None:
    """Requests of our own, known and unknown; what came back goes to the file ARG."""
    asked = {
        "evil-1": (
            "workspace/configuration",
            {"items": [{"section": "python.analysis"}, {"section": "nowhere"}]},
        ),
        "evil-2": ("client/registerCapability", {"registrations": []}),
        "evil-3": ("window/workDoneProgress/create", {"token": "t"}),
        "evil-4": ("window/showMessageRequest", {"type": 1, "message": "?", "actions": [{"title": "yes"}]}),
        "evil-5": ("workspace/applyEdit", {"edit": {"changes": {}}}),
        "evil-6": ("evil/unheardOf", {"x": 1}),
        "evil-7": ("workspace/workspaceFolders", None),
    }
    for key, (method, params) in asked.items():
        send({"id": key, "method": method, "params": params})
    send({"method": "exit"})
    send({"method": "evil/notice", "params": [1, 2]})
    with replied:
        replied.wait_for(lambda: len(replies) == len(asked), timeout=5)
    Path(ARG).write_text(json.dumps(replies))


def answer(message: dict) -> None:
    global requests
    requests += 1
    misbehave()
    method, key, params = message["method"], message["id"], message.get("params") or {}
    if method == "initialize":
        initialize(key)
    elif method == "shutdown":
        if MODE != "ignore-shutdown":
            send({"id": key, "result": None})
    elif method == "textDocument/definition":
        definition(key, params)
    else:
        send({"id": key, "error": {"code": -32601, "message": f"no {method}"}})


def misbehave() -> None:
    if MODE == "crash-once" and requests == int(ARG.split(":")[0]) and not Path(ARG.split(":")[1]).exists():
        Path(ARG.split(":")[1]).touch()
        os._exit(3)
    if MODE == "crash" and requests >= int(ARG):
        print("evil: out of spite", file=sys.stderr, flush=True)
        os._exit(3)
    if MODE == "eat" and requests > 1:
        # ARG megabytes, in a child of ours where it says so.
        size, _, where = ARG.partition(":")
        subprocess.run([sys.executable, __file__, "eat-now", size], check=False) if where else eat(int(size))
    if MODE == "flood-stderr":
        os.write(2, b"x" * 3_000_000)


def initialize(key: object) -> None:
    if MODE == "hang-initialize":
        time.sleep(3600)
    if MODE == "bad-initialize":
        send({"id": key, "result": {"capabilities": 7}})
        return
    if MODE == "asks":
        threading.Thread(target=ask_client, daemon=True).start()
    send({"id": key, "result": {"capabilities": {"textDocumentSync": 1, "definitionProvider": True}}})


def definition(key: object, params: dict) -> None:
    uri = params["textDocument"]["uri"]
    place = {"uri": ARG if MODE == "elsewhere" else uri, "range": span(0, 4, 5)}
    match MODE:
        case "hang-request":
            return
        case "late":
            # The first answer comes when it has been cancelled; see `main`.
            if requests == 2:
                late.append((key, {"uri": uri, "range": span(99, 0, 1)}))
                return
        case "garbage":
            send({"id": key, "result": place}, prefix=b"oh: dear\r\nContent-Length: nonsense\r\n")
            return
        case "garbage-stream":
            OUT.write(b"\xff" * 300_000)
            OUT.flush()
            return
        case "bad-answer":
            send({"id": key, "result": [{"uri": 1, "range": "here"}]})
            return
        case "error":
            send({"id": key, "error": {"code": -32803, "message": "will not"}})
            return
        case "cancelled-twice":
            if requests < 4:
                send(
                    {
                        "id": key,
                        "error": {"code": -32802, "message": "busy", "data": {"retriggerRequest": True}},
                    }
                )
                return
    send({"id": key, "result": place})


def eat(megabytes: int) -> None:
    eaten = []
    while len(eaten) < megabytes // 16:
        eaten.append(b"x" * 2**24)
        time.sleep(0.01)


late: list[tuple[object, dict]] = []


def notice(method: str, params: dict) -> None:
    if method == "textDocument/didOpen":
        document = params["textDocument"]
        changed(document["uri"], document["version"], document["text"])
    elif method == "textDocument/didChange":
        document = params["textDocument"]
        changed(document["uri"], document["version"], params["contentChanges"][0]["text"])
    elif method == "$/cancelRequest":
        for key, place in late:
            send({"id": key, "result": place})
        late.clear()


def main() -> None:
    if MODE == "eat-now":
        eat(int(ARG))
        return
    if MODE == "ignore-shutdown":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "3600"])
    while (message := receive()) is not None:
        if "method" not in message:
            with replied:
                replies[message["id"]] = message
                replied.notify_all()
        elif "id" in message:
            answer(message)
        elif message["method"] == "exit" and MODE != "ignore-shutdown":
            return
        else:
            notice(message["method"], message.get("params") or {})
    while MODE == "ignore-shutdown":
        time.sleep(60)


main()

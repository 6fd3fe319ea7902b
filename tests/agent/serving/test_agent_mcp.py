"""The MCP server as another agent meets it: the SDK's client, real language servers, a real sandbox.

What the tools answer is tested in this process; flags, the wire and the end in a process of the server's own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from shop import RIGHT, TEST

pytest.importorskip("mcp", reason="the `mcp` extra is not installed")

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from forklock.agent.serving.mcp.server import build
from forklock.agent.serving.mcp.workbench import ServeOptions, Workbench
from forklock.sandbox import BackendName, Policy, SandboxUnavailable
from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
from forklock.sandbox.backends.open import choose, why_not

ROOT = Path(__file__).parents[3]
EDITS = {"replace_symbol", "search_replace", "replace_file", "rename", "apply_action"}
Call = Callable[..., Awaitable[CallToolResult]]


@asynccontextmanager
async def process(repo: Path, *flags: str) -> AsyncIterator[tuple[Client, Call]]:
    """A session with a server that the command has started."""
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "forklock.agent.cli", "mcp", "--repo", str(repo), *flags],
        cwd=ROOT,
    )
    async with Client(command) as client:
        yield client, partial(_call, client)


@asynccontextmanager
async def session(repo: Path) -> AsyncIterator[tuple[Client, Call]]:
    """A session with a server in this process."""
    bench = Workbench(repo, ServeOptions())
    try:
        async with Client(build(bench)) as client:
            yield client, partial(_call, client)
    finally:
        bench.close()


async def _call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    return await client.call_tool(tool, arguments)


def text(result: CallToolResult) -> str:
    return "\n".join(getattr(block, "text", "") for block in result.content)


def data(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error and result.structured_content is not None, text(result)
    return result.structured_content


def require_sandbox() -> None:
    try:
        choose(Policy())
    except SandboxUnavailable as fault:
        pytest.skip(fault.message)


def test_tools_are_few_words_and_say_what_they_do(repo: Path) -> None:
    async def go() -> None:
        async with process(repo) as (client, _):
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() >= EDITS | {"frame", "repo_map", "localise", "diagnostics", "run_tests", "tidy"}
        assert all(tool.description and len(tool.description) < 200 for tool in tools.values())
        assert len(json.dumps([tool.input_schema for tool in tools.values()])) < 8000
        assert {name for name, tool in tools.items() if not tool.annotations.read_only_hint} == {
            *EDITS,
            "tidy",
        }

    asyncio.run(go())


def test_rename_calls_and_actions(repo: Path) -> None:
    (repo / "use.py").write_text(
        "import os\nfrom shop import mean\n\n\ndef report(prices):\n    return mean(prices)\n"
    )

    async def go() -> None:
        async with session(repo) as (_, call):
            assert "use.py:6 report: return mean(prices)" in text(await call("calls", symbol="mean"))
            refused = data(await call("rename", symbol="mean", new_name="average"))
            if refused["applied"]:  # no test mentions it
                assert "def average(prices)" in (repo / "shop.py").read_text()
                assert "return average(prices)" in (repo / "use.py").read_text()
            else:
                assert "is a test" in refused["message"] and "def mean(" in (repo / "shop.py").read_text()
            offered = text(await call("code_actions", path="use.py"))
            title = next(line for line in offered.split("\n") if "unused import" in line).rpartition(" [")[0]
            fixed = data(await call("apply_action", path="use.py", title=title))
            assert fixed["applied"] and "import os" not in (repo / "use.py").read_text()
            assert (await call("apply_action", path="use.py", title="Make it good")).is_error
            assert "no name" in text(await call("rename", symbol="mean", new_name="a b"))

    asyncio.run(go())


@pytest.mark.hostile("answers")
def test_a_rename_that_is_not_complete_is_refused_with_the_places(repo: Path) -> None:
    (repo / "lib.py").write_text("def rate(x):\n    return x\n\n\ndef other(x):\n    return x\n")
    (repo / "use.py").write_text("import lib\n\nprint(lib.rate(1), getattr(lib, 'rate')(2))\n")
    before = (repo / "lib.py").read_text()

    async def go() -> None:
        async with session(repo) as (_, call):
            refused = data(await call("rename", symbol="rate", new_name="share"))
            assert not refused["applied"] and "use.py:3: a string has the name" in refused["message"]
            assert (repo / "lib.py").read_text() == before
            taken = await call("rename", symbol="rate", new_name="other", partial=True)
            assert taken.is_error and "other is taken: lib.py:5" in text(taken)
            done = await call("rename", symbol="rate", new_name="share", partial=True)
            assert data(done)["applied"] and "use.py:3" in data(done)["uncovered"]
            assert "not complete" in text(done) and "def share" in (repo / "lib.py").read_text()
            assert "use.py:3: a string has the name" not in text(await call("calls", symbol="share"))
            (repo / "use.py").write_text("import lib\n\n\ndef f(m):\n    return m.share(1)\n\n\nf(lib)\n")
            for tool in ("calls", "references"):
                maybe = text(await call(tool, symbol="share"))
                assert "not complete" in maybe and "use.py:5" in maybe, maybe
            whole = data(await call("rename", symbol="other", new_name="another"))
            assert whole["applied"] and whole["uncovered"] == "complete"

    asyncio.run(go())


@pytest.mark.hostile("answers")
def test_definitions_of_libraries_come_with_their_source(repo: Path, tried: Callable[[int], None]) -> None:
    uses = {
        "len": "len([])", "join": "''.join([])", "print": "print()", "dict": "dict()", "append": "[].append(1)",
        "dumps": "json.dumps(1)", "Path": "pathlib.Path()", "ABC": "abc.ABC", "sleep": "time.sleep(1)",
        "ValueError": "ValueError()", "sqrt": "math.sqrt(1)", "OrderedDict": "collections.OrderedDict()",
        "Popen": "subprocess.Popen", "TestCase": "unittest.TestCase", "deque": "collections.deque()",
    }  # fmt: skip
    body = "\n".join(f"    {code}" for code in uses.values())
    imports = "import abc, collections, json, math, pathlib, subprocess, time, unittest\n"
    (repo / "use.py").write_text(f"{imports}\n\ndef everything():\n{body}\n")

    async def go() -> None:
        async with session(repo) as (_, call):
            for number, name in enumerate(uses, 5):
                shown = text(await call("definition", symbol=name, path="use.py", line=number))
                place = shown.split("\n")[0].rpartition(":")[0]
                assert Path(place).is_file(), (name, shown)
                assert f" {name}" in shown.partition("\n")[2], (name, shown)
            calls = text(await call("calls", symbol="everything", outgoing=True))
            places = [line.partition(":")[0] for line in calls.split("\n") if line.startswith("/")]
            assert len(places) >= 8 and all(Path(place).is_file() for place in places), calls

    asyncio.run(go())
    tried(len(uses) + 1)


@pytest.mark.hostile("answers")
def test_long_answers_go_on(repo: Path, tried: Callable[[int], None]) -> None:
    functions = "\n\n".join(f"def function_{n}(value):\n    return shared(value)" for n in range(700))
    (repo / "long.py").write_text(f"def shared(value):\n    return value\n\n{functions}\n")
    (repo / "big.py").write_text("def big():\n" + "\n".join(f"    line_{n} = {n}" for n in range(900)) + "\n")

    async def whole(call: Call, tool: str, **arguments: Any) -> tuple[str, int]:
        """All pages of an answer, and how many there were."""
        offset, pages = 0, list[str]()
        while True:
            page = text(await call(tool, **arguments, offset=offset))
            assert len(page) < 7000
            lines = page.split("\n")
            more = re.fullmatch(r"… \d+ more.*offset=(\d+)", lines[-1])
            pages.append("\n".join(lines[:-1] if more else lines))
            if more is None:
                return "\n".join(pages), len(pages)
            assert int(more[1]) > offset
            offset = int(more[1])

    async def go() -> None:
        async with session(repo) as (_, call):
            for tool, arguments, pattern, count in (
                ("symbols", {"path": "long.py"}, r"function_(\d+)\b", 700),
                ("find_symbol", {"name": "function_"}, r"long.py:\S+ function_(\d+)", 700),
                ("calls", {"symbol": "shared"}, r"function_(\d+): ", 700),
                ("references", {"symbol": "shared"}, r"long.py:\d+ function_(\d+)", 700),
                ("definition", {"symbol": "big"}, r"line_(\d+) =", 900),
            ):
                answer, pages = await whole(call, tool, **arguments)
                assert pages > 1 and len(set(re.findall(pattern, answer))) == count, (tool, pages)
            diagnosed = [f"nobody_{n}\n" for n in range(70)]
            (repo / "long.py").write_text("".join(diagnosed))
            found: set[str] = set()
            for offset in (0, 30, 60, 90, 120):
                answer = data(await call("diagnostics", path="long.py", offset=offset))
                found |= set(re.findall(r"nobody_\d+", json.dumps(answer)))
            assert len(found) == 70

    asyncio.run(go())
    tried(6)


def test_look_ups_and_the_frame(repo: Path) -> None:
    async def go() -> None:
        async with session(repo) as (_, call):
            assert text(await call("find_symbol", name="total")).startswith("shop.py:1-6 total")
            assert "9-11 mean: def mean(prices)" in text(await call("symbols", path="shop.py"))
            assert "def total(prices)" in text(await call("repo_map", tokens=200))
            assert "total: def total(prices)" in text(await call("search", question="what the prices total"))
            assert "result = 0" in text(await call("definition", symbol="total"))
            there = await call("definition", symbol="total", path="shop.py", line=11)
            assert text(there).startswith("shop.py:1 total")
            assert "test_shop.py:7 Shop.test_total" in text(await call("references", symbol="total"))
            assert "Mean of the prices" in text(await call("hover", symbol="mean"))
            names = text(await call("completion", path="shop.py", line=4, prefix="result."))
            assert "bit_length" in names
            frame = text(await call("frame", symbol="total"))
            assert "### Callers" in frame and "shop.py:11 in mean" in frame
            assert data(await call("diagnostics", path="shop.py"))["answer"] == "clean"
            assert data(await call("diagnostics", path=".gitignore"))["answer"] == "unavailable"
            assert "shop.py:1-6 total" in text(await call("localise", task="`total` is wrong"))

    asyncio.run(go())


def test_an_edit_that_would_not_parse_is_refused_with_what_it_would_be(repo: Path) -> None:
    before = (repo / "shop.py").read_text()

    async def go() -> None:
        async with session(repo) as (_, call):
            got = data(
                await call("search_replace", path="shop.py", search="result = 0", replace="result = (")
            )
        assert got["applied"] is False and "would not parse" in got["message"]
        assert "result = (" in got["would_be"]

    asyncio.run(go())
    assert (repo / "shop.py").read_text() == before


def test_other_languages_are_served_without_their_server(repo: Path) -> None:
    go_files = {"cart.go": "package shop\n\n// Total sums.\nfunc (c *Cart) Total() int {\n\treturn 1\n}\n"}
    go_files |= {"cart_test.go": "package shop\n\nfunc TestTotal(t *testing.T) {}\n"}
    for name, source in go_files.items():
        (repo / name).write_text(source)

    async def go() -> None:
        async with session(repo) as (_, call):
            assert "Cart.Total: func (c *Cart) Total() int" in text(await call("find_symbol", name="Total"))
            assert "3-6 Cart.Total" in text(await call("symbols", path="cart.go"))
            assert "cart.go:3-6 Cart.Total" in text(await call("localise", task="`Cart.Total` is wrong"))
            source = "func (c *Cart) Total() int {\n    return 2\n}"
            edit = {"path": "cart.go", "symbol": "Total", "source": source}
            broken = data(await call("replace_symbol", **edit | {"source": source[:-1]}))
            assert not broken["applied"] and "does not parse" in broken["message"]
            assert data(await call("replace_symbol", **edit))["applied"]
            test = {"path": "cart_test.go", "symbol": "TestTotal", "source": "func TestTotal() {}"}
            assert "is a test" in data(await call("replace_symbol", **test))["message"]

    asyncio.run(go())
    assert (repo / "cart.go").read_text() == go_files["cart.go"].replace("1", "2")


def test_diagnostics_after_an_edit_are_fresh(repo: Path) -> None:
    async def go() -> None:
        async with session(repo) as (_, call):
            wrong = RIGHT.replace("(prices)\n", "(pricez)\n")
            got = data(await call("replace_symbol", path="shop.py", symbol="total", source=wrong))
            assert got["applied"] and "+    return sum(pricez)" in got["diff"]
            assert any("pricez" in item["message"] for item in got["new_diagnostics"]["items"])
            assert data(await call("diagnostics", path="shop.py"))["answer"] == "found"
            again = data(await call("replace_symbol", path="shop.py", symbol="total", source=RIGHT))
            assert again["new_diagnostics"]["answer"] == "clean"
            (repo / "shop.py").write_text("x = nobody\n")  # by other means than our tools
            assert "nobody" in text(await call("diagnostics", path="shop.py"))

    asyncio.run(go())


def test_tests_fail_then_pass(repo: Path) -> None:
    require_sandbox()

    async def go() -> None:
        async with process(repo, "--test", TEST) as (_, call):
            failed = data(await call("run_tests"))
            assert failed["status"] == "failed" and (failed["passed"], failed["failed"]) == (1, 2)
            assert failed["failures"][0]["places"] == ["test_shop.py:10 test_mean"]
            suspects = text(await call("localise", task="the sum is wrong"))
            assert suspects.startswith("shop.py:1-6 total") and "called by test_shop.py" in suspects
            assert data(await call("replace_symbol", path="shop.py", symbol="total", source=RIGHT))["applied"]
            passed = data(await call("run_tests"))
            assert passed["status"] == "passed" and len(passed["fixed"]) == 2 and not passed["broken"]

    asyncio.run(go())
    status = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"], cwd=repo, capture_output=True, text=True
    )
    assert status.stdout == " M shop.py\n"


def test_what_may_not_be_written_is_refused(repo: Path, tmp_path: Path) -> None:
    (repo / "away").symlink_to(tmp_path)

    async def go() -> None:
        async with session(repo) as (_, call):
            for path in ("../out.py", "/tmp/out.py", ".git/config", "away/out.py", "test_shop.py"):
                got = data(await call("replace_file", path=path, source="x = 1\n"))
                assert got["applied"] is False and path in got["message"]

    asyncio.run(go())
    assert not (tmp_path / "out.py").exists() and not Path("/tmp/out.py").exists()


def test_flags_bound_what_can_be_written(repo: Path) -> None:
    async def go() -> None:
        async with process(repo, "--read-only") as (client, call):
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert not names & EDITS
            assert (await call("tidy", path="shop.py", apply=True)).is_error
        async with process(repo, "--edit-tests", "--sandbox", "host") as (_, call):
            assert data(await call("replace_file", path="test_shop.py", source="x = 1\n"))["applied"]
            refused = await call("run_tests", command="touch out")
            assert refused.is_error and "--sandbox host" in text(refused)

    asyncio.run(go())


def test_tidy_touches_what_changed_since_the_commit(repo: Path) -> None:
    shop = repo / "shop.py"
    shop.write_text("import os\n" + shop.read_text().replace("return result", "return   result"))

    async def go() -> None:
        async with session(repo) as (_, call):
            shown = data(await call("tidy", path="shop.py"))
            assert not shown["applied"] and "-import os" in shown["diff"]
            assert data(await call("tidy", path="shop.py", apply=True))["applied"]

    asyncio.run(go())
    assert "os" not in shop.read_text().split("\n")[0] and "return result" in shop.read_text()


ERRORS: list[tuple[str, dict[str, Any], str]] = [
    ("symbols", {"path": "../../etc/passwd"}, "not a path inside"),
    ("definition", {"symbol": "x", "path": ".git/config"}, "belongs to git"),
    ("hover", {"symbol": "totl"}, "no definition 'totl'"),
    ("frame", {"symbol": "totl", "path": "shop.py"}, "shop.py:total"),
    ("definition", {"symbol": "nope", "path": "shop.py", "line": 2}, "not on line 2"),
    ("definition", {"symbol": "nope", "line": 2}, "give `path`"),
    ("completion", {"path": "shop.py", "line": 99, "prefix": "x."}, "lines"),
    ("repo_map", {"tokens": 10**9}, "less than or equal to 8000"),
    ("run_tests", {"command": "pytest | tee x"}, "needs a shell"),
    ("nothing", {}, "Unknown tool"),
]


def test_errors_are_sentences(repo: Path) -> None:
    async def go() -> None:
        async with session(repo) as (_, call):
            for tool, arguments, words in ERRORS:
                got = await call(tool, **arguments)
                assert got.is_error and words in text(got) and "Traceback" not in text(got), (tool, text(got))

    asyncio.run(go())


# --- the end ---------------------------------------------------------------------------------------


class Raw:
    """The server as a bare process, to see how it ends and that stdout carries only the protocol."""

    def __init__(self, repo: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "forklock.agent.cli", "mcp", "--repo", str(repo), *flags]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        hello = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "0"},
        }
        self.send("initialize", hello, 1)
        assert self.read()["result"]["serverInfo"]["name"] == "forklock"
        self.send("notifications/initialized")

    def send(self, method: str, params: dict[str, Any] | None = None, number: int | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params, "id": number}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({k: v for k, v in message.items() if v is not None}) + "\n")
        self.process.stdin.flush()

    def call(self, tool: str, number: int, **arguments: Any) -> None:
        self.send("tools/call", {"name": tool, "arguments": arguments}, number)

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, seconds: float) -> int:
        """Close the input and wait; whatever is still written must be the protocol."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(seconds)
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in self.process.stdout)
        return code


def test_closing_stdin_ends_the_server_and_its_language_servers(repo: Path) -> None:
    raw = Raw(repo)
    raw.call("hover", 2, symbol="mean")
    assert "Mean of the prices" in json.dumps(raw.read())
    family = raw.family()
    assert len(family) >= 2
    assert raw.end(8) == 0
    _, alive = psutil.wait_procs(family, timeout=3)
    assert not alive


LASTING = {
    "plain": "import os; os.execvp('sleep', ['sleep', '77.{n}'])",
    "deaf": "import signal, subprocess as s\n"
    "for one in (1, 2, 15): signal.signal(one, signal.SIG_IGN)\ns.run(['sleep', '77.{n}'])",
    "family": "import subprocess as s\n"
    "many = [s.Popen(['sleep', '77.{n}']) for _ in range(5)]\n[one.wait() for one in many]",
    "daemon": "import os, subprocess as s\n"
    "if os.fork(): os.wait()\nelse:\n    os.setsid(); s.run(['sleep', '77.{n}'])",
    "loud": "import subprocess as s\ns.Popen(['sleep', '77.{n}'])\nwhile True: print('x' * 9999)",
}
"""Test programs that end only where they are ended."""


@pytest.mark.hostile("sandbox")
@pytest.mark.parametrize("end", ["input", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("backend", ["docker", "bubblewrap", "host"])
def test_running_tests_end_with_the_server(
    repo: Path, backend: BackendName, end: str, tried: Callable[[int], None]
) -> None:
    require_backend(backend)
    # Without isolation only the command itself is sure to end with a server that is killed.
    kinds = ["plain"] if (backend, end) == ("host", "SIGKILL") else list(LASTING)
    numbers = {kind: f"{secrets.randbelow(10**9):09}" for kind in kinds}
    sources = [LASTING[kind].replace("{n}", numbers[kind]) for kind in kinds]
    several = (
        f"import subprocess, sys\nfor one in {sources[1:]!r}: subprocess.Popen([sys.executable, '-c', one])\n"
    )
    (repo / "lasting.py").write_text(several + sources[0])
    python = sys.executable if backend == "host" else "python3"
    raw = Raw(repo, "--sandbox", backend, "--test", f"{python} lasting.py")
    raw.call("run_tests", 2)
    _await(lambda: all(map(_sleeping, numbers.values())), 30)
    assert all(map(_sleeping, numbers.values()))
    if end == "input":
        assert raw.end(12) == 0
    else:
        raw.process.send_signal(getattr(signal, end))
        raw.process.wait(8)
    _await(lambda: not any(map(_sleeping, numbers.values())), 5)
    left = {kind: _sleeping(number) for kind, number in numbers.items()}
    for pid in itertools.chain(*left.values()):
        os.kill(pid, signal.SIGKILL)
    assert not any(left.values()), left
    tried(len(kinds))


def require_backend(backend: BackendName) -> None:
    if backend == "docker" and (problem := why_not("docker")):
        pytest.skip(problem[0])
    if backend == "bubblewrap" and (problem := bubblewrap.why_not()):
        pytest.skip(problem[0])


def _await(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


def _sleeping(number: str) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", f"77.{number}"]]


def test_a_signal_ends_it_too(repo: Path) -> None:
    raw = Raw(repo)
    raw.call("hover", 2, symbol="mean")
    raw.read()
    family = raw.family()
    raw.process.terminate()
    assert raw.process.wait(8) == 130
    _, alive = psutil.wait_procs(family, timeout=3)
    assert not alive


def test_the_missing_extra_is_named(repo: Path) -> None:
    code = (
        "import sys; sys.modules['mcp'] = None; from forklock.agent.cli import main; "
        f"sys.argv = ['agent', 'mcp', '--repo', {str(repo)!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "[mcp]" in done.stderr and not done.stdout

"""How long `agent mcp` takes: start, tools that need no language server, the first that does, warm ones, the end.

    python bench/mcp_latency.py --repo PATH FILE:SYMBOL [--rounds 5]

Through the SDK's own client over stdio, a new server each round. Prints medians in milliseconds. The repo is
not changed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.table import Table


async def one_server(repo: str, path: str, symbol: str) -> dict[str, float]:
    times: dict[str, float] = {}
    arguments = ["-m", "forklock.agent.cli", "mcp", "--read-only", "--repo", repo]
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        times[name] = (time.perf_counter() - began) * 1000
        began = time.perf_counter()

    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        lap("start")
        here = {"path": path, "symbol": symbol}
        calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("symbols", "symbols", {"path": path}),
            ("find_symbol", "find_symbol", {"name": symbol}),
            ("repo_map", "repo_map", {}),
            ("first hover", "hover", here),
            ("hover", "hover", here),
            ("references", "references", here),
            ("frame", "frame", here),
            ("diagnostics", "diagnostics", {"path": path}),
        )
        for name, tool, given in calls:
            answer = await client.call_tool(tool, given)
            lap(name)
            if answer.is_error:
                raise SystemExit(f"{tool}: {answer.content}")
    lap("end")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("symbol", metavar="FILE:SYMBOL")
    parser.add_argument("--repo", default=".")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    path, _, symbol = options.symbol.rpartition(":")
    rows: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for name, took in asyncio.run(one_server(options.repo, path, symbol)).items():
            rows[name].append(took)
    table = Table("what", "median ms", "min", "max")
    for name, took in rows.items():
        table.add_row(name, *(f"{value:.0f}" for value in (statistics.median(took), min(took), max(took))))
    Console().print(table)


if __name__ == "__main__":
    main()

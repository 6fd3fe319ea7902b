"""`agent solve` beside mini-swe-agent and aider: same model, same server, same tasks, equal budgets.

    scripts/bench.sh solve --quixbugs PATH --sample 10 --tokens 2000 --out peers.jsonl

In: tasks (programs of QuixBugs with one failing case shown, `--quixbugs`; the example bugs, `--examples`) and a budget
a task and agent: `--tokens` (equal generated tokens, so that batching is no excuse), `--seconds` (equal wall-clock), or
both. Out: a JSON-lines file with a row a run, appended as they come, so that a killed measurement goes on; and markdown
on stdout. The sample is drawn by a hash of the names. The server is started here, and only a proxy that counts and ends
each run (`bench/solve_proxy.py`) knows its key. How the peers are set up is in `bench/peers/`.

Not covered: other servers than vLLM's (`--server` takes one that runs).
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from solve_contest import OURS, PEERS, Contest, contend
from solve_proxy import Proxy, serving
from solve_rows import Row, report
from solve_tasks import Task, example_tasks, quixbugs_tasks

from forklock.sandbox.files.jsonl import JsonLines, as_json, parser

AGENTS = (OURS, *PEERS)
Run = tuple[Task, str, str, int]
"""A task, an agent, a budget and a seed."""


def main() -> None:
    args = _arguments()
    tasks = _tasks(args)
    budgets = ([f"tokens {args.tokens}"] if args.tokens else []) + (
        [f"seconds {args.seconds:g}"] if args.seconds else []
    )
    runs = [
        (task, agent, budget, seed)
        for budget in budgets
        for seed in args.seed or [0]
        for task in tasks
        for agent in args.agents
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with JsonLines(args.out, parser(Row)) as lines:
        held = {row.key: row for row in lines.rows}
        asked = {(task.name, agent, budget, args.model, seed) for task, agent, budget, seed in runs}
        left = [run for run in runs if (run[0].name, run[1], run[2], args.model, run[3]) not in held]
        print(f"{len(asked)} runs, {len(asked) - len(left)} of them done", file=sys.stderr, flush=True)
        if left:
            with _server(args) as (proxy, context):
                contest = Contest(
                    proxy, args.model, context, args.peers.resolve(), args.width, tuple(args.extra)
                )
                for row in _results(contest, left, args):
                    lines.append(as_json(row))
                    held[row.key] = row
                    _progress(row)
    print(report([row for key, row in held.items() if key in asked]))


def _results(contest: Contest, runs: Sequence[Run], args: argparse.Namespace) -> Iterator[Row]:
    """Rows as they come. Runs under a clock have the machine for themselves; others may share it (`--jobs`)."""
    for kind, jobs in (("tokens", args.jobs), ("seconds", 1)):
        with ThreadPoolExecutor(jobs) as pool:
            begun = [
                pool.submit(contend, contest, task, agent, budget, seed, args.cap)
                for task, agent, budget, seed in runs
                if budget.startswith(kind)
            ]
            try:
                for done in as_completed(begun):
                    yield done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _progress(row: Row) -> None:
    word = (
        "right" if row.right else f"wrong: {row.wrong[:100]}" if row.passed else f"no ({row.outcome[:120]})"
    )
    print(
        f"{row.task} {row.agent} [{row.budget}]: {word}; {row.generated_tokens} tokens, {row.seconds:.0f} s, "
        f"{row.tries} tries",
        file=sys.stderr,
        flush=True,
    )


def _tasks(args: argparse.Namespace) -> list[Task]:
    tasks: list[Task] = []
    if args.quixbugs:
        with tempfile.TemporaryDirectory(prefix="forklock-bench-") as scratch:
            tasks += quixbugs_tasks(args.quixbugs, Path(scratch), count=args.sample, only=args.only)
    if args.examples:
        tasks += [task for task in example_tasks() if args.only in task.name]
    return tasks


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[tuple[Proxy, int]]:
    """The metered server and its context in tokens."""
    if args.server:
        with serving(args.server, key=args.server_key, truncates=args.server_truncates) as proxy:
            yield proxy, args.context
        return
    from forklock.models.catalogue.catalogue import resolve_model
    from forklock.models.engines.vllm import install
    from forklock.models.engines.vllm.server import ServerPlan, start_server

    key = secrets.token_hex(16)
    weights = resolve_model(args.model)
    plan = ServerPlan(weights.folder, weights.name, install.find_or_fault(), extra=("--api-key", key))
    print(f"starting a vLLM server for {weights.name} ...", file=sys.stderr, flush=True)
    server = start_server(plan, on_wait=lambda _seconds, _line: None)
    try:
        with serving(server.base_url, key=key, truncates=plan.truncates) as proxy:
            yield proxy, args.context
    finally:
        server.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quixbugs", type=Path, help="a checkout of QuixBugs: its Python programs are tasks")
    parser.add_argument("--sample", type=int, help="as many programs of QuixBugs at most")
    parser.add_argument("--examples", action="store_true", help="the example bugs are tasks")
    parser.add_argument("--only", default="", help="tasks whose name contains this")
    parser.add_argument("--tokens", type=int, help="generated tokens for each task and agent")
    parser.add_argument("--seconds", type=float, help="seconds for each task and agent")
    parser.add_argument("--cap", type=float, default=1800.0, help="seconds at most under --tokens")
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=AGENTS)
    parser.add_argument(
        "--seed", type=int, action="append", help="of our agent, and number of the repetition"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at once under --tokens")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--width", type=int, default=16, help="of our agent")
    parser.add_argument("--peers", type=Path, required=True, help="folder with an environment for each peer")
    parser.add_argument("--out", type=Path, default=Path("solve_peers.jsonl"))
    parser.add_argument("--server", default="", help="address of a server that runs, in place of our own")
    parser.add_argument("--server-key", default="")
    parser.add_argument(
        "--server-truncates", action="store_true", help="it has Forklock's truncation processor"
    )
    parser.add_argument("--context", type=int, default=16_384, help="the server's context in tokens")
    parser.add_argument("extra", nargs="*", help="more words for `agent solve`, after --")
    args = parser.parse_args()
    if not (args.tokens or args.seconds):
        parser.error("give a budget: --tokens, --seconds or both")
    if not (args.quixbugs or args.examples):
        parser.error("give tasks: --quixbugs PATH, --examples or both")
    return args


if __name__ == "__main__":
    main()

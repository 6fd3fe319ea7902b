#!/usr/bin/env python3
"""Harness time of a driven turn, and the log's growth: a scripted model reads and edits for many turns in one rollout.

    python bench/drive_turns.py --turns 1000

Harness time is what is neither the model's nor a tool's nor the judge's: making the request, counting its tokens,
logging, parsing the answer. A token is four characters, so a tokenizer's time is not in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / "agent"), str(HERE.parent / "tests" / "agent" / "driving")]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--turns", type=int, default=1000)
    turns = words.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FORKLOCK_HOME"] = f"{folder}/home"
        for count in (turns // 4, turns):
            measure(Path(folder) / str(count), count)


def measure(folder: Path, turns: int) -> None:
    from scripted import ScriptedEngine, begin
    from shop import write_repo

    from forklock.agent.driving import open_lane
    from forklock.agent.driving.lane import DriveLane
    from forklock.agent.driving.stops import StopRules
    from forklock.agent.judging.lanes import LaneParts
    from forklock.agent.log import RolloutEnded, TurnAnswered
    from forklock.agent.session import execute, execution
    from forklock.models.calls.contract import Call
    from forklock.models.calls.known import format_named

    repo, form = write_repo(folder), format_named("text")
    (repo / "notes.md").write_text("".join(f"line {n} of the notes\n" for n in range(400)))
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", "add", "-A"], cwd=repo, check=True)
    subprocess.run(["git", *who, "commit", "-qm", "notes"], cwd=repo, check=True)

    def script(_request: object, number: int) -> str:
        start = 1 + number * 7 % 300
        return "A look.\n" + form.write(Call("read", {"path": "notes.md", "start": start, "end": start + 80}))

    def patient(parts: LaneParts) -> DriveLane:
        lane = open_lane(parts)
        lane.rules = StopRules(reads_before=10 * turns)
        return lane

    execution.open_lane = patient  # type: ignore[attr-defined]
    engine = ScriptedEngine(script)
    prepared = begin(
        repo,
        engine,
        strategy="drive",
        rollouts=1,
        turns=turns,
        steps=1,
        max_tokens_total=10**9,
        seconds=10**6,
    )
    began = time.monotonic()
    execute(prepared, engine)
    seconds = time.monotonic() - began
    log = prepared.log
    events = log.read().events
    made = sum(isinstance(event, TurnAnswered) for event in events)
    harness = sum(event.harness_seconds for event in events if isinstance(event, RolloutEnded))
    size = log.path.stat().st_size
    print(
        f"{made} turns: {1000 * harness / made:.2f} ms of harness a turn ({seconds:.1f} s in all), "
        f"log {size / made:.0f} bytes a turn, {size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()

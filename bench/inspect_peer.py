"""Inspect AI as a peer of `sandbox_costs.py`: runs `true` once for each line on stdin. Lives in Inspect's environment.

    inspect_peer.py local|docker IMAGE FOLDER      (FOLDER: an empty directory of the caller's)

Prints one JSON object when it has started and one per command: {} or {"error": reason}. Its docker sandbox speaks with
the engine by `docker compose`, which has to be there.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what Inspect prints is no answer
TASK = "bench"
COMPOSE = """\
services:
  default:
    image: {image}
    pull_policy: never
    command: ["sleep", "3600"]
    init: true
    network_mode: none
"""


async def main(kind: str, image: str, folder: str) -> None:
    config, environments, sandbox = None, {}, None
    try:
        if kind == "local":
            from inspect_ai.util._sandbox.local import LocalSandboxEnvironment as sandbox
        else:
            from inspect_ai.util._sandbox.docker.docker import DockerSandboxEnvironment as sandbox

            config = str(Path(folder) / "compose.yaml")
            Path(config).write_text(COMPOSE.format(image=image))
        await sandbox.task_init(TASK, config)
        environments = await sandbox.sample_init(TASK, config, {})
        one = environments["default"]
        say({})
        while await asyncio.to_thread(sys.stdin.readline):
            done = await one.exec(["true"])
            say({} if done.success else {"error": f"exit code {done.returncode}"})
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"[:300]})
    finally:
        if sandbox is not None:
            if environments:
                await sandbox.sample_cleanup(TASK, config, environments, False)
            await sandbox.task_cleanup(TASK, config, True)


def say(words: dict) -> None:
    print(json.dumps(words), file=ANSWERS, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

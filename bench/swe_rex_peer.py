"""SWE-ReX as a peer of `sandbox_costs.py`: runs `true` once for each line on stdin. Lives in SWE-ReX's environment.

    swe_rex_peer.py local|docker IMAGE FOLDER      (FOLDER: an empty directory of the caller's)

Prints one JSON object when it has started and one per command: {} or {"error": reason}.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what SWE-ReX logs on stdout is no answer


def deployment(kind: str, image: str, folder: Path):
    if kind == "local":
        from swerex.deployment.local import LocalDeployment

        return LocalDeployment()
    from swerex.deployment.docker import DockerDeployment

    # Its server has to be in the image, and would be installed from the network: mount ours instead.
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    server = folder / "swerex-remote"
    server.write_text('#!/bin/sh\nexec python3 -m swerex.server "$@"\n')
    server.chmod(0o755)
    return DockerDeployment(
        image=image,
        pull="never",
        startup_timeout=60,
        docker_args=[
            "-v", f"{packages}:/opt/rex:ro", "-v", f"{folder}:/opt/bin:ro",
            "-e", "PYTHONPATH=/opt/rex", "-e", "PATH=/opt/bin:/usr/local/bin:/usr/bin:/bin",
        ],
    )  # fmt: skip


async def main(kind: str, image: str, folder: str) -> None:
    one = None
    try:
        from swerex.runtime.abstract import Command

        one = deployment(kind, image, Path(folder))
        await one.start()
        say({})
        while await asyncio.to_thread(sys.stdin.readline):
            done = await one.runtime.execute(Command(command=["true"]))
            say({} if done.exit_code == 0 else {"error": f"exit code {done.exit_code}"})
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"[:300]})
    finally:
        if one is not None:
            await one.stop()


def say(words: dict) -> None:
    print(json.dumps(words), file=ANSWERS, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

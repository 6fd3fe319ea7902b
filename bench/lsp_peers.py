"""The questions of `lsp.py` put to another client; runs in that client's environment, which has none of our code.

Comes in (standard input): JSON with `client`, `root`, `file`, `places`, `dots` (line and column from 0) and the
path of a ty. Goes out: milliseconds a question, as JSON on the last line. The file is held open all the while.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


def main() -> None:
    asked = json.load(sys.stdin)
    open_client = multilspy if asked["client"] == "multilspy" else serena
    times: dict[str, list[float]] = {}
    failed: dict[str, int] = {}
    started = time.perf_counter()
    with open_client(asked) as client, client.open_file(asked["file"]):
        client.request_document_symbols(asked["file"])
        times["start"] = [(time.perf_counter() - started) * 1000]
        file, places = asked["file"], asked["places"]
        times["first definition"] = [ask(client.request_definition, file, places[0]) or 0.0]
        for name, work, among in (
            ("definition", client.request_definition, places),
            ("references", client.request_references, places),
            ("hover", client.request_hover, places),
            ("completion", client.request_completions, asked["dots"]),
        ):
            times[name] = [took for place in among if (took := ask(work, file, place)) is not None]
            failed[name] = len(among) - len(times[name])
        children = psutil.Process().children(recursive=True)
        times["memory (MB)"] = [sum(p.memory_info().rss for p in children) / 1e6]
    print()
    print(json.dumps({"times": times, "failed": failed}), flush=True)
    os._exit(0)  # some clients leave threads that wait


def ask(work: Callable[..., Any], file: str, place: tuple[int, int]) -> float | None:
    """Milliseconds; None where the client raised: that is no answer, and told apart."""
    started = time.perf_counter()
    try:
        work(file, *place)
    except Exception as error:
        print(f"{getattr(work, '__name__', work)} at {place}: {error!r}"[:300], file=sys.stderr)
        return None
    return (time.perf_counter() - started) * 1000


@contextmanager
def multilspy(asked: dict[str, Any]) -> Any:
    from multilspy import SyncLanguageServer
    from multilspy.multilspy_config import MultilspyConfig
    from multilspy.multilspy_logger import MultilspyLogger

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    config = MultilspyConfig.from_dict({"code_language": "python"})
    client = SyncLanguageServer.create(config, MultilspyLogger(), asked["root"], timeout=120)
    with client.start_server():
        yield client


@contextmanager
def serena(asked: dict[str, Any]) -> Any:
    from solidlsp import SolidLanguageServer
    from solidlsp.ls_config import Language, LanguageServerConfig
    from solidlsp.settings import SolidLSPSettings

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        language = Language.PYTHON_TY if asked["client"].endswith("-ty") else Language.PYTHON
        own = {Language.PYTHON_TY: {"ls_path": asked["ty"]}}
        settings = SolidLSPSettings(folder, f"{folder}/data", own)
        client = SolidLanguageServer.create(
            LanguageServerConfig(language), asked["root"], timeout=120, solidlsp_settings=settings
        )
        with client.start_server():
            yield client


if __name__ == "__main__":
    main()

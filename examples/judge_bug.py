"""Tell whether a seeded bug is repaired right: `python examples/judge_bug.py NAME FOLDER`.

The repaired library and the clean one answer the same inputs (`examples/hidden/answers.py`), most of which no test of
the library looks at. Exit code 0: all answers are the same. 1: some are not; the first ones are printed. The repaired
code runs in a sandbox.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from make_bug import bug_names, make

from forklock.sandbox import BackendName, open_sandbox, workspace_policy

HIDDEN = Path(__file__).parent / "hidden"
SECONDS = 60.0
"""Wall clock for all inputs; a repair that never ends is wrong."""


@dataclass(frozen=True)
class Wrong:
    """An input on which the repaired library answers differently."""

    input: str
    right: str
    answer: str

    def __str__(self) -> str:
        return f"{self.input}: {self.right} is right, not {self.answer}"


def judge(name: str, folder: Path, *, backend: BackendName = "auto") -> list[Wrong]:
    """The inputs that the library in `folder` answers wrongly; none where it is repaired right."""
    right = reference(name, backend)
    found = dict(_answers(name, folder, backend))
    return [
        Wrong(shown, expected, found.get(shown, "nothing"))
        for shown, expected in right
        if found.get(shown) != expected
    ]


@cache
def reference(name: str, backend: BackendName = "auto") -> tuple[tuple[str, str], ...]:
    """The clean library's answers."""
    with tempfile.TemporaryDirectory(prefix="forklock-clean-") as folder:
        clean = Path(folder) / "clean"
        make(None, clean)
        return _answers(name, clean, backend)


def _answers(name: str, folder: Path, backend: BackendName) -> tuple[tuple[str, str], ...]:
    script = (HIDDEN / "answers.py").read_bytes()
    with open_sandbox(folder, workspace_policy(folder), backend=backend) as whole, whole.fork() as sandbox:
        done = sandbox.exec(["python3", "-", name, sandbox.workdir], stdin=script, timeout_s=SECONDS)
    rows = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        try:
            shown, answer = json.loads(line)
        except (ValueError, TypeError):
            continue  # the judged library may print
        if isinstance(shown, str) and isinstance(answer, str):
            rows.append((shown, answer))
    return tuple(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=bug_names())
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    wrong = judge(args.name, args.folder)
    print("right" if not wrong else f"wrong on {len(wrong)} of {len(reference(args.name))} inputs")
    for one in wrong[:5]:
        print(f"  {one}")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())

"""Make a git repository with one of the seeded bugs: `python examples/make_bug.py NAME FOLDER`.

The repository holds the tidyledger library with the bug's patch applied, in one commit. `--list` names the
bugs; `--print-task` and `--print-test` print what `agent solve` wants to know.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LIBRARY = HERE / "tidyledger"
BUGS = HERE / "bugs"


@dataclass(frozen=True)
class Bug:
    """One seeded bug."""

    name: str
    title: str
    difficulty: str
    test: str
    fails: tuple[str, ...]
    file: str
    symbol: str

    @property
    def task(self) -> str:
        return (BUGS / self.name / "task.md").read_text(encoding="utf-8")


def load_bug(name: str) -> Bug:
    """The bug of that name; KeyError with the known names where there is none."""
    path = BUGS / name / "bug.toml"
    if not path.is_file():
        raise KeyError(f"no bug is called {name!r}; there are: {', '.join(bug_names())}")
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    cause = raw["cause"]
    return Bug(
        name, raw["title"], raw["difficulty"], raw["test"], tuple(raw["fails"]), cause["file"], cause["symbol"]
    )


def bug_names() -> list[str]:
    return sorted(path.parent.name for path in BUGS.glob("*/bug.toml"))


def make(name: str | None, folder: Path) -> None:
    """Make the repository in `folder`, which must not exist or be empty; None makes the clean library."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    shutil.copytree(LIBRARY, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    if name is not None:
        patch = (BUGS / load_bug(name).name / "bug.patch").read_bytes()
        _git(folder, "init", "-q")
        _git(folder, "apply", "-", stdin=patch)
    else:
        _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    _git(folder, "-c", "user.name=Example", "-c", "user.email=example@example.invalid", "commit", "-qm", "Import")


def _git(folder: Path, *args: str, stdin: bytes | None = None) -> None:
    subprocess.run(["git", *args], cwd=folder, input=stdin, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="a bug's name, or `clean`")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--list", action="store_true", help="name the bugs")
    parser.add_argument("--print-task", action="store_true")
    parser.add_argument("--print-test", action="store_true")
    args = parser.parse_args()
    if args.list or args.name is None:
        for name in bug_names():
            bug = load_bug(name)
            print(f"{name:<18} {bug.difficulty:<7} {bug.title}")
        return 0
    try:
        if args.print_task or args.print_test:
            bug = load_bug(args.name)
            print(bug.task if args.print_task else bug.test)
        elif args.folder is None:
            parser.error("give the folder to make")
        else:
            make(None if args.name == "clean" else args.name, args.folder)
            print(f"made {args.folder}")
    except (KeyError, FileExistsError) as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Formatter and lint fixes as hops: what a tool can put right needs no model.

Comes in: a path and text (standard input of ruff; the file is never touched and no code of the repo runs).
Goes out: the text, better or the same. A file is formatted only where it was formatted before, so diffs stay
small; lint fixes are ruff's safe ones, for rules that the repo itself switches on.

ruff runs on the host. A repo's settings could lead it to any file there (`extend`), so they apply only where they
stand for themselves: regular files, not behind links, that extend no other. Else ruff works as if there were none.

Not covered: other languages; formatters that are plug-ins of the repo (they would be its code).
"""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

from forklock.sandbox.files.reading import MEGABYTE, Unreadable, parse_toml, read_regular
from forklock.tools.contract import ToolFault
from forklock.tools.languages.known import language_of
from forklock.tools.languages.python.version import find_ruff

TIMEOUT_S = 20.0
DEFAULT_RULES = "F401,F811,F841"
"""Taken where the repo configures no ruff: unused import, redefinition, unused variable (safe fixes only)."""
_CONFIGS = ("ruff.toml", ".ruff.toml")


def format_text(path: str, before: str | None, after: str, *, root: Path | None = None) -> str:
    """`after` formatted by ruff, if the file was formatted `before` (None: it is new, and not touched).

    `root` is the workspace: its ruff settings apply, and paths are relative to it. Text that does not parse
    comes back as it is.

    Raises:
        ToolFault: ruff is missing or does not end in `TIMEOUT_S`.
    """
    if language_of(path).tidied_by != "ruff" or before is None or before == after:
        return after
    if _format(path, before, root) != before:
        return after
    return _format(path, after, root) or after


def lint_fix(path: str, before: str | None, after: str, *, root: Path | None = None) -> str:
    """`after` with ruff's safe fixes for what is new in it: a rule that `before` broke is left alone.

    Where the repo configures ruff its own rules apply, else `DEFAULT_RULES`.

    Raises:
        ToolFault: ruff is missing or does not end in `TIMEOUT_S`.
    """
    if language_of(path).tidied_by != "ruff" or before == after:
        return after
    configured = root is not None and _stand_alone(root, path) and _configures_ruff(root)
    select = [] if configured else ["--isolated", "--select", DEFAULT_RULES]
    old = _broken(path, before, select, root) if before else set()
    ignore = ["--ignore", ",".join(sorted(old))] if old else []
    code, out = _ruff(["check", "--fix-only", "--no-unsafe-fixes", *select, *ignore], path, after, root)
    return out if code == 0 and (out or not after) else after


def _format(path: str, text: str, root: Path | None) -> str | None:
    """None where ruff refuses: the text does not parse."""
    code, out = _ruff(["format"], path, text, root)
    return out if code == 0 else None


def _broken(path: str, text: str, select: list[str], root: Path | None) -> set[str]:
    """Codes of rules that the text breaks."""
    _, out = _ruff(["check", "--output-format", "concise", *select], path, text, root)
    words = (line.split(" ") for line in out.splitlines() if line.count(":") >= 3)
    return {parts[1] for parts in words if len(parts) > 1 and parts[1][-1:].isdigit()}


def _configures_ruff(root: Path) -> bool:
    if any((root / name).is_file() for name in _CONFIGS):
        return True
    project = root / "pyproject.toml"
    return project.is_file() and b"[tool.ruff" in project.read_bytes()


def _stand_alone(root: Path, path: str) -> bool:
    """Whether all settings that ruff would take from the workspace for a file lead to no other file."""
    steps = PurePosixPath(path).parts
    if ".." in steps or PurePosixPath(path).is_absolute():
        return False
    folder = root
    for step in ("", *steps[:-1]):
        folder /= step
        if step and folder.is_symlink():
            return False
        if not all(_stands_alone(folder / name) for name in (*_CONFIGS, "pyproject.toml")):
            return False
    return True


def _stands_alone(file: Path) -> bool:
    try:
        found = parse_toml(read_regular(file, most_bytes=MEGABYTE))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, Unreadable):
        return False
    if file.name == "pyproject.toml":
        tools = found.get("tool")
        found = tools.get("ruff", {}) if isinstance(tools, dict) else {}
    return isinstance(found, dict) and "extend" not in found


def _ruff(words: list[str], path: str, text: str, root: Path | None) -> tuple[int, str]:
    """Exit code and standard output, line ends untouched."""
    if root is not None and not _stand_alone(root, path):
        root = Path("/")
        words = words if "--isolated" in words else [*words, "--isolated"]
    program = find_ruff()
    if program is None:
        raise ToolFault("ruff is not installed", fix="Install it beside this tool: pip install ruff.")
    command = [program, *words, "--no-cache", "--quiet", f"--stdin-filename={path}", "-"]
    data = text.encode("utf-8", "surrogatepass")
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=TIMEOUT_S, cwd=root, check=False
        )
        return done.returncode, done.stdout.decode("utf-8", "surrogatepass")
    except subprocess.TimeoutExpired as error:
        fix = "Try again, or switch the hop off."
        raise ToolFault(f"ruff did not end within {TIMEOUT_S:.0f} s on {path}", fix=fix) from error
    except OSError as error:
        raise ToolFault(f"ruff cannot be run: {error}", fix="Install it again: pip install ruff.") from error

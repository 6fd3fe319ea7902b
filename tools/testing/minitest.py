"""Minitest, the test library that comes with Ruby: `ruby -Itest test/cart_test.rb` with a report of our own.

In: the words of a test command, or the lines that `inside/minitest_report.rb` wrote, which hostile tests may have
written too. Out: where the runner's options begin, an argv, or `Results`; ids are `CLASS > NAME`. Never raises for bad
reports. Not covered: `rake test`, which starts rubies of its own: there the exit code alone is believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from forklock.tools.contract import Frame, TestFailure
from forklock.tools.testing.reports import MAX_FRAMES, MAX_TRACE_CHARS, Inside, Results, inside, shorten

_WITH_VALUE = frozenset({"-I", "-r", "-C", "-E"})
_PLACE = re.compile(
    r"^[ \t]*(?P<path>[^\s:][^:\n]{0,1000}\.rb):(?P<line>\d+)(?::in [`'](?P<function>[^'\n]{1,300})')?",
    re.MULTILINE,
)


def options_end(words: Sequence[str]) -> int:
    """Return the index of the script, or of the first `-e`, in the words of a `ruby` command; 0 for neither."""
    at = 1
    while at < len(words) and words[at].startswith("-") and words[at] != "-e":
        at += 2 if words[at] in _WITH_VALUE else 1
    return at if at < len(words) else 0


def with_report(words: Sequence[str], at: int, report: str) -> list[str]:
    """Return the command with our reporter loaded before its own script."""
    source = (Path(__file__).parent / "inside" / "minitest_report.rb").read_text("utf-8")
    ours = ["-e", f"report = {json.dumps(report)}\n{source}"]
    loads = [] if words[at] == "-e" else ["-e", "$0 = ARGV.shift; load $0"]
    return [*words[:at], *ours, *loads, *words[at:]]


def read_minitest(text: str, where: Inside | str) -> Results | None:
    """Read a report. Without its last line the run did not end."""
    passed: set[str] = set()
    failures: dict[str, TestFailure] = {}
    skipped = 0
    try:
        rows = [json.loads(line) for line in text.splitlines()]
        if not rows or rows[-1]["end"] != len(rows) - 1:
            return None
        for row in rows[:-1]:
            test_id, trace = f"{row['class']} > {row['name']}", str(row["text"])[:MAX_TRACE_CHARS]
            if row["outcome"] == "passed":
                passed.add(test_id)
            elif row["outcome"] == "skipped":
                skipped += 1
            else:
                message = trace[: place.start()] if (place := _PLACE.search(trace)) else trace
                failures.setdefault(
                    test_id, TestFailure(test_id, shorten(message) or "failed", _frames(trace, where))
                )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Results(frozenset(passed - failures.keys()), tuple(failures.values()), skipped)


def _frames(trace: str, where: Inside | str) -> tuple[Frame, ...]:
    """Return places in the workspace, outermost first as in Python's tracebacks."""
    found = []
    for match in _PLACE.finditer(trace):
        path = inside(match["path"], where)
        if path is not None:
            found.append(Frame(path, int(match["line"]), match["function"] or ""))
    return tuple(dict.fromkeys(reversed(found[:MAX_FRAMES])))  # an error's message repeats its backtrace


def detect(root: Path) -> str | None:
    """Return a command for a repository whose tests lie in `test/` as minitest's do; None for others."""
    tests = sorted(
        path.relative_to(root).as_posix() for path in root.glob("test/**/*_test.rb") if path.is_file()
    )
    if not tests:
        return None
    if len(tests) == 1:
        return f"ruby -Ilib -Itest {tests[0]}"
    return "ruby -Ilib -Itest -e 'Dir.glob(\"./test/**/*_test.rb\").sort.each { |file| require file }'"

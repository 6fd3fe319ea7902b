"""`history`: a past commit, or one hunk of it, is taken back on today's code. Its message says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forklock.sandbox import SandboxFault
from forklock.sandbox.history import open_history
from forklock.selfdistill.tasks.contract import Bug
from forklock.selfdistill.tasks.kinds.kind import Kind, Work
from forklock.tools.edits.hunks import Hunk, hunks_of, reverted
from forklock.tools.languages.known import LANGUAGES, language_of

MOST_COMMITS = 600
"""Commits that are looked at, the newest first."""
MOST_HUNKS = 12
"""A commit with more hunks is a rewrite, and only its hunks one by one are tried up to this number."""
_START, _FIELD, _BODY = "\x1d", "\x1f", "\x1e"
_GIT_S = 120.0
_TRAILER = re.compile(r"^(?:[A-Z][\w-]*-by|Change-Id|Reviewed-on|git-svn-id|cc):", re.IGNORECASE)
_REFERENCE = re.compile(r"\s*\(?(?:[Ff]ix(?:es|ed)?|[Cc]loses?|[Rr]esolves?)?:?\s*(?:#\d+|https?://\S+)\)?:?")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit without its merges, and what it changed in code that is no test."""

    name: str
    when: float
    message: str
    hunks: tuple[Hunk, ...]


def commits(work: Work) -> list[Commit]:
    """Return the commits before the repository's state that changed code, the newest first; none where the history
    cannot be read."""
    suffixes = sorted({suffix for language in LANGUAGES for suffix in language.suffixes})
    words = (
        "log", "-p", "--no-merges", "--first-parent", "-U3", "--no-ext-diff", "--no-textconv", "--no-color",
        "--no-renames", "--src-prefix=a/", "--dst-prefix=b/", f"--max-count={MOST_COMMITS}",
        f"--format={_START}%H{_FIELD}%ct{_FIELD}%B{_BODY}", work.ground.commit, "--",
        *(f":(top,glob)**/*{suffix}" for suffix in suffixes),
    )  # fmt: skip
    try:
        with open_history(work.root) as history:
            raw = history.git(*words, literal=False, timeout_s=_GIT_S).decode("utf-8", "replace")
    except SandboxFault:
        return []
    return [one for part in raw.split(_START)[1:] if (one := _commit(part)) is not None and one.hunks]


def _commit(part: str) -> Commit | None:
    about, _, diff = part.partition(_BODY)
    fields = about.split(_FIELD)
    if len(fields) != 3 or not fields[1].isdecimal():
        return None
    code = tuple(hunk for hunk in hunks_of(diff) if not language_of(hunk.path).is_test(hunk.path))
    return Commit(fields[0], float(fields[1]), fields[2], code)


def propose(work: Work) -> Iterator[Bug]:
    """Yield for each commit all of it, then its hunks."""
    for commit in commits(work):
        parts = [
            part for hunk in commit.hunks[:MOST_HUNKS] if (part := _taken_back(work, [hunk])) is not None
        ]
        if 1 < len(commit.hunks) <= MOST_HUNKS:
            whole = _taken_back(work, list(commit.hunks))
            parts = [whole, *parts] if whole is not None else parts
        for files, places in parts:
            yield Bug(
                "history", files, places, f"commit {commit.name[:12]}", in_words(commit.message), commit.when
            )


def _taken_back(work: Work, hunks: list[Hunk]) -> tuple[dict[str, str], tuple[str, ...]] | None:
    """Return the changed files and the functions that change; None where a hunk cannot be taken back today, or changes
    no function."""
    files: dict[str, str] = {}
    places: list[str] = []
    for hunk in hunks:
        text = work.text(hunk.path)
        if text is None:
            return None
        known = reverted(text, hunk)
        done = reverted(files.get(hunk.path, text), hunk)
        if known is None or done is None:
            return None
        places += [place for line in known[1] for place in work.places_at(hunk.path, line, line)]
        files[hunk.path] = done[0]
    return (files, tuple(dict.fromkeys(places))) if places else None


def in_words(message: str) -> str:
    """Return what a commit's message says, without its trailers and its references to elsewhere."""
    kept = [
        _REFERENCE.sub("", line).rstrip()
        for line in message.strip().split("\n")
        if not _TRAILER.match(line.strip())
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()[:1500]


KIND = Kind("history", "a past repair is taken back", propose)

"""Says which files git would ignore, by the rules of `.gitignore` files and of the user's own.

In: texts of rules, and paths. Out: ignored or not. No git process reads the rules: they are a repo's or a program's
words. The time for a path grows with the length of the rules, however they are made. Not covered: `core.ignoreCase`.
"""

from __future__ import annotations

from dataclasses import dataclass

from forklock.sandbox.git.wildmatch import Wildmatch

MAX_RULES_BYTES = 1 << 20
"""Largest file with rules, in bytes."""
_SPECIAL = frozenset(b"*?[\\")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line."""

    pattern: bytes
    negated: bool
    folders_only: bool
    whole_path: bool
    """Else it is about the last step of a path."""
    match: Wildmatch | None
    """None if the pattern is a plain name."""
    prefix: bytes = b""
    """What a path must begin with, before `match` looks at the rest. Git takes the words before the first wildcard of a
    whole path away, so that `**` behind them counts as if the pattern began with it."""

    def matches(self, path: bytes, name: bytes) -> bool:
        text = path if self.whole_path else name
        if self.match is None:
            return text == self.pattern
        return text.startswith(self.prefix) and self.match.matches(text[len(self.prefix) :])


class Rules:
    """The rules of one file, by the folder that it lies in."""

    def __init__(self, text: bytes, base: str = "") -> None:
        """`base`: the folder's path, "" for the top."""
        self._base = len(base) + 1 if base else 0
        lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        self._rules = [rule for line in reversed(lines) if (rule := parse(line))]
        self._named = {rule.pattern for rule in self._rules if rule.match is None}
        self._plain = all(rule.match is None and not rule.whole_path for rule in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def verdict(self, path: bytes, name: bytes, *, is_folder: bool) -> bool | None:
        """Return True if ignored, False if a rule includes it again, None if no rule matches."""
        if self._plain and name not in self._named:
            return None
        path = path[self._base :]
        for rule in self._rules:
            if (is_folder or not rule.folders_only) and rule.matches(path, name):
                return not rule.negated
        return None


class Ignore:
    """What applies in one folder: its own rules first, then those of the folders above."""

    def __init__(self, own: Rules, above: Ignore | None) -> None:
        self._chain: tuple[Rules, ...] = ((own,) if own else ()) + (above._chain if above else ())

    @classmethod
    def at_top(cls, *sources: bytes) -> Ignore:
        """Return the rules that apply everywhere, the strongest source first."""
        found: Ignore | None = None
        for source in reversed(sources):
            found = cls(Rules(source), found)
        return found or cls(Rules(b""), None)

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        if not self._chain:
            return False
        whole = path.encode(errors="surrogateescape")
        name = whole.rpartition(b"/")[2]
        for rules in self._chain:
            verdict = rules.verdict(whole, name, is_folder=is_folder)
            if verdict is not None:
                return verdict
        return False


def parse(line: bytes) -> Rule | None:
    """Parse one line, as git does; None if it holds no rule."""
    if line.startswith(b"#"):
        return None
    line = _trimmed(line.removesuffix(b"\r"))
    negated = line.startswith(b"!")
    pattern = line[negated:]
    folders_only = pattern.endswith(b"/")
    pattern = pattern[: len(pattern) - folders_only]
    whole_path = b"/" in pattern
    pattern = pattern.removeprefix(b"/") if whole_path else pattern
    if not pattern:
        return None
    first = next((at for at, byte in enumerate(pattern) if byte in _SPECIAL), None)
    if first is None:
        return Rule(pattern, negated, folders_only, whole_path, None)
    prefix = pattern[:first] if whole_path else b""
    return Rule(pattern, negated, folders_only, whole_path, Wildmatch(pattern[len(prefix) :]), prefix)


def _trimmed(line: bytes) -> bytes:
    """Remove spaces at the end, but not one behind a backslash."""
    end = len(line.rstrip(b" "))
    backslashes = end - len(line[:end].rstrip(b"\\"))
    return line[: end + 1] if backslashes % 2 and end < len(line) else line[:end]

"""What can go wrong between us and a language server."""

from __future__ import annotations


class TimedOut(Exception):
    """No answer in time; the request was cancelled."""


class Crashed(Exception):
    """The process has ended, or its output cannot be read any more."""


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(Exception):
    """The server is not installed, does not start, or crashed twice. `fix` says what the user can do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix

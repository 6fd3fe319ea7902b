"""The base class of faults: errors that are shown to the user with what to do next, and without a traceback."""

from __future__ import annotations


class Fault(Exception):
    """Something that Forklock needs is wrong or missing. Each room has a subclass of its own."""

    exit_code = 3
    """What a command ends with: 2 where the input is at fault, 3 where the machine is."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        """
        Args:
            message: what happened, to what.
            fix: what the user can do next.
        """
        super().__init__(message)
        self.message = message
        self.fix = fix

"""The exception for a request that a hosted model refused or did not answer."""

from __future__ import annotations

import re

from forklock.models.engines.hosted.wire import says_too_long


class Refused(Exception):
    """The other side did not answer. `passes`: trying again may help."""

    def __init__(
        self, message: str, *, status: int | None = None, passes: bool = False, param: str = "",
        retry_after: float | None = None, too_long: bool = False, timed_out: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.message, self.status, self.passes, self.param = message, status, passes, param
        self.retry_after, self.timed_out = retry_after, timed_out
        self.too_long = too_long or (status == 400 and says_too_long(message))

    def is_about(self, name: str) -> bool:
        """Whether a parameter is what was refused."""
        if self.param:
            return self.param == name
        if name == "n":
            return bool(re.search(r"""['"`]n['"`]|\bn\s*(=|>|must|is|should|parameter)""", self.message))
        return bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", self.message))

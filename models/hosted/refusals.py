"""Why a hosted model did not answer, and what the user can do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from models.contract import ModelFault
from models.hosted.wire import says_too_long

if TYPE_CHECKING:
    from models.hosted.routes import Route


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


def fault_of(refused: Refused, route: Route, attempts: int) -> ModelFault:
    """A refusal in our words, without keys."""
    name, where, status = route.name, route.where, refused.status
    message = refused.message or f"status {status}"
    if refused.too_long:
        return ModelFault(f"Prompt and answer do not fit {name}: {message}", fix="Shorten the prompt.")
    if status in (401, 403):
        return ModelFault(f"{where} refuses the API key: {message}", fix=f"Check {route.key_variable}.")
    if status == 404:
        return ModelFault(f"{where} has no model {name}: {message}", fix="Check the model's name.")
    if refused.timed_out:
        return ModelFault(f"{name} did not answer: {message}", fix="Is the server overloaded?")
    if status == 429:
        return ModelFault(f"{where} limits the rate: {message}", fix="Wait, or ask for fewer samples.")
    if refused.passes:
        return ModelFault(
            f"{where} failed {attempts} times: {message}", fix="Is the server up? Try again later."
        )
    fix = f"Leave {refused.param} at its default." if refused.param else ""
    return ModelFault(f"{where} refused the request: {message}", fix=fix)

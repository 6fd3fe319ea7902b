"""JSON and TOML: no code, but a text that does not parse is refused. Pure."""

# ruff: noqa: ARG002
from __future__ import annotations

import json
import tomllib

from forklock.tools.languages.definitions import SyntaxProblem, Target
from forklock.tools.languages.language import Language
from forklock.tools.languages.text import line_at


class Json(Language):
    def check(self, text: str, target: Target | None = None) -> SyntaxProblem | None:
        return _json(text)


class Toml(Language):
    def check(self, text: str, target: Target | None = None) -> SyntaxProblem | None:
        return _toml(text)


def _json(text: str) -> SyntaxProblem | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return SyntaxProblem(error.lineno, error.colno - 1, error.msg, line_at(text, error.lineno))
    except (RecursionError, ValueError) as error:
        return SyntaxProblem(0, 0, str(error) or f"too deeply nested ({type(error).__name__})", "")
    return None


def _toml(text: str) -> SyntaxProblem | None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at line ")
        line = int(place.split(",")[0]) if place[:1].isdigit() else len(text.split("\n"))
        return SyntaxProblem(line, 0, message, line_at(text, line))
    except (RecursionError, ValueError) as error:
        return SyntaxProblem(0, 0, str(error) or f"too deeply nested ({type(error).__name__})", "")
    return None


DATA = (Json("", (".json",)), Toml("", (".toml",)))

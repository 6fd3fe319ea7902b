"""Loads settings from defaults, files, the environment and flags, in this order; each value knows its source.

The user's own file and the repository's (`forklock.models.settings.files`) have one table per room. The
environment says
`FORKLOCK_<SECTION>__<KEY>` (`FORKLOCK_MODELS__MODEL=smollm2-135m`). Unknown keys are errors, with the near
miss named. A repository's file is not the user's word: each setting says what such a file may do with it
(`repository_may`), and a setting that does not say so is the user's alone. `RoomSettings` is for any room above this
one; `ModelSettings` (`forklock.models.settings.models`) is this room's own section.
Not covered: merging inside nested tables (a table is taken whole from the highest source that has it).
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from forklock.models.paths import settings_file
from forklock.models.settings.files import (
    BadSettings,
    FaultClass,
    SettingsFile,
    find_settings_file,
    find_user_file,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one effective value came from."""

    kind: Literal["default", "repository", "file", "environment", "flag"]
    """`file` is the user's own; what a repository's file says is not the user's word."""
    where: str = ""
    """The file, the variable or the flag; "" for a default."""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


RepositoryMay = Literal["no", "yes", "lower", "command"]
"""What a repository's file may do with a setting: nothing; choose it (it shapes answers and nothing else); lower the
number, or turn the switch off; name a command, which runs in the sandbox, but not do without one."""


class RoomSettings(BaseSettings):
    """Base of one room's section. Build with `load`; calling the class reads no file and no environment.

    A subclass sets `section`, what a repository's file may do with each field, and `fault` if it wants its own
    room's error (any exception that takes `(message, *, fix)`).
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    section: ClassVar[str]
    fault: ClassVar[FaultClass] = BadSettings
    repository_may: ClassVar[Mapping[str, RepositoryMay]] = {}
    """By field; those that are not here are the user's alone."""
    flags: ClassVar[Mapping[str, str]] = {}
    """Flags of the commands by field, where there is one."""
    gone: ClassVar[Mapping[str, str]] = {}
    """Settings of earlier versions that nothing reads any more, and what to do instead."""

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def load(cls, start_dir: Path | None = None, **flags: Any) -> Self:
        """Effective settings for work in `start_dir` (default: the current folder).

        Args:
            start_dir: where the search for the settings file starts.
            flags: values from the command line by key; None means that the flag was not given.

        Raises:
            cls.fault: bad TOML, an unknown key or a wrong value; names the file (or variable) and the key.
        """
        start = start_dir or Path.cwd()
        values, origins = cls._from_file(find_user_file(start, fault=cls.fault))
        prefix = f"FORKLOCK_{cls.section.upper()}__"
        for key, value in cls._from_environment(prefix).items():
            values[key], origins[key] = value, Origin("environment", f"{prefix}{key.upper()}")
        for key, value in flags.items():
            if value is not None:
                values[key], origins[key] = value, Origin("flag", cls._flag(key))
        cls._refuse_unknown(values, origins)
        loaded = cls._built(values, origins)
        cls._add_repository(find_settings_file(start, fault=cls.fault), loaded, values, origins)
        loaded = cls._built(values, origins)
        loaded._origins = origins
        return loaded

    @classmethod
    def _built(cls, values: Mapping[str, Any], origins: Mapping[str, Origin]) -> Self:
        try:
            return cls(**values)
        except ValidationError as error:
            raise cls._explain(error, origins) from None

    @classmethod
    def _add_repository(
        cls, file: SettingsFile | None, before: Self, values: dict[str, Any], origins: dict[str, Origin]
    ) -> None:
        """Add what the repository's file may say to `values` and `origins`.

        Args:
            before: what is in force without the file.

        Raises:
            cls.fault: it says what only the user may say. Where the user did say something, the file is overruled.
        """
        if file is None:
            return
        table, where = file.table(cls.section, cls.fault)
        there = {key: Origin("repository", f"{where} {_printable(key)}") for key in table}
        cls._refuse_unknown(table, there)
        for key, value in table.items():
            if origins.get(key, Origin("default")).kind in ("environment", "flag"):
                continue
            wanted = getattr(cls._built({**values, key: value}, {**origins, **there}), key)
            if not _may(cls.repository_may.get(key, "no"), wanted, getattr(before, key)):
                raise cls._refuse(key, wanted, getattr(before, key), str(there[key]))
            values[key], origins[key] = value, there[key]

    @classmethod
    def _refuse(cls, key: str, wanted: Any, base: Any, where: str) -> Exception:
        lowers = cls.repository_may.get(key) == "lower"
        rule = (
            f"may lower it ({base} is in force), not raise it" if lowers else "has no say in it: it is yours"
        )
        flag = f"{cls._flag(key)} {wanted}, " if key in cls.flags and not isinstance(wanted, bool) else ""
        variable = f"FORKLOCK_{cls.section.upper()}__{key.upper()}"
        return cls.fault(
            f"{where}: the repository asks for {key} = {str(wanted)[:100]!r}, and {rule}.",
            fix=f"Say so yourself if you want it: {flag}{variable} in the environment, or [{cls.section}] in "
            f"{settings_file()}; else remove the line.",
        )

    @classmethod
    def _flag(cls, key: str) -> str:
        return cls.flags.get(key, f"--{key.replace('_', '-')}")

    def origins(self) -> dict[str, Origin]:
        """Where each key's effective value came from, in the order of the fields."""
        return {key: self._origins.get(key, Origin("default")) for key in type(self).model_fields}

    @classmethod
    def _from_file(cls, file: SettingsFile | None) -> tuple[dict[str, Any], dict[str, Origin]]:
        if file is None:
            return {}, {}
        table, where = file.table(cls.section, cls.fault)
        return dict(table), {key: Origin("file", f"{where} {_printable(key)}") for key in table}

    @classmethod
    def _from_environment(cls, prefix: str) -> dict[str, Any]:
        for variable in os.environ:
            if (
                variable.upper().startswith(prefix)
                and variable[len(prefix) :].lower() not in cls.model_fields
            ):
                key = variable[len(prefix) :].lower()
                raise cls._unknown(key, f"environment variable {variable}")
        try:
            return dict(EnvSettingsSource(cls, env_prefix=prefix, case_sensitive=False)())
        except (SettingsError, RecursionError) as error:
            raise cls.fault(
                f"environment {prefix}*: {error}", fix="Lists and tables are written as JSON."
            ) from None

    @classmethod
    def _refuse_unknown(cls, values: Mapping[str, Any], origins: Mapping[str, Origin]) -> None:
        for key in values:
            if key not in cls.model_fields:
                raise cls._unknown(key, str(origins[key]))

    @classmethod
    def _unknown(cls, key: str, where: str) -> Exception:
        if key in cls.gone:
            return cls.fault(f"{where}: nothing reads the setting {key!r} any more.", fix=cls.gone[key])
        near = difflib.get_close_matches(key, cls.model_fields, n=1)
        known = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(cls.model_fields)}."
        return cls.fault(f"{where}: there is no setting {key!r}.", fix=known)

    @classmethod
    def _explain(cls, error: ValidationError, origins: Mapping[str, Origin]) -> Exception:
        lines = []
        for problem in error.errors(include_url=False, include_context=False):
            key = str(problem["loc"][0]) if problem["loc"] else cls.section
            path = ".".join(str(part) for part in problem["loc"][1:])
            where = f"{origins.get(key, key)}{'.' + path if path else ''}"
            what = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {what}, got {repr(problem['input'])[:200]}.")
        return cls.fault("\n".join(lines), fix="Correct the value; `agent config` shows what is in force.")


def _may(rule: RepositoryMay, wanted: Any, base: Any) -> bool:
    """Whether a repository's file may put `wanted` where `base` is in force."""
    if isinstance(wanted, float) and not math.isfinite(wanted):
        return False
    if wanted == base or rule == "yes":
        return True
    if rule == "command":
        return isinstance(wanted, str) and wanted.strip().lower() not in ("", "none")
    return rule == "lower" and wanted is not None and (base is None or wanted < base)


def _printable(key: str) -> str:
    return key if key.isascii() and key.isidentifier() else repr(key)[:100]

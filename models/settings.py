"""Settings: defaults, then the file, then the environment, then flags; each value knows where it is from.

The file is `forklock.toml` with one `[section]` per room, or `[tool.forklock.section]` in `pyproject.toml`;
it is looked for in the start folder and its parents up to the repository's root. The environment says
`FORKLOCK_<SECTION>__<KEY>` (`FORKLOCK_MODELS__MODEL=smollm2-135m`). Unknown keys are errors, with the near
miss named. `RoomSettings` is for any room above this one; `ModelSettings` is this room's own section.
Not covered: merging inside nested tables (a table is taken whole from the highest source that has it).
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from models.contract import Decoding, ModelFault

SECTIONS = ("agent", "evals", "models", "sandbox", "selfdistill", "tools")
"""Sections that a settings file may have: the rooms."""


class BadSettings(ModelFault):
    """A settings file, variable or flag is wrong."""

    exit_code = 2


class FaultClass(Protocol):
    """A room's error class."""

    def __call__(self, message: str, *, fix: str = "") -> Exception: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one effective value came from."""

    kind: Literal["default", "file", "environment", "flag"]
    where: str = ""
    """The file, the variable or the flag; "" for a default."""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A settings file that was found and parsed."""

    path: Path
    prefix: str
    """What stands before a section's name: "" in forklock.toml, "tool.forklock." in pyproject.toml."""
    sections: Mapping[str, Any]


class RoomSettings(BaseSettings):
    """Base of one room's section. Build with `load`; calling the class reads no file and no environment.

    A subclass sets `section`, and `fault` if it wants its own room's error (any exception that takes
    `(message, *, fix)`).
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    section: ClassVar[str]
    fault: ClassVar[FaultClass] = BadSettings

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
        file = find_settings_file(start_dir or Path.cwd(), fault=cls.fault)
        values, origins = cls._from_file(file)
        prefix = f"FORKLOCK_{cls.section.upper()}__"
        for key, value in cls._from_environment(prefix).items():
            values[key], origins[key] = value, Origin("environment", f"{prefix}{key.upper()}")
        for key, value in flags.items():
            if value is not None:
                values[key], origins[key] = value, Origin("flag", f"--{key.replace('_', '-')}")
        cls._refuse_unknown(values, origins)
        try:
            loaded = cls(**values)
        except ValidationError as error:
            raise cls._explain(error, origins) from None
        loaded._origins = origins
        return loaded

    def origins(self) -> dict[str, Origin]:
        """Where each key's effective value came from, in the order of the fields."""
        return {key: self._origins.get(key, Origin("default")) for key in type(self).model_fields}

    @classmethod
    def _from_file(cls, file: SettingsFile | None) -> tuple[dict[str, Any], dict[str, Origin]]:
        if file is None or cls.section not in file.sections:
            return {}, {}
        table = file.sections[cls.section]
        where = f"{file.path} [{file.prefix}{cls.section}]"
        if not isinstance(table, dict):
            raise cls.fault(f"{where} must be a table of settings.", fix=f"Write [{cls.section}] as a table.")
        return dict(table), {key: Origin("file", f"{where} {key}") for key in table}

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
        except SettingsError as error:
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
            lines.append(f"{where}: {problem['msg']}, got {problem['input']!r}.")
        return cls.fault("\n".join(lines), fix="Correct the value; `agent config` shows what is in force.")


def find_settings_file(start: Path, *, fault: FaultClass = BadSettings) -> SettingsFile | None:
    """The nearest settings file from `start` upwards, not beyond the repository's root.

    In one folder `forklock.toml` and `[tool.forklock]` in `pyproject.toml` exclude each other.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        own, project = folder / "forklock.toml", folder / "pyproject.toml"
        tables = _parse(own, fault) if own.is_file() else None
        shared = _tool_table(project, fault) if project.is_file() else None
        if tables is not None and shared is not None:
            raise fault(
                f"{own} and [tool.forklock] in {project} both hold settings.", fix="Keep one of the two."
            )
        if tables is not None:
            return _checked(SettingsFile(own, "", tables), fault)
        if shared is not None:
            return _checked(SettingsFile(project, "tool.forklock.", shared), fault)
        if (folder / ".git").exists():
            return None
    return None


def _parse(path: Path, fault: FaultClass) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise fault(f"{path} is not valid TOML: {error}.", fix="Correct the file at that line.") from None
    except OSError as error:
        raise fault(f"{path} cannot be read: {error.strerror}.", fix="Check its permissions.") from None


def _tool_table(project: Path, fault: FaultClass) -> dict[str, Any] | None:
    tool = _parse(project, fault).get("tool")
    table = tool.get("forklock") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


def _checked(file: SettingsFile, fault: FaultClass) -> SettingsFile:
    for name in file.sections:
        if name not in SECTIONS:
            near = difflib.get_close_matches(name, SECTIONS, n=1)
            hint = f"Did you mean [{file.prefix}{near[0]}]?" if near else f"Sections: {', '.join(SECTIONS)}."
            raise fault(f"{file.path}: there is no section {name!r}.", fix=hint)
    return file


class ModelSettings(RoomSettings):
    """Section `[models]`: which model answers, how it is run, and how tokens are chosen by default."""

    section: ClassVar[str] = "models"

    model: str = "qwen2.5-coder-0.5b"
    """A catalogue name, a folder with transformers weights, LiteLLM's id of a provider's model, or the URL
    of a server."""
    engine: Literal["auto", "transformers", "hosted", "vllm"] = "auto"
    adapter: str = "current"
    """`current` (the promoted one of this base), `none` (the bare base), a version, or a folder."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`: for the in-process engine."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads for the in-process engine; 0 leaves it to torch."""
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.8
    top_k: Annotated[int, Field(ge=0)] = 20
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    """New tokens per sample."""

    def decoding(self, **changes: Any) -> Decoding:
        """The default decoding of these settings, with `changes` (fields of `Decoding`) on top."""
        own = {"temperature", "top_k", "top_p", "min_p", "max_tokens"}
        return Decoding(**{**self.model_dump(include=own), **changes})

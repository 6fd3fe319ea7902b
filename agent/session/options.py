"""Options of a run: from the settings, into the log, and back out of it for a resume."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from forklock.agent.contract import Limits
from forklock.agent.judging.lanes import DriveOptions
from forklock.agent.log import LogFault, RunLog
from forklock.agent.loop import Options
from forklock.agent.settings import AgentSettings
from forklock.models.contract import Decoding
from forklock.models.families import profile_of
from forklock.sandbox import BackendName, check_backend


@dataclass(frozen=True, slots=True)
class TestsMode:
    """Whether a run writes its check itself."""

    __test__ = False

    written: bool = False
    """Tests are written before the loop."""
    only: bool = False
    """The run ends with the tests."""
    kept: bool = True
    """The tests are part of the change."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The logged options that the loop itself does not take."""

    sandbox: Annotated[BackendName, AfterValidator(check_backend)]
    diagnostics: bool
    tests: TestsMode = TestsMode()


def wished_decoding(settings: AgentSettings) -> Decoding:
    """The decoding that the settings ask for, whatever the engine can do."""
    return Decoding(
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
    )


def options_of(settings: AgentSettings, preset: str, notes: str, model: str) -> Options:
    """The options of a new run.

    Args:
        preset: `weak` for small local models, `strong` for models that are good at search/replace edits.
        notes: what the repository says to agents.
        model: its name, which tells its family.
    """
    protocol = settings.protocol
    if protocol == "auto":
        protocol = "search-replace" if preset == "strong" else "symbol"
    return Options(
        width=settings.width,
        limits=Limits(
            steps=settings.steps,
            tokens=settings.max_tokens_total,
            seconds=settings.seconds,
            cost_usd=settings.cost_usd,
        ),
        decoding=wished_decoding(settings),
        protocol=protocol,
        styles=settings.styles if preset == "weak" else ("repair",),
        prompt_tokens=settings.prompt_tokens,
        test_timeout_s=settings.test_timeout_s,
        notes=notes,
        strategy=settings.strategy,
        drive=_drive_options(settings, preset, model),
    )


def _drive_options(settings: AgentSettings, preset: str, model: str) -> DriveOptions:
    """How the model drives: as its family's profile says, where the settings say nothing."""
    profile, origins = profile_of(model), settings.origins()
    wished = {key for key in ("temperature", "top_k", "top_p") if origins[key].kind != "default"}
    usual = profile.decoding
    return DriveOptions(
        rollouts=settings.rollouts,
        turns=settings.turns,
        turn_tokens=settings.turn_tokens or usual.max_tokens,
        window=settings.window or profile.window,
        calls=profile.calls,
        edit=profile.edit,
        drives_well=preset == "strong" or profile.calls != "text",
        temperature=settings.temperature if "temperature" in wished else usual.temperature,
        top_k=settings.top_k if "top_k" in wished else usual.top_k,
        top_p=settings.top_p if "top_p" in wished else usual.top_p,
    )


def options_json(options: Options, settings: AgentSettings, tests: TestsMode) -> dict[str, Any]:
    """The options as a log holds them."""
    return {
        "width": options.width,
        "limits": options.limits.model_dump(),
        "decoding": options.decoding.model_dump(mode="json"),
        "protocol": options.protocol,
        "styles": options.styles,
        "prompt_tokens": options.prompt_tokens,
        "test_timeout_s": options.test_timeout_s,
        "notes": options.notes,
        "verified": options.verified,
        "strategy": options.strategy,
        "drive": asdict(options.drive),
        "sandbox": settings.sandbox,
        "diagnostics": settings.diagnostics,
        "bell": settings.bell,
        "tests": asdict(tests),
    }


def options_from_json(raw: dict[str, Any], log: RunLog) -> tuple[Options, Surroundings]:
    """Reads back the options of the loop, and the others.

    Raises:
        LogFault: the log holds no options that this version understands.
    """
    known = {field.name for field in fields(Options)}
    try:
        options = TypeAdapter(Options).validate_python({key: raw[key] for key in raw if key in known})
        rest = TypeAdapter(Surroundings).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LogFault(
            f"{log.path} holds no options that can be resumed ({where}: {first['msg']})",
            fix="start a new run with `agent solve`",
        ) from error
    return options, rest

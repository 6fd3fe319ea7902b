"""Records which model and server a run began with, and checks that a resumed run continues with the same ones."""

from __future__ import annotations

from pydantic import ValidationError

from forklock.agent.contract import AgentFault
from forklock.agent.log.events import LogFault
from forklock.agent.log.schema import ModelSource, RunStarted
from forklock.models.contract import Engine, ModelIdentity
from forklock.models.paths import names_folder, user_path
from forklock.models.web.endpoints import endpoint_of_url


def source_of(model: str, engine: str, opened: Engine) -> ModelSource:
    """Makes the record for the log of a new run.

    Args:
        model: as the user wrote it.
        engine: the engine that was asked for, `auto` included.
    """
    if names_folder(model):
        model = str(user_path(model).absolute())
    elif "://" in model:
        address, mark, name = model.partition("#")
        model = endpoint_of_url(address) + mark + name
    adapter = opened.identity.adapter
    chosen = opened.identity.engine if engine == "auto" else engine
    return ModelSource(
        model=model,
        engine=chosen,
        adapter=adapter.rsplit("/", 1)[-1] if adapter else "none",
        endpoint=opened.endpoint,
    )


def recorded_source(first: RunStarted) -> ModelSource:
    """Returns how to open the model that a run began with.

    Raises:
        LogFault: the log does not say.
    """
    if first.source is None:
        raise LogFault(
            f"the log of run {first.run_id} does not say which server answered",
            fix="start a new run with `agent solve`",
        )
    return first.source


def require_same(first: RunStarted, opened: Engine) -> None:
    """Checks that a resumed run continues with its model, at its server.

    Raises:
        AgentFault: another model, or another server, than the run began with.
        LogFault: the log names no model.
    """
    source = recorded_source(first)
    try:
        began = ModelIdentity.model_validate_json(first.model)
    except ValidationError as error:
        raise LogFault(
            f"the log of run {first.run_id} names no model", fix="start a new run with `agent solve`"
        ) from error
    if opened.identity != began:
        raise AgentFault(
            f"run {first.run_id} began with {began} ({began.engine}); this is {opened.identity} "
            f"({opened.identity.engine})",
            fix="resume without --model, --engine and --adapter; or start a new run with this model",
        )
    if opened.endpoint != source.endpoint:
        raise AgentFault(
            f"run {first.run_id} began at {source.endpoint or 'this machine'}; its model now answers at "
            f"{opened.endpoint or 'this machine'}",
            fix="set the variables that name the server as they were; or start a new run",
        )
